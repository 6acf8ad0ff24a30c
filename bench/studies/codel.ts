/*
 * Draws docs/codel.svg: a service behind a pool of ten connections, 20 ms of work each, gets twice the load that it can
 * serve for 30 s, from second 5 on. Simulated on an injected clock, with and without shedding.
 *
 * Prints the table of docs/overload.md, too.
 *
 *     node .build/bench/studies/codel.js
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { PoolOptions } from '../../src/index.ts'
import { type Fate, simulate } from '../../test/support/overload.ts'
import { Chance } from '../../test/support/random.ts'

const SHEDDING = { targetMillis: 50, intervalMillis: 2000 }
const SCENES: readonly (readonly [string, PoolOptions])[] = [
  ['no shedding', {}],
  ['shedding, youngest first (default)', { shedding: SHEDDING }],
  ['shedding, oldest first', { shedding: { ...SHEDDING, order: 'fifo' } }],
  ['early refusal, deadline 500 ms', { earlyRefusal: true, acquireTimeoutMillis: 500 }],
]
const MILLIS = 50_000
const [FROM, TO] = [5000, 35_000]
const BIN = 500
const WIDTH = 900
const PLOT = { left: 70, width: 700, height: 110 }
/** The highest wait shown; the axis is logarithmic. */
const MOST = 10_000

const parts: string[] = []
const text = (x: number, y: number, content: string, style = ''): void => {
  parts.push(`<text x="${x}" y="${y}" ${style}>${content.replaceAll('<', '&lt;')}</text>`)
}
const x = (at: number): number => PLOT.left + (PLOT.width * at) / MILLIS
const height = (wait: number): number =>
  (PLOT.height * Math.log10(Math.min(Math.max(wait, 1), MOST))) / Math.log10(MOST)

let top = 50
text(10, 22, 'Twice the load that can be served, for 30 s', 'font-size="15" font-weight="bold"')
for (const [name, options] of SCENES) {
  const { fates, ...figures } = await simulate({
    options,
    connections: 10,
    serviceMillis: 20,
    offered: at => (at >= FROM && at < TO ? 2 : 0.6),
    millis: MILLIS,
    random: new Chance(3).next,
  })
  draw(name, fates)
  const busy = fates.filter(fate => fate.at >= 7000 && fate.at < TO)
  process.stdout.write(`${name}: ${JSON.stringify({ ...figures, ...summary(busy) })}\n`)
}
const size = `width="${WIDTH}" height="${top}" viewBox="0 0 ${WIDTH} ${top}"`
const font = 'font-family="system-ui, sans-serif" font-size="11" fill="#222"'
const svg = `<svg xmlns="http://www.w3.org/2000/svg" ${size} ${font}>\n<rect width="100%" height="100%" fill="#fff"/>\n${parts.join('\n')}\n</svg>\n`
writeFileSync(join(import.meta.dirname, '../../../docs/codel.svg'), svg)

// The table of docs/overload.md: 30 s of it, and nothing else.
const ROWS: readonly (readonly [string, PoolOptions])[] = [
  ...SCENES.slice(0, 3),
  ['early refusal, deadline 200 ms', { earlyRefusal: true, acquireTimeoutMillis: 200 }],
]
for (const [name, options] of ROWS) {
  const { fates, median, served, capacity } = await simulate({
    options,
    connections: 10,
    serviceMillis: 20,
    offered: () => 2,
    millis: 30_000,
    random: new Chance(7).next,
  })
  const { told } = summary(fates)
  process.stdout.write(
    `| ${name} | ${Math.round(median)} ms | ${((100 * served) / capacity).toFixed(1)} % | ${told} ms |\n`,
  )
}

function quantile(waits: readonly number[], share: number): number {
  const sorted = waits.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length * share)] ?? 0
}

function summary(fates: readonly Fate[]) {
  const served = fates.filter(fate => fate.how === 'served').map(fate => fate.waited)
  const lost = fates.filter(fate => fate.how !== 'served')
  return {
    overloadMedian: Math.round(quantile(served, 0.5)),
    overloadP99: Math.round(quantile(served, 0.99)),
    told: Math.round(
      quantile(
        lost.map(fate => fate.waited),
        0.5,
      ),
    ),
  }
}

function draw(name: string, fates: readonly Fate[]): void {
  text(10, top, name, 'font-weight="bold"')
  const bottom = top + 10 + PLOT.height
  parts.push(
    `<rect x="${x(FROM)}" y="${bottom - PLOT.height}" width="${x(TO) - x(FROM)}" height="${PLOT.height}" fill="#f6f1e7"/>`,
  )
  for (const wait of [1, 10, 100, 1000, 10_000]) {
    const y = bottom - height(wait)
    parts.push(`<line x1="${PLOT.left}" x2="${PLOT.left + PLOT.width}" y1="${y}" y2="${y}" stroke="#ddd"/>`)
    text(PLOT.left - 6, y + 4, `${wait} ms`, 'text-anchor="end"')
  }
  const bins = Array.from({ length: MILLIS / BIN }, (_, index) =>
    fates.filter(fate => Math.floor(fate.at / BIN) === index),
  )
  line(bins, bottom, 0.5, '#30638e')
  line(bins, bottom, 0.99, '#9fc1dd')
  for (const [index, bin] of bins.entries()) {
    const lost = bin.length === 0 ? 0 : bin.filter(fate => fate.how !== 'served').length / bin.length
    if (lost === 0) continue
    const tall = lost * 30
    parts.push(
      `<rect x="${x(index * BIN)}" y="${bottom + 34 - tall}" width="${PLOT.width / bins.length - 1}" height="${tall}" fill="#d1495b"/>`,
    )
  }
  const right = PLOT.left + PLOT.width + 10
  text(right, bottom - 60, 'wait of the served,', 'fill="#30638e"')
  text(right, bottom - 46, 'median and p99', 'fill="#30638e"')
  text(right, bottom + 30, 'share not served', 'fill="#d1495b"')
  top = bottom + 62
}

/** The waits of those served, by when they came. */
function line(bins: readonly (readonly Fate[])[], bottom: number, share: number, colour: string): void {
  const points = bins.flatMap((bin, index) => {
    const waits = bin.filter(fate => fate.how === 'served').map(fate => fate.waited)
    return waits.length === 0
      ? []
      : [`${x((index + 0.5) * BIN).toFixed(1)},${(bottom - height(quantile(waits, share))).toFixed(1)}`]
  })
  parts.push(`<polyline points="${points.join(' ')}" fill="none" stroke="${colour}" stroke-width="1.5"/>`)
}
