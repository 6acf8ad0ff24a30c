import { findRedis } from '../../test/support/redis-server.ts'
import { brokenPromises } from './findings.ts'
import { runService } from './run.ts'
import { tableOf } from './table.ts'

/** Runs the small service for so many seconds and shows what came of it. @returns the exit code */
export async function runDemo({ seconds, json }: { seconds: number; json: boolean }): Promise<number> {
  if (!(seconds >= 2 && seconds <= 3600)) throw new Error('--seconds must be a number from 2 to 3600')
  const say = (line: string): void => {
    const stream = json ? process.stderr : process.stdout
    stream.write(`${line.trimEnd()}\n`)
  }
  const redis = await findRedis()
  try {
    say(`Redis: ${redis.how}`)
    say(`Now ${seconds} seconds of service on one pool, while the server kills its connections.`)
    say('')
    const findings = await runService({ url: redis.url, seconds, say })
    if (json) process.stdout.write(`${JSON.stringify({ redis: redis.how, ...findings }, null, 2)}\n`)
    say(`\nA busy moment, as pool.report() tells it:\n\n${findings.report}\n\n${tableOf(findings)}`)
    return brokenPromises(findings).length === 0 ? 0 : 1
  } finally {
    await redis.stop()
  }
}
