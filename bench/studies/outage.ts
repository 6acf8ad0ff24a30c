import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { startRedis } from '../../test/support/redis-server.ts'
import { redisContender } from '../contenders/redis.ts'
import { ROOT } from '../harness/results.ts'
import { startLoad } from '../scenes/outage-load.ts'
import { OUTAGE_CONTENDERS } from '../scenes/recovery.ts'

/*
 * node .build/bench/studies/outage.js: an outage over time, for each contender in a process of its own; draws
 * docs/outage.svg. 500 GETs a second; the server is killed after a second and is back two seconds later.
 */

const BUCKET = 50
const BEFORE = 1000
const AWAY = 2000
const AFTER = 2000
const BUCKETS = (BEFORE + AWAY + AFTER) / BUCKET

/** How many in each bucket, by when they ended. */
interface Course {
  readonly contender: string
  readonly served: number[]
  readonly errors: number[]
  readonly dials: number[]
  /** When the server was back, in milliseconds since the beginning. */
  readonly back: number
}

async function run(contender: string): Promise<Course> {
  const first = await startRedis()
  const redis = await redisContender(contender, first.url)
  const warmUp = startLoad(() => redis.get('key'))
  await delay(500)
  await warmUp.stop()
  const load = startLoad(() => redis.get('key'))
  const start = performance.now()
  await delay(BEFORE)
  await first.stop()
  await delay(BEFORE + AWAY - (performance.now() - start))
  const second = await startRedis({ port: String(first.port) })
  const back = performance.now() - start
  await delay(AFTER)
  const ended = load.requests.filter(({ millis }) => millis !== undefined)
  const course = {
    contender,
    back,
    served: counted(ended.filter(({ failed }) => !failed).map(({ at, millis = 0 }) => at + millis - start)),
    errors: counted(ended.filter(({ failed }) => failed).map(({ at, millis = 0 }) => at + millis - start)),
    dials: counted(load.dials.map(at => at - start)),
  }
  await second.stop()
  return course
}

function counted(times: readonly number[]): number[] {
  const buckets = Array.from({ length: BUCKETS }, () => 0)
  for (const at of times) {
    const bucket = Math.floor(at / BUCKET)
    if (bucket >= 0 && bucket < BUCKETS) buckets[bucket] = (buckets[bucket] ?? 0) + 1
  }
  return buckets
}

const PANEL = { width: 860, height: 92, left: 60, gap: 44 }
const COLOURS = { served: '#2a9d5c', errors: '#d1495b', dials: '#30638e' } as const
/** A rate at the top of a panel, per second; the scale is that of a square root, so that 20 is seen beside 2000. */
const TOP_RATE = 10_000

function drawing(courses: readonly Course[]): string {
  const x = (millis: number): number =>
    PANEL.left + (millis / (BUCKETS * BUCKET)) * (PANEL.width - PANEL.left - 20)
  const parts: string[] = []
  courses.forEach((course, index) => {
    const top = 70 + index * (PANEL.height + PANEL.gap)
    const bottom = top + PANEL.height
    const y = (rate: number): number => bottom - Math.sqrt(Math.min(rate, TOP_RATE) / TOP_RATE) * PANEL.height
    const path = (counts: readonly number[]): string =>
      counts
        .map((count, bucket) => {
          const height = y((count / BUCKET) * 1000).toFixed(1)
          return `${bucket === 0 ? 'M' : 'L'}${x(bucket * BUCKET).toFixed(1)} ${height}H${x((bucket + 1) * BUCKET).toFixed(1)}`
        })
        .join('')
    parts.push(
      `<text x="${PANEL.left}" y="${top - 8}" font-weight="600">${course.contender}</text>`,
      `<rect x="${x(BEFORE).toFixed(1)}" y="${top}" width="${(x(course.back) - x(BEFORE)).toFixed(1)}" height="${PANEL.height}" fill="#eef1f4"/>`,
      ...[20, 500, 5000].map(
        rate =>
          `<path d="M${PANEL.left} ${y(rate).toFixed(1)}H${PANEL.width - 20}" stroke="#dde3e9"/><text x="${PANEL.left - 8}" y="${(y(rate) + 4).toFixed(1)}" text-anchor="end" font-size="10">${rate}/s</text>`,
      ),
      `<path d="${path(course.served)}L${x(BUCKETS * BUCKET)} ${bottom}H${PANEL.left}Z" fill="${COLOURS.served}" fill-opacity="0.25" stroke="${COLOURS.served}"/>`,
      `<path d="${path(course.dials)}" fill="none" stroke="${COLOURS.dials}"/>`,
      `<path d="${path(course.errors)}" fill="none" stroke="${COLOURS.errors}" stroke-width="1.6"/>`,
      `<path d="M${PANEL.left} ${bottom}H${PANEL.width - 20}" stroke="#1c2733"/>`,
    )
  })
  const bottom = 70 + courses.length * (PANEL.height + PANEL.gap) - PANEL.gap
  for (let millis = 0; millis <= BUCKETS * BUCKET; millis += 1000)
    parts.push(
      `<text x="${x(millis).toFixed(1)}" y="${bottom + 18}" text-anchor="middle">${millis / 1000} s</text>`,
    )
  const legend = [
    ['served', COLOURS.served],
    ['errors told', COLOURS.errors],
    ['connects tried', COLOURS.dials],
  ].map(
    ([name, colour], place) =>
      `<rect x="${PANEL.left + place * 130}" y="34" width="14" height="4" fill="${colour}"/><text x="${PANEL.left + 20 + place * 130}" y="40">${name}</text>`,
  )
  const height = bottom + 34
  const font = 'font-family="system-ui, -apple-system, sans-serif" font-size="12" fill="#1c2733"'
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${PANEL.width}" height="${height}" viewBox="0 0 ${PANEL.width} ${height}" ${font}>
<rect width="100%" height="100%" rx="8" fill="#fff"/>
<text x="${PANEL.left}" y="24" font-size="15" font-weight="600">A Redis that is away for two seconds (grey), 500 GETs a second</text>
${legend.join('\n')}
${parts.join('\n')}
</svg>
`
}

const [, , asked] = process.argv
if (asked !== undefined) {
  const course = await run(asked)
  process.stdout.write(`\n${JSON.stringify(course)}\n`, () => process.exit(0))
} else {
  const courses = OUTAGE_CONTENDERS.map(contender => {
    const said = execFileSync(
      process.execPath,
      ['--no-warnings', fileURLToPath(import.meta.url), contender],
      { encoding: 'utf8', timeout: 60_000 },
    )
    return JSON.parse(said.trimEnd().split('\n').at(-1) ?? '') as Course
  })
  writeFileSync(join(ROOT, 'docs/outage.svg'), drawing(courses))
  process.stdout.write('docs/outage.svg rewritten\n')
}
