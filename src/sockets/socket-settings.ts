import { Socket } from 'node:net'
import { rawOf } from './socket-state.ts'

/** The methods that change settings. Node 24 adds some that the types of Node 20 do not have. */
interface Tunable {
  setNoDelay(on: boolean): unknown
  setKeepAlive(on: boolean, delay: number, interval?: number, count?: number): unknown
  setTypeOfService?(service: number): unknown
  readonly [setting: symbol]: unknown
}

/**
 * The symbols under which Node records settings, so as not to set them twice. A socket has some of them only once they
 * are set. So this reads them from a socket without a connection, on which every setting is made.
 */
function allSettings(): readonly symbol[] {
  const probe = new Socket()
  const tunable = probe as unknown as Tunable
  tunable.setNoDelay(true)
  tunable.setKeepAlive(true, 1000, 1000, 1)
  tunable.setTypeOfService?.(0)
  return Object.getOwnPropertySymbols(probe).filter(({ description }) => description?.startsWith('kSet'))
}

let settings: readonly symbol[] | undefined
/** The first of them one by one, see {@link SocketSettings.differ}. */
let [first, second, third, fourth, fifth, sixth]: symbol[] = []
/** How many of the names have a variable of their own. Where there are fewer names, no socket has the rest. */
const NAMED = 6
const NO_SETTING = Symbol('no setting')

function valuesOf(socket: Tunable): unknown[] {
  if (settings === undefined) {
    const names = allSettings()
    settings = [...names, ...Array<symbol>(Math.max(NAMED - names.length, 0)).fill(NO_SETTING)]
    ;[first, second, third, fourth, fifth, sixth] = settings
  }
  return settings.map(name => socket[name])
}

/** The settings that `setNoDelay` and similar methods had made on a socket when its connection was created. */
export class SocketSettings {
  readonly #socket: Tunable
  #values: readonly unknown[]

  constructor(socket: Socket) {
    this.#socket = socket as unknown as Tunable
    this.#values = valuesOf(this.#socket)
  }

  /** Have the settings changed since then? Written out, because reading names in a loop takes V8 ten times as long. */
  get differ(): boolean {
    const socket = this.#socket
    const values = this.#values
    return (
      socket[first as symbol] !== values[0] ||
      socket[second as symbol] !== values[1] ||
      socket[third as symbol] !== values[2] ||
      socket[fourth as symbol] !== values[3] ||
      socket[fifth as symbol] !== values[4] ||
      socket[sixth as symbol] !== values[5] ||
      (values.length > NAMED && this.#othersDiffer())
    )
  }

  #othersDiffer(): boolean {
    const names = settings as readonly symbol[]
    for (let index = NAMED; index < names.length; index += 1)
      if (this.#socket[names[index] as symbol] !== this.#values[index]) return true
    return false
  }

  /** @returns what cannot be restored */
  restore(): string | undefined {
    const socket = this.#socket
    // A TLS socket only knows what was set through it. The raw socket knows what was set when it was created.
    const raw = rawOf(socket as unknown as Socket) as unknown as Tunable
    const made = new Map<string | undefined, unknown>()
    const values = raw === socket ? this.#values : valuesOf(raw)
    const names = settings as readonly symbol[]
    for (const [index, name] of names.entries()) made.set(name.description, values[index])
    for (const [index, name] of names.entries()) {
      if (socket[name] === this.#values[index]) continue
      if (name.description === 'kSetNoDelay') socket.setNoDelay(made.get('kSetNoDelay') === true)
      else if (name.description?.startsWith('kSetKeepAlive')) restoreKeepAlive(socket, made)
      else if (name.description === 'kSetTOS') socket.setTypeOfService?.(Number(made.get('kSetTOS') ?? 0))
      else return `its borrower has changed ${name.description}, which cannot be undone`
    }
    this.#values = valuesOf(socket)
    return undefined
  }
}

function restoreKeepAlive(socket: Tunable, made: ReadonlyMap<string | undefined, unknown>): void {
  const millis = (name: string): number | undefined => {
    const seconds = made.get(name)
    return typeof seconds === 'number' ? seconds * 1000 : undefined
  }
  const count = made.get('kSetKeepAliveCount')
  socket.setKeepAlive(
    made.get('kSetKeepAlive') === true,
    millis('kSetKeepAliveInitialDelay') ?? 0,
    millis('kSetKeepAliveInterval'),
    typeof count === 'number' ? count : undefined,
  )
}
