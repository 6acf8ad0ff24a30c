import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'

/** A pipe or a FIFO, told from all others by its device and its number there. */
export type PipeId = string

/**
 * Reads /proc and nothing else, and keeps what it was not allowed to read. A file that is not there (a thread that has
 * ended, a descriptor closed meanwhile) is no such thing.
 */
export class ProcFiles {
  /** By the kind of file, as `syscall` or `fd`: how often it was refused. */
  readonly refused = new Map<string, number>()
  readonly #root: string

  constructor(root = '/proc') {
    this.#root = root
  }

  /** What a file says; nothing if it cannot be read. */
  text(path: string): string {
    return this.#look(path, full => readFileSync(full, 'latin1')) ?? ''
  }

  /** The names in a folder; none if it cannot be read. */
  names(path: string): string[] {
    return this.#look(path, full => readdirSync(full)) ?? []
  }

  /** Where a link leads; nothing if that cannot be read. */
  link(path: string): string {
    return this.#look(path, full => readlinkSync(full)) ?? ''
  }

  /** Looks at what a descriptor leads to, without opening it: an open would be a further reader or writer. */
  pipe(path: string): PipeId | undefined {
    const stat = this.#look(path, full => statSync(full))
    return stat?.isFIFO() ? `${stat.dev}:${stat.ino}` : undefined
  }

  #look<R>(path: string, read: (full: string) => R): R | undefined {
    try {
      return read(`${this.#root}/${path}`)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'EACCES' || code === 'EPERM') {
        const kind = path.split('/').findLast(part => !/^\d+$/.test(part)) ?? path
        this.refused.set(kind, (this.refused.get(kind) ?? 0) + 1)
      }
      return undefined
    }
  }
}
