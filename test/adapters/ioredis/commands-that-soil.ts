/*
 * Commands that leave something behind on their connection, and what must become of it: put right, or closed for a reason
 * that names what was left.
 */

import type { Redis } from 'ioredis'

/** Something that a borrower leaves behind. */
export interface Soiling {
  readonly name: string
  /** What must become of the connection: put right, or closed for a reason that names this. */
  readonly fate: 'undone' | RegExp
  readonly soil: (client: Redis, key: string) => unknown
}

const swallow = (promise: unknown): void => void Promise.resolve(promise).catch(() => {})

/** Each in a way of its own; those that return nothing leave their commands without an answer. */
export const soilings: readonly Soiling[] = [
  { name: 'WATCH', fate: 'undone', soil: (client, key) => client.watch(key) },
  { name: 'WATCH by call', fate: 'undone', soil: (client, key) => client.call('watch', key) },
  {
    name: 'WATCH in a pipeline, after a transaction',
    fate: 'undone',
    soil: async (client, key) => {
      await client.watch(key)
      await client.pipeline([['multi'], ['exec'], ['watch', key]]).exec()
    },
  },
  {
    name: 'UNWATCH within a MULTI that is discarded, and a WATCH behind it',
    fate: 'undone',
    soil: async (client, key) => {
      await client.pipeline([['multi'], ['unwatch'], ['discard'], ['watch', key]]).exec()
    },
  },
  { name: 'SELECT', fate: 'undone', soil: client => client.select(3) },
  { name: 'SELECT by call', fate: 'undone', soil: client => client.call('SELECT', '3') },
  { name: 'SELECT in a pipeline', fate: 'undone', soil: client => client.pipeline().select(2).ping().exec() },
  { name: 'SELECT in a MULTI', fate: 'undone', soil: client => client.multi().select(2).exec() },
  {
    name: 'SELECT there and back, by ways that ioredis does not count alike',
    fate: 'undone',
    soil: async client => {
      await client.select(3)
      await client.call('SELECT', 0)
    },
  },
  {
    name: 'WATCH and SELECT',
    fate: 'undone',
    soil: async (client, key) => {
      await client.watch(key)
      await client.select(1)
    },
  },
  { name: 'MULTI', fate: /MULTI/, soil: client => client.multi({ pipeline: false }) },
  { name: 'MULTI by call', fate: /MULTI/, soil: client => client.call('Multi') },
  {
    name: 'MULTI with commands, and a WATCH',
    fate: /MULTI, WATCH/,
    soil: async (client, key) => {
      await client.watch(key)
      await client.multi({ pipeline: false })
      await client.set(key, 1)
    },
  },
  {
    name: 'EXEC that failed to close a MULTI that follows',
    fate: /MULTI/,
    soil: client => client.pipeline([['multi'], ['exec'], ['call', 'multi']]).exec(),
  },
  { name: 'SUBSCRIBE', fate: /SUBSCRIBE/, soil: (client, key) => client.subscribe(key) },
  { name: 'PSUBSCRIBE', fate: /PSUBSCRIBE/, soil: (client, key) => client.psubscribe(`${key}*`) },
  { name: 'SSUBSCRIBE', fate: /SSUBSCRIBE/, soil: (client, key) => client.ssubscribe(key) },
  {
    name: 'SUBSCRIBE and UNSUBSCRIBE',
    fate: /SUBSCRIBE/,
    soil: async (client, key) => {
      await client.subscribe(key)
      await client.unsubscribe(key)
    },
  },
  { name: 'MONITOR', fate: /MONITOR/, soil: client => client.call('MONITOR') },
  { name: 'CLIENT REPLY OFF', fate: /CLIENT REPLY/, soil: client => swallow(client.client('REPLY', 'OFF')) },
  {
    name: 'CLIENT REPLY SKIP',
    fate: /CLIENT REPLY/,
    soil: client => swallow(client.client('REPLY', 'SKIP')),
  },
  {
    name: 'CLIENT TRACKING',
    fate: /CLIENT TRACKING/,
    soil: client => client.client('TRACKING', 'ON', 'BCAST'),
  },
  { name: 'CLIENT NO-EVICT', fate: /CLIENT NO-EVICT/, soil: client => client.client('NO-EVICT', 'ON') },
  {
    name: 'CLIENT NO-TOUCH',
    fate: /CLIENT NO-TOUCH/,
    soil: client => Promise.resolve(client.call('CLIENT', 'NO-TOUCH', 'ON')).catch(() => {}),
  },
  { name: 'CLIENT SETNAME', fate: /CLIENT SETNAME/, soil: client => client.client('SETNAME', 'mine') },
  {
    name: 'CLIENT SETNAME by call, its word a Buffer',
    fate: /CLIENT SETNAME/,
    soil: client => client.call('client', Buffer.from('SetName'), 'mine'),
  },
  { name: 'AUTH', fate: /AUTH/, soil: client => Promise.resolve(client.auth('x')).catch(() => {}) },
  { name: 'HELLO', fate: /HELLO/, soil: client => client.call('HELLO', '2') },
  { name: 'READONLY', fate: /READONLY/, soil: client => client.readonly().catch(() => {}) },
  { name: 'ASKING', fate: /ASKING/, soil: client => client.asking().catch(() => {}) },
  { name: 'RESET', fate: /RESET/, soil: client => client.call('RESET') },
  { name: 'SCRIPT DEBUG', fate: /SCRIPT DEBUG/, soil: client => client.call('SCRIPT', 'DEBUG', 'NO') },
  {
    name: 'a command that nobody knows',
    fate: /FROBNICATE \(a command that is not known\)/,
    soil: client => Promise.resolve(client.call('Frobnicate')).catch(() => {}),
  },
  {
    name: 'BLPOP without an answer',
    fate: /1 without an answer \(BLPOP\)/,
    soil: (client, key) => swallow(client.blpop(`${key}:none`, 0)),
  },
  {
    name: 'XREAD without an answer',
    fate: /1 without an answer \(XREAD\)/,
    soil: (client, key) => swallow(client.xread('BLOCK', 0, 'STREAMS', `${key}:stream`, '$')),
  },
  {
    name: 'commands without an answer',
    fate: /3 without an answer \(GET, PING, EVAL\)/,
    soil: (client, key) => {
      swallow(client.get(key))
      swallow(client.ping())
      swallow(client.eval('return 1', 0))
    },
  },
  {
    name: 'a pipeline without an answer',
    fate: /2 without an answer/,
    soil: (client, key) => swallow(client.pipeline().get(key).get(key).exec()),
  },
  {
    name: 'a transaction without an answer',
    fate: /without an answer .*|MULTI/,
    soil: (client, key) => swallow(client.multi().get(key).exec()),
  },
  { name: 'QUIT', fate: /QUIT|closed/, soil: client => client.quit() },
  { name: 'disconnect()', fate: /disconnect\(\)|closed/, soil: async client => client.disconnect() },
]
