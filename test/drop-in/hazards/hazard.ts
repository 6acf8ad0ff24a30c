import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Message } from './child.ts'
import type { Fact, Facts } from './scenario.ts'
import type { ScenarioName } from './scenarios/index.ts'

export type PoolName = 'generic-pool' | 'lifeguard-pool'

/**
 * How the child ended: it told its facts (`done`); the scenario failed (`broken`); the process went away (`died`); or
 * its time was up, with the event loop still turning (`hung`) or not (`spun`).
 */
export interface Outcome {
  readonly ending: 'done' | 'broken' | 'died' | 'hung' | 'spun'
  readonly facts: Facts
  /** Unhandled rejections and uncaught exceptions, each of which ends an ordinary process. */
  readonly crashes: readonly string[]
  readonly detail?: string
}

// Long enough for a machine with much else to do; only what hangs takes as long.
const START_MILLIS = 60_000
const LIMIT_MILLIS = 60_000
const ANSWER_MILLIS = 2000

/** Plays a scenario against a pool in a child process, which does not outlive the call. */
export async function play(
  scenario: ScenarioName,
  pool: PoolName,
  limitMillis = LIMIT_MILLIS,
): Promise<Outcome> {
  const child = fork(fileURLToPath(new URL('./child.js', import.meta.url)), [scenario, pool], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    execArgv: ['--no-warnings'],
  })
  const over = new AbortController()
  const { signal } = over
  let crashes: readonly string[] = []
  const heard = (kind: string): Promise<Message> =>
    new Promise(resolve => {
      child.on('message', (message: Message) => {
        crashes = message.crashes
        if (kind in message) resolve(message)
      })
    })
  const limit = <R>(millis: number, result: R): Promise<R> =>
    pause(millis, result, { signal }).catch(() => result)
  const told = Promise.race([heard('facts'), heard('broken')])
  // Not its exit: that may be heard of before the report that lies in the channel.
  const gone = once(child, 'disconnect', { signal }).then(
    () => 'died' as const,
    () => 'died' as const,
  )
  const started = heard('started')
  const alive = heard('alive')
  try {
    const start = await Promise.race([started, told, gone, limit(START_MILLIS, 'late' as const)])
    if (start === 'late') return { ending: 'hung', facts: {}, crashes, detail: 'did not start' }
    // `gone` comes last: a report that is there counts, even if the process has ended since.
    const end = await Promise.race([told, gone, limit(limitMillis, 'late' as const)])
    if (end === 'died') return { ending: 'died', facts: {}, crashes }
    if (end !== 'late') {
      if ('facts' in end) return { ending: 'done', facts: end.facts, crashes }
      return { ending: 'broken', facts: {}, crashes, detail: 'broken' in end ? end.broken : '' }
    }
    child.send('are you there?', () => {})
    const answer = await Promise.race([alive, limit(ANSWER_MILLIS, 'silent' as const)])
    return { ending: answer === 'silent' ? 'spun' : 'hung', facts: {}, crashes }
  } finally {
    over.abort()
    child.kill('SIGKILL')
  }
}

/** What is expected of an outcome. Facts that are not named may be anything; a function judges its fact. */
export interface Expected {
  readonly ending?: Outcome['ending']
  /** Default: none. */
  readonly crashes?: RegExp
  readonly facts?: Readonly<Record<string, Fact | ((fact: Fact | undefined) => boolean)>>
}

export const atLeast = (least: number) => (fact: Fact | undefined) =>
  typeof fact === 'number' && fact >= least
export const atMost = (most: number) => (fact: Fact | undefined) => typeof fact === 'number' && fact <= most

/**
 * Two tests of one danger: that generic-pool runs into it, or the scenario would prove nothing; and that ours does not.
 *
 * @param number - of the hazard in docs and research
 * @param scenario - name of a function in `scenarios/`
 * @param limitMillis - for generic-pool, where it spins: as long as that, it takes a processor for itself
 */
export function hazard(
  number: number,
  danger: string,
  scenario: ScenarioName,
  expected: { readonly theirs: Expected; readonly ours: Expected },
  limitMillis?: number,
): void {
  describe(`hazard ${number}: ${danger}`, { concurrency: 2 }, () => {
    test('generic-pool runs into it', async () => {
      check(await play(scenario, 'generic-pool', limitMillis), expected.theirs)
    })
    test('ours does not', async () => {
      check(await play(scenario, 'lifeguard-pool'), expected.ours)
    })
  })
}

function check(outcome: Outcome, expected: Expected): void {
  const seen = `\n${JSON.stringify(outcome, null, 2)}`
  assert.equal(outcome.ending, expected.ending ?? 'done', `ending${seen}`)
  if (expected.crashes === undefined) assert.deepEqual(outcome.crashes, [], `crashes${seen}`)
  else assert.match(outcome.crashes.join('\n'), expected.crashes, `crashes${seen}`)
  for (const [name, fact] of Object.entries(expected.facts ?? {})) {
    const got = outcome.facts[name]
    if (typeof fact === 'function') assert.ok(fact(got), `${name}${seen}`)
    else assert.deepEqual(got, fact, `${name}${seen}`)
  }
}
