import { simulate } from '../support/overload.ts'
let seed = 1
const random = () => { seed = (seed * 1103515245 + 12345) % 2147483648; return seed / 2147483648 }
for (const [name, options] of Object.entries({
  none: {},
  fifo: { shedding: { targetMillis: 50, intervalMillis: 2000 } },
  'fifo 500': { shedding: { targetMillis: 50, intervalMillis: 500 } },
  lifo: { shedding: { targetMillis: 50, intervalMillis: 2000, order: 'lifo' as const } },
  early: { earlyRefusal: true, acquireTimeoutMillis: 200 },
  'no early': { acquireTimeoutMillis: 200 },
})) {
  for (const offered of [0.9, 2]) {
  const t = performance.now()
  const { served, capacity, median, p99, fates } = await simulate({ options, connections: 10, serviceMillis: 20, offered: () => offered, millis: 30_000, random })
  const hows: Record<string, number> = {}
  let failWait = 0
  for (const f of fates) { hows[f.how] = (hows[f.how] ?? 0) + 1; if (f.how !== 'served') failWait = Math.max(failWait, f.waited) }
  console.log(name, offered, { goodput: served / capacity, median, p99, hows, failWait, ms: performance.now() - t })
  }
}
