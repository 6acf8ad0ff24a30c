import type {
  Timeline,
  TimelineMark,
  TimelineSpan,
  TimelineWait,
} from '../../diagnostics/timeline/timeline.ts'
import type { Look } from './looks.ts'

/** Some time in a row of the picture. */
export interface Bar {
  readonly from: number
  readonly to: number
  readonly look: Look
  /** What is written into it, if there is room. */
  readonly label: string
  /** All that is known of it. */
  readonly words: string
}

export interface Row {
  readonly label: string
  readonly bars: readonly Bar[]
  readonly marks: readonly TimelineMark[]
}

/** What is drawn of a pool. */
export interface Group {
  readonly name: string
  readonly max: number
  readonly connections: readonly Row[]
  /** Connects of which no connection came, as many in a row as fit. */
  readonly failed: readonly Row[]
  /** Waits, as many in a row as fit. */
  readonly waits: readonly Row[]
  /** Waits that are not drawn, since too many were at a time. */
  readonly moreWaits: number
  /** What happened to the pool as such. */
  readonly marks: readonly TimelineMark[]
}

/** The rows of a timeline, pool by pool. */
export function groupsOf(timeline: Timeline, mostLanes: number): Group[] {
  return timeline.pools.map(({ name, max }, pool) => {
    const spans = timeline.spans.filter(span => span.pool === pool)
    const marks = timeline.marks.filter(mark => mark.pool === pool)
    const waits = timeline.waits.filter(wait => wait.pool === pool)
    const { rows, more } = lanesOf(waits.map(waitBar), mostLanes)
    const made = new Set(spans.filter(isMade).map(({ connection }) => connection))
    const failed = spans.filter(({ connection }) => !made.has(connection))
    return {
      ...{ name, max, waits: rows, moreWaits: more },
      connections: connectionRows(
        spans.filter(({ connection }) => made.has(connection)),
        marks,
      ),
      failed: lanesOf(failed.map(failedBar), mostLanes).rows,
      marks: [...marks.filter(({ connection }) => connection === undefined), ...failuresIn(marks)],
    }
  })
}

function connectionRows(spans: readonly TimelineSpan[], marks: readonly TimelineMark[]): Row[] {
  const byConnection = new Map<number, TimelineSpan[]>()
  for (const span of spans) {
    const of = byConnection.get(span.connection)
    if (of === undefined) byConnection.set(span.connection, [span])
    else of.push(span)
  }
  const marksOf = new Map<number, TimelineMark[]>()
  for (const mark of marks) {
    if (mark.connection !== undefined && mark.what !== 'create-failed')
      marksOf.set(mark.connection, [...(marksOf.get(mark.connection) ?? []), mark])
  }
  return [...byConnection.entries()]
    .sort(([a], [b]) => a - b)
    .map(([connection, of]) => ({
      label: `#${connection}`,
      bars: of
        .sort((a, b) => a.from - b.from)
        .map(span => ({
          ...{ from: span.from, to: span.to, look: span.state },
          label: span.state === 'lent' ? (siteName(span.site) ?? 'lent') : span.state,
          words: spanInWords(span),
        })),
      marks: marksOf.get(connection) ?? [],
    }))
}

const spanInWords = (span: TimelineSpan): string => {
  const { connection, state, from, to, loan, site, detail, isOpen, beforeMillis } = span
  return [
    `#${connection} ${state === 'half-closed' ? 'lent, and its peer has gone' : state}`,
    `${millisInWords(to - from)}${isOpen ? ' so far' : ''}${earlier(beforeMillis)}`,
    loan === undefined ? '' : `loan ${loan}`,
    detail ?? '',
    site === undefined ? '' : `taken at ${site}`,
  ]
    .filter(part => part !== '')
    .join(', ')
}

const earlier = (millis: number | undefined): string =>
  millis === undefined ? '' : `, and ${millisInWords(millis)} before the recording`

/** Was it more than an attempt to connect that has ended? */
const isMade = ({ state, isOpen }: TimelineSpan): boolean => state !== 'connecting' || isOpen === true

const failedBar = (span: TimelineSpan): Bar => ({
  ...{ from: span.from, to: span.to, look: 'failed-connect', label: 'failed' },
  words: `a connect that failed, ${millisInWords(span.to - span.from)}`,
})

/** Connects that fail in the same way, again and again, are told once. */
function failuresIn(marks: readonly TimelineMark[]): TimelineMark[] {
  const first = new Map<string, { mark: TimelineMark; times: number }>()
  for (const mark of marks) {
    if (mark.what !== 'create-failed') continue
    const known = first.get(mark.words)
    if (known === undefined) first.set(mark.words, { mark, times: 1 })
    else known.times += 1
  }
  return [...first.values()].map(({ mark, times }) =>
    times === 1 ? mark : { ...mark, words: `${mark.words}, ${times} times from here on` },
  )
}

/** Puts bars that overlap into different rows. */
function lanesOf(bars: readonly Bar[], most: number): { rows: Row[]; more: number } {
  const lanes: { end: number; bars: Bar[] }[] = []
  let more = 0
  for (const bar of bars.toSorted((a, b) => a.from - b.from)) {
    let lane = lanes.find(({ end }) => end <= bar.from)
    if (lane === undefined) {
      if (lanes.length >= most) {
        more += 1
        continue
      }
      lane = { end: 0, bars: [] }
      lanes.push(lane)
    }
    lane.end = bar.to
    lane.bars.push(bar)
  }
  return { rows: lanes.map(lane => ({ label: '', bars: lane.bars, marks: [] })), more }
}

function waitBar({ from, to, site, connection, error, isOpen, beforeMillis }: TimelineWait): Bar {
  const outcome =
    error !== undefined
      ? `ended with ${error}`
      : connection !== undefined
        ? `then got #${connection}`
        : isOpen
          ? 'and still waits'
          : ''
  const words = [
    `an acquire waited ${millisInWords(to - from)}${earlier(beforeMillis)}`,
    outcome,
    site === undefined ? '' : `called at ${site}`,
  ]
  return {
    ...{ from, to, look: error === undefined ? 'waiting' : 'failed' },
    label: error ?? siteName(site) ?? 'waits',
    words: words.filter(part => part !== '').join(', '),
  }
}

/** The function of a call site: `getBar (/srv/app.js:3:4)` is `getBar`. */
const siteName = (site: string | undefined): string | undefined =>
  /^(?:async )?([^\s(]+) \(/.exec(site ?? '')?.[1]

export const millisInWords = (millis: number): string =>
  millis < 1000
    ? `${Number(millis.toFixed(millis < 10 ? 1 : 0))} ms`
    : `${Number((millis / 1000).toFixed(2))} s`

/** A step of a scale that gives about so many marks: 1, 2 or 5 times a power of ten. */
export function niceStep(millis: number, marks: number): number {
  const rough = millis / marks
  const power = 10 ** Math.floor(Math.log10(rough))
  return (rough / power < 1.5 ? 1 : rough / power < 3.5 ? 2 : rough / power < 7.5 ? 5 : 10) * power
}

export const WHAT: Readonly<Record<TimelineMark['what'], string>> = {
  deadlock: 'deadlock broken',
  leak: 'looks forgotten',
  shed: 'load shed',
  breaker: 'breaker',
  'create-failed': 'connecting failed',
  'half-close': 'its peer has gone',
}
