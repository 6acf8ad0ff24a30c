import type { Socket } from 'node:net'

/** A stream that is piped into a socket. All its members may be missing. */
interface Source {
  readonly readableLength?: number
  readonly readableEnded?: boolean
  readonly writableLength?: number
  readonly writable?: boolean
  readonly destroyed?: boolean
  unpipe?(to: unknown): unknown
}

/** The streams that are piped into one socket. */
export class PipedStreams {
  readonly #sources = new Set<Source>()

  get any(): boolean {
    return this.#sources.size > 0
  }

  /**
   * Is more data certain to come? That is so for a stream that can only be read and has not ended (a file, a request),
   * and for one that holds data. A connection or a `PassThrough` that is still open may stay silent for ever.
   */
  get promise(): boolean {
    if (this.#sources.size === 0) return false
    for (const source of this.#sources) if (promises(source)) return true
    return false
  }

  add(source: unknown): void {
    this.#sources.add(source as Source)
  }

  delete(source: unknown): void {
    this.#sources.delete(source as Source)
  }

  /** May throw, because the streams are the user's own. */
  unpipeFrom(socket: Socket): void {
    for (const source of this.#sources) source.unpipe?.(socket)
  }
}

function promises(source: Source): boolean {
  try {
    if (source.destroyed || source.readableEnded) return false
    return source.writable !== true || (source.readableLength ?? 0) + (source.writableLength ?? 0) > 0
  } catch {
    return false
  }
}
