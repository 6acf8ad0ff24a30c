/*
 * A server and a network for the model test: nothing happens in it unless the test says so.
 */

import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import type { Factory } from '../../src/api/factory.ts'

/** As much of a socket as the pool looks at. */
export class FakeSocket extends EventEmitter {
  destroyed = false
  closed = false
  readable = true
  writable = true
  readableEnded = false
  writableEnded = false
  readableLength = 0
  writableLength = 0
  connecting = false

  destroy(): this {
    this.destroyed = true
    this.readable = false
    this.writable = false
    return this
  }
}

/** One connection of the model's world. */
export interface Connection {
  readonly id: number
  readonly socket: FakeSocket
  closed: boolean
}

/** A hook that has been called and not answered yet. */
export interface Call<R> {
  readonly connection: Connection | undefined
  resolve(value: R): void
  reject(error: Error): void
}

/** A server and a network in which nothing happens unless the test says so. */
export class World {
  readonly creates: Call<Connection>[] = []
  readonly validates: Call<boolean>[] = []
  readonly resets: Call<void>[] = []
  readonly destroys: Call<void>[] = []
  /** The call that was made last, of any hook. */
  latest: Call<never> | undefined
  opened = 0
  closed = 0
  /** What a hook does at once, by its name; left out: it waits for the test. */
  atOnce: { create?: () => Connection; destroy?: boolean } = {}

  connect(): Connection {
    this.opened += 1
    return { id: this.opened, socket: new FakeSocket(), closed: false }
  }

  factory(hooks: { validate: boolean; reset: boolean }): Factory<Connection> {
    const wait = <R>(calls: Call<R>[], connection: Connection | undefined): Promise<R> =>
      new Promise<R>((resolve, reject) => {
        const call = { connection, resolve, reject }
        calls.push(call)
        this.latest = call
      })
    return {
      create: () => wait(this.creates, undefined),
      destroy: connection => {
        if (connection.closed) throw new Error(`connection ${connection.id} destroyed twice`)
        connection.closed = true
        this.closed += 1
        connection.socket.destroy()
        return wait(this.destroys, connection)
      },
      socket: connection => connection.socket as unknown as Socket,
      ...(hooks.validate ? { validate: (connection: Connection) => wait(this.validates, connection) } : {}),
      ...(hooks.reset ? { reset: (connection: Connection) => wait(this.resets, connection) } : {}),
    }
  }
}
