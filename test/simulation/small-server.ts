/*
 * The server and the network of the small world: connections with a JavaScript side and, where asked for, a kernel side.
 */

import type { Factory } from '../../src/api/factory.ts'
import { simulateKernel } from '../../src/sockets/conn-check.ts'
import { type Call, type Connection, FakeSocket, World } from '../model/scripted-server.ts'

export const ANSWERS = ['created', 'validated', 'reset', 'destroyed'] as const
export type Answer = (typeof ANSWERS)[number]

/** A socket of which the kernel may know more than JavaScript. */
class KernelSocket extends FakeSocket {
  readonly _handle = { hasRef: () => true }
  readonly readableFlowing = true
  bytesRead = 1
  bytesWritten = 1
  hasFin = false

  constructor() {
    super()
    simulateKernel(this as never, () => (this.hasFin ? 'fin' : 'healthy'))
  }

  /** A poll phase delivers the FIN. */
  deliver(): void {
    if (this.destroyed) return
    this.readable = false
    this.readableEnded = true
    this.emit('end')
    this.destroy()
    this.emit('close')
  }
}

interface Traits {
  readonly validate: boolean
  readonly reset: boolean
  readonly slowDestroy: boolean
  readonly kernel: boolean
}

export class SmallServer extends World {
  readonly #traits: Traits
  readonly #connections: Connection[] = []
  #hungUp: KernelSocket[] = []
  #unnoticed: FakeSocket[] = []

  constructor(traits: Traits) {
    super()
    this.#traits = traits
  }

  override connect(): Connection {
    this.opened += 1
    const socket = this.#traits.kernel ? new KernelSocket() : new FakeSocket()
    const connection = { id: this.opened, socket, closed: false }
    this.#connections.push(connection)
    return connection
  }

  override factory(): Factory<Connection> {
    const factory = super.factory(this.#traits)
    const { destroy } = factory
    return {
      ...factory,
      destroy: connection => {
        const held = destroy(connection)
        if (!this.#traits.slowDestroy)
          this.destroys.splice(0).forEach(call => {
            call.resolve()
          })
        return held
      },
    }
  }

  /** A request and its answer. */
  talk({ socket }: Connection): void {
    if (!(socket instanceof KernelSocket)) return
    socket.bytesRead += 1
    socket.bytesWritten += 1
  }

  /** Connections that are open on both sides. */
  get live(): Connection[] {
    return this.#connections.filter(
      ({ closed, socket }) => !closed && !socket.destroyed && !this.#hungUp.includes(socket as KernelSocket),
    )
  }

  get connections(): readonly Connection[] {
    return this.#connections
  }

  held(kind: Answer): readonly Call<never>[] {
    return this.#calls(kind) as unknown as Call<never>[]
  }

  answer(kind: Answer, index: number): void {
    const [call] = this.#calls(kind).splice(index, 1)
    if (kind === 'created') call?.resolve(this.connect())
    else call?.resolve(kind === 'validated' ? true : undefined)
  }

  /** The socket closes, and JavaScript knows. */
  kill(index: number): void {
    const socket = this.live[index]?.socket
    socket?.destroy()
    socket?.emit('close')
  }

  /** Its borrower or its client destroys the socket. The event `close` comes in the next turn. */
  destroySilently(index: number): void {
    const socket = this.live[index]?.socket
    if (socket === undefined) return
    socket.destroy()
    this.#unnoticed.push(socket)
  }

  /** The server closes its side. The FIN lies in the kernel. */
  hangUp(index: number): void {
    const socket = this.live[index]?.socket as KernelSocket
    socket.hasFin = true
    this.#hungUp.push(socket)
  }

  /** How many FINs lie in the kernel. */
  get unread(): number {
    return this.#hungUp.filter(({ destroyed }) => !destroyed).length + this.#unnoticed.length
  }

  /** @returns how many events a poll phase has delivered */
  deliver(): number {
    const due = this.#hungUp.filter(({ destroyed }) => !destroyed)
    this.#hungUp = []
    for (const socket of due) socket.deliver()
    const unnoticed = this.#unnoticed.splice(0)
    for (const socket of unnoticed) socket.emit('close')
    return due.length + unnoticed.length
  }

  #calls(kind: Answer): Call<unknown>[] {
    const lists = {
      created: this.creates,
      validated: this.validates,
      reset: this.resets,
      destroyed: this.destroys,
    }
    return lists[kind] as Call<unknown>[]
  }
}
