import { isSecret } from '../client/secrets.ts'

/**
 * Commands that leave nothing behind on their connection, in ioredis's spelling. All others are examined. A command in
 * no list costs the connection when it is returned, because a new version of Redis may have given it any meaning.
 * Scripts are in this list because Redis does not allow them anything that outlives them.
 */
const STATELESS: ReadonlySet<string> = new Set(
  `acl append arcount ardel ardelrange arget argetrange argrep arinfo arinsert arlastitems arlen armget armset arnext
  arop arring arscan arseek arset bgrewriteaof bgsave bitcount bitfield bitfield_ro bitop bitpos blmove blmovem blmpop
  blpop brpop brpoplpush bzmpop bzpopmax bzpopmin cluster command config copy dbsize decr decrby del delex digest dump
  echo eval eval_ro evalsha evalsha_ro exists expire expireat expiretime failover fcall fcall_ro flushall flushdb
  function geoadd geodist geohash geopos georadius georadius_ro georadiusbymember georadiusbymember_ro geosearch
  geosearchstore get getbit getdel getex getrange getset hdel hexists hexpire hexpireat hexpiretime hget hgetall hgetdel
  hgetex hincrby hincrbyfloat hkeys hlen hmget hmset hpersist hpexpire hpexpireat hpexpiretime hpttl hrandfield hscan
  hset hsetex hsetnx hstrlen httl hvals incr incrby incrbyfloat increx info keys lastsave latency lcs lindex linsert
  llen lmove lmovem lmpop lolwut lpop lpos lpush lpushx lrange lrem lset ltrim memory mget migrate module move mset
  msetex msetnx object persist pexpire pexpireat pexpiretime pfadd pfcount pfmerge pfselftest ping psetex pttl publish
  pubsub randomkey rename renamenx replicaof restore role rpop rpoplpush rpush rpushx sadd save scan scard sdiff
  sdiffcard sdiffstore sentinel set setbit setex setnx setrange shutdown sinter sintercard sinterstore sismember slaveof
  slowlog smembers smismember smove sort sort_ro spop spublish srandmember srem sscan strlen substr sunion sunioncard
  sunionstore swapdb time touch trimslots ttl type unlink vadd vcard vdim vemb vgetattr vinfo vismember vlinks
  vrandmember vrange vrem vsetattr vsim wait waitaof xack xackdel xadd xautoclaim xcfgset xclaim xdel xdelex xgroup
  xidmprecord xinfo xlen xnack xpending xrange xread xreadgroup xrevrange xsetid xtrim zadd zcard zcount zdiff zdiffstore
  zincrby zinter zintercard zinterstore zlexcount zmpop zmscore zpopmax zpopmin zrandmember zrange zrangebylex
  zrangebyscore zrangestore zrank zrem zremrangebylex zremrangebyrank zremrangebyscore zrevrange zrevrangebylex
  zrevrangebyscore zrevrank zscan zscore zunion zunionstore`.split(/\s+/),
)

/** Redis's own modules. All their commands are about keys. */
const MODULE = /^(?:json|ft|bf|cf|cms|topk|tdigest|ts)\./

/** Commands that change the state of the connection, whatever their arguments. */
const STATE: ReadonlySet<string> = new Set(
  `asking auth debug hello himport monitor psubscribe psync quit readonly readwrite replconf reset restore-asking
  ssubscribe subscribe sync`.split(/\s+/),
)

/** Commands that run user-written code and reply with what it returns. */
const SCRIPTS: ReadonlySet<string> = new Set('eval eval_ro evalsha evalsha_ro fcall fcall_ro'.split(' '))

/** Does Redis itself carry out this command? Commands of scripts and modules may send any reply. */
export function isRedisCommand(given: string): boolean {
  const name = given.toLowerCase()
  if (SCRIPTS.has(name)) return false
  return STATELESS.has(name) || STATE.has(name) || OTHER_COMMANDS.has(name)
}

const OTHER_COMMANDS: ReadonlySet<string> = new Set(
  'client discard exec multi punsubscribe script select sunsubscribe unsubscribe unwatch watch'.split(' '),
)

/** The subcommands of CLIENT that only read, or concern other connections. */
const CLIENT_ASKS: ReadonlySet<string> = new Set(
  'getname getredir help id info kill list pause trackinginfo unblock unpause'.split(' '),
)

const PLAIN: ReadonlySet<string> = new Set([...STATELESS].filter(name => !isSecret(name)))

/**
 * Does the command leave nothing behind, take no passwords, and have ioredis's spelling? This is a fast check. A
 * command that fails it may still leave nothing behind, see {@link effectOf}.
 */
export const isPlain = (name: string): boolean => PLAIN.has(name)

/** What a command may leave behind on its connection. */
type Effect =
  | { readonly kind: 'none' }
  | {
      readonly kind: 'transaction'
      readonly command: 'multi' | 'exec' | 'discard' | 'watch' | 'unwatch'
    }
  | { readonly kind: 'database' }
  /** Cannot be undone. `what` names it in messages. */
  | { readonly kind: 'state'; readonly what: string }

const NONE: Effect = { kind: 'none' }

/** @param clean - the user's own commands that leave nothing behind, in lower case */
export function effectOf(given: unknown, args: readonly unknown[], clean: ReadonlySet<string>): Effect {
  const name = String(given).toLowerCase()
  switch (name) {
    case 'multi':
    case 'exec':
    case 'discard':
    case 'watch':
    case 'unwatch':
      return { kind: 'transaction', command: name }
    case 'select':
      return { kind: 'database' }
    // What these end was started by a command that is already recorded.
    case 'unsubscribe':
    case 'punsubscribe':
    case 'sunsubscribe':
      return NONE
    case 'client':
    case 'script': {
      const word = String(args[0]).toLowerCase()
      const harmless = name === 'client' ? CLIENT_ASKS.has(word) : word !== 'debug'
      return harmless ? NONE : { kind: 'state', what: `${name} ${word}`.toUpperCase().slice(0, 40) }
    }
    default:
  }
  if (STATELESS.has(name) || MODULE.test(name) || clean.has(name)) return NONE
  const what = name.toUpperCase().slice(0, 40)
  return { kind: 'state', what: STATE.has(name) ? what : `${what} (a command that is not known)` }
}
