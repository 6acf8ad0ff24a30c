import { Redis } from 'ioredis'
import { eventually } from './factories.ts'
import { freePort } from './free-port.ts'
import { type RedisArguments, type RedisServer, startRedis } from './redis-server.ts'

const host = '127.0.0.1'
const SLOTS = 16_384

/** Three primaries, each with a replica, on 127.0.0.1. */
export interface TestCluster {
  /** The first three were primaries at first; each of the last three is the replica of one of them. */
  readonly servers: readonly RedisServer[]
  readonly nodes: string[]
  /** A client of the test's own to a server. */
  admin(server: RedisServer): Redis
  /** The primary of a slot, and a replica of it, as most of the servers that answer say. */
  ownerOf(slot: number): Promise<RedisServer>
  replicaOf(slot: number): Promise<RedisServer>
  /** Another primary than that of the slot. */
  otherThan(slot: number): Promise<RedisServer>
  /** Begins to move a slot: its keys stay where they are. */
  beginMove(slot: number, to: RedisServer): Promise<void>
  moveKeys(slot: number, to: RedisServer): Promise<void>
  endMove(slot: number, to: RedisServer): Promise<void>
  /** Moves a slot with its keys, as redis-cli --cluster reshard does. */
  move(slot: number, to: RedisServer): Promise<void>
  /** From now on no primary is replaced because it is slow, however busy the machine. */
  withoutFailover(): Promise<void>
  /** Resolves when all servers see the same owners and epochs, and each primary has a replica in step. */
  settled(): Promise<void>
  stop(): Promise<void>
}

const busPorts = new Map<RedisServer, number>()

/** How the nodes are reached. */
interface Ways {
  /** The address that the nodes have for each other, and so for clients. Default 127.0.0.1. */
  readonly announced?: string
  readonly tls?: { readonly key: string; readonly cert: string }
}

async function startNode(extra: RedisArguments, ways: Ways, attempts = 5): Promise<RedisServer> {
  const { tls } = ways
  const busPort = await freePort()
  const directives: RedisArguments = {
    ...(tls && { 'tls-cluster': 'yes', 'tls-replication': 'yes' }),
    'cluster-enabled': 'yes',
    'cluster-config-file': 'nodes.conf',
    'cluster-node-timeout': '1000',
    'cluster-port': String(busPort),
    'cluster-require-full-coverage': 'no',
    'cluster-replica-validity-factor': '0',
    'repl-diskless-sync-delay': '0',
    ...extra,
  }
  try {
    const server = await startRedis(directives, tls && { tls })
    busPorts.set(server, busPort)
    return server
  } catch (error) {
    // Another process has taken the port of the bus meanwhile.
    if (attempts > 1 && String(error).includes('in use')) return startNode(extra, ways, attempts - 1)
    throw error
  }
}

/** First and last slot, then the primary and its replicas: host, port, id. */
type Range = [number, number, ...unknown[]]
const portsOf = ([, , ...members]: Range): number[] => members.map(member => (member as [string, number])[1])

/** @param args - further directives for every server */
export async function startCluster(
  args: RedisArguments = {},
  login: object = {},
  ways: Ways = {},
): Promise<TestCluster> {
  const { announced = host } = ways
  const servers = await Promise.all(Array.from({ length: 6 }, () => startNode(args, ways)))
  const admins = new Map<number, Redis>()
  const admin = (server: RedisServer): Redis => {
    const known = admins.get(server.port)
    if (known !== undefined) return known
    const made = new Redis({
      host,
      port: server.port,
      maxRetriesPerRequest: 1,
      commandTimeout: 2000,
      ...login,
    })
    made.on('error', () => {})
    admins.set(server.port, made)
    return made
  }
  const isAlive = async (server: RedisServer): Promise<boolean> =>
    server.child.exitCode === null && server.child.signalCode === null && (await answers(admin(server)))
  const alive = async (): Promise<RedisServer[]> => {
    const flags = await Promise.all(servers.map(isAlive))
    return servers.filter((_, at) => flags[at])
  }
  const ranges = async (server: RedisServer): Promise<Range[]> =>
    (await admin(server).cluster('SLOTS')) as unknown as Range[]
  const at = (port: number): RedisServer => servers.find(server => server.port === port) as RedisServer

  /** Who has the slot says so itself; the others may not have heard of it yet. */
  const membersOf = async (slot: number): Promise<RedisServer[]> => {
    const views = await Promise.all(
      (await alive()).map(async server => {
        const range = (await ranges(server)).find(([first, last]) => first <= slot && slot <= last)
        return { server, members: range === undefined ? [] : portsOf(range).map(at) }
      }),
    )
    const votes = (server: RedisServer): number => views.filter(({ members }) => members[0] === server).length
    const [best] = views
      .filter(({ server, members }) => members[0] === server)
      .sort((a, b) => votes(b.server) - votes(a.server))
    if (best === undefined) throw new Error(`nobody has slot ${slot}`)
    return best.members
  }
  const ownerOf = async (slot: number): Promise<RedisServer> => (await membersOf(slot))[0] as RedisServer
  const idOf = async (server: RedisServer): Promise<string> => String(await admin(server).cluster('MYID'))
  const primaries = async (): Promise<RedisServer[]> => {
    const [asked] = await alive()
    const ports = new Set((await ranges(asked as RedisServer)).map(range => portsOf(range)[0]))
    return servers.filter(({ port }) => ports.has(port))
  }

  /** Do all primaries say that this one has the slot, at the same epoch? */
  const agree = async (slot: number, owner: RedisServer): Promise<boolean> => {
    const says = async (server: RedisServer): Promise<string> => {
      const own = (await ranges(server)).find(([first, last]) => first <= slot && slot <= last)
      const epoch = /cluster_current_epoch:\d+/.exec(String(await admin(server).cluster('INFO')))
      return `${own && portsOf(own)[0]} ${epoch}`
    }
    const words = await Promise.all((await primaries()).map(says))
    return words.every(word => word === words[0] && word.startsWith(`${owner.port} `))
  }

  /** The primaries and the epochs of their slots, as a server says. */
  const epochs = async (server: RedisServer): Promise<string[]> =>
    String(await admin(server).cluster('NODES'))
      .split('\n')
      .map(line => line.split(' '))
      .filter(([, , flags = '']) => flags.includes('master'))
      .map(([id, , , , , , epoch]) => `${id} ${epoch}`)

  const isSettled = async (): Promise<boolean> => {
    const views = await Promise.all(
      (await alive()).map(async server => {
        const all = await ranges(server)
        const inStep = all.every(range => portsOf(range).length === 2)
        const owners = all.map(range => [range[0], range[1], portsOf(range)[0]])
        return inStep ? JSON.stringify([owners.sort(), (await epochs(server)).sort()]) : ''
      }),
    )
    return views.length === 6 && views[0] !== '' && views.every(view => view === views[0])
  }

  const cluster: TestCluster = {
    servers,
    nodes: servers.map(({ port }) =>
      announced.includes(':') ? `[${announced}]:${port}` : `${announced}:${port}`,
    ),
    admin,
    ownerOf,
    replicaOf: async slot => (await membersOf(slot))[1] as RedisServer,
    otherThan: async slot => {
      const owner = await ownerOf(slot)
      return (await primaries()).find(server => server !== owner) as RedisServer
    },
    beginMove: async (slot, to) => {
      const from = await ownerOf(slot)
      const [fromId, toId] = [await idOf(from), await idOf(to)]
      await admin(to).cluster('SETSLOT', slot, 'IMPORTING', fromId)
      await admin(from).cluster('SETSLOT', slot, 'MIGRATING', toId)
    },
    moveKeys: async (slot, to) => {
      const from = await ownerOf(slot)
      for (;;) {
        const keys = (await admin(from).cluster('GETKEYSINSLOT', slot, 100)) as string[]
        if (keys.length === 0) return
        await admin(from).migrate(announced, to.port, '', 0, 1000, 'KEYS', ...keys)
      }
    },
    endMove: async (slot, to) => {
      const from = await ownerOf(slot)
      const toId = await idOf(to)
      // The new owner first: so the slot is never without one.
      await admin(to).cluster('SETSLOT', slot, 'NODE', toId)
      await admin(from).cluster('SETSLOT', slot, 'NODE', toId)
      // As redis-cli does, so that all primaries agree.
      const others = (await primaries()).filter(server => server !== to && server !== from)
      await Promise.all(others.map(server => admin(server).cluster('SETSLOT', slot, 'NODE', toId)))
      // A primary that has not heard of this epoch would take the same one for the next move, and the nodes would then
      // give the slot back to whom they like: in the end nobody has it.
      await eventually(() => agree(slot, to), { within: 20_000, what: 'the primaries agree on the move' })
    },
    move: async (slot, to) => {
      await cluster.beginMove(slot, to)
      await cluster.moveKeys(slot, to)
      await cluster.endMove(slot, to)
    },
    withoutFailover: async () => {
      await Promise.all(servers.map(server => admin(server).config('SET', 'cluster-node-timeout', '30000')))
    },
    settled: () => eventually(isSettled, { within: 20_000, what: 'the cluster has settled' }),
    stop: async () => {
      for (const client of admins.values()) client.disconnect()
      await Promise.all(servers.map(server => server.stop()))
    },
  }
  try {
    await join(servers, admin, announced)
    await cluster.settled()
  } catch (error) {
    await cluster.stop()
    throw error
  }
  return cluster
}

const answers = (client: Redis): Promise<boolean> =>
  client.ping().then(
    () => true,
    () => false,
  )

async function join(
  servers: readonly RedisServer[],
  admin: (server: RedisServer) => Redis,
  announced: string,
): Promise<void> {
  const [first] = servers as [RedisServer]
  const share = Math.ceil(SLOTS / 3)
  for (const [index, server] of servers.entries()) {
    await admin(server).cluster('SET-CONFIG-EPOCH', index + 1)
    if (index < 3) {
      const range = [index * share, Math.min((index + 1) * share, SLOTS) - 1]
      await admin(server).call('CLUSTER', 'ADDSLOTSRANGE', ...range)
    }
    const busPort = busPorts.get(server) as number
    if (server !== first) await admin(first).call('CLUSTER', 'MEET', announced, server.port, busPort)
  }
  const know = async (): Promise<boolean> => {
    const infos = await Promise.all(servers.map(server => admin(server).cluster('INFO')))
    return infos.every(info => /cluster_known_nodes:6\b/.test(String(info)))
  }
  await eventually(know, { within: 20_000, what: 'every node knows all others' })
  for (const [index, server] of servers.entries()) {
    if (index < 3) continue
    const id = await admin(servers[index - 3] as RedisServer).cluster('MYID')
    const replicate = () =>
      admin(server)
        .call('CLUSTER', 'REPLICATE', String(id))
        .then(
          () => true,
          () => false,
        )
    await eventually(replicate, { within: 10_000, what: 'a replica knows its primary' })
  }
}
