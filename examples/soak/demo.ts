import { setTimeout as delay } from 'node:timers/promises'
import { serveDiagnostics } from '../../src/diagnostics/index.ts'
import { findRedis } from '../../test/support/redis-server.ts'
import { brokenPromises } from './findings.ts'
import { runService } from './run.ts'
import { tableOf } from './table.ts'

/** Runs the small service for so many seconds and shows what came of it. @returns the exit code */
export async function runDemo({
  seconds,
  metrics,
  json,
}: {
  seconds: number
  metrics: boolean
  json: boolean
}): Promise<number> {
  if (!(seconds >= 2 && seconds <= 3600)) throw new Error('--seconds must be a number from 2 to 3600')
  const say = (line: string): void => {
    const stream = json ? process.stderr : process.stdout
    stream.write(`${line.trimEnd()}\n`)
  }
  const redis = await findRedis()
  const server = metrics ? await serveDiagnostics({ port: 0 }) : undefined
  try {
    say(`Redis: ${redis.how}`)
    say(`Now ${seconds} seconds of service on one pool, while the server kills its connections.`)
    if (server !== undefined) say(`Its metrics: ${server.address}/metrics; beside them /healthz and /report`)
    say('')
    const [findings, page] = await Promise.all([
      runService({ url: redis.url, seconds, say }),
      server &&
        delay(seconds * 500)
          .then(() => fetch(`${server.address}/metrics`))
          .then(answer => answer.text()),
    ])
    if (page !== undefined) say(`\nThe metrics, half-way:\n\n${page}`)
    if (json) process.stdout.write(`${JSON.stringify({ redis: redis.how, ...findings }, null, 2)}\n`)
    say(`\nA busy moment, as pool.report() tells it:\n\n${findings.report}\n\n${tableOf(findings)}`)
    return brokenPromises(findings).length === 0 ? 0 : 1
  } finally {
    await server?.close()
    await redis.stop()
  }
}
