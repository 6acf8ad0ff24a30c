import { connectorOf, sentinelsFailed } from '../client/client.ts'
import type { RedisClient } from '../client/client-types.ts'
import type { Address } from './addresses.ts'
import { fieldsOf, type SentinelClient, type Sentinels } from './sentinels.ts'

/** Who tells a client where to connect to. */
interface Director {
  /** Asks for the primary. */
  primary(): Promise<Address | undefined>
  /** The primary as far as it is known. */
  latest(): Address | undefined
  readonly sentinels: Sentinels
  /** Which sentinel is asked first for a replica. */
  readonly first: number
  /** @param address - what the sentinels call the server that the client is about to connect to */
  note(address: Address): void
}

/**
 * ioredis asks one sentinel after the other, always from the first, and takes the word of whoever answers. This has it take
 * the pool's instead.
 */
export function direct(client: RedisClient, { primary, latest, sentinels, first, note }: Director): void {
  const connector = connectorOf(client)
  if (connector?.sentinelNatResolve === undefined) return
  const { toPrimary, name } = sentinels.target
  const own = Object.getPrototypeOf(connector) as Required<typeof connector>
  const named = (address: Address): Address => {
    note(address)
    return own.sentinelNatResolve.call(connector, address) as Address
  }
  if (!toPrimary) {
    connector.resolve = () =>
      sentinels.first(first, async sentinel => {
        const replicas = await servingReplicas(sentinel, name)
        return (await own.resolveSlave.call(connector, { sentinel: async () => replicas })) ?? undefined
      })
    return
  }
  let failure: unknown
  connector.resolve = async () => {
    // ioredis asks this once for each sentinel, and all of them have been asked.
    if (failure !== undefined) throw failure
    const address = await primary()
    if (address !== undefined) return named(address)
    failure = sentinels.lastError ?? new Error('no sentinel answers')
    sentinelsFailed(client, failure)
    throw failure
  }
  // A client that connects already has asked by itself.
  connector.sentinelNatResolve = <A>(address: A): A => {
    const right = latest() ?? (address as Address | null)
    return (right === null ? null : named(right)) as A
  }
}

/** What a sentinel says of the replicas, in the shape of its reply. Those without a primary may not serve. */
async function servingReplicas(sentinel: SentinelClient, name: string): Promise<unknown> {
  const replicas = await sentinel.sentinel('slaves', name)
  if (!Array.isArray(replicas)) return replicas
  const serving = replicas.filter(replica => fieldsOf(replica)['master-link-status'] !== 'err')
  return serving.length > 0 ? serving : replicas
}
