import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync, statSync } from 'node:fs'

/** Identifies a pipe or FIFO by its device and its number there. */
type PipeId = string

/**
 * Reads only /proc, and records what it was not allowed to read. A missing file does not count: its thread may have
 * ended, or its descriptor may have been closed.
 */
export class ProcFiles {
  /** How often each kind of file, such as `syscall` or `fd`, was refused. */
  readonly refused = new Map<string, number>()
  readonly #root: string

  constructor(root = '/proc') {
    this.#root = root
  }

  /** The content of a file; empty if it cannot be read. */
  text(path: string): string {
    return this.#read(path, full => readFileSync(full, 'latin1')) ?? ''
  }

  /** A part of a file; shorter if it ends before, empty if it cannot be read. */
  bytes(path: string, from: number, length: number): Buffer {
    const part = this.#read(path, full => {
      const fd = openSync(full, 'r')
      try {
        const buffer = Buffer.alloc(length)
        return buffer.subarray(0, readSync(fd, buffer, 0, length, from))
      } finally {
        closeSync(fd)
      }
    })
    return part ?? Buffer.alloc(0)
  }

  /** The names in a folder; empty if it cannot be read. */
  names(path: string): string[] {
    return this.#read(path, full => readdirSync(full)) ?? []
  }

  /** The target of a link; empty if it cannot be read. */
  link(path: string): string {
    return this.#read(path, full => readlinkSync(full)) ?? ''
  }

  /** Identifies the target of a descriptor without opening it, because that would add a reader or writer. */
  pipe(path: string): PipeId | undefined {
    const stat = this.#read(path, full => statSync(full))
    return stat?.isFIFO() ? `${stat.dev}:${stat.ino}` : undefined
  }

  #read<R>(path: string, read: (full: string) => R): R | undefined {
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
