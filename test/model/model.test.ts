import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Chance, seedFrom } from '../support/random.ts'
import { Episode } from './random-life.ts'

const STEPS = 250
const EPISODES = Number(process.env.LIFEGUARD_EPISODES ?? 420)

test('a hundred thousand random steps break no invariant and never surprise the reference model', async t => {
  const seed = seedFrom('LIFEGUARD_SEED')
  t.diagnostic(`seed ${seed}: repeat with LIFEGUARD_SEED=${seed}; ${EPISODES} episodes of ${STEPS} steps`)
  let predictions = 0
  for (let episode = 0; episode < EPISODES; episode += 1) {
    const one = new Episode(new Chance(seed + episode))
    try {
      await one.run(STEPS)
      predictions += one.predictions
    } catch (error) {
      throw new Error(`LIFEGUARD_SEED=${seed + episode} LIFEGUARD_EPISODES=1: ${(error as Error).message}`, {
        cause: error,
      })
    }
  }
  t.diagnostic(`${predictions} acquires had to be given one certain connection, and were`)
  assert.ok(predictions > EPISODES, `${predictions} predictions`)
})
