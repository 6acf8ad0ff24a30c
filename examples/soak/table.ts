import { brokenPromises, FIN_MILLIS, type Findings } from './findings.ts'

type Row = readonly [label: string, value: string | number, note?: string]

/** The findings for a person. */
export function tableOf(findings: Findings): string {
  return [
    section('What happened', whatHappened(findings)),
    section('What the pool saw and did', whatThePoolDid(findings)),
    section('What users noticed', whatUsersNoticed(findings)),
    section('The books', theBooks(findings)),
    verdict(findings),
  ].join('\n\n')
}

function verdict(findings: Findings): string {
  const broken = brokenPromises(findings)
  if (broken.length > 0) return `BROKEN PROMISES:\n${bullets(broken)}`
  const { unheard } = findings.noticed.cutOff
  if (unheard.length === 0) return 'Every promise was kept.'
  // Counts as broken once the pool asks the kernel before it lends; until then it knows what the loop has heard.
  return `Every promise was kept. One is still to come: dead connections lent before the loop had heard of it: ${unheard.length}.`
}

function whatHappened({ seconds, people, troubles }: Findings): Row[] {
  const { kills, rounds, block, purges, resize } = troubles
  const crowd = `${people.users} users, ${people.bankers} bankers, ${people.producers} producers, ${people.consumers} consumers`
  return [
    ['ran for', `${seconds.toFixed(1)} s`, crowd],
    ['connections killed by the server', kills, `in ${rounds} rounds of CLIENT KILL`],
    [
      'event loop blocked',
      block === undefined ? 'no' : millis(block.millis),
      `${block?.killed ?? 0} killed meanwhile`,
    ],
    ['purge()', times(purges), 'all connections to be replaced'],
    ['resize()', resize === undefined ? 'no' : `${resize.from} → ${resize.to}`, 'most connections'],
  ]
}

function whatThePoolDid({ pool }: Findings): Row[] {
  const { waits, stats } = pool
  const { stalls, totals } = stats
  return [
    ['connections made', pool.connects, `${totals.createErrors} attempts failed`],
    ...Object.entries(pool.destroys)
      .sort(([, a], [, b]) => b - a)
      .map(([reason, count]): Row => [`  destroyed: ${reason}`, count, REASONS[reason] ?? '']),
    ['acquires served', waits.count, `${waits.waited} of them had to wait`],
    ['  wait: median', millis(waits.median)],
    ['  wait: 99 of 100 less than', millis(waits.p99)],
    ['  wait: longest', millis(waits.max)],
    ['acquires timed out', totals.timeouts],
    [
      'stalls of the loop noticed',
      stalls.count,
      stalls.count === 0 ? 'none' : `${millis(stalls.longestMillis)} at the longest`,
    ],
    ['breaker opened', times(pool.breakerOpened)],
  ]
}

const REASONS: Readonly<Record<string, string>> = {
  'half-closed': 'the server had closed its side',
  broken: 'the socket had failed',
  generation: 'by purge()',
  surplus: 'by resize()',
  drain: 'by close(), at the end',
  invalid: 'did not answer a PING',
  dirty: 'was returned with unanswered work',
}

function whatUsersNoticed({ noticed }: Findings): Row[] {
  const { served, cutOff, retried, givenUp, refused, hung } = noticed
  const refusals = Object.entries(refused).map(([code, count]) => `${count} ${code}`)
  return [
    [
      'operations done',
      noticed.operations,
      Object.entries(served)
        .map(([kind, n]) => `${kind} ${n}`)
        .join(', '),
    ],
    ['failed, as their connection was killed', cutOff.total],
    ['  killed while it was lent', cutOff.whileLent],
    ['  lent just as it was killed', cutOff.finInFlight, `its FIN was at most ${FIN_MILLIS} ms old`],
    ['  dead when lent, the loop had not heard', cutOff.unheard.length, agesOf(cutOff.unheard)],
    ['  dead when lent, and it was known', cutOff.lentDead.length, agesOf(cutOff.lentDead)],
    ['  for no known reason', cutOff.unexplained.length],
    ['done again on another connection', retried, `${givenUp} given up`],
    ['refused by the pool', refusals.length === 0 ? 0 : refusals.join(', ')],
    ['wrong answers', noticed.wrong.length],
    ['hung', hung.length],
  ]
}

function theBooks({ visits, bank, queue, owned, sockets, noticed }: Findings): Row[] {
  return [
    [
      'money in all accounts',
      bank.total,
      `${bank.expectedTotal} at the start; ${noticed.conflicts} conflicts seen by WATCH`,
    ],
    [
      'transfers counted by the server',
      bank.counted,
      `${bank.confirmed} confirmed, ${bank.unknown} cut off in EXEC`,
    ],
    [
      'visits counted by the server',
      visits.counted,
      `${visits.confirmed} confirmed, ${visits.unknown} cut off in INCR`,
    ],
    [
      'jobs consumed',
      queue.consumed,
      `${queue.pushed} pushed, and ${queue.uncertainArrived} of ${queue.uncertain} cut off in RPUSH`,
    ],
    ['  consumed twice', queue.twice],
    ['  lost on the wire', queue.lost, `${queue.popsCutOff} BLPOPs were cut off`],
    ['before close(): made', owned.connects, `${owned.destroyed} destroyed + ${owned.size} owned`],
    [
      'after close(): sockets opened',
      sockets.opened,
      `${sockets.closed} closed; the server still sees ${sockets.seenByServer}`,
    ],
  ]
}

function section(title: string, rows: readonly Row[]): string {
  const body = rows.map(([label, value, note = '']) =>
    `  ${label.padEnd(40)} ${String(value).padStart(9)}  ${note}`.trimEnd(),
  )
  return [title, ...body].join('\n')
}

function bullets(lines: readonly string[]): string {
  return lines.map(line => `  - ${line}`).join('\n')
}

function millis(value: number): string {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`
}

function agesOf(ages: readonly number[]): string {
  if (ages.length === 0) return ''
  // Not Math.max(...ages): there may be more than a call takes arguments.
  return `its FIN was up to ${millis(ages.reduce((a, b) => Math.max(a, b)))} old`
}

function times(count: number): string {
  return count === 1 ? 'once' : `${count} times`
}
