// What the doctor may not see, or cannot reach, is said, and is no sign of health.
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { ProcFiles } from '../../src/cli/proc/proc-files.ts'
import { targetOf } from '../../src/cli/proc/target.ts'
import { countSockets } from '../support/fds.ts'
import { packageRoot } from '../support/package-root.ts'
import { doctor, Started } from './support.ts'

const CHILD = fileURLToPath(new URL('./pools-child.js', import.meta.url))
const NOBODY = { uid: 65_534, gid: 65_534 }
const SECONDS = ['--seconds', '1']

const isRoot = process.platform === 'linux' && process.geteuid?.() === 0
const folder = mkdtempSync(join(tmpdir(), 'lifeguard-rights-'))
after(() => rmSync(folder, { recursive: true, force: true }))

/** The command, where everybody may read it. */
const main = join(folder, 'dist', 'cli', 'main.js')
const asNobody = (...args: readonly string[]) =>
  promisify(execFile)(process.execPath, [main, ...args], { ...NOBODY, cwd: '/' }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  )

async function noNobody(): Promise<string | false> {
  if (!isRoot) return 'only root can run something as another user'
  chmodSync(folder, 0o755)
  cpSync(join(packageRoot(), 'dist'), join(folder, 'dist'), { recursive: true })
  cpSync(join(packageRoot(), 'package.json'), join(folder, 'package.json'))
  return (await asNobody('--help')).code === 0 ? false : 'another user cannot run this node'
}

function noNamespaces(): string | false {
  if (!isRoot) return 'only root can make a network namespace'
  try {
    execFileSync('unshare', ['-n', 'true'], { stdio: 'ignore' })
    return false
  } catch {
    return 'unshare is not allowed here'
  }
}

describe("another user's process", { skip: await noNobody() }, () => {
  test('is not said to be well: what cannot be seen is named, and the exit code is 2', async () => {
    const service = new Started(process.execPath, [CHILD])
    try {
      await service.word
      for (const more of [[], ['--inspect']]) {
        const said = await asNobody('doctor', String(service.pid), ...SECONDS, ...more)
        assert.equal(said.code, 2, said.stdout)
        assert.match(said.stdout, /^VERDICT: none, because$/m)
        assert.doesNotMatch(said.stdout, /no socket in CLOSE_WAIT/)
        assert.match(said.stdout, /its descriptors, and so its sockets and pipes: run the doctor as the user/)
      }
      const top = await asNobody('top', String(service.pid))
      assert.equal(top.code, 2)
      assert.match(top.stderr, /may not be opened by this user/)
    } finally {
      await service.kill()
    }
  })
})

test('a thread, of a process or of the kernel, is no process, and is said not to be', () => {
  const status = (pid: number, text: string): void => {
    mkdirSync(join(folder, 'proc', String(pid)), { recursive: true })
    writeFileSync(join(folder, 'proc', String(pid), 'status'), text)
  }
  status(7, 'Name:\tkworker/0:1\nState:\tI (idle)\nTgid:\t7\nPid:\t7\n')
  status(9, 'Name:\tworker\nState:\tS (sleeping)\nTgid:\t8\nPid:\t9\nVmSize:\t 100 kB\n')
  status(
    10,
    'Name:\tsleep\nState:\tS (sleeping)\nTgid:\t10\nPid:\t10\nVmSize:\t 100 kB\nSigCgt:\t0000000000000200\n',
  )
  const proc = new ProcFiles(join(folder, 'proc'))
  assert.throws(() => targetOf(proc, 7), /^Error: 7 \(kworker\/0:1\) is a thread of the kernel/)
  assert.throws(() => targetOf(proc, 9), /^Error: 9 is a thread of the process 8: look at that one/)
  assert.equal(targetOf(proc, 10)?.catchesSignal, true)
  assert.equal(targetOf(proc, 10)?.isNode, false)
  assert.equal(targetOf(proc, 11), undefined)
})

describe('a process in another network namespace', { skip: noNamespaces() }, () => {
  test('is asked by its diagnostics socket; its inspector, which could not be reached, is not opened', async () => {
    const command = `exec "$0" --inspect-port=0 ${CHILD}`
    const inside = new Started('unshare', ['-n', 'sh', '-c', command, process.execPath])
    try {
      await inside.word
      const said = await doctor(inside.pid, '--inspect', ...SECONDS)
      assert.match(said.unseen.join('\n'), /in another network namespace .*nsenter -t \d+ -n/)
      assert.equal(said.pools.length, 3)
      assert.equal(countSockets(inside.pid)?.tcp.LISTEN, undefined)
    } finally {
      await inside.kill()
    }
  })
})
