/* A Redis Cluster in a simulated world: nodes that say what the test wants, each of what it knows itself. */

import type { Socket } from 'node:net'
import type { SimulatedPeer, SimulatedServer, Simulation } from '../../src/testing/index.ts'
import { bulk, readCommand } from '../adapters/ioredis/fake-redis.ts'

/** The first slot of each range, and the number of the node that has it from there on; undefined: nobody. */
export type Owners = Readonly<Record<number, number | undefined>>

export interface SimulatedNode {
  readonly id: string
  readonly server: SimulatedServer
  isPrimary: boolean
  /** What this node says of the cluster. */
  owners: Owners
  epoch: number
  /** Commands that it has been sent, by name, and how many of each. */
  readonly asked: Map<string, number>
  /** The sockets of this process to it, and the most that were open at the same time. */
  readonly sockets: Set<Socket>
  most: number
  /** The connections on which it has been asked to announce its maintenance. */
  readonly listeners: Set<SimulatedPeer>
  /** Its answers that differ from those of a healthy node; undefined: the usual one. */
  answer: ((command: readonly string[], peer: SimulatedPeer) => string | undefined) | undefined
}

export interface SimulatedCluster {
  readonly nodes: readonly SimulatedNode[]
  readonly seeds: string[]
  /** For the option `redisOptions`. */
  readonly redisOptions: { Connector: never }
  /** All nodes say this from now on. */
  say(owners: Owners, epoch: number): void
}

const SLOTS = 16_384

/** The replicas of node n are n + 3, n + 6 and so on, if there are to be any. */
export function simulatedCluster(
  world: Simulation,
  owners: Owners,
  count = 6,
  hasReplicas = true,
): SimulatedCluster {
  const nodes: SimulatedNode[] = []
  const member = (index: number): string => {
    const { server, id } = nodes[index] as SimulatedNode
    return `*3\r\n${bulk(server.host)}:${server.port}\r\n${bulk(id)}`
  }
  const slots = (known: Owners): string => {
    const starts = Object.keys(known).map(Number)
    const ranges = starts.flatMap((first, at) => {
      const owner = known[first]
      if (owner === undefined) return []
      const replicas = nodes.flatMap((_, index) =>
        hasReplicas && index !== owner && index % 3 === owner % 3 ? [index] : [],
      )
      const last = (starts[at + 1] ?? SLOTS) - 1
      const members = [owner, ...replicas].map(member).join('')
      return [`*${3 + replicas.length}\r\n:${first}\r\n:${last}\r\n${members}`]
    })
    return `*${ranges.length}\r\n${ranges.join('')}`
  }
  const usual = (node: SimulatedNode, [name = '', sub = '']: readonly string[]): string => {
    if (name === 'CLUSTER') {
      if (sub.toUpperCase() === 'SLOTS') return slots(node.owners)
      if (sub.toUpperCase() === 'MYID') return bulk(node.id)
      return bulk(`cluster_state:ok\r\ncluster_current_epoch:${node.epoch}\r\n`)
    }
    if (name === 'HELLO') return `%1\r\n${bulk('proto')}:3\r\n`
    if (name === 'INFO') return bulk(`role:${node.isPrimary ? 'master' : 'slave'}\r\nloading:0\r\n`)
    if (name === 'ROLE') return `*1\r\n${bulk(node.isPrimary ? 'master' : 'slave')}`
    if (name === 'GET') return bulk(node.id)
    if (name === 'INCR') return ':1\r\n'
    return name === 'PING' ? '+PONG\r\n' : '+OK\r\n'
  }
  for (let index = 0; index < count; index += 1) {
    const texts = new Map<SimulatedPeer, string>()
    const asked = new Map<string, number>()
    const listeners = new Set<SimulatedPeer>()
    const onData = (data: Buffer, peer: SimulatedPeer): void => {
      let text = (texts.get(peer) ?? '') + data.toString('latin1')
      for (let next = readCommand(text); next !== undefined; next = readCommand(text)) {
        text = text.slice(next.length)
        const name = next.command
          .slice(0, next.command[0] === 'CLUSTER' ? 2 : 1)
          .join(' ')
          .toUpperCase()
        if (next.command[1] === 'MAINT_NOTIFICATIONS') listeners.add(peer)
        asked.set(name, (asked.get(name) ?? 0) + 1)
        peer.write(node.answer?.(next.command, peer) ?? usual(node, next.command))
      }
      texts.set(peer, text)
    }
    const server = world.server({ onData })
    const node: SimulatedNode = {
      ...{ id: `node-${index}`, server, isPrimary: index < 3, owners, epoch: 1, asked, listeners },
      sockets: new Set(),
      most: 0,
      answer: undefined,
    }
    nodes.push(node)
  }
  class Connector {
    readonly #target: { readonly port: number }
    #stream: Socket | undefined

    constructor(target: { readonly port: number }) {
      this.#target = target
    }

    async connect(): Promise<Socket> {
      const node = nodes.find(({ server }) => server.port === this.#target.port)
      if (node === undefined) throw new Error(`no node at port ${this.#target.port}`)
      this.#stream = node.server.dial()
      node.sockets.add(this.#stream)
      node.most = Math.max(node.most, socketsTo(node))
      return this.#stream
    }

    check(): boolean {
      return true
    }

    disconnect(): void {
      this.#stream?.end()
    }
  }
  return {
    nodes,
    seeds: nodes.map(({ server }) => `${server.host}:${server.port}`),
    redisOptions: { Connector: Connector as never },
    say: (known, epoch) => {
      for (const node of nodes) Object.assign(node, { owners: known, epoch })
    },
  }
}

/** How many sockets of this process to the node are open or are being opened. */
export function socketsTo({ sockets }: SimulatedNode): number {
  for (const socket of sockets) if (socket.destroyed) sockets.delete(socket)
  return sockets.size
}
