import { connectorOf, sentinelsFailed } from '../client/client.ts'
import type { RedisClient } from '../client/client-types.ts'
import type { Address } from './addresses.ts'
import { fieldsOf, type SentinelClient, type Sentinels } from './sentinels.ts'

/** Decides where a client connects to. */
interface Director {
  /** Asks for the primary. */
  primary(): Promise<Address | undefined>
  /** The primary, as far as it is known now. */
  latest(): Address | undefined
  readonly sentinels: Sentinels
  /** The index of the sentinel that is asked first for a replica. */
  readonly first: number
  /**
   * Called when the client is about to connect.
   * @param address - the server's address, as the sentinels report it
   */
  connecting(address: Address): void
}

/**
 * Makes a client use the addresses that the pool found. On its own, ioredis asks one sentinel after the other, always
 * starting with the first, and believes the first one that answers.
 */
export function direct(
  client: RedisClient,
  { primary, latest, sentinels, first, connecting }: Director,
): void {
  const connector = connectorOf(client)
  if (connector?.sentinelNatResolve === undefined) return
  const { toPrimary, name } = sentinels.target
  const own = Object.getPrototypeOf(connector) as Required<typeof connector>
  const named = (address: Address): Address => {
    connecting(address)
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
    // ioredis calls this once per sentinel, but the first call has already asked all of them.
    if (failure !== undefined) throw failure
    const address = await primary()
    if (address !== undefined) return named(address)
    failure = sentinels.lastError ?? new Error('no sentinel answers')
    sentinelsFailed(client, failure)
    throw failure
  }
  // A client that is already connecting has asked the sentinels itself, so its answer is corrected.
  connector.sentinelNatResolve = <A>(address: A): A => {
    const right = latest() ?? (address as Address | null)
    return (right === null ? null : named(right)) as A
  }
}

/**
 * What a sentinel reports about the replicas, in the shape of its reply. Leaves out replicas that have lost their
 * primary, because they may refuse to serve, unless there are no others.
 */
async function servingReplicas(sentinel: SentinelClient, name: string): Promise<unknown> {
  const replicas = await sentinel.sentinel('slaves', name)
  if (!Array.isArray(replicas)) return replicas
  const serving = replicas.filter(replica => fieldsOf(replica)['master-link-status'] !== 'err')
  return serving.length > 0 ? serving : replicas
}
