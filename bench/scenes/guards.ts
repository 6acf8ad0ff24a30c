import { GUARDS, guardedPool, silentServer } from '../contenders/guards.ts'
import type { Scene } from './scene.ts'
import { callers, perOperation, turn } from './timing.ts'

/** Loans between two turns of the event loop: a busy service has some per turn, and half-close detection counts turns. */
const A_TURN = 20

function guards(workers: number): [string, Scene] {
  const row = `sockets, max 10, ${workers} ${workers === 1 ? 'worker' : 'workers'}, a turn of the loop every ${A_TURN}`
  return [
    `guards: ${row}`,
    {
      group: 'guards, each alone',
      contenders: GUARDS,
      rounds: 3,
      async run(contender) {
        const server = await silentServer()
        const pool = guardedPool(contender, server.port, 10)
        const cost = await perOperation(async count => {
          const each = Math.ceil(count / workers)
          let done = 0
          const lend = async (): Promise<void> => {
            for (let own = 0; own < each; own += 1) {
              const socket = await pool.acquire()
              pool.release(socket)
              done += 1
              if (done % A_TURN === 0) await turn()
            }
          }
          await callers(workers, lend)
        }, 1000)
        server.stop()
        return [{ row, unit: 'ns', ...cost }]
      },
    },
  ]
}

export const SCENES: Readonly<Record<string, Scene>> = Object.fromEntries([guards(1), guards(50)])
