/*
 * A random program: what a service does to its pool, and what happens to its server meanwhile. It is made from a seed, and
 * then is plain data, so that it can be made shorter and printed.
 */

import type { PoolOptions } from '../../src/api/options/options.ts'
import { Chance } from '../support/random.ts'

/** What always happens. */
const WORK = ['use', 'sleep', 'release'] as const
/** Each of these is switched off in some of the programs. */
const KINDS = [
  ...[
    'acquire',
    'lease',
    'destroy',
    'abort',
    'invalidate',
    'failing use',
    'hurried',
    'hang up',
    'stale release',
  ],
  ...['block', 'slow release', 'long sleep', 'resize', 'purge', 'clear', 'crowd', 'busy', 'rush'],
  ...['refuse', 'stop', 'kill', 'crash', 'freeze', 'partition', 'silence', 'restart', 'recover'],
  ...[
    'endAll',
    'resetAll',
    'end one',
    'unasked',
    'latency',
    'idle limit',
    'connection limit',
    'late fault',
    'end in turn',
  ],
] as const

/** An operation, and the ranges of its two numbers. */
type Part = readonly [op: string, a: readonly [number, number], b: readonly [number, number]]
const ANY = [0, 1000] as const

/** What tends to come together, and seldom does by chance: inserted in some of the programs. */
const SCENES: readonly (readonly Part[])[] = [
  // A server shuts down, connection by connection, while the process is busy.
  [
    ['crowd', [2, 6], [0, 50]],
    ['sleep', [60, 120], [1, 2]],
    ['busy', [15, 40], [1, 2]],
    ['end in turn', [0, 20], [2, 12]],
    ['rush', [0, 20], [7, 30]],
    ['sleep', ANY, ANY],
  ],
  [
    ['crowd', ANY, ANY],
    ['sleep', ANY, ANY],
    ['late fault', [0, 40], ANY],
    ['rush', ANY, ANY],
    ['rush', ANY, ANY],
  ],
  // It comes back, and is gone again.
  [
    ['stop', ANY, ANY],
    ['use', ANY, ANY],
    ['recover', ANY, ANY],
    ['crowd', ANY, ANY],
    ['late fault', [0, 40], ANY],
    ['block', ANY, ANY],
  ],
]

export type Op = string

/** An operation and two numbers below 1000, whose meaning is the operation's. */
export type Step = readonly [op: Op, a: number, b: number]

export interface Program {
  readonly seed: number
  readonly options: PoolOptions
  /** `destroy` of the factory leaves the socket open. */
  readonly lazy?: boolean
  /** The kernel cannot be asked about a socket, as on Windows. */
  readonly blind?: boolean
  /** The server speaks first. */
  readonly greets?: boolean
  /** Connections are reset on return, by a request. */
  readonly resets?: boolean
  readonly steps: readonly Step[]
}

const STEPS = 120

export function programOf(seed: number, count = STEPS): Program {
  const chance = new Chance(seed)
  const ops: Op[] = WORK.flatMap(op => Array.from({ length: 3 }, () => op))
  for (const kind of KINDS) {
    const weight = chance.oneIn(2) ? 0 : 1 + chance.below(3)
    for (let copy = 0; copy < weight; copy += 1) ops.push(kind)
  }
  const options = optionsOf(chance)
  const step = (op: Op): Step => [op, chance.below(1000), chance.below(1000)]
  const within = ([from, until]: readonly [number, number]): number => from + chance.below(until - from)
  const part = ([op, a, b]: Part): Step => [op, within(a), within(b)]
  const steps = Array.from({ length: count }, () => step(chance.pick(ops)))
  for (const scene of SCENES)
    if (chance.oneIn(4)) steps.splice(chance.below(count), scene.length, ...scene.map(part))
  return {
    seed,
    options,
    lazy: chance.oneIn(4),
    blind: chance.oneIn(4),
    greets: chance.oneIn(3),
    resets: chance.oneIn(5),
    steps,
  }
}

function optionsOf(chance: Chance): PoolOptions {
  const max = 1 + chance.below(5)
  const acquireTimeoutMillis = chance.pick([300, 1000, 5000])
  return {
    max,
    min: chance.oneIn(2) ? 0 : chance.below(max + 1),
    fifo: chance.oneIn(2),
    acquireTimeoutMillis,
    createTimeoutMillis: chance.pick([300, 2000]),
    validateTimeoutMillis: chance.pick([100, 300]),
    destroyTimeoutMillis: 500,
    testOnBorrow: chance.oneIn(4),
    ...(chance.oneIn(5) ? { testOnReturn: true } : {}),
    ...(chance.oneIn(3) ? { idleTimeoutMillis: chance.pick([500, 10_000]) } : serverIdleTimeout(chance)),
    ...(chance.oneIn(5) ? { softIdleTimeoutMillis: 400, evictionRunIntervalMillis: 150 } : {}),
    ...(chance.oneIn(3) ? { validateAfterIdleMillis: chance.pick([0, 200]) } : {}),
    ...(chance.oneIn(4) ? { maxLifetimeMillis: 20_000 } : {}),
    ...(chance.oneIn(5) ? { maxUses: 1 + chance.below(4) } : {}),
    ...(chance.oneIn(4) ? { unhealthyAfterMillis: 500 } : {}),
    ...(chance.oneIn(4) ? { stuckMillis: 1000 } : {}),
    ...(chance.oneIn(5) ? { maxWaitingClients: chance.below(6) } : {}),
    ...(chance.oneIn(5) ? { earlyRefusal: true } : {}),
    ...(chance.oneIn(5) ? { shedding: { targetMillis: 20, intervalMillis: 200 } } : {}),
    ...(chance.oneIn(3) ? { maxConnecting: 1 + chance.below(3) } : {}),
  }
}

const serverIdleTimeout = (chance: Chance): PoolOptions =>
  chance.oneIn(3) ? { serverIdleTimeoutMillis: 900, keepWarm: chance.oneIn(2) } : {}

/** The program as a test. */
export function asTest(
  { seed, options, lazy, blind, greets, resets, steps }: Program,
  message: string,
): string {
  const traits = Object.entries({ lazy, blind, greets, resets }).filter(([, isSet]) => isSet)
  const lines = steps.map(([op, a, b]) => `      ['${op}', ${a}, ${b}],`)
  return [
    `test('${(message.split('\n')[0] ?? '').replaceAll("'", '"')}', async () => {`,
    '  await runProgram({',
    `    seed: ${seed},`,
    `    options: ${JSON.stringify(options)},`,
    ...traits.map(([name, value]) => `    ${name}: ${value},`),
    '    steps: [',
    ...lines,
    '    ],',
    '  })',
    '})',
  ].join('\n')
}
