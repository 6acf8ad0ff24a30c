import type { Redis } from 'ioredis'

/**
 * Adds one to a number by WATCH, GET, MULTI, SET and EXEC.
 * @returns whether it was executed: not if somebody else has changed the number meanwhile
 */
export async function watchedIncrement(
  client: Pick<Redis, 'watch' | 'get' | 'multi'>,
  key: string,
): Promise<boolean> {
  await client.watch(key)
  const value = Number(await client.get(key))
  const replies = await client
    .multi()
    .set(key, value + 1)
    .exec()
  return replies !== null
}
