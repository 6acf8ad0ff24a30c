import { Failure, OK, type Reply } from './resp.ts'
import type { Session } from './session.ts'

/** What a command answers; `undefined`: nothing yet (BLPOP), the session answers later. */
export type Command = {
  /** Fewest and most arguments after the name. */
  arity: readonly [number, number]
  run(session: Session, args: string[]): Reply | undefined
}

export function integer(text: string | undefined): number {
  if (text === undefined || !/^-?\d{1,15}$/.test(text)) {
    throw new Failure('ERR value is not an integer or out of range')
  }
  return Number(text)
}

function add(session: Session, key: string, by: number): number {
  const { store } = session.server
  const next = integer(store.text(session.db, key) ?? '0') + by
  store.set(session.db, key, String(next), store.expiry(session.db, key))
  return next
}

function set(session: Session, [key = '', value = '', ...options]: string[]): Reply {
  const { store } = session.server
  let expiresAt: number | undefined
  let condition: string | undefined
  for (let i = 0; i < options.length; i++) {
    const option = options[i]!.toUpperCase()
    if (option === 'NX' || option === 'XX') condition = option
    else if (option === 'KEEPTTL') expiresAt = store.expiry(session.db, key)
    else if (option === 'EX') expiresAt = Date.now() + integer(options[++i]) * 1000
    else if (option === 'PX') expiresAt = Date.now() + integer(options[++i])
    else throw new Failure('ERR syntax error')
  }
  const exists = store.get(session.db, key) !== undefined
  if (condition !== undefined && exists !== (condition === 'XX')) return null
  store.set(session.db, key, value, expiresAt)
  return OK
}

function expire(session: Session, key: string, millis: number): number {
  const { store } = session.server
  if (millis <= 0) return store.delete(session.db, key) ? 1 : 0
  return store.expireAt(session.db, key, Date.now() + millis) ? 1 : 0
}

function left(session: Session, key: string, unit: number): number {
  const { store } = session.server
  if (store.get(session.db, key) === undefined) return -2
  const at = store.expiry(session.db, key)
  return at === undefined ? -1 : Math.ceil((at - Date.now()) / unit)
}

function pop(session: Session, side: 'left' | 'right', [key = '', count]: string[]): Reply {
  const { store } = session.server
  if (count === undefined) return store.pop(session.db, key, side) ?? null
  const items: string[] = []
  for (let i = integer(count); i > 0; i--) {
    const item = store.pop(session.db, key, side)
    if (item === undefined) break
    items.push(item)
  }
  return items.length > 0 ? items : null
}

function range(session: Session, [key = '', first, last]: string[]): Reply {
  const list = session.server.store.list(session.db, key) ?? []
  const place = (text: string | undefined) => {
    const index = integer(text)
    return index < 0 ? Math.max(0, list.length + index) : index
  }
  // An end before the start of the list is no end at the start of it.
  if (integer(last) < -list.length) return []
  return list.slice(place(first), place(last) + 1)
}

const many = Number.POSITIVE_INFINITY

/** The commands that read and write keys. */
export const dataCommands: Record<string, Command> = {
  get: { arity: [1, 1], run: (s, [key = '']) => s.server.store.text(s.db, key) ?? null },
  mget: {
    arity: [1, many],
    run: (s, keys) =>
      keys.map(key => {
        const value = s.server.store.get(s.db, key)
        return typeof value === 'string' ? value : null
      }),
  },
  set: { arity: [2, many], run: set },
  del: { arity: [1, many], run: (s, keys) => keys.filter(key => s.server.store.delete(s.db, key)).length },
  exists: {
    arity: [1, many],
    run: (s, keys) => keys.filter(key => s.server.store.get(s.db, key) !== undefined).length,
  },
  incr: { arity: [1, 1], run: (s, [key = '']) => add(s, key, 1) },
  decr: { arity: [1, 1], run: (s, [key = '']) => add(s, key, -1) },
  incrby: { arity: [2, 2], run: (s, [key = '', by]) => add(s, key, integer(by)) },
  decrby: { arity: [2, 2], run: (s, [key = '', by]) => add(s, key, -integer(by)) },
  expire: { arity: [2, 2], run: (s, [key = '', time]) => expire(s, key, integer(time) * 1000) },
  pexpire: { arity: [2, 2], run: (s, [key = '', time]) => expire(s, key, integer(time)) },
  ttl: { arity: [1, 1], run: (s, [key = '']) => left(s, key, 1000) },
  pttl: { arity: [1, 1], run: (s, [key = '']) => left(s, key, 1) },
  lpush: {
    arity: [2, many],
    run: (s, [key = '', ...items]) => s.server.store.push(s.db, key, 'left', items),
  },
  rpush: {
    arity: [2, many],
    run: (s, [key = '', ...items]) => s.server.store.push(s.db, key, 'right', items),
  },
  lpop: { arity: [1, 2], run: (s, args) => pop(s, 'left', args) },
  rpop: { arity: [1, 2], run: (s, args) => pop(s, 'right', args) },
  llen: { arity: [1, 1], run: (s, [key = '']) => s.server.store.list(s.db, key)?.length ?? 0 },
  lrange: { arity: [3, 3], run: range },
  dbsize: { arity: [0, 0], run: s => s.server.store.size(s.db) },
  flushdb: {
    arity: [0, 1],
    run: s => {
      s.server.store.flush(s.db)
      return OK
    },
  },
  flushall: {
    arity: [0, 1],
    run: s => {
      s.server.store.flush()
      return OK
    },
  },
}
