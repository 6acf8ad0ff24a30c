import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { after, describe, test } from 'node:test'
import { type Answer, handshake, withFake } from './fake-redis.ts'
import { poolOf, versions } from './versions.ts'

const warnings: string[] = []
const listener = (warning: Error & { code?: string }): void => void warnings.push(String(warning.code))
process.on('warning', listener)
after(() => process.off('warning', listener))

/** How a server that stops ends a connection during its handshake. */
const HANG_UPS: Record<string, (socket: Socket) => unknown> = {
  'a FIN': socket => socket.end(),
  'an RST': socket => socket.resetAndDestroy(),
}

for (const { name, Client } of versions)
  describe(`${name}: a server that closes one connection during its handshake, as it stops`, () => {
    for (const [what, hangUp] of Object.entries(HANG_UPS))
      test(`by ${what}, is not taken for a proxy without commands: its role is still asked, on each connection`, async () => {
        let first: Socket | undefined
        const asked = new Set<Socket>()
        const answer: Answer = (command, socket) => {
          first ??= socket
          if (socket === first) {
            hangUp(socket)
            return undefined
          }
          if (command[0] === 'EXISTS') return ':0\r\n'
          if (command[0] === 'INFO') asked.add(socket)
          return handshake(command)
        }
        await withFake(answer, async fake => {
          warnings.length = 0
          const pool = poolOf(Client, { port: fake.port }, { max: 3 })
          const all = await Promise.all([1, 2, 3].map(() => pool.acquire()))
          assert.ok(asked.size >= 3, `${asked.size} were asked`)
          await Promise.all(all.map(client => pool.release(client)))
          await pool.close()
          await new Promise(resolve => setImmediate(resolve))
          assert.ok(
            !warnings.includes('LIFEGUARD_POOL_ROLE'),
            'nothing is said of a role that cannot be known',
          )
        })
      })
  })

for (const { name, Client } of versions)
  describe(`${name}: an address with several servers behind it, of which some close each connection at its first command`, () => {
    for (const [what, cuts] of [
      ['every other one', [true, false]],
      ['the first of three', [true, false, false]],
      ['two of the first three', [true, false, true, false, false, false, false, false, false]],
      ['the first and then one more', [true, false, false, false, true, false, false, false, false, false]],
    ] as const)
      test(`${what}: is not taken for a proxy without commands, as each connection is asked for its role`, async () => {
        const order = new Map<Socket, number>()
        const asked = new Set<Socket>()
        const served = new Set<Socket>()
        const answer: Answer = (command, socket) => {
          if (!order.has(socket)) order.set(socket, order.size)
          if (cuts[(order.get(socket) ?? 0) % cuts.length]) {
            socket.destroy()
            return undefined
          }
          if (command[0] === 'EXISTS') return ':0\r\n'
          if (command[0] === 'INFO') asked.add(socket)
          if (command[0] === 'GET') served.add(socket)
          return handshake(command)
        }
        await withFake(answer, async fake => {
          warnings.length = 0
          const pool = poolOf(Client, { port: fake.port }, { max: 1, validateAfterIdleMillis: 0 })
          for (let round = 0; round < 4; round += 1) {
            await pool.use(client => client.get('key'))
            await pool.clear()
          }
          await pool.close()
          assert.equal(served.size, 4)
          for (const socket of served) assert.ok(asked.has(socket), 'its role was asked for')
          await new Promise(resolve => setImmediate(resolve))
          assert.ok(!warnings.includes('LIFEGUARD_POOL_ROLE'))
        })
      })
  })
