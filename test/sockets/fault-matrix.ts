/*
 * One cell of the matrix {fault} × {phase of the event loop} × {transport}: puts a fault into the kernel at that point, and
 * counts how often a connection that died while idle is lent all the same.
 */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { socketFactory } from '../../src/adapters/net/factory.ts'
import { createSocketPool, type SocketTarget } from '../../src/adapters/net/index.ts'
import { checkedTarget } from '../../src/adapters/net/target.ts'
import type { PoolOptions } from '../../src/api/options/options.ts'
import { createPool, type Pool } from '../../src/index.ts'
import { turns } from '../support/factories.ts'
import type { FaultServer } from '../support/fault-server.ts'
import { tlsCertificate } from '../support/tls.ts'
import type { Phase } from './loop-phases.ts'

export type Fault = 'fin' | 'rst' | 'dataThenFin' | 'write'

/** Puts the fault into the kernel; this thread stands still until it is there. */
export function strike(server: FaultServer, fault: Fault, index: number): void {
  if (fault === 'dataThenFin' || fault === 'write') server[fault](index, 'unasked')
  else server[fault](index)
}

/** As on Windows, or with a handle of an unknown kind: there is no descriptor to ask the kernel with. */
export function blindPoolFor(server: FaultServer): Pool<Socket> {
  const { host, port } = server
  const factory = socketFactory(checkedTarget({ host, port }))
  return createPool(
    {
      ...factory,
      async create(signal) {
        const socket = await factory.create(signal)
        Object.defineProperty((socket as unknown as { _handle: object })._handle, 'fd', { value: -1 })
        return socket
      },
    },
    { fifo: false },
  )
}

export function poolFor(server: FaultServer, options: PoolOptions = {}): Pool<Socket> {
  const { host, port, path } = server
  const where: SocketTarget = path === undefined ? { host, port } : { path }
  const tls = server.options.tls && { ca: tlsCertificate, servername: 'localhost' }
  return createSocketPool({ ...where, ...(tls && { tls }) }, { fifo: false, ...options })
}

/** A connection that has been of use: one that dies before that counts as a failed connect, and they would be made seldom. */
async function talk(socket: Socket): Promise<void> {
  const answer = once(socket, 'data')
  socket.write('?')
  await answer
}

/** @returns how many of so many connections that died while idle were lent all the same */
export async function deadLent(
  pool: Pool<Socket>,
  server: FaultServer,
  fault: Fault,
  phase: Phase,
  tries: number,
): Promise<number> {
  // Connections of the pools before this one.
  const earlier = server.connections()
  const accepted = async (): Promise<number> => {
    const made = pool.stats().totals.created
    // Not by blocking: with TLS 1.3 the last word of the handshake is ours, and may not have been sent yet.
    while (server.connections() < earlier + made) await turns(1)
    return earlier + made
  }
  let dead = 0
  let socket = await pool.acquire()
  await talk(socket)
  await pool.release(socket)
  for (let tried = 0; tried < tries; tried += 1) {
    const before = socket
    const count = await accepted()
    socket = await phase(() => {
      strike(server, fault, count - 1)
      return pool.acquire()
    })
    if (socket === before) {
      dead += 1
      // So that the next try starts as this one did.
      await pool.destroy(socket)
      socket = await pool.acquire()
    } else assert.ok(!socket.destroyed, 'a new connection, and already destroyed')
    await talk(socket)
    await pool.release(socket)
  }
  await accepted()
  return dead
}

/** One cell of the matrix, with a pool of its own. */
export async function cell(
  server: FaultServer,
  fault: Fault,
  phase: Phase,
  tries: number,
  open: (server: FaultServer) => Pool<Socket> = poolFor,
): Promise<{ dead: number; pool: Pool<Socket> }> {
  const pool = open(server)
  try {
    return { dead: await deadLent(pool, server, fault, phase, tries), pool }
  } finally {
    await pool.close()
  }
}
