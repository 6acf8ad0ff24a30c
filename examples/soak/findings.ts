import type { PoolStats } from '../../src/index.ts'
import type { BankResult } from './bank.ts'
import type { Kill } from './killer.ts'
import type { Kind, Ledger } from './ledger.ts'
import type { PoolWatch } from './pool-watch.ts'
import type { QueueResult } from './queue.ts'
import type { Troubles } from './troubles.ts'
import type { VisitsResult } from './users.ts'

/**
 * How long the death of a connection may be in flight. The server closes before it answers CLIENT KILL, so its FIN
 * has then left; through the loopback it is in our kernel at once, and the next turn of the event loop hears of it.
 * Milliseconds.
 */
export const FIN_MILLIS = 2

/** What became of operations whose connection failed under them. */
export interface CutOffs {
  readonly total: number
  /** Killed after the connection had been lent. */
  readonly whileLent: number
  /** Lent between the order to kill it and `FIN_MILLIS` after the server's answer. */
  readonly finInFlight: number
  /** Dead for longer when it was lent, as in a blocked loop that could not hear of it: how long, in milliseconds. */
  readonly unheard: readonly number[]
  /** Lent although the event loop had heard of its death: how long before, in milliseconds. */
  readonly lentDead: readonly number[]
  /** Failed without having been killed. */
  readonly unexplained: readonly string[]
}

export interface Waits {
  readonly count: number
  /** Those that did not get a connection at once. */
  readonly waited: number
  readonly median: number
  readonly p99: number
  readonly max: number
}

/** Everything that was measured. */
export interface Findings {
  readonly seconds: number
  readonly people: Readonly<Record<'users' | 'bankers' | 'producers' | 'consumers', number>>
  readonly troubles: Omit<Troubles, 'kills'> & { readonly kills: number }
  readonly pool: {
    readonly connects: number
    readonly destroys: Readonly<Record<string, number>>
    readonly waits: Waits
    readonly breakerOpened: number
    readonly stats: PoolStats
  }
  readonly noticed: {
    readonly operations: number
    readonly served: Readonly<Record<Kind, number>>
    readonly cutOff: CutOffs
    readonly retried: number
    readonly givenUp: number
    readonly conflicts: number
    readonly refused: Readonly<Record<string, number>>
    readonly wrong: readonly string[]
    readonly hung: readonly string[]
  }
  readonly visits: VisitsResult
  readonly bank: BankResult
  readonly queue: QueueResult
  /** By the pool's events, just before it was closed. */
  readonly owned: { readonly connects: number; readonly destroyed: number; readonly size: number }
  /** After it was closed: by Node's own account, and by the server's. */
  readonly sockets: { readonly opened: number; readonly closed: number; readonly seenByServer: number }
  readonly closeError: string | undefined
  readonly report: string
}

export interface Measurements
  extends Pick<
    Findings,
    'seconds' | 'people' | 'visits' | 'bank' | 'queue' | 'owned' | 'sockets' | 'closeError' | 'report'
  > {
  readonly troubles: Troubles
  readonly watch: PoolWatch
  readonly ledger: Ledger
  readonly hung: readonly string[]
  readonly stats: PoolStats
}

export function findingsOf({ troubles, watch, ledger, hung, stats, ...rest }: Measurements): Findings {
  const { operations, served, retried, givenUp, conflicts, refused, wrong } = ledger
  return {
    ...rest,
    troubles: { ...troubles, kills: troubles.kills.length },
    pool: {
      connects: watch.connects,
      destroys: Object.fromEntries(watch.destroys),
      waits: waitsOf(watch.waits),
      breakerOpened: watch.breakerOpened,
      stats,
    },
    noticed: {
      operations,
      served,
      cutOff: judge(ledger.cutOff, troubles.kills),
      retried,
      givenUp,
      conflicts,
      refused: Object.fromEntries(refused),
      wrong,
      hung,
    },
  }
}

/** Sets each failure against the kill of its connection. */
export function judge(cutOff: Ledger['cutOff'], kills: readonly Kill[]): CutOffs {
  const killOf = new Map(kills.map(kill => [kill.name, kill]))
  const unheard: number[] = []
  const lentDead: number[] = []
  const unexplained: string[] = []
  let whileLent = 0
  let finInFlight = 0
  for (const { kind, connection, loan, message } of cutOff) {
    const kill = killOf.get(connection)
    if (kill === undefined || loan === undefined)
      unexplained.push(`${kind} on ${connection || 'no connection'}: ${message}`)
    else if (loan.at < kill.sentAt) whileLent += 1
    else if (loan.at <= kill.answeredAt + FIN_MILLIS) finInFlight += 1
    else if (loan.heardUntil <= kill.answeredAt + FIN_MILLIS) unheard.push(loan.at - kill.answeredAt)
    else lentDead.push(loan.at - kill.answeredAt)
  }
  return { total: cutOff.length, whileLent, finInFlight, unheard, lentDead, unexplained }
}

function waitsOf(waits: readonly number[]): Waits {
  const sorted = [...waits].sort((a, b) => a - b)
  const at = (share: number): number => sorted[Math.ceil(share * sorted.length) - 1] ?? 0
  return {
    count: sorted.length,
    waited: sorted.filter(millis => millis > 0).length,
    median: at(0.5),
    p99: at(0.99),
    max: at(1),
  }
}

/** Which of the pool's promises these findings break; each in words. */
export function brokenPromises(findings: Findings): string[] {
  const { noticed, visits, bank, queue, owned, sockets, pool, closeError } = findings
  const { unexplained, lentDead } = noticed.cutOff
  const counts = (name: string, { confirmed, unknown, counted }: VisitsResult): [boolean, string] => [
    counted >= confirmed && counted <= confirmed + unknown,
    `${name}: ${confirmed} confirmed and ${unknown} of unknown outcome, but the server counted ${counted}`,
  ]
  const promises: [kept: boolean, otherwise: string][] = [
    [
      bank.total === bank.expectedTotal,
      `the accounts hold ${bank.total} in all instead of ${bank.expectedTotal}`,
    ],
    counts('transfers', bank),
    counts('visits', visits),
    [queue.twice === 0, `${queue.twice} jobs were consumed twice`],
    [
      queue.lost <= queue.popsCutOff,
      `${queue.lost} jobs vanished, but only ${queue.popsCutOff} BLPOPs were cut off`,
    ],
    [noticed.hung.length === 0, `somebody hung: ${noticed.hung.join('; ')}`],
    [noticed.wrong.length === 0, `wrong answers: ${noticed.wrong.slice(0, 5).join('; ')}`],
    [
      unexplained.length === 0,
      `connections failed that nobody had killed: ${unexplained.slice(0, 5).join('; ')}`,
    ],
    [lentDead.length === 0, `${lentDead.length} connections were lent although they were known to be dead`],
    [
      owned.connects === owned.destroyed + owned.size,
      `${owned.connects} connections made, but ${owned.destroyed} destroyed and ${owned.size} owned`,
    ],
    [closeError === undefined, `the pool did not close: ${closeError}`],
    [
      Object.values(pool.destroys).reduce((sum, count) => sum + count, 0) === pool.connects,
      `${pool.connects} connections made and not as many destroyed after close()`,
    ],
    [
      sockets.opened === sockets.closed,
      `${sockets.opened} sockets opened, ${sockets.closed} closed after close()`,
    ],
    [sockets.seenByServer === 0, `the server still has ${sockets.seenByServer} of our connections`],
  ]
  return promises.filter(([kept]) => !kept).map(([, otherwise]) => otherwise)
}
