/* The faults: how each strikes, how it ends, and which errors tell the truth about it. */

import { setTimeout as delay } from 'node:timers/promises'
import type { Network } from './network.ts'
import { type FaultProxy, reset } from './proxy.ts'
import type { FaultWorld } from './world.ts'

export interface Fault {
  readonly name: string
  strike(world: FaultWorld): void | Promise<void>
  lift?(world: FaultWorld): void | Promise<void>
  /** What an error that it causes says. */
  readonly says: RegExp
  /** Needs a network namespace: there is only plain TCP, and no proxy. */
  readonly inNetwork?: boolean
  /** Not over a Unix socket. */
  readonly onlyTcp?: boolean
}

const proxyOf = (world: FaultWorld): FaultProxy => world.proxy as FaultProxy
const networkOf = (world: FaultWorld): Network => world.network as Network
const GONE = /closed|ended|reset|ECONNRESET|EPIPE|ECONNREFUSED|ENOENT|half-closed|hung up|socket|lost/i
const SILENT = /timed out|timeout|did not answer|no answer|has not|not answer|silent|within \d|closed|still/i

/** The loss that goes on in each network. */
const losses = new WeakMap<Network, Promise<void>>()

async function loseHalf(network: Network): Promise<void> {
  for (let round = 0; round < 10; round += 1) {
    await delay(40)
    network.cut(round % 2 === 0 && round < 8)
  }
}

export const FAULTS: readonly Fault[] = [
  {
    name: 'refuse',
    strike: world => proxyOf(world).refuse(),
    lift: world => proxyOf(world).listen(),
    says: /ECONNREFUSED|ENOENT/,
  },
  {
    name: 'black hole',
    inNetwork: true,
    strike: world => networkOf(world).cut(true),
    lift: world => networkOf(world).cut(false),
    says: SILENT,
  },
  {
    name: 'packet loss',
    inNetwork: true,
    // Nothing gets through half of the time.
    strike: world => void losses.set(networkOf(world), loseHalf(networkOf(world))),
    lift: world => losses.get(networkOf(world)),
    says: SILENT,
  },
  {
    name: 'silent accept',
    strike: world => {
      proxyOf(world).isSilent = true
      proxyOf(world).stall()
    },
    lift: world => {
      proxyOf(world).isSilent = false
    },
    says: SILENT,
  },
  {
    name: 'FIN',
    strike: world => proxyOf(world).each(near => near.end()),
    says: GONE,
  },
  {
    name: 'RST',
    strike: world => proxyOf(world).each(near => reset(near)),
    says: GONE,
  },
  {
    name: 'data + FIN',
    strike: world => proxyOf(world).each(near => near.end('+what nobody asked for\r\n')),
    says: /closed|ended|reset|ECONN|EPIPE|unasked|protocol|parse|unexpected|reply|SSL|wrong version|packet|lost/i,
  },
  {
    name: 'half-close, pending writes',
    strike: world =>
      proxyOf(world).each(near => {
        near.pause()
        near.end()
      }),
    lift: world => proxyOf(world).each(near => near.resume()),
    says: GONE,
  },
  {
    name: 'slow reader',
    strike: world => proxyOf(world).slow(true),
    lift: world => proxyOf(world).slow(false),
    says: SILENT,
  },
  {
    name: 'garbage',
    strike: world => {
      proxyOf(world).mangle = () => Buffer.from('\u0000\u0001garbage\r\n')
    },
    says: /protocol|parse|garbage|unexpected|reply|SSL|wrong version|packet|closed|ECONN|not RESP|bytes/i,
  },
  {
    name: 'torn reply',
    strike: world => {
      proxyOf(world).mangle = (data, near) => {
        near.end(data.subarray(0, Math.ceil(data.length / 2)))
        return undefined
      }
    },
    says: GONE,
  },
  {
    name: 'SIGSTOP',
    strike: ({ server }) => void server?.child.kill('SIGSTOP'),
    lift: ({ server }) => void server?.child.kill('SIGCONT'),
    says: SILENT,
  },
  {
    name: 'SIGKILL, restart',
    strike: world => world.kill(),
    lift: world => world.start(),
    says: GONE,
  },
  {
    name: 'CLIENT KILL',
    strike: async world => {
      await world.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    },
    says: GONE,
  },
  {
    name: 'CLIENT PAUSE',
    strike: async world => {
      await world.command('CLIENT', 'PAUSE', '400', 'ALL')
    },
    lift: async () => void (await delay(200)),
    says: SILENT,
  },
  {
    name: 'timeout 1',
    strike: async world => {
      await world.command('CONFIG', 'SET', 'timeout', '1')
      // The operator's own connection must not be closed just as the next command is sent on it.
      for (let pings = 0; pings < 6; pings += 1) {
        await delay(250)
        // The world may have ended meanwhile.
        await world.command('PING').catch(() => {})
      }
    },
    lift: async world => {
      await world.command('CONFIG', 'SET', 'timeout', '0')
    },
    // A command that is under way meanwhile is passed on too late.
    says: new RegExp(`${GONE.source}|Command timed out`, 'i'),
  },
  {
    name: 'maxclients',
    strike: async world => {
      await world.command('CONFIG', 'SET', 'maxclients', '1')
    },
    lift: async world => {
      await world.command('CONFIG', 'SET', 'maxclients', '1000')
    },
    says: /max number of clients/,
  },
  {
    name: 'OOM',
    strike: async world => {
      await world.command('CONFIG', 'SET', 'maxmemory', '1')
    },
    lift: async world => {
      await world.command('CONFIG', 'SET', 'maxmemory', '0')
    },
    says: /OOM|EXECABORT/,
  },
  {
    name: 'LOADING',
    strike: async world => {
      await world.command('DEBUG', 'POPULATE', '300', 'loaded', '200')
      await world.command('CONFIG', 'SET', 'key-load-delay', '2000')
      void world.command('DEBUG', 'RELOAD').catch(() => {})
      await delay(30)
    },
    lift: async world => {
      for (let tries = 0; tries < 200; tries += 1) {
        const set = world.command('CONFIG', 'SET', 'key-load-delay', '0')
        if (
          await set.then(
            () => true,
            () => false,
          )
        )
          return
        await delay(20)
      }
    },
    says: /LOADING|loading|timed out|timeout|within/i,
  },
  {
    name: 'READONLY',
    strike: async world => {
      await world.command('REPLICAOF', '127.0.0.1', '1')
    },
    lift: async world => {
      await world.command('REPLICAOF', 'NO', 'ONE')
    },
    says: /READONLY|replica|failover|UNBLOCKED|EXECABORT/i,
  },
  {
    name: 'password',
    strike: async world => {
      await world.command('CONFIG', 'SET', 'requirepass', 'changed')
    },
    lift: async world => {
      await world.command('CONFIG', 'SET', 'requirepass', '')
    },
    says: /NOAUTH|WRONGPASS|Authentication/i,
  },
  {
    name: 'ACL',
    strike: async world => {
      await world.command('ACL', 'SETUSER', 'default', '-@write', '-ping')
    },
    lift: async world => {
      await world.command('ACL', 'SETUSER', 'default', '+@all')
    },
    says: /NOPERM|EXECABORT|permission/i,
  },
  {
    name: 'DNS change',
    onlyTcp: true,
    // The old address is shut down, the new one refuses.
    strike: world => {
      world.resolveTo('127.0.0.77')
      proxyOf(world).each(near => near.end())
    },
    lift: world => world.resolveTo('127.0.0.1'),
    says: /closed|ended|ECONNREFUSED|127\.0\.0\.77|lost|half-closed/i,
  },
]
