/*
 * The points of a turn of the event loop at which a step may run: timers, poll, check, a microtask, after a file was read.
 */

import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'

/** How often each cell of the matrix is tried. Without the guard that a cell is about, nearly every try fails. */
export const TRIES = process.env.LIFEGUARD_LONG ? 2000 : 20

/** Runs a step at a certain point of the event loop's turn, and resolves with what it gives. */
export type Phase = <R>(step: () => R | Promise<R>) => Promise<R>

const inside = <R>(step: () => R | Promise<R>, enter: (run: () => void) => void): Promise<R> =>
  new Promise((resolve, reject) => {
    enter(() => {
      try {
        resolve(step())
      } catch (error) {
        reject(error)
      }
    })
  })

export const timer: Phase = step => inside(step, run => setTimeout(run, 1))
export const check: Phase = step => inside(step, run => setImmediate(run))
export const microtask: Phase = step => inside(step, run => queueMicrotask(run))
export const afterFile: Phase = async step => {
  await readFile(import.meta.filename)
  return step()
}

/** A callback of the poll phase: data on a connection of the test's own. */
export async function openPollPhase(): Promise<{ poll: Phase; close(): void }> {
  const server = createServer(socket => socket.pipe(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect((server.address() as { port: number }).port, '127.0.0.1')
  await once(socket, 'connect')
  return {
    poll: step =>
      inside(step, run => {
        socket.once('data', run)
        socket.write('x')
      }),
    close: () => {
      socket.destroy()
      server.close()
    },
  }
}
