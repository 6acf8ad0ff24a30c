import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { keySlot, keysOf, mayWrite } from '../../../../src/adapters/ioredis/cluster/keys.ts'
import { NodeWaits } from '../../../../src/adapters/ioredis/cluster/node-waits.ts'
import { redirectOf } from '../../../../src/adapters/ioredis/cluster/redirect.ts'
import { Router } from '../../../../src/adapters/ioredis/cluster/router.ts'
import { SlotMap } from '../../../../src/adapters/ioredis/cluster/slot-map.ts'
import { readView, translator, type View } from '../../../../src/adapters/ioredis/cluster/view.ts'
import { Chance } from '../../../support/random.ts'

const host = '10.0.0.1'
const at = (port: number) => ({ host, port })

/** What a node says: from which slot on each port is the primary. */
function view(by: number, epoch: number, owners: Readonly<Record<number, number>>): View {
  const starts = Object.keys(owners).map(Number)
  const slots = starts.map((first, index) => [
    first,
    (starts[index + 1] ?? 16_384) - 1,
    [host, owners[first], `id-${owners[first]}`],
  ])
  const info = `cluster_current_epoch:${epoch}\r\n`
  return readView({ slots, info, id: `id-${by}` }, at(by), address => address)
}

const ownerIn = (map: SlotMap, slot: number): number | undefined => map.shardOf(slot)?.primary.address.port

describe('which topology is believed', () => {
  const known = (): SlotMap => {
    const map = new SlotMap()
    assert.ok(map.learn([view(1, 5, { 0: 1, 8000: 2 }), view(2, 5, { 0: 1, 8000: 2 })], false))
    return map
  }

  test('a node that lies alone changes nothing, however high its epoch', () => {
    const map = known()
    map.learn([view(3, 99, { 0: 3 }), view(1, 5, { 0: 1, 8000: 2 }), view(2, 5, { 0: 1, 8000: 2 })], false)
    assert.deepEqual([ownerIn(map, 0), ownerIn(map, 9000)], [1, 2])
  })

  test('one against one changes nothing', () => {
    const map = known()
    map.learn([view(3, 99, { 0: 3 }), view(1, 5, { 0: 1, 8000: 2 })], false)
    assert.deepEqual([ownerIn(map, 0), ownerIn(map, 9000)], [1, 2])
  })

  test('two that agree are believed against a third, slot by slot', () => {
    const map = known()
    map.learn(
      [view(1, 5, { 0: 1, 8000: 2 }), view(3, 6, { 0: 3, 8000: 2 }), view(2, 6, { 0: 3, 8000: 2 })],
      false,
    )
    assert.deepEqual([ownerIn(map, 0), ownerIn(map, 9000)], [3, 2])
    assert.equal(map.changes, 16_384 + 8000)
  })

  test('a single answer is believed only if nobody else can be asked, and it is not behind', () => {
    const map = known()
    assert.equal(map.learn([view(3, 6, { 0: 3 })], false), false)
    assert.equal(map.learn([view(3, 4, { 0: 3 })], true), false)
    assert.deepEqual([ownerIn(map, 0), ownerIn(map, 9000)], [1, 2])
    assert.equal(map.learn([view(3, 6, { 0: 3 })], true), true)
    assert.equal(ownerIn(map, 0), 3)
  })

  test('no answer at all changes nothing', () => {
    const map = known()
    assert.equal(map.learn([], true), false)
    assert.equal(ownerIn(map, 0), 1)
  })

  test('of two first answers that differ, the later epoch is right', () => {
    const map = new SlotMap()
    map.learn([view(1, 5, { 0: 1 }), view(2, 6, { 0: 2 })], false)
    assert.equal(ownerIn(map, 0), 2)
  })

  test('a MOVED counts at once for its slot, against nodes that have not heard of it', () => {
    const map = known()
    map.moved(7, at(2))
    assert.deepEqual([ownerIn(map, 7), ownerIn(map, 8)], [2, 1])
    map.learn([view(3, 5, { 0: 1, 8000: 2 }), view(4, 5, { 0: 1, 8000: 2 })], false)
    assert.equal(ownerIn(map, 7), 2)
  })

  test('a MOVED that its new owner has confirmed still counts against nodes that have not heard of it', () => {
    const map = known()
    map.moved(7, at(2))
    const stale = [view(3, 5, { 0: 1, 8000: 2 }), view(4, 5, { 0: 1, 8000: 2 })]
    map.learn([view(2, 6, { 0: 1, 7: 2, 8: 1, 8000: 2 }), ...stale], false)
    assert.deepEqual([ownerIn(map, 7), ownerIn(map, 8)], [2, 1])
    map.learn(stale, false)
    assert.equal(ownerIn(map, 7), 2)
  })

  test('an epoch that only a liar knows of does not make the answer of a single node too old', () => {
    const map = known()
    map.learn([view(3, 99, { 0: 3 }), view(1, 5, { 0: 1, 8000: 2 }), view(2, 5, { 0: 1, 8000: 2 })], false)
    assert.equal(map.epoch, 5)
    assert.ok(map.learn([view(2, 6, { 0: 2 })], true))
    assert.equal(ownerIn(map, 0), 2)
  })

  test('answers are compared by ranges of slots: slot by slot would block the event loop for 50 ms', () => {
    const map = known()
    map.moved(12, at(2))
    let reads = 0
    const counted = (by: number): View => {
      const seen = view(by, 6, { 0: 1, 12: 2, 13: 1, 8000: 2, 9000: 3 })
      const shards = new Proxy(seen.shards as View['shards'][number][], {
        get: (target, slot) => {
          reads += 1
          return Reflect.get(target, slot)
        },
      })
      return { ...seen, shards }
    }
    map.learn([counted(1), counted(2), counted(3)], false)
    assert.deepEqual(
      [0, 11, 12, 13, 8999, 9000].map(slot => ownerIn(map, slot)),
      [1, 1, 2, 1, 2, 3],
    )
    assert.ok(reads < 1000, `${reads} reads`)
  })

  test('what is learnt by ranges is what is learnt slot by slot', () => {
    const chance = new Chance(7)
    const owners = (): Record<number, number> => {
      const found: Record<number, number> = { 0: 1 + chance.below(3) }
      for (let count = 0; count < 6; count += 1) found[chance.below(40)] = 1 + chance.below(3)
      return found
    }
    for (let round = 0; round < 60; round += 1) {
      const map = new SlotMap()
      const agreed = owners()
      map.learn([view(1, 1, agreed), view(2, 1, agreed)], false)
      for (let step = 0; step < 3; step += 1) {
        const before = Array.from({ length: 41 }, (_, slot) => ownerIn(map, slot))
        const { changes } = map
        const views = [view(4, 2, owners()), view(5, 2, owners()), view(6, 2, owners())]
        map.learn(views, false)
        for (let slot = 0; slot < 41; slot += 1) {
          const said = views.map(({ shards }) => shards[slot]?.primary.address.port)
          const most = said.find((port, index) => said.indexOf(port) !== index) ?? before[slot]
          assert.equal(ownerIn(map, slot), most, `round ${round}, slot ${slot}: ${said}`)
        }
        const after = Array.from({ length: 16_384 }, (_, slot) => ownerIn(map, slot))
        const moved = after.filter((port, slot) => port !== before[Math.min(slot, 40)]).length
        assert.equal(map.changes - changes, moved)
        const counts = [...map.shards.values()].reduce((sum, { slots }) => sum + slots, 0)
        assert.equal(counts, 16_384)
      }
    }
  })

  test('a MOVED to a node that says itself that the slot is not its own does not count', () => {
    const map = known()
    map.moved(7, at(2))
    map.learn([view(1, 5, { 0: 1, 8000: 2 }), view(2, 5, { 0: 1, 8000: 2 })], false)
    assert.equal(ownerIn(map, 7), 1)
  })

  test('a MOVED to a node that nobody knew leads there', () => {
    const map = known()
    map.moved(7, at(9))
    assert.equal(ownerIn(map, 7), 9)
    assert.ok(map.nodes.has(`${host}:9`))
  })

  test('a node keeps its slots when its address changes', () => {
    const map = known()
    const { changes } = map
    const renamed = (by: number): View =>
      readView(
        {
          slots: [
            [0, 7999, ['elsewhere', 1, 'id-1']],
            [8000, 16_383, [host, 2, 'id-2']],
          ],
        },
        at(by),
        address => address,
      )
    map.learn([renamed(1), renamed(2)], false)
    assert.equal(map.changes, changes)
    assert.equal(map.shardOf(0)?.primary.address.host, 'elsewhere')
  })
})

test('a node to which one slot has moved is asked for no other slot as the replica that it was', async () => {
  const says = (by: number): View =>
    readView(
      { slots: [[0, 16_383, [host, 1, 'id-1'], [host, 2, 'id-2'], [host, 3, 'id-3']]], id: `id-${by}` },
      at(by),
      address => address,
    )
  const map = new SlotMap()
  map.learn([says(1), says(2)], false)
  map.moved(7, at(2))
  assert.deepEqual(
    [1, 2, 3, 9].map(port => map.roleOf(at(port))),
    ['primary', 'primary', 'replica', undefined],
  )
  const asked: string[] = []
  const of = (address: { port: number }, role: string) => {
    asked.push(`${role} ${address.port}`)
    return { address, role, pool: {}, waits: new NodeWaits() }
  }
  const router = new Router({
    ...{ name: 'orders', acquireTimeoutMillis: 1000, credentials: undefined, isClosed: false },
    pools: { of } as never,
    topology: { map, watch: () => {} } as never,
    stats: () => ({}) as never,
  })
  const target = { slot: 8, key: undefined, node: undefined, role: 'replica' } as const
  assert.equal(await router.lend(target, {}, async ({ address }) => address.port), 3)
  assert.deepEqual(asked, ['replica 3'])
})

describe('what a node says is read', () => {
  const only = (endpoint: unknown, translate = translator(undefined)) =>
    readView({ slots: [[0, 16_383, [endpoint, 7000, 'id']]] }, at(1), translate).shards[0]?.primary.address

  test('a node without an endpoint has the host that was asked', () => {
    for (const none of [null, '', '?']) assert.deepEqual(only(none), { host, port: 7000 })
  })

  test('host names and mapped addresses', () => {
    assert.deepEqual(only('node-1.example'), { host: 'node-1.example', port: 7000 })
    const to = { host: 'outside', port: 30_001 }
    assert.deepEqual(only('10.1.1.1', translator({ '10.1.1.1:7000': to })), to)
    assert.deepEqual(
      only(
        '10.1.1.1',
        translator(address => (address === '10.1.1.1:7000' ? to : null)),
      ),
      to,
    )
    assert.deepEqual(only('10.1.1.2', translator({ '10.1.1.1:7000': to })), { host: '10.1.1.2', port: 7000 })
  })

  test('a primary with port 0 is no owner, and none of its replicas is one in its place', () => {
    const says = (primaryPort: number): View =>
      readView(
        {
          slots: [
            [0, 99, [host, primaryPort, 'id-1'], [host, 4, 'id-4']],
            [100, 16_383, [host, 2, 'id-2'], [host, 0, 'id-5'], [host, 6, 'id-6']],
          ],
        },
        at(2),
        address => address,
      )
    const { shards } = says(0)
    assert.equal(shards[0], undefined)
    assert.deepEqual(
      shards[100]?.replicas.map(({ address }) => address.port),
      [6],
    )
    const map = new SlotMap()
    map.learn([says(1)], true)
    map.learn([says(0), { ...says(0), id: 'id-2', by: `${host}:2` }], false)
    assert.equal(ownerIn(map, 0), 1, 'the known owner stays')
  })

  test('what is no answer is refused', () => {
    for (const reply of ['x', [[1]], [[0, 20_000, [host, 1, 'a']]], [[0, 10]], [[0, 10, [host, 'x', 'a']]]])
      assert.throws(() => readView({ slots: reply }, at(1), address => address), /CLUSTER SLOTS/)
  })

  test('redirections, with IPv6, host names and no host at all', () => {
    const to = (message: string) => redirectOf(message, 'asked', address => address)?.to
    assert.deepEqual(to('MOVED 3999 127.0.0.1:6381'), { host: '127.0.0.1', port: 6381 })
    assert.deepEqual(to('ASK 3999 ::1:6381'), { host: '::1', port: 6381 })
    assert.deepEqual(to('MOVED 3999 node.example:6381'), { host: 'node.example', port: 6381 })
    assert.deepEqual(to('MOVED 3999 :6381'), { host: 'asked', port: 6381 })
    assert.deepEqual(to('MOVED 3999 ?:6381'), { host: 'asked', port: 6381 })
    assert.equal(
      redirectOf('TRYAGAIN Multiple keys request during rehashing of slot', 'x', address => address)?.kind,
      'TRYAGAIN',
    )
    assert.equal(
      redirectOf('ERR MOVED', 'x', address => address),
      undefined,
    )
  })
})

describe('the slot of a key', () => {
  test('as the specification says, also where ioredis does not', () => {
    assert.equal(keySlot('123456789'), 0x31c3)
    assert.equal(keySlot('foo'), 12_182)
    assert.equal(keySlot('{user1000}.following'), keySlot('user1000'))
    assert.equal(keySlot('foo{{bar}}zap'), keySlot('{bar'))
    assert.equal(keySlot('foo{bar}{zap}'), keySlot('bar'))
    assert.notEqual(keySlot('foo{}{bar}'), keySlot('bar'))
    assert.equal(keySlot('foo{}{bar}'), 8363)
    assert.equal(keySlot('ключ'), keySlot(Buffer.from('ключ')))
    assert.equal(keySlot(''), 0)
  })

  test('unknown commands have no keys here, and may write', () => {
    const command = {
      name: 'json.set',
      args: ['a'],
      resolve() {},
      reject() {},
      promise: Promise.resolve(),
    } as never
    assert.deepEqual(keysOf(command), [])
    assert.ok(mayWrite(command))
  })
})
