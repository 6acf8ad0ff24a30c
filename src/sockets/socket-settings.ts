import { Socket } from 'node:net'
import { rawOf } from './socket-state.ts'

/** The methods by which something is set; what Node 24 adds to them is not in the types of Node 20. */
interface Tunable {
  setNoDelay(on: boolean): unknown
  setKeepAlive(on: boolean, delay: number, interval?: number, count?: number): unknown
  setTypeOfService?(service: number): unknown
  readonly [setting: symbol]: unknown
}

/**
 * Node notes what was set under symbols of these names, so as not to set it twice. A socket has some of them only once
 * they are set, so they are asked of one on which everything is: it has no connection, and nothing is done.
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

function valuesOf(socket: Tunable): unknown[] {
  settings ??= allSettings()
  return settings.map(name => socket[name])
}

/** What was set on a socket by `setNoDelay` and the like, as it was when its connection was made. */
export class SocketSettings {
  readonly #socket: Tunable
  #values: readonly unknown[]

  constructor(socket: Socket) {
    this.#socket = socket as unknown as Tunable
    this.#values = valuesOf(this.#socket)
  }

  /** Has something else been set since? */
  get differ(): boolean {
    const names = settings as readonly symbol[]
    for (let index = 0; index < names.length; index += 1)
      if (this.#socket[names[index] as symbol] !== this.#values[index]) return true
    return false
  }

  /** @returns what cannot be put back */
  restore(): string | undefined {
    const socket = this.#socket
    // A TLS socket knows only what has been set by way of it; the one under it, what was set when it was made.
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
