import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { doctor as command } from '../../src/cli/doctor/command.ts'
import { countSockets } from '../support/fds.ts'
import { cpuMillis } from '../support/proc.ts'
import { until } from '../support/processes.ts'
import { startRedis } from '../support/redis-server.ts'
import { ask, CHILD, doctor, POOLS_CHILD, patternsOf, run, SECONDS, Started, skip } from './support.ts'

describe('the command', () => {
  test('tells how it is used, and refuses what it does not know', async () => {
    const help = await run('--help')
    assert.equal(help.code, 0)
    assert.match(help.stdout, /doctor <pid>/)
    assert.match((await run('doctor', '--help')).stdout, /--seconds N/)
    for (const args of [[], ['toString'], ['doctor', 'node']]) {
      const said = await run(...args)
      assert.equal(said.code, 2, args.join(' '))
      assert.equal(said.stdout, '')
      assert.match(said.stderr, /lifeguard-pool/)
    }
    for (const args of [
      [],
      ['1', '2'],
      ['0'],
      ['-1'],
      ['1', '--seconds', '0'],
      ['1', '--seconds', 'soon'],
      ['1', '--quick'],
    ])
      await assert.rejects(command(args), Error, args.join(' '))
  })

  test('a process that is not there, or that ends meanwhile, is said to be so', { skip }, async () => {
    const short = new Started('/bin/sh', ['-c', 'echo ready; sleep 0.1'])
    await once(short.child, 'exit')
    const said = await run('doctor', String(short.pid))
    assert.equal(said.code, 2)
    assert.match(said.stderr, new RegExp(`no process ${short.pid}`))
  })

  test('says what is wrong as text, with the exit code 1, and why nothing is, with 0', { skip }, async () => {
    const sleeping = new Started('/bin/sh', ['-c', 'echo ready; exec sleep 60'])
    try {
      await sleeping.word
      const well = await run('doctor', String(sleeping.pid), ...SECONDS)
      assert.equal(well.code, 0, well.stderr)
      assert.match(well.stdout, /VERDICT: none of the known outages, because\n {2}- no socket in CLOSE_WAIT/)
      sleeping.child.kill('SIGSTOP')
      const ill = await run('doctor', String(sleeping.pid), ...SECONDS)
      assert.equal(ill.code, 1, ill.stderr)
      assert.match(ill.stdout, new RegExp(`VERDICT: a stopped process[\\s\\S]*kill -CONT ${sleeping.pid}`))
    } finally {
      await sleeping.kill()
    }
  })
})

test('a diagnostics server that wants a token gets it, and without it the pools count as not seen', {
  skip,
}, async () => {
  const service = new Started(process.execPath, [POOLS_CHILD, 'token', 'secret'])
  try {
    await service.word
    const refused = await doctor(service.pid, '--seconds', '0.5')
    assert.match(refused.unseen.join('\n'), /wants its token: --token, or LIFEGUARD_POOL_TOKEN/)
    assert.deepEqual(refused.pools, [])
    const said = await doctor(service.pid, '--seconds', '0.5', '--token', 'secret')
    assert.equal(said.pools.length, 3, said.unseen.join('\n'))
  } finally {
    await service.kill()
  }
})

describe('the doctor names', { skip, concurrency: 2 }, () => {
  test('an event loop that is blocked by its own code', async () => {
    const sick = new Started(process.execPath, [CHILD, 'its own code'])
    try {
      const port = Number(await sick.word)
      ask(port)
      const before = cpuMillis(sick.pid) ?? 0
      await until(() => (cpuMillis(sick.pid) ?? 0) > before + 100, 'it computes')
      ask(port, 5)
      const said = await doctor(sick.pid, ...SECONDS)
      assert.deepEqual(patternsOf(said), ['blocked-loop'])
      assert.match(
        said.findings[0]?.evidence.join('\n') ?? '',
        /5 connections .*wait to be accepted[\s\S]*in its own code/,
      )
    } finally {
      await sick.kill()
    }
  })

  test('a child that the event loop waits for', async () => {
    const sick = new Started(process.execPath, [CHILD, 'execSync'])
    try {
      const port = Number(await sick.word)
      ask(port)
      await until(() => countSockets(sick.pid)?.tcp.ESTABLISHED === 1, 'the request is accepted')
      ask(port, 5)
      const said = await doctor(sick.pid, ...SECONDS)
      assert.deepEqual(patternsOf(said), ['blocked-loop'])
      assert.match(
        said.findings[0]?.evidence.join('\n') ?? '',
        /as execSync and spawnSync do; its children: (?:sh|sleep) /,
      )
    } finally {
      await sick.kill()
    }
  })

  test('a server that is stopped', async () => {
    const server = await startRedis()
    const sick = new Started(process.execPath, [CHILD, 'silent server', server.url])
    try {
      ask(Number(await sick.word))
      await until(() => countSockets(sick.pid)?.tcp.ESTABLISHED === 1, 'it is connected')
      server.child.kill('SIGSTOP')
      const said = await doctor(sick.pid, ...SECONDS)
      assert.deepEqual(patternsOf(said), ['silent-peer'])
      assert.match(
        said.findings[0]?.evidence.join('\n') ?? '',
        new RegExp(`\\(pid ${server.pid}, stopped\\)`),
      )
    } finally {
      server.child.kill('SIGCONT')
      await sick.kill()
      await server.stop()
    }
  })

  test('descriptors that come to their limit', async () => {
    const sick = new Started('/bin/sh', [
      '-c',
      'ulimit -n 64; exec "$0" "$@"',
      process.execPath,
      CHILD,
      'descriptors',
    ])
    try {
      ask(Number(await sick.word))
      await until(() => (countSockets(sick.pid)?.fds ?? 0) > 58, 'most are in use')
      const said = await doctor(sick.pid, ...SECONDS)
      assert.deepEqual(patternsOf(said), ['descriptors'])
      assert.match(said.findings[0]?.title ?? '', /of 64 descriptors are in use/)
    } finally {
      await sick.kill()
    }
  })
})
