/* A network namespace with a Redis in it, joined to this process by a virtual cable that can be cut. Linux, as root. */

import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { guardChild, guardedDirectory } from '../support/orphan-guard.ts'
import { ping } from '../support/ping.ts'
import { ensureRedisBinary } from '../support/redis-binary.ts'

export interface Network {
  readonly host: string
  readonly port: number
  /** A cut cable: no packet gets through, and nobody is told. */
  cut(isCut: boolean): void
  stop(): void
}

const run = (command: string): void => {
  const [program = '', ...words] = command.split(' ')
  execFileSync(program, words, { stdio: 'pipe' })
}

let count = 0

/** @returns why there is none, if so */
export async function openNetwork(): Promise<Network | string> {
  count += 1
  const id = `lg${process.pid % 100_000}x${count}`
  const net = `10.${200 + (process.pid % 50)}.${count % 250}`
  const [near, far] = [`${id}a`, `${id}b`]
  try {
    for (const command of [
      `ip netns add ${id}`,
      `ip link add ${near} type veth peer name ${far}`,
      `ip link set ${far} netns ${id}`,
      `ip addr add ${net}.1/24 dev ${near}`,
      `ip link set ${near} up`,
      `ip netns exec ${id} ip addr add ${net}.2/24 dev ${far}`,
      `ip netns exec ${id} ip link set ${far} up`,
      `ip netns exec ${id} ip link set lo up`,
    ])
      run(command)
  } catch (error) {
    remove(id, near)
    return `no network namespace: ${String((error as Error).message.split('\n')[0])}`
  }
  const binary = await ensureRedisBinary()
  if ('missing' in binary) return binary.missing
  const dir = mkdtempSync(join(guardedDirectory(), 'net-'))
  const words = ['--bind', `${net}.2`, '--protected-mode', 'no', '--save', '', '--dir', dir, '--port', '6400']
  const child = spawn('ip', ['netns', 'exec', id, binary.path, ...words], { stdio: 'ignore' })
  guardChild(child)
  child.unref()
  const address = { host: `${net}.2`, port: 6400 }
  for (let tries = 0; tries < 200; tries += 1) {
    if ((await ping({ ...address, tls: false }).catch(() => '')) !== '') break
    await delay(20)
  }
  let hasStopped = false
  const stop = (): void => {
    hasStopped = true
    child.kill('SIGKILL')
    remove(id, near)
  }
  process.once('exit', stop)
  return {
    ...address,
    cut: isCut => {
      // A fault may still be going on when a cell has failed and is over.
      if (!hasStopped) run(`ip netns exec ${id} ip link set ${far} ${isCut ? 'down' : 'up'}`)
    },
    stop: () => {
      process.off('exit', stop)
      stop()
    },
  }
}

function remove(id: string, near: string): void {
  for (const command of [`ip link del ${near}`, `ip netns del ${id}`])
    try {
      run(command)
    } catch {
      // It was not there.
    }
}
