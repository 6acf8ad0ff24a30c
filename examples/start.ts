import { parseArgs } from 'node:util'
import { brokenPromises } from './service/findings.ts'
import { runService } from './service/run.ts'
import { tableOf } from './service/table.ts'
import { findRedis } from './support/redis-server.ts'

/*
 * What `npm start` runs: a small service on one pool, whose connections the server kills all the while.
 *
 *   --seconds N   how long; default 20
 *   --json        the findings as JSON on stdout; all else on stderr
 *
 * Exit code: 0 if every promise was kept, 1 if one was broken, 2 if it could not be tried.
 */

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { seconds: { type: 'string', default: '20' }, json: { type: 'boolean', default: false } },
  })
  const seconds = Number(values.seconds)
  if (!(seconds >= 2 && seconds <= 3600)) throw new Error('--seconds must be a number from 2 to 3600')
  const say = (line: string): void => {
    const stream = values.json ? process.stderr : process.stdout
    stream.write(`${line.trimEnd()}\n`)
  }
  const redis = await findRedis()
  try {
    say(`Redis: ${redis.how}`)
    say(`Now ${seconds} seconds of service on one pool, while the server kills its connections.`)
    say('')
    const findings = await runService({ url: redis.url, seconds, say })
    if (values.json) process.stdout.write(`${JSON.stringify({ redis: redis.how, ...findings }, null, 2)}\n`)
    say(`\nA busy moment, as pool.report() tells it:\n\n${findings.report}\n\n${tableOf(findings)}`)
    return brokenPromises(findings).length === 0 ? 0 : 1
  } finally {
    await redis.stop()
  }
}

main().then(
  code => {
    process.exitCode = code
  },
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    // Not exitCode: after a failure half-way, what is still at work would hold the process.
    process.exit(2)
  },
)
