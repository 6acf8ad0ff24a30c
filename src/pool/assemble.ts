import type { Factory } from '../api/factory.ts'
import type { ResolvedOptions } from '../api/options/resolve-options.ts'
import { newTotals } from '../api/stats.ts'
import type { SharedBudget } from '../connecting/budget.ts'
import { Connector } from '../connecting/connector.ts'
import { ControlPlace } from '../connecting/control-place.ts'
import type { PoolContext } from '../connecting/pool-context.ts'
import { PoolShare } from '../connecting/pool-share.ts'
import { handlesOf } from '../connections/handles.ts'
import { Liveness } from '../connections/liveness.ts'
import { ServerIdleTimeout } from '../connections/server-idle-timeout.ts'
import type { Slot } from '../connections/slot.ts'
import { Slots } from '../connections/slots.ts'
import { holderInWords, silenceAmong } from '../diagnostics/findings.ts'
import type { RecentProblems } from '../diagnostics/recent-problems.ts'
import { leasesOf, type ReportView } from '../diagnostics/report.ts'
import { statsOf } from '../diagnostics/stats.ts'
import { Evictor } from '../health/evictor.ts'
import { SocketReaper } from '../health/socket-reaper.ts'
import { Validator } from '../health/validator.ts'
import type { NestingHost } from '../nested/host.ts'
import { Nesting } from '../nested/nesting.ts'
import { LoadShedder } from '../queue/load-shedder.ts'
import { ServiceRate } from '../queue/service-rate.ts'
import { WaitQueue } from '../queue/wait-queue.ts'
import type { Waiter } from '../queue/waiter.ts'
import type { PoolEmitter } from '../runtime/emitter.ts'
import { Kinds } from '../runtime/kinds.ts'
import { log } from '../runtime/log/log.ts'
import { StackSampler } from '../runtime/stack-sampler.ts'
import { newHookDeadlines } from '../runtime/time/attempt.ts'
import type { Clock } from '../runtime/time/clock.ts'
import { stallMonitorOf } from '../runtime/time/stall-monitor.ts'
import { Stalls } from '../runtime/time/stalls.ts'
import { Times } from '../runtime/time/times.ts'
import { Acquiring, type EntryPoints } from './acquire.ts'
import { LeakDetector } from './leak-detector.ts'
import { Lending } from './lending.ts'
import { Lifecycle } from './lifecycle.ts'
import { Rejections } from './rejections.ts'
import { Releasing } from './release.ts'
import { Returns } from './returns.ts'

/** @internal Replaces time and randomness in tests. */
export interface Environment {
  readonly clock: Clock
  readonly random: () => number
}

/** The parts of a pool that its public class calls. */
export interface Parts<T> {
  readonly context: PoolContext<T>
  readonly connector: Connector<T>
  readonly lifecycle: Lifecycle<T>
  readonly acquiring: Acquiring<T>
  readonly releasing: Releasing<T>
  /** The place of a control connection. A pool that is not asked for it has none. */
  readonly controlPlace: () => ControlPlace<T>
  /** The data that reports are made from. */
  readonly view: ReportView<T>
}

/**
 * Creates the parts of a pool from the bottom up, and connects them. All callbacks from lower to higher parts are set
 * in one place, once every part exists.
 *
 * @param events - the pool itself, which emits the events
 * @param entries - the methods that the user calls
 */
export function assemble<T>(
  factory: Factory<T>,
  options: ResolvedOptions,
  { clock, random }: Environment,
  events: PoolEmitter<T>,
  problems: RecentProblems,
  entries: EntryPoints,
): Parts<T> {
  const { name } = options
  const hasExactTimes = clock.recent === undefined || needsExactTime(factory, options)
  const loanNow = (hasExactTimes ? undefined : clock.recent) ?? (() => clock.now())
  const sampler = new StackSampler(options, clock.now())
  const stalls = new Stalls(stallMonitorOf(clock))
  const slots = new Slots<T>(handlesOf(factory))
  const queue = new WaitQueue<T>(options, clock, stalls, hasExactTimes)
  if (options.shedding !== undefined)
    queue.loadShedder = new LoadShedder(options.shedding, queue, clock, stalls)
  if (options.earlyRefusal) queue.serviceRate = new ServiceRate(stalls)
  const totals = newTotals()
  const serverIdleTimeout = new ServerIdleTimeout(options.serverIdleTimeoutMillis, options.halfClose === 'on')
  // Called once per loan, so parts that a pool does not need are left out.
  const hasSockets = factory.socket !== undefined && options.halfClose === 'on'
  const asksIdleTimeout = hasSockets && factory.serverIdleTimeout !== undefined
  const shared = {
    ...{ factory, options, clock, loanNow, random, stalls, sampler, events, slots, queue, totals },
    hookDeadlines: newHookDeadlines(clock, stalls),
    liveness: new Liveness(factory, options, clock, events, serverIdleTimeout),
    serverIdleTimeout,
    times: new Times(),
    kinds: { destroyed: new Kinds(), dirty: new Kinds(), createErrors: new Kinds() },
    stats: () => statsOf(view, clock.now()),
    identity: () => events.identity(),
    onChange: () => {
      lifecycle.checkWaits()
      if (hasSockets) reaper.start()
      if (asksIdleTimeout) evictor.askWhenIdle()
      connector.capacity.changed()
    },
  }
  const host: NestingHost<T> = {
    ...shared,
    ...(options.budget === undefined
      ? {}
      : {
          rivals: () => connector.capacity.share?.rivals(),
          sharers: () => connector.capacity.share?.sharers() ?? [],
        }),
    waits: () => queue.waiters(),
    waiting: () => queue.waiting,
    hasTrafficWithin: (slot, now, millis) => ((slot as Slot<T>).quietMillis(now) ?? millis) < millis,
    reject: (wait, error) => {
      const waiter = wait as Waiter<T>
      waiter.ownError = error
      return queue.reject(waiter, 'deadlocked')
    },
  }
  const context: PoolContext<T> = {
    ...shared,
    nesting: options.nested === 'allow' ? undefined : new Nesting<T>(host, stalls),
  }
  const connector = new Connector(context)
  if (options.budget !== undefined)
    connector.capacity.share = new PoolShare(options.budget as SharedBudget, context, connector)
  const validator = new Validator(context, connector)
  const lending = new Lending(context, connector, validator)
  const returns = new Returns(context, connector, validator, lending)
  const evictor = new Evictor(context, connector, validator)
  const reaper = new SocketReaper(context, connector)
  const lifecycle = new Lifecycle(context, connector, lending, returns, evictor, reaper, entries)
  const leaks = new LeakDetector(context, returns)
  const releasing = new Releasing(context, connector, returns, entries)
  const rejections = new Rejections(context, connector, problems)
  const acquiring = new Acquiring(context, connector, lending, lifecycle, releasing, rejections, entries)
  const view: ReportView<T> = {
    ...{
      options,
      slots,
      queue,
      totals,
      stalls,
      problems,
      times: shared.times,
      kinds: shared.kinds,
    },
    breaker: connector.breaker,
    halfClose: context.liveness.counts,
    busy: factory.busy?.bind(factory),
    unused: slot => leaks.unusedMillis(slot),
    isForgotten: slot => leaks.isForgotten(slot),
    get state() {
      return lifecycle.state
    },
    get generation() {
      return connector.generation
    },
    get serverTimeout() {
      return context.serverIdleTimeout.stats
    },
  }
  const holders = (): string[] => leasesOf(view, clock.now()).map(holderInWords)

  // The callbacks from lower to higher parts, beside `stats` and `onChange`, which all parts share.
  queue.listener = rejections
  rejections.holders = holders
  rejections.silence = () => silenceAmong(leasesOf(view, clock.now()))
  lifecycle.holders = holders
  lifecycle.onClosed = () => {
    leaks.stop()
    context.nesting?.detector.stop()
    connector.capacity.share?.leave()
  }
  connector.onConnected = slot => {
    leaks.start()
    lending.connected(slot)
    evictor.plan()
  }
  validator.host = lending
  reaper.onStuck = (slot, detail) => returns.endStuck(slot, detail)
  slots.onFirstIdle = () => evictor.wake()
  slots.onMove = (slot, from) => {
    if (events.announcesStates)
      events.announce('state', { pool: name, connection: slot.id, from, state: slot.state })
  }
  context.liveness.onSuspicion = kind => {
    if (kind === 'closed') reaper.runNow()
    else if (factory.validate !== undefined) validator.validateSuspects(slots.idleSlots())
  }
  context.serverIdleTimeout.onChange = () => {
    evictor.plan()
    events.announce('server-timeout', { pool: name, ...context.serverIdleTimeout.stats })
  }
  stalls.onStall = millis => {
    if (log.stall.enabled) log.stall('%s: the event loop was blocked for %d ms', name, millis)
    events.announce('stall', { pool: name, millis })
  }
  const controlPlace = (): ControlPlace<T> => {
    const { capacity } = connector
    capacity.control ??= new ControlPlace(context, {
      get freePermits() {
        return capacity.freePermits
      },
      get missing() {
        return capacity.missing(connector.keepsMin)
      },
      get isOutOfBudget() {
        return capacity.isOutOfBudget
      },
      connectMore: () => connector.connectMore(),
      discard: (slot, reason, detail) => connector.discard(slot, reason, detail),
      ask: (slot, questions) => void validator.ask(slot, questions),
    })
    return capacity.control
  }
  return { context, connector, lifecycle, acquiring, releasing, view, controlPlace }
}

/**
 * Does anything depend on how long a connection has been idle or lent? If not, a less exact time will do: reading the
 * clock costs 40 ns.
 */
function needsExactTime<T>(factory: Factory<T>, options: ResolvedOptions): boolean {
  const { softIdleTimeoutMillis, leakThresholdMillis, serverIdleTimeoutMillis, shedding, earlyRefusal } =
    options
  const limits = [options.idleTimeoutMillis, options.validateAfterIdleMillis, options.maxLifetimeMillis]
  return (
    factory.expiresAt !== undefined ||
    (factory.socket !== undefined && options.halfClose === 'on') ||
    limits.some(Number.isFinite) ||
    softIdleTimeoutMillis > 0 ||
    leakThresholdMillis > 0 ||
    typeof serverIdleTimeoutMillis === 'number' ||
    shedding !== undefined ||
    earlyRefusal
  )
}
