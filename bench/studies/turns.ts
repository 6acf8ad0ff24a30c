/*
 * What the measure of stalls costs a turn of the event loop: turns driven as fast as they go, without and with it, in
 * turn; the least of each, in nanoseconds a turn, as the machine may have other things to do.
 *
 *     node .build/bench/studies/turns.js
 */
import { systemClock } from '../../src/runtime/time/clock.ts'
import { stallMonitorOf } from '../../src/runtime/time/stall-monitor.ts'

const TURNS = 200_000
const ROUNDS = 11

async function nanosATurn(): Promise<number> {
  const start = performance.now()
  for (let turn = 0; turn < TURNS; turn += 1) await new Promise(resolve => setImmediate(resolve))
  return ((performance.now() - start) / TURNS) * 1e6
}

// The clock tells nothing before the loop has waited once.
await new Promise(resolve => setTimeout(resolve, 10))
const without: number[] = []
const measured: number[] = []
for (let round = 0; round < ROUNDS; round += 1) {
  without.push(await nanosATurn())
  const leave = stallMonitorOf(systemClock).join({ add: () => {} })
  measured.push(await nanosATurn())
  leave()
}
const [bare, more] = [Math.min(...without), Math.min(...measured)]
process.stdout.write(
  `${process.version}: a turn ${bare.toFixed(0)} ns, measured ${more.toFixed(0)} ns: ${(more - bare).toFixed(0)} ns more\n`,
)
