/*
 * `npm run test:mutants -- ROOM …`: puts one-line faults into the compiled sources of a room, one at a time, and runs the
 * tests of that room. A fault that no test notices is listed. For a part of them:
 *   --sample N      so many of each room, spread over its files (default 20)
 *   --from N        begins with another sample
 *   --only TEXT     only mutations whose line contains this
 * The compiled sources are restored afterwards, and at the next `npm run compile`.
 */

import { spawn } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../support/package-root.ts'
import { type Mutation, mutationsOf } from './mutations.ts'

/** The rooms, and which tests are run for each. */
const ROOMS: Record<string, { readonly source: string; readonly tests: readonly string[] }> = {
  queue: { source: 'queue', tests: ['queue/', 'simulation/corpus', 'simulation/random'] },
  connections: { source: 'connections', tests: ['simulation/corpus', 'simulation/random', 'connections/'] },
  connecting: { source: 'connecting', tests: ['simulation/corpus', 'simulation/random', 'connecting/'] },
  health: { source: 'health', tests: ['health/', 'pool/', 'simulation/random'] },
  nested: { source: 'nested', tests: ['nested/'] },
  handle: {
    source: 'adapters/ioredis/handle',
    tests: ['ioredis/handle', 'ioredis/leftovers', 'ioredis/order', 'ioredis/lent'],
  },
}
const MOST_MILLIS = 120_000

const words = process.argv.slice(2)
const after = (flag: string): string | undefined => {
  const at = words.indexOf(flag)
  return at < 0 ? undefined : words.splice(at, 2)[1]
}
const sample = Number(after('--sample') ?? 20)
const from = Number(after('--from') ?? 0)
const only = after('--only')
const rooms = words.length === 0 ? Object.keys(ROOMS) : words
const compiled = join(packageRoot(), '.build/src')
const say = (line: string): void => void process.stdout.write(`${line}\n`)

/** @returns whether a test fails; it is not waited for the others */
function isNoticed(tests: readonly string[]): Promise<boolean> {
  return new Promise(resolve => {
    const runner = join(packageRoot(), '.build/test/run.js')
    const child = spawn(process.execPath, [runner, ...tests], {
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true,
    })
    const end = (noticed: boolean): void => {
      clearTimeout(timer)
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
      } catch {
        // It has ended.
      }
      resolve(noticed)
    }
    const timer = setTimeout(() => end(true), MOST_MILLIS)
    child.stdout.on('data', (data: Buffer) => {
      if (/^\s*✖/m.test(data.toString())) end(true)
    })
    child.on('close', code => end(code !== 0))
  })
}

async function mutateRoom(name: string): Promise<{ tried: number; survivors: Mutation[] }> {
  const room = ROOMS[name]
  if (room === undefined) throw new Error(`no such room: ${name}; there are ${Object.keys(ROOMS).join(', ')}`)
  const folder = join(compiled, room.source)
  const all = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter(file => file.endsWith('.js'))
    .sort()
    .flatMap(file => mutationsOf(join(room.source, file), readFileSync(join(folder, file), 'utf8')))
    .filter(({ before }) => only === undefined || before.includes(only))
  const step = Math.max(Math.floor(all.length / sample), 1)
  const chosen = all.filter((_, index) => index % step === from % step).slice(0, sample)
  say(`${name}: ${chosen.length} of ${all.length} mutations`)
  if (await isNoticed(room.tests)) throw new Error(`${name}: its tests fail without a fault`)
  const survivors: Mutation[] = []
  for (const mutation of chosen) {
    const path = join(compiled, mutation.file)
    const text = readFileSync(path, 'utf8')
    const lines = text.split('\n')
    lines[mutation.line - 1] = mutation.after
    writeFileSync(path, lines.join('\n'))
    const restore = (): void => writeFileSync(path, text)
    process.once('exit', restore)
    const noticed = await isNoticed(room.tests)
    process.off('exit', restore)
    restore()
    if (noticed) continue
    survivors.push(mutation)
    say(`  survives: ${mutation.file}:${mutation.line} ${mutation.kind}: ${mutation.before.trim()}`)
  }
  return { tried: chosen.length, survivors }
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1))
for (const name of rooms) {
  const { tried, survivors } = await mutateRoom(name)
  say(`${name}: ${survivors.length} of ${tried} survive`)
}
