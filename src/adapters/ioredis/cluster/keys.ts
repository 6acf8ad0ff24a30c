import type { Command } from '../client/client-types.ts'

/** How many slots a cluster has. Each key belongs to one of them. */
export const SLOTS = 16_384

/*
 * The slot of a key, as the cluster specification defines it (redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec):
 * the CRC16 of the key modulo 16384. The CRC is the one named XMODEM: polynomial 0x1021, initial value 0, nothing
 * reflected; of "123456789" it is 0x31C3. ioredis has it too, but of a key such as `a{}{b}` its tag is wrong.
 */
const TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1
  return crc
})

const OPEN = 0x7b
const CLOSE = 0x7d

/**
 * The slot of a key. If the key contains a `{…}` that is not empty, only what stands in the first one counts (the hash
 * tag): so keys can be made to share a slot.
 */
export function keySlot(key: string | Uint8Array): number {
  const bytes = typeof key === 'string' ? Buffer.from(key) : key
  let from = 0
  let to = bytes.length
  const open = bytes.indexOf(OPEN)
  const close = open < 0 ? -1 : bytes.indexOf(CLOSE, open + 1)
  if (close > open + 1) {
    from = open + 1
    to = close
  }
  let crc = 0
  for (let at = from; at < to; at += 1)
    crc = ((crc << 8) ^ (TABLE[((crc >> 8) ^ (bytes[at] as number)) & 0xff] as number)) & 0xffff
  return crc % SLOTS
}

/** A key, as it is sent. */
export type Key = string | Uint8Array

/** ioredis's commands know their keys: by the table of Redis's commands, with `numkeys`, `STREAMS`, `STORE` and the like. */
type Keyed = Command & { getKeys?(): readonly unknown[]; readonly isReadOnly?: boolean }

const isKey = (value: unknown): value is Key => typeof value === 'string' || value instanceof Uint8Array

/**
 * The keys of a command. A command that ioredis does not know, of a module for example, has none here: the server
 * itself refuses it if a key is not its own.
 */
export function keysOf(command: Command): readonly Key[] {
  const name = command.name.toLowerCase()
  if (name === 'sort' || name === 'sort_ro') return sortKeys(command.args)
  return ((command as Keyed).getKeys?.() ?? []).filter(isKey)
}

/** ioredis also counts the patterns after BY and GET, which are no keys. */
function sortKeys(args: readonly unknown[]): readonly Key[] {
  const store = args.findIndex((word, at) => at > 0 && String(word).toUpperCase() === 'STORE')
  return [args[0], ...(store < 0 ? [] : [args[store + 1]])].filter(isKey)
}

/** Commands that write nothing. Any other may. */
const READS: ReadonlySet<string> = new Set(
  `asking bitcount bitfield_ro bitpos client cluster command dbsize discard dump echo eval_ro evalsha_ro exec exists
  expiretime fcall_ro geodist geohash geopos georadius_ro georadiusbymember_ro geosearch get getbit getrange hexists
  hexpiretime hget hgetall hkeys hlen hmget hpexpiretime hpttl hrandfield hscan hstrlen httl hvals info keys lastsave
  lcs lindex llen lolwut lpos lrange memory mget multi object pexpiretime pfcount ping pttl pubsub randomkey readonly
  readwrite role scan scard script sdiff select sinter sintercard sismember slowlog smembers smismember sort_ro
  srandmember sscan strlen substr subscribe psubscribe ssubscribe sunion time touch ttl type unsubscribe punsubscribe
  sunsubscribe unwatch wait waitaof watch xinfo xlen xpending xrange xread xrevrange zcard zcount zdiff zinter
  zintercard zlexcount zmscore zrandmember zrange zrangebylex zrangebyscore zrank zrevrange zrevrangebylex
  zrevrangebyscore zrevrank zscan zscore zunion`.split(/\s+/),
)

/** May the command write? */
export const mayWrite = (command: Command): boolean =>
  !READS.has(command.name.toLowerCase()) && (command as Keyed).isReadOnly !== true

/** Commands that keep their connection for as long as they wait. */
const BLOCKING: ReadonlySet<string> = new Set(
  'blmove blmovem blmpop blpop brpop brpoplpush bzmpop bzpopmax bzpopmin wait waitaof xread xreadgroup'.split(
    ' ',
  ),
)

export const mayBlock = (command: Command): boolean => BLOCKING.has(command.name.toLowerCase())

/** A key for people. */
export function inQuotes(key: Key): string {
  const text = Buffer.from(key).toString()
  return `'${text.length > 60 ? `${text.slice(0, 60)}…` : text}'`
}
