import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { countSockets } from '../support/fds.ts'
import { cpuMillis } from '../support/proc.ts'
import { isAlive, until } from '../support/processes.ts'
import { startRedis } from '../support/redis-server.ts'
import { ask, CHILD, doctor, HEALTHY_CHILD, patternsOf, SECONDS, Started, skip } from './support.ts'

const redis = skip === false ? await startRedis() : undefined
after(() => redis?.stop())

describe('--inspect', { skip, concurrency: 2 }, () => {
  test('does no harm to a program that is not of Node, which SIGUSR1 would end', async () => {
    const sleeping = new Started('/bin/sh', ['-c', 'echo ready; exec sleep 60'])
    try {
      await sleeping.word
      const said = await doctor(sleeping.pid, '--inspect', ...SECONDS)
      assert.deepEqual(said.findings, [])
      assert.match(said.unseen.join('\n'), /is no process of Node, and SIGUSR1 would end it/)
      assert.ok(isAlive(sleeping.pid))
    } finally {
      await sleeping.kill()
    }
  })

  test('leaves an inspector open that was open before', async () => {
    const idle = new Started(process.execPath, ['--inspect=0', CHILD, ''], 'ignore')
    try {
      await idle.word
      const said = await doctor(idle.pid, '--inspect', ...SECONDS)
      assert.deepEqual(said.findings, [])
      assert.equal(countSockets(idle.pid)?.tcp.LISTEN, 2)
    } finally {
      await idle.kill()
    }
  })

  for (const [kind, name] of [
    ['pool at work', /^pool '.*' is open/],
    ['generic-pool at work', /^generic-pool: \d of 8/],
    ['tarn at work', /^tarn: \d of 4/],
  ] as const) {
    test(`raises no alarm for pools that are well: ${kind}`, async () => {
      const well = new Started(
        process.execPath,
        ['--inspect-port=0', HEALTHY_CHILD, kind, redis?.url ?? ''],
        'ignore',
      )
      try {
        await well.word
        const said = await doctor(well.pid, '--inspect', ...SECONDS)
        assert.deepEqual(said.findings, [])
        const pools = said.pools.filter(pool => !pool.startsWith('ioredis'))
        assert.equal(pools.length, 1, [...said.pools, ...said.unseen].join('\n'))
        assert.match(pools[0] ?? '', name)
      } finally {
        await well.kill()
      }
    })
  }

  test('the stack of what blocks the event loop, by the inspector, which is closed again', async () => {
    const sick = new Started(process.execPath, ['--inspect-port=0', CHILD, 'its own code'], 'ignore')
    try {
      const port = Number(await sick.word)
      ask(port)
      const before = cpuMillis(sick.pid) ?? 0
      await until(() => (cpuMillis(sick.pid) ?? 0) > before + 100, 'it computes')
      ask(port, 5)
      const said = await doctor(sick.pid, '--inspect', ...SECONDS)
      assert.deepEqual(patternsOf(said), ['blocked-loop'])
      const evidence = said.findings[0]?.evidence.join('\n') ?? ''
      assert.match(evidence, /it runs here:\nat its own code \(.*sick-child\.js:\d+:\d+\)/)
      assert.equal(countSockets(sick.pid)?.tcp.LISTEN, 1)
    } finally {
      await sick.kill()
    }
  })
})
