/*
 * `npm run test:matrix`: the tests of the adapter for Redis, which run on ioredis 5.11 and on 6, and those of the rooms that
 * depend on Node, on each version of Node.
 *   -- --nodes 20,22,24,26     these versions
 *   -- WORD …                  these tests instead
 */

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { nodeOf, versionOf } from './support/nodes.ts'

const words = process.argv.slice(2)
const at = words.indexOf('--nodes')
const nodes = (at < 0 ? '20,22,24,26' : (words.splice(at, 2)[1] ?? '')).split(',')
const parts = words.length > 0 ? words : ['ioredis/', 'sockets/', 'runtime/', 'connections/', 'nested/']

/** What the tests of one client have come to. */
interface Cell {
  passed: number
  failed: number
}

/** Runs the tests, and counts them by the client that stands in the name of their suite. */
function play(node: string): Promise<{ cells: Map<string, Cell>; code: number | null }> {
  const cells = new Map<string, Cell>()
  return new Promise(resolve => {
    const child = spawn(process.execPath, [join(import.meta.dirname, 'run.js'), ...parts], {
      env: { ...process.env, LIFEGUARD_NODE: node },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let client = ''
    let rest = ''
    child.stdout.on('data', (data: Buffer) => {
      const lines = (rest + data.toString()).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        if (/failing tests:/.test(line)) client = 'over'
        const suite = /^ *▶ (ioredis [56]|iovalkey)/.exec(line)
        if (suite !== null && client !== 'over') client = suite[1] as string
        const test = /^( *)([✔✖]) /.exec(line)
        if (test === null || client === 'over') continue
        const cell = cells.get(client || 'others') ?? { passed: 0, failed: 0 }
        cells.set(client || 'others', cell)
        if (test[2] === '✔') cell.passed += 1
        else {
          cell.failed += 1
          process.stdout.write(`${line}\n`)
        }
        if (test[1] === '') client = ''
      }
    })
    child.on('close', code => resolve({ cells, code }))
  })
}

for (const major of nodes) {
  const node = await nodeOf(major)
  const { cells, code } = await play(node)
  const told = [...cells].map(
    ([client, { passed, failed }]) => `${client}: ${passed} passed, ${failed} failed`,
  )
  process.stdout.write(
    `node ${await versionOf(node)}: ${told.join('; ')}${code === 0 ? '' : ', NOT GREEN'}\n`,
  )
  if (code !== 0) process.exitCode = 1
}
