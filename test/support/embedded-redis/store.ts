import { Failure } from './resp.ts'

export type Value = string | string[]

interface Entry {
  value: Value
  /** On the clock of `Date.now()`; undefined: never. */
  expiresAt: number | undefined
}

/** Told of every change of a key that it watches. */
export interface Watcher {
  changed(): void
}

/**
 * The keys of all databases. Every change goes through `touch`, so that WATCH sees it whoever made it: a command, an
 * expiry, a FLUSHALL.
 */
export class Store {
  private readonly databases = new Map<number, Map<string, Entry>>()
  private readonly watchers = new Map<string, Set<Watcher>>()
  /** Lists that grew since BLPOPs were last served, as `[database, key]`. */
  readonly grown: [number, string][] = []

  get(db: number, key: string): Value | undefined {
    return this.entry(db, key)?.value
  }

  text(db: number, key: string): string | undefined {
    const value = this.get(db, key)
    if (Array.isArray(value)) throw wrongType()
    return value
  }

  list(db: number, key: string): string[] | undefined {
    const value = this.get(db, key)
    if (typeof value === 'string') throw wrongType()
    return value
  }

  set(db: number, key: string, value: Value, expiresAt?: number): void {
    this.database(db).set(key, { value, expiresAt })
    this.touch(db, key)
  }

  delete(db: number, key: string): boolean {
    if (this.entry(db, key) === undefined) return false
    this.database(db).delete(key)
    this.touch(db, key)
    return true
  }

  expiry(db: number, key: string): number | undefined {
    return this.entry(db, key)?.expiresAt
  }

  expireAt(db: number, key: string, expiresAt: number | undefined): boolean {
    const entry = this.entry(db, key)
    if (entry === undefined) return false
    entry.expiresAt = expiresAt
    this.touch(db, key)
    return true
  }

  push(db: number, key: string, side: 'left' | 'right', items: string[]): number {
    const list = this.list(db, key)
    const next = list ?? []
    for (const item of items) side === 'left' ? next.unshift(item) : next.push(item)
    if (list === undefined) this.set(db, key, next)
    else this.touch(db, key)
    this.grown.push([db, key])
    return next.length
  }

  pop(db: number, key: string, side: 'left' | 'right'): string | undefined {
    const list = this.list(db, key)
    const item = side === 'left' ? list?.shift() : list?.pop()
    // An empty list does not exist.
    if (list?.length === 0) this.delete(db, key)
    else if (item !== undefined) this.touch(db, key)
    return item
  }

  size(db: number): number {
    const keys = [...this.database(db).keys()]
    return keys.filter(key => this.entry(db, key) !== undefined).length
  }

  flush(db?: number): void {
    const chosen = db === undefined ? [...this.databases.keys()] : [db]
    for (const one of chosen) for (const key of [...this.database(one).keys()]) this.delete(one, key)
  }

  watch(db: number, key: string, watcher: Watcher): void {
    const name = `${db}:${key}`
    // A key that has expired already, but is still stored, must not count as a change later on.
    this.entry(db, key)
    const set = this.watchers.get(name) ?? new Set()
    this.watchers.set(name, set.add(watcher))
  }

  unwatch(db: number, key: string, watcher: Watcher): void {
    const name = `${db}:${key}`
    const set = this.watchers.get(name)
    set?.delete(watcher)
    if (set?.size === 0) this.watchers.delete(name)
  }

  private touch(db: number, key: string): void {
    for (const watcher of this.watchers.get(`${db}:${key}`) ?? []) watcher.changed()
  }

  /** The entry, unless its time is over: expiry happens when somebody looks. */
  private entry(db: number, key: string): Entry | undefined {
    const entry = this.database(db).get(key)
    if (entry?.expiresAt === undefined || entry.expiresAt > Date.now()) return entry
    this.database(db).delete(key)
    this.touch(db, key)
    return undefined
  }

  private database(db: number): Map<string, Entry> {
    let database = this.databases.get(db)
    if (database === undefined) {
      database = new Map()
      this.databases.set(db, database)
    }
    return database
  }
}

function wrongType(): Failure {
  return new Failure('WRONGTYPE Operation against a key holding the wrong kind of value')
}
