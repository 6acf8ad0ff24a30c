import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { describe, test } from 'node:test'
import { createPool } from '../../src/index.ts'
import { PollPhase } from '../../src/sockets/poll-phase.ts'
import { FakeClock } from '../support/clock.ts'

/** @returns whether an answer came before the end */
function ask(socket: Socket): Promise<boolean> {
  return new Promise(resolve => {
    const settle = (answered: boolean): void => {
      socket.off('data', onData).off('close', onClose)
      resolve(answered)
    }
    const onData = (): void => settle(true)
    const onClose = (): void => settle(false)
    socket.on('data', onData).on('close', onClose)
    socket.write('?')
  })
}

describe('a connection that has just answered', () => {
  for (const max of [1, 5])
    test(`is not lent if its server closed it right behind the answer, however many callers wait for it, max ${max}`, async () => {
      let answers = 0
      // In this process: its FIN is in the kernel before the answer is read.
      const server = createServer(socket => {
        socket.on('error', () => {})
        socket.on('data', () => {
          answers += 1
          if (answers % 20 === 0) socket.end('last')
          else socket.write('!')
        })
      }).listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo
      const pool = createPool(
        {
          create: async () => {
            const socket = connect(port, '127.0.0.1')
            await once(socket, 'connect')
            return socket
          },
          destroy: async socket => void socket.destroy(),
          socket: socket => socket,
        },
        { max, acquireTimeoutMillis: 60_000 },
      )
      let dead = 0
      const caller = async (): Promise<void> => {
        for (let loan = 0; loan < 150; loan += 1)
          await pool.use(async socket => {
            if (!(await ask(socket))) dead += 1
          })
      }
      await Promise.all(Array.from({ length: 20 }, caller))
      assert.equal(dead, 0, `of 3000 loans, ${dead} were of a connection that had ended`)
      await pool.close()
      server.close()
    })

  test('waits for the poll phase once checks in the kernel are used up, and is never taken on trust', () => {
    const clock = new FakeClock()
    const phase = new PollPhase(clock)
    phase.observe(clock.now())
    const found = new Set<string>()
    for (let loan = 0; loan < 300; loan += 1) found.add(phase.needed(0, clock.now() + 1, clock.now()))
    assert.deepEqual([...found], ['check'])
    assert.equal(phase.needed(0, clock.now() + 1, clock.now()), 'poll')
    assert.notEqual(phase.needed(0, 0, clock.now()), 'poll', 'one that has said nothing since does not wait')
  })
})
