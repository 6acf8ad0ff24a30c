import { parseArgs } from 'node:util'
import { runCluster } from './cluster/demo.ts'
import { incident as i0 } from './incidents/I0-half-closed.ts'
import { incident as i1 } from './incidents/I1-log-pipe.ts'
import { incident as i2 } from './incidents/I2-blocked-loop.ts'
import { incident as i3 } from './incidents/I3-nested.ts'
import { incident as i4 } from './incidents/I4-unregistered.ts'
import { playAll } from './incidents/support/play.ts'
import { runDemo } from './soak/demo.ts'

/*
 * What `npm start` runs: five outages, each without the pool and with it.
 *
 *   npm start                      all of them
 *   npm start -- I3 I4             some of them
 *   npm start -- service           instead, a small service on one pool, whose connections are killed all the while
 *     --seconds N                    how long; default 20
 *     --metrics                      serve its metrics, and show the page as it is half-way
 *   npm start -- cluster           a Redis Cluster whose slots move and whose primaries go, while two count on one key
 *   --json                         the findings as JSON on stdout; all else on stderr
 *
 * Exit code: 0 if all went as it must, 1 if not, 2 if it could not be tried.
 */

const INCIDENTS = [i0, i1, i2, i3, i4]

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seconds: { type: 'string', default: '20' },
      metrics: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  })
  const { json } = values
  const words = positionals.map(word => word.toUpperCase())
  if (words.includes('SERVICE'))
    return runDemo({ seconds: Number(values.seconds), metrics: values.metrics, json })
  if (words.includes('CLUSTER')) return runCluster({ json })
  const unknown = words.find(word => INCIDENTS.every(({ id }) => id !== word))
  if (unknown !== undefined) {
    throw new Error(
      `no incident '${unknown}': ${INCIDENTS.map(({ id }) => id).join(', ')}, 'service' or 'cluster'`,
    )
  }
  const chosen = INCIDENTS.filter(({ id }) => words.length === 0 || words.includes(id))
  return playAll(chosen, { json, scale: process.env.LIFEGUARD_SCALE === 'small' ? 'small' : 'full' })
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
