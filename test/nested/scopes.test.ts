/* Which leases an async context knows of, under `nested: 'forbid'` and `'reuse'`, with records for connections. */

import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { test } from 'node:test'
import { ContextTracker, Scope } from '../../src/nested/context.ts'
import type { Connection, PoolNode, UseFrame, Work } from '../../src/nested/host.ts'

const poolNamed = (name: string): PoolNode => ({ name }) as unknown as PoolNode

type Lent = { -readonly [K in keyof Connection]: Connection[K] }

let connections = 0

/** A connection that is lent, and the frame that `use` runs under, which runs the function at once. */
function lent(): { connection: Lent; frame: UseFrame } {
  connections += 1
  const connection = {
    id: connections,
    state: 'lent',
    loan: 1,
    resource: {},
    frame: undefined,
  } as unknown as Lent
  const frame = {
    run: async <R>(work: Work<R>, on: Connection | undefined) => work(on as never),
  } as unknown as UseFrame
  return { connection, frame }
}

/** Runs in a context of its own: `plain` changes the context of its caller. */
const apart = <R>(run: () => Promise<R>): Promise<R> =>
  new AsyncLocalStorage().run(undefined, async () => run())

const pool = poolNamed('one')

test('a scope holds its lease while that loan lasts, and none before the connection is handed over', () => {
  const scope = new Scope(pool, undefined, true)
  assert.equal(scope.lease, undefined)
  const { connection } = lent()
  scope.start(connection)
  assert.deepEqual(scope.lease, { connection, pool, loan: 1, isPlain: true })
  connection.loan = 2
  assert.equal(scope.lease, undefined)
  connection.loan = 1
  connection.state = 'idle'
  assert.equal(scope.lease, undefined)
})

test('a context knows the leases around it, from the innermost outwards, each once and as long as it lasts', async () => {
  const tracker = new ContextTracker(pool)
  const [outer, inner] = [lent(), lent()]
  const ids = () => tracker.leases.map(({ connection }) => (connection as unknown as { id: number }).id)
  const [first, second] = [outer.connection, inner.connection].map(
    each => (each as unknown as { id: number }).id,
  )
  assert.deepEqual(ids(), [])
  await tracker.run(
    outer.frame,
    run(async () => {
      assert.deepEqual(ids(), [first])
      await tracker.run(
        inner.frame,
        run(async () => {
          assert.deepEqual(ids(), [second, first])
          await tracker.run(
            outer.frame,
            run(async () => assert.deepEqual(ids(), [first, second])),
            outer.connection,
            false,
          )
          inner.connection.state = 'idle'
          assert.deepEqual(ids(), [first], 'the inner one has come back')
          inner.connection.state = 'lent'
          outer.connection.state = 'idle'
          assert.deepEqual(ids(), [second], 'the outer one has come back')
          outer.connection.state = 'lent'
        }),
        inner.connection,
        false,
      )
      await tracker.run(
        inner.frame,
        run(async () => assert.deepEqual(ids(), [second])),
        inner.connection,
        true,
      )
    }),
    outer.connection,
    false,
  )
  assert.deepEqual(ids(), [])
})

test('a plain lease is known to the caller from the hand-over on, and what was held around it as well', async () => {
  const tracker = new ContextTracker(pool)
  const [outer, plain] = [lent(), lent()]
  await tracker.run(
    outer.frame,
    run(() =>
      apart(async () => {
        const scope = tracker.plain(false)
        assert.deepEqual([scope.isPlain, scope.pool, scope.outer?.connection], [true, pool, outer.connection])
        scope.start(plain.connection)
        assert.deepEqual(
          tracker.leases.map(({ isPlain }) => isPlain),
          [true, false],
        )
      }),
    ),
    outer.connection,
    false,
  )
  await apart(async () => {
    tracker.plain(false).start(outer.connection)
    const inner = tracker.plain(false)
    assert.equal(inner.outer?.connection, outer.connection)
    assert.equal(tracker.plain(true).outer, undefined, 'a detached one holds nothing around it')
  })
})

test('a nested use shares the connection of the use around it, one at a time, and afterwards again', async () => {
  const tracker = new ContextTracker(pool)
  const { connection, frame } = lent()
  connection.frame = frame
  assert.equal(tracker.share(run(async () => {})), undefined, 'nothing is held')
  await tracker.run(
    frame,
    run(async () => {
      for (const outcome of ['returns', 'throws'] as const) {
        let inside: Connection | undefined
        const shared = tracker.share(
          run(async on => {
            inside = on
            assert.equal(
              tracker.share(run(async () => {})) === undefined,
              false,
              'the nested one may be shared in turn',
            )
            if (outcome === 'throws') throw new Error('inside')
          }),
        )
        assert.equal(tracker.share(run(async () => {})), undefined, 'it is in use')
        assert.equal(
          await shared?.then(
            () => 'returns',
            () => 'throws',
          ),
          outcome,
        )
        assert.equal(inside, connection)
      }
      connection.frame = undefined
      assert.equal(tracker.share(run(async () => {})), undefined, 'it is not that of a use')
      connection.frame = frame
      connection.state = 'idle'
      assert.equal(tracker.share(run(async () => {})), undefined, 'its loan has ended')
      connection.state = 'lent'
    }),
    connection,
    false,
  )
})

test('neither the connection of another pool nor a plain lease is shared, but one further out', async () => {
  const [tracker, other] = [new ContextTracker(pool), new ContextTracker(poolNamed('two'))]
  const [own, foreign, plain] = [lent(), lent(), lent()]
  for (const each of [own, foreign, plain]) each.connection.frame = each.frame
  const shared = async (): Promise<Connection | undefined> => tracker.share(run(async on => on))
  await other.run(
    foreign.frame,
    run(async () => {
      assert.equal(await shared(), undefined)
      await tracker.run(
        own.frame,
        run(async () => {
          await other.run(
            foreign.frame,
            run(async () => assert.equal(await shared(), own.connection)),
            foreign.connection,
            false,
          )
          tracker.plain(false).start(plain.connection)
          assert.equal(await shared(), own.connection)
        }),
        own.connection,
        false,
      )
    }),
    foreign.connection,
    false,
  )
})

test('a tracker knows the leases of other pools that track contexts', async () => {
  const [tracker, other] = [new ContextTracker(pool), new ContextTracker(poolNamed('two'))]
  const own = lent()
  const look = run(async () => assert.equal(other.leases[0]?.connection, own.connection))
  await tracker.run(own.frame, look, own.connection, false)
})

test('an inner loan that has ended does not hide the outer one, and an outer one that has ended is not shared', async () => {
  const [tracker, other] = [new ContextTracker(pool), new ContextTracker(poolNamed('two'))]
  const [outer, inner] = [lent(), lent()]
  for (const each of [outer, inner]) each.connection.frame = each.frame
  const share = () => tracker.share(run(async on => on))
  const within = run(async () => {
    inner.connection.state = 'idle'
    assert.equal(await share(), outer.connection)
    inner.connection.state = 'lent'
    outer.connection.state = 'idle'
  })
  await tracker.run(
    outer.frame,
    run(() => tracker.run(inner.frame, within, inner.connection, false)),
    outer.connection,
    false,
  )
  outer.connection.state = 'lent'
  const beneath = run(async () => {
    outer.connection.state = 'idle'
    assert.equal(share(), undefined)
  })
  await tracker.run(
    outer.frame,
    run(() => other.run(inner.frame, beneath, inner.connection, false)),
    outer.connection,
    false,
  )
})

function run<R>(work: (on: Connection) => Promise<R>): Work<R> {
  return work as never
}
