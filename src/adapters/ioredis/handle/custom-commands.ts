import type { Client, Command, Script } from '../client/client-types.ts'

interface Defined {
  readonly definition: Script
  /** The methods that ioredis made of it. */
  readonly methods: Record<string, unknown>
  readonly script: unknown
}

/** What ioredis makes of a script. Its commands note whether the socket that they are written to has it. */
interface SentScript {
  readonly sha: string
  readonly Command: new (name: string, args: unknown[]) => Command & { toWritable(socket: object): unknown }
}

/** More scripts than this are forgotten, and sent anew. */
const MOST_SCRIPTS = 500

/**
 * Commands that borrowers of one client define. Each is its borrower's own, as the next one may have another of the
 * same name; but who defines the same gets the same, so that the text of a script is sent once for a connection and
 * not once for a loan.
 */
export class CustomCommands {
  readonly #client: Client
  readonly #known = new Map<string, Defined>()

  constructor(client: Client) {
    this.#client = client
  }

  /** As `defineCommand` of ioredis, for this handle alone. */
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
   * The server has said NOSCRIPT within a transaction: it has none of the scripts any more. ioredis notes for each socket
   * which scripts it has sent, and takes that back only where a command itself is answered so.
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

  /** As `addBuiltinCommand` of ioredis, for this handle alone. */
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
