import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { isPoolError } from '../../src/index.ts'
import { rejection } from '../support/rejection.ts'
import { AFTERWARDS, type ClusterScene, OWNERS, playOnCluster, SLOT } from './cluster-scene.ts'
import type { SimulatedNode } from './simulated-cluster.ts'

/* Nodes that refuse the pool while it is in use: how often it logs in to them, and what it makes of them meanwhile. */

const MINUTE = 60_000
/** A login every 5 s, and the first one. */
const MOST_A_MINUTE = 13
/** Keys of the nodes 0, 1 and 2. */
const KEYS = ['foo', 'b', 'bar']
const WRONG = '-WRONGPASS invalid username-password pair or user is disabled.\r\n'
const NO_RIGHT = "-NOPERM User default has no permissions to run the 'info' command\r\n"

type Answer = NonNullable<SimulatedNode['answer']>

const isLogin = (command: readonly string[]): boolean => /^(?:auth|hello)\b.*token/i.test(command.join(' '))

/** Refuses new connections with this answer. */
const refusal =
  (text = WRONG): Answer =>
  command =>
    isLogin(command) ? text : undefined

interface Scene extends ClusterScene {
  /** On how many connections the node has been sent a login so far. */
  logins(index: number): number
  /** The node answers like this from now on. */
  answer(index: number, answer: Answer | undefined): void
  /** The connections of the pool itself are cut. */
  cut(): void
}

/** Each primary has a loan that stays, and the pool has connections of its own. */
const play = (options: object, scene: (scene: Scene) => Promise<void>): Promise<void> =>
  playOnCluster(
    { max: 3, credentials: () => ({ password: 'token' }), acquireTimeoutMillis: 1000, ...options },
    async base => {
      const { node, pool, cluster, world } = base
      // By connection: a login without success may be tried with an older protocol on the same one.
      const logins = cluster.nodes.map(() => new Set())
      const answers: (Answer | undefined)[] = []
      const own = new Set<{ reset(): void }>()
      cluster.nodes.forEach((each, index) => {
        each.answer = (command, peer) => {
          if (isLogin(command)) logins[index]?.add(peer)
          if (command[0] === 'CLUSTER') own.add(peer)
          return answers[index]?.(command, peer)
        }
      })
      const held = await Promise.all(KEYS.map(key => pool.acquire({ key })))
      await world.sleep(2000)
      assert.ok((node(0).asked.get('PING') ?? 0) > 0)
      await scene({
        ...base,
        logins: index => logins[index]?.size ?? 0,
        answer: (index, answer) => {
          answers[index] = answer
        },
        cut: () => {
          for (const peer of own) peer.reset()
        },
      })
      for (const redis of held) await pool.release(redis)
    },
    { owners: OWNERS },
  )

const ALL = [0, 1, 2, 3, 4, 5]

/** @returns how many logins each node has seen in a minute */
async function inOneMinute({ world, logins }: Scene): Promise<number[]> {
  const before = ALL.map(logins)
  await world.sleep(MINUTE)
  return ALL.map(index => logins(index) - (before[index] ?? 0))
}

describe('an account is not locked by the pool itself, as it logs in again and again', () => {
  for (const [what, text] of [
    ['refuse the password', WRONG],
    ['refuse the user a command that each connection begins with', NO_RIGHT],
    ['want a password', '-NOAUTH Authentication required.\r\n'],
  ] as const)
    test(`where all nodes ${what}, while loans go on`, async () => {
      await play({}, async scene => {
        const { answer, cut, pool } = scene
        for (const index of ALL) answer(index, refusal(text))
        cut()
        const counts = await inOneMinute(scene)
        for (const count of counts) assert.ok(count <= MOST_A_MINUTE, `logins: ${counts}`)
        assert.ok(
          counts.some(count => count >= 10),
          `they go on being asked: ${counts}`,
        )
        assert.equal(pool.stats().topology.retired, 0)
      })
    })

  test('where one primary refuses: its replica is not asked whether it has taken over', async () => {
    await play({}, async scene => {
      const { answer, cut, node, pool } = scene
      answer(1, refusal())
      cut()
      const counts = await inOneMinute(scene)
      assert.ok((counts[1] as number) <= MOST_A_MINUTE, `logins: ${counts}`)
      assert.equal(node(4).asked.get('ROLE') ?? 0, 0)
      assert.equal(pool.stats().topology.retired, 0)
    })
  })

  test('where callers want loans of a primary that refuses, which tries by itself, too', async () => {
    await play({}, async scene => {
      const { answer, cut, node, pool, world } = scene
      for (const index of [0, 1, 2]) answer(index, refusal())
      cut()
      let isOver = false
      const callers = KEYS.map(async key => {
        while (!isOver) {
          await rejection(pool.acquire({ key }))
          await world.sleep(50)
        }
      })
      const counts = await inOneMinute(scene)
      isOver = true
      await Promise.all(callers)
      // The breaker of the node's pool has six.
      for (const count of counts) assert.ok(count <= MOST_A_MINUTE + 6, `logins: ${counts}`)
      for (const index of [3, 4, 5]) assert.equal(node(index).asked.get('ROLE') ?? 0, 0)
    })
  })

  test('where nobody has a loan, and nodes() is called again and again: each call begins anew', async () => {
    await playOnCluster({ credentials: () => ({ password: 'token' }) }, async ({ cluster, pool, world }) => {
      assert.equal((await pool.nodes()).length, 6)
      await world.sleep(1000)
      const logins = cluster.nodes.map(() => 0)
      cluster.nodes.forEach((each, index) => {
        each.answer = command => {
          if (!isLogin(command)) return undefined
          logins[index] = (logins[index] ?? 0) + 1
          return WRONG
        }
      })
      const until = world.now + MINUTE
      while (world.now < until) {
        assert.equal((await pool.nodes()).length, 6)
        await world.sleep(300)
      }
      for (const count of logins) assert.ok(count <= MOST_A_MINUTE, `logins: ${logins}`)
    })
  })

  test('where single commands are sent to a node that refuses, as a slot is moved there', async () => {
    await play({}, async scene => {
      const { answer, node, pool, logins, world, cut } = scene
      const { host, port } = node(5).server
      answer(0, ([name]) => (name === 'GET' ? `-ASK ${SLOT} ${host}:${port}\r\n` : undefined))
      answer(5, refusal())
      cut()
      const before = logins(5)
      const until = world.now + MINUTE
      while (world.now < until) {
        const error = await rejection(pool.use({ key: 'foo' }, redis => redis.get('foo')))
        assert.ok(isPoolError(error, 'POOL_MOVED'), String(error))
        assert.match(String(error.cause), /WRONGPASS/)
        await world.sleep(100)
      }
      const count = logins(5) - before
      assert.ok(count <= MOST_A_MINUTE && count > 5, `${count} logins`)
    })
  })
})

describe('nodes that refuse new connections are not lost', () => {
  /** Every node refuses, and each primary has an idle connection beside the loan. */
  const refused = (scene: (scene: Scene) => Promise<void>): Promise<void> =>
    play({ max: 4 }, async given => {
      const { answer, cut, pool, world } = given
      for (const key of KEYS) {
        const two = await Promise.all([pool.acquire({ key }), pool.acquire({ key })])
        for (const redis of two) await pool.release(redis)
      }
      for (const index of ALL) answer(index, refusal())
      cut()
      await world.sleep(1000)
      await scene(given)
    })

  test('they are asked over idle connections, so that a takeover is not missed', async () => {
    await refused(async ({ world, cluster, node, pool }) => {
      Object.assign(node(3), { isPrimary: true })
      cluster.say(AFTERWARDS, 2)
      await world.sleep(6000)
      const { host, port } = node(3).server
      const primaries = (await pool.nodes()).filter(({ role }) => role === 'primary')
      assert.ok(
        primaries.some(each => each.node === `${host}:${port}`),
        JSON.stringify(primaries),
      )
    })
  })

  test('one that stops is still noticed, and its replica asked', async () => {
    await play({}, async ({ answer, cut, node, world }) => {
      answer(1, refusal())
      cut()
      await world.sleep(1000)
      node(1).server.freeze()
      await world.sleep(7000)
      assert.ok((node(4).asked.get('ROLE') ?? 0) > 10, `${node(4).asked.get('ROLE')} questions`)
      node(1).server.thaw()
    })
  })

  for (const isLent of [false, true])
    test(`they are asked again ${isLent ? 'at once, where a loan was connected' : 'within 5 s'}, once they accept`, async () => {
      await play({}, async ({ answer, cut, pool, logins, world, node }) => {
        answer(1, refusal())
        cut()
        await world.sleep(12_000)
        const before = logins(1)
        for (let millis = 0; logins(1) === before && millis < 6000; millis += 10) await world.sleep(10)
        // It was refused just now.
        answer(1, undefined)
        const pings = node(1).asked.get('PING') ?? 0
        if (isLent) {
          const [a, b] = await Promise.all([pool.acquire({ key: 'b' }), pool.acquire({ key: 'b' })])
          for (const redis of [a, b]) await pool.destroy(redis)
        }
        await world.sleep(isLent ? 1600 : 6000)
        assert.ok((node(1).asked.get('PING') ?? 0) > pings)
        assert.ok(logins(1) > before + (isLent ? 3 : 1), `${logins(1) - before} logins`)
      })
    })
})
