// However a command ends, the inspector that it opened in a process is closed again, and no other process is harmed.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { Inspector } from '../../src/cli/inspect/inspector.ts'
import { inspectorsAt, listensAt } from '../../src/cli/inspect/places.ts'
import { ProcFiles } from '../../src/cli/proc/proc-files.ts'
import { ChildOutput } from '../support/child-output.ts'
import { countSockets } from '../support/fds.ts'
import { guardChild } from '../support/orphan-guard.ts'
import { isAlive, until } from '../support/processes.ts'
import { ask, CHILD, COMMAND, doctor, POOLS_CHILD, run, Started } from './support.ts'

const skip = process.platform === 'linux' ? false : 'finds the inspector in /proc'

const folder = mkdtempSync(join(tmpdir(), 'lifeguard-inspector-'))
after(() => rmSync(folder, { recursive: true, force: true }))

/** A process with pools that serves nothing: it listens only while its inspector is open. */
async function withPools(use: (pid: number) => Promise<void>): Promise<void> {
  const target = new Started(process.execPath, ['--inspect-port=0', POOLS_CHILD, 'no socket'], 'ignore')
  try {
    await target.word
    await use(target.pid)
    assert.ok(isAlive(target.pid))
  } finally {
    await target.kill()
  }
}

const isOpen = (pid: number): boolean => countSockets(pid)?.tcp.LISTEN === 1
const opened = (pid: number) => until(() => isOpen(pid), 'its inspector is open')

function command(...args: readonly string[]) {
  const child = spawn(process.execPath, [COMMAND, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  guardChild(child)
  return { child, output: new ChildOutput(child) }
}

describe('the inspector is closed again', { skip, concurrency: 3 }, () => {
  for (const [signal, code, args] of [
    ['SIGINT', 130, ['timeline', '--record', '60']],
    ['SIGTERM', 143, ['doctor', '--seconds', '1']],
    ['SIGHUP', 129, ['timeline', '--record', '60', '--json']],
  ] as const)
    test(`after ${signal} to ${args[0]}, by which it ends`, () =>
      withPools(async pid => {
        const [name, ...more] = args
        const { child, output } = command(name, String(pid), '--inspect', ...more)
        await opened(pid)
        child.kill(signal)
        assert.equal(await output.ended, code, output.stderr)
        assert.equal(output.stderr, '')
        assert.ok(!isOpen(pid))
      }))

  test('by the last of several commands, and none cuts off the others', () =>
    withPools(async pid => {
      const long = command('timeline', String(pid), '--inspect', '--record', '3', '--json')
      await opened(pid)
      const short = await run('timeline', String(pid), '--inspect', '--record', '0.2', '--json')
      assert.equal(short.code, 0, short.stderr)
      assert.ok(isOpen(pid))
      assert.equal(await long.output.ended, 0, long.output.stderr)
      for (const text of [short.stdout, long.output.stdout])
        assert.equal((JSON.parse(text) as { pools: unknown[] }).pools.length, 3)
      assert.ok(!isOpen(pid))
    }))

  test('by the next command, or by --close-inspector, where the one that opened it was killed', () =>
    withPools(async pid => {
      const kill = async (): Promise<void> => {
        const { child, output } = command('timeline', String(pid), '--inspect', '--record', '60', '--json')
        await opened(pid)
        await joined(pid)
        child.kill('SIGKILL')
        await output.ended
        assert.ok(isOpen(pid))
      }
      await kill()
      const next = await run('top', String(pid), '--inspect', '--once')
      assert.equal(next.code, 0, next.stderr)
      assert.ok(!isOpen(pid))
      await kill()
      const closed = await run('doctor', String(pid), '--close-inspector')
      assert.match(closed.stdout, /^the inspector at 127\.0\.0\.1:\d+ is closed/)
      assert.ok(!isOpen(pid))
      assert.match((await run('doctor', String(pid), '--close-inspector')).stdout, /is not open/)
    }))
})

/** Waits until a command has written itself into the process, as those do that will close the inspector. */
async function joined(pid: number): Promise<void> {
  const place = await inspectorOf(pid)
  const inspector = await Inspector.connect(place)
  const users = `globalThis[Symbol.for('lifeguard-pool:inspector')]?.size`
  while ((await inspector.evaluate(users)) !== 1) await pause(5)
  inspector.disconnect()
}

async function inspectorOf(pid: number) {
  const [place] = await inspectorsAt(listensAt(new ProcFiles(), pid))
  assert.ok(place !== undefined, `${pid} has an inspector`)
  return place
}

test('another process that answers at a port of the target is not asked, and keeps its inspector', {
  skip,
}, async () => {
  const other = new Started(process.execPath, ['--inspect=0', POOLS_CHILD, 'no socket'], 'ignore')
  try {
    await other.word
    const { port } = await inspectorOf(other.pid)
    const target = new Started(
      process.execPath,
      ['--inspect-port=0', CHILD, 'forward', String(port)],
      'ignore',
    )
    try {
      await target.word
      const said = await run('timeline', String(target.pid), '--inspect', '--record', '0.1', '--json')
      assert.equal(said.code, 0, said.stderr)
      // The other one has three.
      assert.deepEqual((JSON.parse(said.stdout) as { pools: unknown[] }).pools, [])
      assert.equal(countSockets(target.pid)?.tcp.LISTEN, 1)
      assert.ok(isOpen(other.pid))
    } finally {
      await target.kill()
    }
  } finally {
    await other.kill()
  }
})

describe('no signal is sent', { skip, concurrency: 2 }, () => {
  test('to a program that is called node, and is none', async () => {
    const program = join(folder, 'node')
    copyFileSync('/bin/sleep', program)
    const sleeping = new Started('/bin/sh', ['-c', `echo ready; exec ${program} 60`])
    try {
      await sleeping.word
      for (const args of [['doctor', '--seconds', '0.5'], ['timeline'], ['top', '--once']] as const) {
        const [name, ...more] = args
        const said = await run(name, String(sleeping.pid), '--inspect', ...more)
        assert.equal(said.code, 2)
        assert.match(`${said.stdout}${said.stderr}`, /is no process of Node, and SIGUSR1 would end it/)
      }
      assert.ok(isAlive(sleeping.pid))
    } finally {
      await sleeping.kill()
    }
  })

  test('to a process that is blocked in the kernel, whose inspector would open when nobody waits for it any more', async () => {
    const sick = new Started(process.execPath, ['--inspect-port=0', CHILD, 'execSync'], 'ignore')
    try {
      ask(Number(await sick.word))
      await until(() => countSockets(sick.pid)?.tcp.ESTABLISHED === 1, 'the request is accepted')
      for (const args of [['timeline'], ['top', '--once']] as const) {
        const [name, ...more] = args
        const said = await run(name, String(sick.pid), '--inspect', ...more)
        assert.equal(said.code, 2)
        assert.match(said.stderr, /blocked in the kernel and cannot answer; its inspector was not opened/)
      }
    } finally {
      await sick.kill()
    }
  })

  test('to a process whose inspector could not open, since another one listens there', async () => {
    const other = new Started(process.execPath, ['--inspect=0', CHILD, ''], 'ignore')
    try {
      await other.word
      const { port } = await inspectorOf(other.pid)
      const target = new Started(
        process.execPath,
        [`--inspect-port=${port}`, POOLS_CHILD, 'no socket'],
        'ignore',
      )
      try {
        await target.word
        const { unseen } = await doctor(target.pid, '--inspect', '--seconds', '0.5')
        assert.match(
          unseen.join('\n'),
          new RegExp(`would open at port ${port}, where .*\\(pid ${other.pid}\\) listens`),
        )
        assert.ok(!isOpen(target.pid))
      } finally {
        await target.kill()
      }
    } finally {
      await other.kill()
    }
  })
})
