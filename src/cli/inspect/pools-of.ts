import type { PoolReport } from '../../diagnostics/pool-report.ts'
import { type Inspector, resultOf } from './inspector.ts'

/** A pool, or a client that many have one of, as the inspector finds it in a process. */
export interface PoolState {
  readonly kind: 'lifeguard-pool' | 'generic-pool' | 'tarn' | 'pg-pool'
  readonly name: string
  readonly max: number
  readonly size: number
  readonly lent: number
  readonly waiting: number
  /** Changes with every loan that begins or ends. */
  readonly moved: string
  /** Of what is lent, how much has work under way; undefined where that is not known. */
  readonly atWork?: number
  /** What the pool itself says, as text and as data. */
  readonly report?: string
  readonly json?: PoolReport
}

/** Clients of ioredis that lead to one server. */
export interface ClientsState {
  readonly server: string
  readonly clients: number
  readonly ready: number
  /** How many of them wait for an answer. */
  readonly waiting: number
  /** Commands that no answer has come to, and the name of one of them. */
  readonly unanswered: number
  readonly command?: string
  /** Commands that wait for a connection, while there is none. */
  readonly queued: number
  readonly moved: string
}

export interface ProcessState {
  readonly pools: readonly PoolState[]
  readonly clients: readonly ClientsState[]
}

/*
 * What follows in quotes runs in the other process. It reads, and calls nothing but getters of counts and report().
 */

/** Ours hang on globalThis. Their engines, generic-pools without a limit, are left out. */
const OURS = `[...(globalThis[Symbol.for('lifeguard-pool:pools')] ?? [])].flatMap(ref => {
  const pool = ref.deref()
  if (pool === undefined) return []
  const report = pool.reportJson()
  const { stats } = report
  return [{
    kind: 'lifeguard-pool', name: pool.name, max: pool.max, size: pool.size, lent: pool.borrowed, waiting: pool.pending,
    moved: [stats.totals.acquired, stats.totals.timedOut, report.leases.map(({ connection, loan }) => connection + '.' + loan)].join(),
    atWork: report.leases.some(({ busy }) => busy !== undefined) ? report.leases.filter(({ busy }) => busy).length : undefined,
    report: pool.report(), json: report,
  }]
})`

/** The constructors whose objects are looked for. */
const PROTOTYPES = `(() => {
  const builtin = name => process.getBuiltinModule?.(name) ?? require(name)
  const found = [builtin('node:events').EventEmitter.prototype]
  for (const [file, { exports }] of Object.entries(builtin('node:module')._cache)) {
    const path = file.replaceAll('\\\\', '/')
    if (path.endsWith('/tarn/dist/Pool.js')) found.push(exports.Pool?.prototype)
    if (path.endsWith('/ioredis/built/Redis.js')) found.push(exports.default?.prototype)
  }
  return found.filter(Boolean)
})()`

const SUMMARY = `function () {
  const pools = []
  const clients = new Map()
  const unanswered = client => client?.commandQueue?.length
  const queued = client => client?.offlineQueue?.length ?? 0
  const first = client => client.commandQueue.peekFront?.()?.command?.name ?? ''
  const atWork = all => all.some(one => unanswered(one) !== undefined) ? all.filter(one => unanswered(one) + queued(one) > 0).length : undefined
  for (const one of this) {
    try {
      if (one._resourceLoans instanceof Map && one._allObjects instanceof Set && one._config !== undefined) {
        const lent = [...one._resourceLoans.keys()]
        if (one.max === Number.MAX_SAFE_INTEGER) continue
        const times = [...one._allObjects].map(each => [each.lastBorrowTime, each.lastReturnTime].join())
        pools.push({
          kind: 'generic-pool', name: '', max: one.max, size: one.size, lent: one.borrowed, waiting: one.pending,
          moved: times.sort().join(';'), atWork: atWork(lent),
        })
      } else if (typeof one.numPendingAcquires === 'function' && Array.isArray(one.used)) {
        pools.push({
          kind: 'tarn', name: '', max: one.max, size: one.numUsed() + one.numFree(), lent: one.numUsed(), waiting: one.numPendingAcquires(),
          moved: one.used.map(each => each.timestamp).join(),
        })
      } else if (Array.isArray(one._pendingQueue) && Array.isArray(one._clients)) {
        pools.push({
          kind: 'pg-pool', name: '', max: one.options.max, size: one.totalCount, lent: one.totalCount - one.idleCount, waiting: one.waitingCount,
          moved: one._clients.map(each => each._poolUseCount).join(),
        })
      } else if (Object.hasOwn(one, 'commandQueue') && one.commandQueue !== undefined && one.options !== undefined && typeof one.status === 'string') {
        const server = one.options.path ?? one.options.host + ':' + one.options.port
        const known = clients.get(server) ?? { server, clients: 0, ready: 0, waiting: 0, unanswered: 0, queued: 0, moved: '' }
        clients.set(server, known)
        known.clients += 1
        if (one.status === 'ready') known.ready += 1
        const isBlocking = /^(?:b[lrz]|x?readgroup|xread|wait|(?:p|s)?subscribe|monitor)/i.test(first(one))
        const waits = isBlocking ? 0 : (unanswered(one) ?? 0)
        known.unanswered += waits
        known.queued += queued(one)
        if (waits > 0) known.waiting += 1
        if (waits > 0) known.command ??= first(one)
        known.moved += (one.stream?.bytesRead ?? '') + ','
      }
    } catch {}
  }
  return { pools, clients: [...clients.values()] }
}`

/**
 * All pools that can be found, and the clients of ioredis; again at every call. The heap is searched the first time only,
 * as that takes a moment of the process: later calls look at the same objects of other packages again.
 */
export function poolsIn(inspector: Inspector): () => Promise<ProcessState> {
  let found: readonly string[] | undefined
  return async () => {
    const pools = (await inspector.evaluate(OURS)) as PoolState[]
    const clients: ClientsState[] = []
    found ??= await searchHeap(inspector)
    for (const objectId of found) {
      const answer = await inspector.call('Runtime.callFunctionOn', {
        objectId,
        functionDeclaration: SUMMARY,
        returnByValue: true,
      })
      const seen = resultOf(answer) as { pools: PoolState[]; clients: ClientsState[] }
      pools.push(...seen.pools)
      clients.push(...seen.clients)
    }
    return { pools, clients }
  }
}

/** @returns the lists of the objects that may be pools or clients. The process keeps them until the inspector is left. */
async function searchHeap(inspector: Inspector): Promise<string[]> {
  const prototypes = await inspector.call('Runtime.evaluate', {
    expression: PROTOTYPES,
    includeCommandLineAPI: true,
  })
  resultOf(prototypes)
  const { objectId } = prototypes.result as { objectId: string }
  const { result } = await inspector.call('Runtime.getProperties', { objectId, ownProperties: true })
  const lists: string[] = []
  for (const { name, value } of result as { name: string; value?: { objectId?: string } }[]) {
    if (!/^\d+$/.test(name) || value?.objectId === undefined) continue
    const query = await inspector.call('Runtime.queryObjects', { prototypeObjectId: value.objectId })
    lists.push((query as { objects: { objectId: string } }).objects.objectId)
  }
  return lists
}
