import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { objections, type Played } from '../../examples/incidents/support/incident.ts'
import { BINARY_VARIABLE, ensureRedisBinary } from '../support/redis-binary.ts'
import { Example } from './running.ts'

const binary = await ensureRedisBinary()
const skip = 'path' in binary ? false : binary.missing

/** What the harm of each unguarded run must be about: the incident's own reason, and no other. */
const OWN_REASON: Readonly<Record<string, RegExp>> = {
  I0: /sockets stay in CLOSE_WAIT/,
  I1: /the loop stopped after .* of log in memory; stream: cannot end/s,
  I2: /node A and node B taken out|healthy connections thrown away/,
  I3: /requests wait for ever/,
  I4: /open sockets that nobody owns/,
}

// One after the other: each has deadlines of its own, and a machine for tests may have two cores.
describe('the outages, each without the pool and with it', { skip }, () => {
  for (const id of Object.keys(OWN_REASON)) {
    test(`${id}: the unguarded run fails for the incident's own reason, the guarded one comes to no harm`, async () => {
      const env = { LIFEGUARD_SCALE: 'small', [BINARY_VARIABLE]: 'path' in binary ? binary.path : '' }
      const example = new Example('start', [id, '--json'], env)
      const code = await example.ended
      assert.ok(example.stdout !== '', example.stderr)
      const { incidents } = JSON.parse(example.stdout) as { incidents: Played[] }
      const [played] = incidents
      assert.ok(played !== undefined && incidents.length === 1)
      assert.deepEqual(objections(played), [], example.stderr)
      assert.equal(code, 0)
      assert.match(played.without.harm.join('; '), OWN_REASON[id] as RegExp)
      assert.ok((played.with.named?.seconds ?? Number.POSITIVE_INFINITY) < 15)
    })
  }
})

test('an incident that nobody knows is refused in one line', async () => {
  const example = new Example('start', ['I7'])
  assert.equal(await example.ended, 2)
  assert.match(example.stderr, /^no incident 'I7': I0, I1, I2, I3, I4, 'service' or 'cluster'\n$/)
})

test('the verdict is measured: harm on the guarded side, or none on the other, is bad news', () => {
  const seen = { rows: [], harm: [], unharmed: '', named: { text: 'x', seconds: 1 } }
  const hurt = { ...seen, harm: ['3 of 4 failed'] }
  assert.deepEqual(objections({ id: 'I9', without: hurt, with: seen }), [])
  assert.match(objections({ id: 'I9', without: seen, with: seen }).join(), /came to no harm/)
  assert.match(objections({ id: 'I9', without: hurt, with: hurt }).join(), /guarded run suffered: 3 of 4/)
  assert.match(
    objections({ id: 'I9', without: hurt, with: { ...seen, named: undefined } }).join(),
    /never named/,
  )
})
