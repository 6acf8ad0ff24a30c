import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { eventually } from './factories.ts'
import { freePort } from './free-port.ts'
import { guardChild, guardedDirectory } from './orphan-guard.ts'
import { ping } from './ping.ts'
import { ensureRedisBinary, type RedisServer, startRedis } from './redis-server.ts'

/** A primary, its replica, and three sentinels that watch them, all on 127.0.0.1. */
export interface Fleet {
  readonly name: string
  readonly primary: RedisServer
  readonly replica: RedisServer
  readonly sentinels: readonly { host: string; port: number; pid: number }[]
  stop(): Promise<void>
}

const host = '127.0.0.1'

/**
 * A sentinel that is on its own: it names the server at this port as the primary, right or wrong, until somebody tells it
 * otherwise. Ends with `child.kill('SIGKILL')`, or with this process.
 */
export async function startLoneSentinel(name: string, primary: number) {
  const binary = await ensureRedisBinary()
  if ('missing' in binary) throw new Error(binary.missing)
  return startSentinel(binary.path, name, primary)
}

async function startSentinel(binary: string, name: string, primary: number) {
  const dir = mkdtempSync(join(guardedDirectory(), 'sentinel-'))
  const port = await freePort()
  const config = join(dir, 'sentinel.conf')
  const lines = [
    `port ${port}`,
    `bind ${host}`,
    `dir "${dir}"`,
    `sentinel monitor ${name} ${host} ${primary} 2`,
    `sentinel down-after-milliseconds ${name} 1000`,
    `sentinel failover-timeout ${name} 5000`,
    `sentinel parallel-syncs ${name} 1`,
  ]
  writeFileSync(config, `${lines.join('\n')}\n`)
  const child = spawn(binary, [config, '--sentinel'], { stdio: 'ignore' })
  await once(child, 'spawn')
  guardChild(child)
  child.unref()
  const isUp = () =>
    ping({ host, port, tls: false }).then(
      () => true,
      () => false,
    )
  await eventually(isUp, { within: 10_000, what: 'a sentinel answers' })
  return { host, port, pid: child.pid as number, child }
}

/** Resolves once the replica is in step and each sentinel knows it and both others: before, there is no failover. */
export async function startFleet(): Promise<Fleet> {
  const binary = await ensureRedisBinary()
  if ('missing' in binary) throw new Error(binary.missing)
  const name = 'fleet'
  const primary = await startRedis({ 'repl-diskless-sync-delay': '0' })
  const replica = await startRedis({ replicaof: `${host} ${primary.port}` })
  const sentinels: Awaited<ReturnType<typeof startSentinel>>[] = []
  for (let count = 0; count < 3; count += 1)
    sentinels.push(await startSentinel(binary.path, name, primary.port))
  const { Redis } = await import('ioredis')
  const asking = sentinels.map(({ port }) => new Redis(port, { enableReadyCheck: false }))
  const knows = async (): Promise<boolean> => {
    const masters = await Promise.all(
      asking.map(client => client.call('SENTINEL', 'master', name) as Promise<string[]>),
    )
    return masters.every(fields => {
      const field = (what: string) => fields[fields.indexOf(what) + 1]
      return field('num-slaves') === '1' && field('num-other-sentinels') === '2'
    })
  }
  await eventually(knows, { within: 30_000, what: 'the sentinels know of each other and of the replica' })
  for (const client of asking) client.disconnect()
  return {
    name,
    primary,
    replica,
    sentinels: sentinels.map(({ port, pid }) => ({ host, port, pid })),
    async stop() {
      for (const { child } of sentinels) {
        child.ref()
        const exited = once(child, 'exit')
        if (child.exitCode === null && child.signalCode === null) {
          child.kill('SIGKILL')
          await exited
        }
      }
      await Promise.all([primary.stop(), replica.stop()])
    },
  }
}
