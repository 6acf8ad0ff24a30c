import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createRedisClusterPool } from '../../../../src/adapters/ioredis/index.ts'
import { isPoolError } from '../../../../src/index.ts'

function refused(nodes: unknown, options: object = {}): { issues: readonly string[]; message: string } {
  try {
    createRedisClusterPool(nodes as never, options)
  } catch (error) {
    assert.ok(isPoolError(error, 'POOL_BAD_OPTIONS'), String(error))
    return error
  }
  throw new Error('should have been refused')
}

/** Each is refused with exactly one issue, which matches. */
function eachIsRefused(wrong: readonly (readonly [nodes: unknown, said: RegExp, options?: object])[]): void {
  for (const [nodes, said, options] of wrong) {
    const { issues } = refused(nodes, options)
    assert.equal(issues.length, 1, issues.join('\n'))
    assert.match(issues[0] as string, said)
  }
}

describe('what a node says is heeded or refused, never ignored', () => {
  test('a database in a URL, as a cluster has only database 0', () => {
    eachIsRefused([
      ['redis://h:1/3', /^nodes names a database: this pool uses database 0 of a cluster/],
      [['redis://h:1', 'redis://h:2/1'], /^nodes\[1\] names a database/],
      ['redis://h:1?db=3', /^nodes names a database/],
      ['redis://h:1/0?db=3', /^nodes names a database/],
      ['h:1', /^redisOptions\.db must be 0: this pool uses database 0/, { redisOptions: { db: 2 } }],
    ])
    for (const zero of ['redis://h:1/0', 'redis://h:1/', 'redis://h:1?db=0'])
      createRedisClusterPool(zero, { redisOptions: { db: 0 } })
  })

  test('options and a path in a URL', () => {
    eachIsRefused([
      [
        'redis://h:1?family=6&keyPrefix=x',
        /^nodes has options \(family, keyPrefix\): pass them in redisOptions$/,
      ],
      ['redis://h:1/orders', /^nodes has a path, which has no meaning here/],
      ['redis://h:1#x', /^nodes contains a #: .* percent-encoded/],
      ['redis:///0', /^nodes names no host$/],
      ['redis://h:0', /^nodes has the port 0: it must be a whole number from 1 to 65535$/],
    ])
  })

  test('fields of an object, which would have meant this host', () => {
    eachIsRefused([
      [[{ url: 'redis://h:1' }], /^nodes\[0\]\.url has no meaning: pass the URL itself in its place$/],
      [{ hostname: 'h', port: 1 }, /^nodes\.hostname is not known: it is called host$/],
      [[{ host: 'h', password: 'hidden' }], /^nodes\[0\]\.password is not known: .* redisOptions$/],
      [{ host: 'h', tls: {} }, /^nodes\.tls is not known: what concerns all nodes belongs in redisOptions$/],
      [
        { rootNodes: ['h:1'] },
        /^nodes\.rootNodes has no meaning: pass the nodes themselves as the first argument$/,
      ],
      [[{}], /^nodes\[0\] has neither host nor port$/],
      [{ host: 'h', port: '7000' }, /^nodes\.port must be a whole number from 1 to 65535, got "7000"$/],
      [{ host: 'redis://h' }, /^nodes\.host must be the name or the address of a host$/],
    ])
  })

  test('texts that are no node, with what was probably meant', () => {
    eachIsRefused([
      [undefined, /^nodes must be .*: is the environment variable set\?$/],
      ['', /^nodes must be .*: is the environment variable set\?$/],
      [new URL('redis://h:1'), /^nodes must be .*: pass url\.href$/],
      ['h1:1,h2:2', /^nodes has a comma: pass several nodes as a list/],
      ['redis://h1:1,redis://h2:2', /^nodes has a comma/],
      ['"redis://h:1"', /^nodes begins with a quote/],
      ['valkey://h:1', /^nodes begins with valkey:\/\/, which is not a Redis scheme/],
      ['h', /^nodes must be 'host:port', a URL .*, got "h"$/],
      [0, /^nodes must be a port from 1 to 65535, got 0$/],
    ])
  })

  test('a password that cannot be read, or that was put where none can be, is not shown', () => {
    for (const nodes of [
      'user:hidden@h:1',
      'redis://user:hid#den@h:1',
      'redis://u:%hidden@h:1',
      'redis://u:hid/den@h:1',
    ]) {
      const { message, issues } = refused(nodes)
      assert.equal(issues.length, 1, issues.join('\n'))
      assert.doesNotMatch(message, /hid|den/)
    }
  })
})

describe('of two users or passwords none is silently taken', () => {
  test('in URLs, in URLs and redisOptions, beside credentials', () => {
    const wrong: readonly (readonly [unknown, RegExp, object?])[] = [
      [
        ['redis://:secret1@h:1', 'h:3', 'redis://:secret2@h:2'],
        /^nodes\[0\] and nodes\[2\] have different passwords: all/,
      ],
      [['redis://ann@h:1', 'redis://bob@h:2'], /^nodes\[0\] and nodes\[1\] have different users/],
      [
        ['redis://ann:secret1@h:1', 'redis://:secret1@h:2'],
        /^nodes\[0\] and nodes\[1\] have different users/,
      ],
      [['redis://h:1', 'rediss://h:2'], /^nodes\[0\] and nodes\[1\] differ in TLS/],
      [
        'redis://:secret1@h:1',
        /^nodes have another password than redisOptions/,
        { redisOptions: { password: 'secret2' } },
      ],
      ['redis://ann:secret1@h:1', /^nodes have another username than/, { redisOptions: { username: 'bob' } }],
      [
        'rediss://h:1',
        /^nodes begin with rediss:\/\/, and redisOptions.tls is false/,
        { redisOptions: { tls: false } },
      ],
      [
        'redis://:secret1@h:1',
        /^password and credentials exclude each other/,
        { credentials: () => ({ password: 'secret2' }) },
      ],
      [
        'h:1',
        /^password and credentials exclude/,
        { credentials: () => 1, redisOptions: { password: 'secret1' } },
      ],
    ]
    eachIsRefused(wrong)
    for (const [nodes, , options] of wrong)
      assert.doesNotMatch(refused(nodes, options).message, /secret|ann|bob/)
  })

  test('the same in several places is no contradiction, and neither is what is left out or undefined', () => {
    createRedisClusterPool(['redis://:secret1@h:1', 'redis://default:secret1@h:2', 'h:3'], {
      redisOptions: { password: 'secret1', username: undefined, tls: {} },
    })
    createRedisClusterPool('redis://:secret1@h:1', { redisOptions: { username: 'ann', password: undefined } })
    createRedisClusterPool('redis://ann@h:1', { credentials: () => ({ password: 'x' }) })
  })
})

describe('options that belong elsewhere are told where', () => {
  const one = (name: string, value: unknown, said: RegExp): void =>
    eachIsRefused([['h:1', said, { [name]: value }]])

  test('those of ioredis', () => {
    for (const name of ['password', 'username', 'tls', 'keyPrefix', 'commandTimeout', 'family'])
      one(
        name,
        'hidden',
        new RegExp(`^${name} is not an option of the pool: pass it to ioredis, in redisOptions$`),
      )
    for (const name of ['host', 'port', 'sentinels', 'url', 'hostname', 'nodes'])
      one(name, 1, new RegExp(`^${name} is not an option of the pool: the nodes are the first argument`))
    one('db', 1, /^db is not an option of the pool: leave it out: a cluster has database 0 only$/)
    one(
      'enableReadyCheck',
      true,
      /^enableReadyCheck .*: leave it out: it is true on a pooled client, because /,
    )
    one('enableOfflineQueue', true, /^enableOfflineQueue .* leave it out: it is false on a pooled client/)
    one('readOnly', true, /^readOnly .*: say role: 'replica' with each loan/)
    one('auth_pass', 'x', /^auth_pass is not an option of the pool: in redisOptions it is called password$/)
    one('connectTimeout', 1, /^connectTimeout is not an option \(did you mean createTimeoutMillis\?\)$/)
  })

  test('every option of the Cluster of ioredis', () => {
    const names =
      `clusterRetryStrategy scaleReads maxRedirections retryDelayOnFailover retryDelayOnClusterDown
      retryDelayOnTryAgain retryDelayOnMoved slotsRefreshTimeout slotsRefreshInterval shardedSubscribers
      clusterNodeRetryStrategy lazyConnect useSRVRecords resolveSrv dnsLookup enableAutoPipelining scripts
      autoPipeliningIgnoredCommands himportFieldsets`.split(/\s+/)
    for (const name of names) one(name, 'x', new RegExp(`^${name} is not an option of the pool: \\w`))
    one('scaleReads', 'slave', /: say role: 'replica' with each loan: pool\.use/)
  })

  test("every option of node-redis's createCluster", () => {
    const names =
      `rootNodes defaults useReplicas minimizeConnections maxCommandRedirections nodeAddressMap scripts
      functions modules RESP commandOptions`.split(/\s+/)
    for (const name of names) one(name, 'x', new RegExp(`^${name} is not an option of the pool: \\w`))
  })

  test('in redisOptions', () => {
    const inside = (name: string, value: unknown, said: RegExp): void =>
      eachIsRefused([['h:1', said, { redisOptions: { [name]: value } }]])
    inside('natMap', {}, /^redisOptions\.natMap is not an option here: it belongs beside redisOptions$/)
    inside('credentials', () => 1, /^redisOptions\.credentials .* it belongs beside redisOptions$/)
    inside('max', 5, /^redisOptions\.max .* it belongs beside redisOptions$/)
    inside('host', 'h', /^redisOptions\.host .* the nodes are the first argument/)
    inside('url', 'redis://h', /^redisOptions\.url .* the nodes are the first argument/)
    inside('role', 'slave', /^redisOptions\.role .* say role: 'replica' with each loan/)
    inside('readOnly', true, /^redisOptions\.readOnly .* say role: 'replica'/)
    inside('scaleReads', 'slave', /^redisOptions\.scaleReads .* say role: 'replica'/)
    inside('dnsLookup', 1, /^redisOptions\.dnsLookup .* leave it out/)
    inside('database', 1, /^database is not an option of ioredis: it is called db$/)
  })

  test('all that is wrong is said at once', () => {
    const { issues } = refused(['redis://h:1/3', { url: 'x' }], {
      ...{ password: 'x', max: 0, maxTotal: 0, role: 'any', redisOptions: { db: 1, lazyConnect: false } },
    })
    assert.equal(issues.length, 8, issues.join('\n'))
  })
})

describe('wrong arguments of a loan are refused before anything is asked, and named', () => {
  test('where it leads to', async () => {
    await using pool = createRedisClusterPool(1, { name: 'orders' })
    const wrong: readonly (readonly [where: unknown, said: RegExp])[] = [
      [undefined, /where must be \{ key: 'order:7' \}, .*, got undefined$/],
      ['foo', /where must be .*, got "foo": a key is given as \{ key \}$/],
      [() => {}, /where comes first: use\(\{ key: 'order:7' \}, redis => …\), got a function$/],
      [{}, /where must be .*, got none of them$/],
      [{ key: undefined }, /where\.key is undefined$/],
      [
        { key: 'a', slot: 1 },
        /where\.key and where\.slot exclude each other: say one of key, slot and node$/,
      ],
      [{ key: 'a', node: 'h:1' }, /where\.key and where\.node exclude each other/],
      [{ slot: 1, node: 'h:1' }, /where\.slot and where\.node exclude each other/],
      [{ slot: '12' }, /where\.slot must be a whole number from 0 to 16383, got "12"$/],
      [{ key: 7 }, /where\.key must be a string or a Buffer, got 7$/],
      [{ node: 'h' }, /where\.node must be 'host:port', got "h"$/],
      [{ node: 'h:1', role: 'primary' }, /where\.role has no meaning with where\.node/],
      [{ key: 'a', role: 'slave' }, /where\.role must be 'primary' or 'replica', got "slave"$/],
      [{ key: 'a', scaleReads: 1 }, /where\.scaleReads is not known: say role: 'replica'$/],
      [
        { key: 'a', retryMoved: true },
        /where\.retryMoved is not known: pass it in the third argument of use$/,
      ],
      [{ keys: ['a'], key: 'a' }, /where\.keys is not known: give one of them as key/],
    ]
    for (const [where, said] of wrong)
      await assert.rejects(
        pool.use(where as never, () => {}),
        error => {
          assert.ok(isPoolError(error, 'POOL_BAD_OPTIONS'), String(error))
          assert.match(error.message, /^1 thing is wrong with the arguments of use of pool 'orders': /)
          assert.match(error.message, said)
          return true
        },
      )
    await assert.rejects(pool.acquire({ slot: -1 }), /the arguments of acquire of pool 'orders': where\.slot/)
    await assert.rejects(pool.lease({ slot: -1 }), /the arguments of lease of pool 'orders': where\.slot/)
  })

  test('all arguments at once', async () => {
    await using pool = createRedisClusterPool(1)
    const options = { timeout: 5, retryMoved: 'yes', signal: 1 }
    await assert.rejects(pool.use({ slot: -1 }, 'work' as never, options as never), error => {
      assert.ok(isPoolError(error, 'POOL_BAD_OPTIONS'), String(error))
      assert.deepEqual(error.issues, [
        'where.slot must be a whole number from 0 to 16383, got -1',
        'use needs a function to run as its second argument, got "work"',
        'timeout is not an option of use (did you mean timeoutMillis?)',
        'signal must be an AbortSignal, got 1',
        'retryMoved must be true or false, got "yes"',
      ])
      return true
    })
    await assert.rejects(
      pool.acquire({ key: 'a' }, { retryMoved: true } as never),
      /retryMoved is not an option of acquire/,
    )
  })
})
