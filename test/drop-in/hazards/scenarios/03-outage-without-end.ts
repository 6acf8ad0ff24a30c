import { eventually, scripted, settledWithin } from '../../../support/factories.ts'
import { type CreatePool, causeOf, ending, type Facts } from '../scenario.ts'

/** The server is away. Somebody waits already; who comes later need not wait to hear it; then the server returns. */
export async function run(createPool: CreatePool): Promise<Facts> {
  const factory = scripted()
  factory.onCreate.always({ later: { rejects: new Error('connect ECONNREFUSED') } })
  const pool = createPool(factory, { max: 2, acquireTimeoutMillis: 900, unhealthyAfterMillis: 100 })
  const patient = pool.acquire()
  patient.catch(() => {})
  await eventually(() => factory.onCreate.calls >= 5)
  const asked = performance.now()
  const newcomer = await settledWithin(pool.acquire(), 1500)
  const quick = performance.now() - asked < 400
  const earlier = await settledWithin(patient, 1500)
  factory.onCreate.always('ok')
  const recovered = await eventually(
    () =>
      pool.acquire().then(
        resource => pool.release(resource).then(() => true),
        () => false,
      ),
    { within: 3000 },
  ).then(
    () => true,
    () => false,
  )
  return {
    newcomer: ending(newcomer),
    newcomerCause: causeOf(newcomer),
    quick,
    earlier: ending(earlier),
    earlierCause: causeOf(earlier),
    recovered,
  }
}
