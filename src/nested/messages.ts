import { numbersOf, PoolError, type PoolErrorDetails } from '../api/errors.ts'
import { firstFew } from '../api/messages/wording.ts'
import type { PoolStats } from '../api/stats.ts'
import { withoutStack } from '../runtime/stack-limit.ts'
import type { StackTrace } from '../runtime/stack-trace.ts'
import type { Knot, Lease, PoolNode } from './host.ts'

/** How many connections a pool needs so that tasks that take several connections each can always make progress. */
export const SIZING =
  'a pool is large enough for nested acquires when max ≥ tasks × (connections per task − 1) + 1'

const MARK = 'If its caller does not wait for it, mark it { detached: true }'

/** At most this many pools of a budget are named. */
const MOST_RIVALS = 5

const quoted = (pool: string): string => `'${pool}'`

function heldOf(leases: readonly Lease[]): string {
  const counts = new Map<string, number>()
  for (const lease of leases) {
    const name = quoted(lease.pool.name)
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  return [...counts].map(([name, count]) => `${count} of pool ${name}`).join(' and ')
}

function stacks(leases: readonly Lease[], asked: StackTrace | undefined): string {
  if (asked === undefined) return ''
  const held = leases.map(({ connection }) => {
    const where = connection.trace?.text || '    (not taken; the next time it will be, see captureStacks)'
    return `Held since the acquire\n${where}`
  })
  return `\n${[...held, `Asked for\n${asked.text}`].join('\n')}`
}

/** Who holds what and who waits for what: one line per pool of the knot, and an arrow back to the first. */
function circle(knot: Knot, first: string): string {
  const isFirst = ({ name }: PoolNode): number => Number(name === first)
  const pools = [...new Set(knot.map(({ pool }) => pool))].sort((a, b) => isFirst(b) - isFirst(a))
  const lines = pools.map(pool => {
    const targets = new Map<PoolNode, number>()
    for (const { pool: target, blocks } of knot) {
      if (blocks.some(held => held.pool === pool || pool.rivals().includes(held.pool)))
        targets.set(target, (targets.get(target) ?? 0) + 1)
    }
    const waiting = [...targets].map(([target, count]) => `${count} waiting for ${quoted(target.name)}`)
    const rivals = pool.rivals().map(({ name, lent }) => `${quoted(name)} (${lent})`)
    const budget =
      rivals.length === 0
        ? ''
        : ` and ${isMaxTotal(pool) ? 'maxTotal of the cluster' : 'its budget'} used up by ${firstFew(rivals, MOST_RIVALS, ', ')}`
    return `pool ${quoted(pool.name)}: ${pool.lent} lent${budget}, all held by ${waiting.join(' and ')}`
  })
  if (lines.length === 1) return `  ┌► ${lines[0]}\n  └──┘`
  return lines
    .map((line, index) => `  ${index === 0 ? '┌►' : index === lines.length - 1 ? '└─' : '│ '} ${line}`)
    .join('\n')
}

const isMaxTotal = (pool: PoolNode): boolean => pool.sharedLimit?.() === 'maxTotal'

function advice(knot: Knot): string {
  const [first, ...others] = new Set(knot.map(({ pool }) => pool))
  if (first === undefined || others.length > 0)
    return 'Take one connection per task, or acquire from these pools in the same order everywhere'
  const shared = isMaxTotal(first) ? 'maxTotal' : 'the max of the budget'
  const limit = first.rivals().length > 0 ? shared : 'max'
  return `Take one connection per task, or set ${limit} ≥ tasks × (connections per task − 1) + 1`
}

export function deadlock(
  stats: PoolStats,
  leases: readonly Lease[],
  knot: Knot,
  details: Required<Pick<PoolErrorDetails, 'heldStacks' | 'waitStack' | 'pools' | 'waitedMillis'>>,
): PoolError {
  const error = withoutStack(
    () =>
      new PoolError(
        'POOL_DEADLOCK',
        `deadlock in pool '${stats.name}', ended by this rejection after ${Math.round(details.waitedMillis)} ms ` +
          `${numbersOf(stats)}: this acquire waited while its caller held ${heldOf(leases)}, and\n${circle(knot, stats.name)}\n` +
          `${advice(knot)}. ${MARK}`,
        { pool: stats.name, stats, ...details },
      ),
  )
  error.stack = `${error.name}: ${error.message}${details.waitStack === '' ? '' : `\n${details.waitStack}`}`
  return error
}

export function nestedAcquire(
  stats: PoolStats,
  leases: readonly Lease[],
  asked: StackTrace | undefined,
): PoolError {
  const error = withoutStack(
    () =>
      new PoolError(
        'POOL_NESTED_ACQUIRE',
        `nested acquire in pool '${stats.name}' refused, as nested is 'forbid' ${numbersOf(stats)}: its caller ` +
          `holds ${heldOf(leases)} already. Pass that connection on, or release it first. ${MARK}` +
          stacks(leases, asked),
        {
          pool: stats.name,
          stats,
          heldStacks: asked === undefined ? [] : leases.map(({ connection }) => connection.trace?.text ?? ''),
          waitStack: asked?.text ?? '',
          pools: [...new Set(leases.map(({ pool }) => pool.name))],
        },
      ),
  )
  if (asked !== undefined) error.stack = `${error.name}: ${error.message}\n${asked.text}`
  return error
}
