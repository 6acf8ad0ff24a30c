import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Program, programOf } from './program.ts'
import { failureOf, runProgram } from './run-program.ts'
import { kindOf, shrink } from './shrink.ts'

/** The same ones in every run: new ones are for `npm run simulate`. */
const FIRST = Number(process.env.LIFEGUARD_SEED ?? 1)
const SEEDS = Number(process.env.LIFEGUARD_SEEDS ?? 60)

test('random programs with all faults break no invariant, and come to a good end once the faults cease', async t => {
  t.diagnostic(`seeds ${FIRST} to ${FIRST + SEEDS - 1}`)
  for (let seed = FIRST; seed < FIRST + SEEDS; seed += 1) {
    const failure = await failureOf(programOf(seed))
    if (failure !== undefined) assert.fail(`seed ${seed}: ${failure.kind}\n${failure.text}`)
  }
})

test('the same seed gives the same trace, another seed another', async () => {
  const hashes: string[] = []
  for (const seed of [11, 12, 11, 12]) hashes.push(await runProgram(programOf(seed)))
  assert.equal(hashes[0], hashes[2])
  assert.equal(hashes[1], hashes[3])
  assert.notEqual(hashes[0], hashes[1])
})

test('a program that fails is made as short as can be, and still fails in the same way', async () => {
  /** As if a purge while somebody sleeps long, and a kill after it, broke something. */
  const failing = async ({ steps }: Program): Promise<string | undefined> => {
    const purge = steps.findIndex(([op, a]) => op === 'purge' && a > 10)
    return purge >= 0 && steps.slice(purge).some(([op]) => op === 'kill')
      ? kindOf(new Error('12 broke'))
      : undefined
  }
  let seed = 0
  while ((await failing(programOf(seed))) === undefined) seed += 1
  const { steps, options } = await shrink(programOf(seed), failing)
  assert.deepEqual(
    steps.map(([op]) => op),
    ['purge', 'kill'],
  )
  assert.deepEqual(steps[1], ['kill', 0, 0])
  assert.deepEqual(options, {})
})

/* What random programs have found, made short. */

test('a FIN or RST behind a greeting that came during a stall is seen before the first loan', async () => {
  await runProgram({
    seed: 412,
    options: {},
    steps: [
      ['use', 0, 0],
      ['latency', 724, 0],
      ['restart', 229, 0],
      ['sleep', 831, 0],
      ['sleep', 346, 0],
      ['sleep', 322, 0],
      ['unasked', 0, 0],
      ['use', 0, 0],
      ['restart', 0, 0],
      ['block', 712, 0],
    ],
  })
})

test('an RST behind a greeting that came during a stall is seen before an idle connection is lent for the first time', async () => {
  await runProgram({
    seed: 1020,
    options: { max: 5, min: 1 },
    steps: [
      ['long sleep', 720, 0],
      ['partition', 0, 0],
      ['restart', 0, 0],
      ['sleep', 0, 0],
      ['block', 0, 0],
      ['lease', 0, 0],
      ['block', 0, 0],
      ['sleep', 0, 0],
      ['use', 0, 0],
      ['block', 396, 0],
      ['unasked', 0, 0],
      ['kill', 0, 0],
      ['block', 231, 0],
    ],
  })
})

test('an RST that came in one stall with the answer to a validation is seen before the connection is lent', async () => {
  await runProgram({
    seed: 257,
    options: { acquireTimeoutMillis: 300, validateAfterIdleMillis: 0 },
    steps: [
      ['restart', 296, 0],
      ['sleep', 954, 0],
      ['use', 0, 0],
      ['sleep', 540, 0],
      ['latency', 113, 0],
      ['long sleep', 272, 0],
      ['hurried', 77, 0],
      ['block', 226, 0],
      ['resetAll', 0, 0],
      ['block', 137, 0],
    ],
  })
})
