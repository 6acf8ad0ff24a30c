import type { SimulatedSocket } from './simulated-socket.ts'
import { Direction, type Route, type Segment, type World } from './wire.ts'

/** The process behind the server's end of a connection. */
export interface PeerOwner extends Route {
  readonly idleLimitMillis: number
  readonly isFrozen: boolean
  onData(peer: SimulatedPeer, data: Buffer): void
  onGone(peer: SimulatedPeer): void
}

/** The server's end of one connection. */
export class SimulatedPeer {
  readonly id: number
  /** Set while the server has the connection. */
  isOpen = true
  /** Has the client sent its FIN? */
  hasEnded = false
  readonly #world: World
  readonly #owner: PeerOwner
  readonly #toClient: Direction
  readonly #client: () => SimulatedSocket
  /** What lies in the server's kernel while the server's process stands still. */
  readonly #unread: Segment[] = []
  #hasSentFin = false
  #cancelIdle: () => void = () => {}

  constructor(id: number, world: World, owner: PeerOwner, client: () => SimulatedSocket) {
    this.id = id
    this.#world = world
    this.#owner = owner
    this.#client = client
    this.#toClient = new Direction(world, owner, segment => client().arrive(segment))
    this.#touch()
  }

  write(data: string | Buffer): void {
    if (!this.isOpen || this.#hasSentFin) return
    this.#touch()
    this.#toClient.send(Buffer.from(data as string))
  }

  /** Closes the server's side (FIN). The client may still send. */
  end(): void {
    if (!this.isOpen || this.#hasSentFin) return
    this.#hasSentFin = true
    this.#note('FIN')
    this.#toClient.send('fin')
    if (this.hasEnded) this.#gone()
  }

  /** Resets the connection (RST). What the client has not read yet, it still gets. */
  reset(): void {
    if (!this.isOpen) return
    this.#note('RST')
    this.#toClient.send('rst')
    this.#gone()
  }

  /** The server's machine has lost the connection, and says nothing. */
  forget(): void {
    if (this.isOpen) this.#gone()
  }

  /** Something arrives in the server's kernel. */
  arrive(segment: Segment): void {
    if (!this.isOpen) {
      if (segment !== 'rst') this.#toClient.send('rst')
      return
    }
    if (segment === 'rst') {
      this.#gone()
      return
    }
    this.#unread.push(segment)
    this.read()
  }

  /** The server's process reads what has arrived, unless it stands still. */
  read(): void {
    while (this.isOpen && !this.#owner.isFrozen && this.#unread.length > 0) {
      const segment = this.#unread.shift()
      if (segment instanceof Buffer) {
        this.#touch()
        this.#client().taken(segment.length)
        this.#owner.onData(this, segment)
      } else {
        this.hasEnded = true
        // As most servers: whoever hangs up is hung up on.
        if (this.#hasSentFin) this.#gone()
        else this.end()
      }
    }
  }

  #touch(): void {
    this.#cancelIdle()
    const { idleLimitMillis } = this.#owner
    if (idleLimitMillis > 0) this.#cancelIdle = this.#world.loop.outside(idleLimitMillis, () => this.end())
  }

  #gone(): void {
    this.isOpen = false
    this.#cancelIdle()
    this.#owner.onGone(this)
  }

  #note(what: string): void {
    this.#world.trace.add(this.#world.loop.now(), `server: ${what} on connection ${this.id}`)
  }
}
