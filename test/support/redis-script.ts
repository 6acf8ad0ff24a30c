import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { Redis as Redis6 } from 'ioredis'
import { Redis as Redis5 } from 'ioredis-5'

/** The part of both versions of ioredis that the script needs. */
type Client = Redis6

function connect(url: string, version: 5 | 6, protocol: 2 | 3): Client {
  const options = { retryStrategy: () => null, connectionName: 'script' }
  // The types of the two versions differ in places that do not matter here.
  if (version === 5) return new Redis5(url, options) as unknown as Client
  return new Redis6(url, { ...options, protocol })
}

async function rejection(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'no rejection',
    (error: Error) => error.message,
  )
}

async function keys(client: Client, key: (name: string) => string): Promise<void> {
  const a = key('a')
  assert.equal(await client.get(a), null)
  assert.equal(await client.set(a, 'grüße \r\n$3'), 'OK')
  assert.equal(await client.get(a), 'grüße \r\n$3')
  const bytes = Buffer.from([0, 13, 10, 255, 128])
  await client.set(a, bytes)
  assert.deepEqual(await client.getBuffer(a), bytes)
  assert.equal(await client.set(a, '1', 'NX'), null)
  assert.equal(await client.set(a, '41', 'XX'), 'OK')
  assert.equal(await client.incr(a), 42)
  assert.equal(await client.expire(a, 100), 1)
  assert.equal(await client.ttl(a), 100)
  assert.equal(await client.pexpire(a, 0), 1)
  assert.equal(await client.exists(a), 0)
  assert.equal(await client.rpush(a, '1', '2', '3'), 3)
  assert.equal(await client.lpush(a, '0'), 4)
  assert.deepEqual(await client.lrange(a, 0, -1), ['0', '1', '2', '3'])
  assert.deepEqual(await client.lrange(a, -2, 9), ['2', '3'])
  assert.match(await rejection(client.get(a)), /^WRONGTYPE/)
  assert.equal(await client.lpop(a), '0')
  assert.equal(await client.llen(a), 3)
  assert.equal(await client.del(a, key('none')), 1)
  assert.equal(await client.llen(a), 0)
  await client.set(a, 'text')
  assert.match(await rejection(client.incr(a)), /not an integer/)
  await client.del(a)
}

async function connection(client: Client): Promise<void> {
  assert.equal(await client.ping(), 'PONG')
  assert.equal(await client.echo('hello'), 'hello')
  assert.match(await rejection(client.call('NONSENSE', 'x')), /^ERR unknown command 'NONSENSE'/)
  assert.match(await rejection(client.call('GET')), /^ERR wrong number of arguments for 'get' command/)
  assert.match(String(await client.info()), /redis_version:\d/)
  // ioredis 6 gives a map as RESP3 does; what matters is that timeout is in it.
  assert.match(JSON.stringify(await client.config('GET', 'timeout')), /"timeout".*"\d+"/)
  assert.match(String(await client.client('LIST')), /id=\d+ addr=\S+ .*name=script/)
  assert.match(await rejection(client.select(99)), /out of range/)
}

async function optimisticLock(client: Client, other: Client, key: (name: string) => string): Promise<void> {
  const a = key('watched')
  await client.set(a, '1')
  await client.watch(a)
  assert.equal(await client.get(a), '1')
  await other.set(a, '2')
  assert.equal(await client.multi().set(a, 'lost').exec(), null, 'another wrote: the transaction must fail')
  assert.equal(await client.get(a), '2')

  // The failed EXEC ended the watch.
  await other.set(a, '3')
  assert.deepEqual(await client.multi().incr(a).get(a).exec(), [
    [null, 4],
    [null, '4'],
  ])
  await client.watch(a)
  await client.unwatch()
  await other.set(a, '5')
  assert.deepEqual(await client.multi().get(a).exec(), [[null, '5']])
  await client.watch(a)
  await client.set(a, '6')
  assert.equal(await client.multi().get(a).exec(), null, 'an own write breaks the watch as well')

  do {
    // A slow machine may let the key expire before the watch, which then sees no change.
    await client.unwatch()
    await client.set(a, '7', 'PX', 30)
    await client.watch(a)
  } while ((await client.exists(a)) === 0)
  while ((await other.exists(a)) === 1);
  assert.equal(await client.multi().get(a).exec(), null, 'so does an expiry')

  await client.multi({ pipeline: false })
  await client.set(a, 'dropped')
  assert.equal(await client.call('DISCARD'), 'OK')
  assert.equal(await client.get(a), null)
  assert.match(await rejection(client.multi().call('NONSENSE').exec()), /^EXECABORT/)
  const inner = await client.multi().set(a, 'text').incr(a).exec()
  assert.match(String(inner?.[1]?.[0]), /not an integer/)
  assert.match(await rejection(client.call('EXEC')), /EXEC without MULTI/)
}

async function blocking(client: Client, other: Client, key: (name: string) => string): Promise<void> {
  const [a, b] = [key('list-a'), key('list-b')]
  assert.equal(await client.blpop(a, 0.05), null)
  await other.rpush(b, 'ready')
  assert.deepEqual(await client.blpop(a, b, 1), [b, 'ready'])
  const waiting = client.blpop(a, b, 5)
  const behind = client.echo('behind')
  while (!/ flags=b /.test(String(await other.client('LIST'))));
  await other.multi().rpush(a, 'first').rpush(a, 'second').exec()
  assert.deepEqual(await waiting, [a, 'first'])
  assert.equal(await behind, 'behind')
  assert.deepEqual(await client.multi().lpop(a).blpop(a, 0).exec(), [
    [null, 'second'],
    [null, null],
  ])
}

async function killing(client: Client, other: Client): Promise<void> {
  const id = Number(await client.client('ID'))
  const closed = new Promise(resolve => client.once('end', resolve))
  assert.equal(await other.client('KILL', 'ID', id), 1)
  await closed
  assert.equal(await other.client('KILL', 'ID', id), 0)
}

/** Commands whose answers Redis documents; run against a real server and against the embedded one. */
export async function runRedisScript(url: string, version: 5 | 6, protocol: 2 | 3): Promise<void> {
  const prefix = `lifeguard-script:${randomUUID()}:`
  const key = (name: string) => prefix + name
  const client = connect(url, version, protocol)
  const other = connect(url, version, protocol)
  try {
    await connection(client)
    await keys(client, key)
    await optimisticLock(client, other, key)
    await blocking(client, other, key)
    await killing(client, other)
    await other.del(key('watched'), key('list-a'), key('list-b'))
    assert.equal(await other.quit(), 'OK')
  } finally {
    client.disconnect()
    other.disconnect()
  }
}
