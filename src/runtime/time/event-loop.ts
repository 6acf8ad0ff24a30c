import { outsideContext } from '../async-context.ts'
import { type Clock, type EventLoop, followTimers } from './clock.ts'
import { clearRealImmediate, setRealImmediate } from './fake-timers.ts'

const eachTurnRuns = new Set<() => void>()
let nextTurn: NodeJS.Immediate | undefined

function turned(): void {
  nextTurn = setRealImmediate?.(turned).unref()
  followTimers()
  for (const run of eachTurnRuns) run()
}

/** Node's event loop. */
const nodeLoop: EventLoop = {
  eachTurn(run) {
    eachTurnRuns.add(run)
    nextTurn ??= outsideContext(() => setRealImmediate?.(turned).unref())
    return () => {
      if (!eachTurnRuns.delete(run) || eachTurnRuns.size > 0) return
      clearRealImmediate(nextTurn)
      nextTurn = undefined
    }
  },
  metrics() {
    const timing = performance.nodeTiming as { uvMetricsInfo?: { loopCount: number; events: number } }
    return timing.uvMetricsInfo
  },
}

/**
 * Runs a function once in every turn of the clock's event loop, in the check phase, outside any async context. All
 * functions share one unref'd immediate. It neither wakes the loop nor keeps the process alive, so an idle process pays
 * nothing.
 *
 * @returns a function that stops it
 */
export const eachTurn = (clock: Clock, run: () => void): (() => void) =>
  (clock.loop ?? nodeLoop).eachTurn(run)

/**
 * How many turns the event loop has begun and how many events it has handled; `undefined` where Node does not provide
 * it.
 */
export const loopMetrics = (clock: Clock): ReturnType<EventLoop['metrics']> =>
  (clock.loop ?? nodeLoop).metrics()
