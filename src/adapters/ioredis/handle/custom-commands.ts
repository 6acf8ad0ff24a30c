import type { Client, Command, Script } from '../client/client-types.ts'

interface Defined {
  readonly definition: Script
  /** The methods that ioredis created for it. */
  readonly methods: Record<string, unknown>
  readonly script: unknown
}

/**
 * What ioredis creates for a script. Its commands record whether the socket that they are written to has the script.
 */
interface SentScript {
  readonly sha: string
  readonly Command: new (name: string, args: unknown[]) => Command & { toWritable(socket: object): unknown }
}

/** Beyond this many scripts all are forgotten and sent again. */
const MOST_SCRIPTS = 500

/**
 * The commands that borrowers of one client define. Each definition is private to its borrower, because the next one
 * may define another command of the same name. Identical definitions are shared, so that the text of a script is sent
 * once per connection, not once per loan.
 */
export class CustomCommands {
  readonly #client: Client
  readonly #known = new Map<string, Defined>()

  constructor(client: Client) {
    this.#client = client
  }

  /** Does what `defineCommand` of ioredis does, but only for this handle. */
  define(handle: Client, name: string, definition: Script): void {
    if (!Object.hasOwn(handle, 'scriptsSet')) own(handle, 'scriptsSet', { ...this.#client.scriptsSet })
    const known = this.#known.get(name)
    if (known !== undefined && isSame(known.definition, definition)) {
      handle.scriptsSet[name] = known.script
      Object.assign(handle, known.methods)
      return
    }
    this.#client.defineCommand.call(handle, name, definition)
    const { [name]: plain, [`${name}Buffer`]: raw } = handle as unknown as Record<string, unknown>
    if (this.#known.size >= MOST_SCRIPTS) this.#known.clear()
    this.#known.set(name, {
      definition: { ...definition },
      methods: { [name]: plain, [`${name}Buffer`]: raw },
      script: handle.scriptsSet[name],
    })
  }

  /**
   * Makes ioredis send all scripts again. Called when the server has replied NOSCRIPT inside a transaction: it has lost
   * the scripts. ioredis records per socket which scripts it has sent. It only clears that if a command itself is
   * answered with NOSCRIPT, so this creates such a command and rejects it.
   */
  forgetSent(handle: Client): void {
    const known = [...this.#known.values()].map(({ script }) => script)
    const scripts = [...known, ...Object.values(this.#client.scriptsSet), ...Object.values(handle.scriptsSet)]
    for (const script of new Set(scripts) as Set<SentScript>) {
      const command = new script.Command('evalsha', [script.sha])
      command.promise.catch(() => {})
      command.toWritable(this.#client.stream)
      command.reject(new Error('NOSCRIPT'))
    }
  }

  /** Does what `addBuiltinCommand` of ioredis does, but only for this handle. */
  addBuiltin(handle: Client, name: string): void {
    if (!Object.hasOwn(handle, 'addedBuiltinSet'))
      own(handle, 'addedBuiltinSet', new Set(this.#client.addedBuiltinSet))
    this.#client.addBuiltinCommand.call(handle, name)
  }
}

const isSame = (a: Script, b: Script): boolean =>
  a.lua === b.lua && a.numberOfKeys === b.numberOfKeys && a.readOnly === b.readOnly

function own(handle: Client, name: string, value: unknown): void {
  Object.defineProperty(handle, name, { value, writable: true, configurable: true })
}
