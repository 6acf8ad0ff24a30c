import { isPoolError } from '../api/errors.ts'

/** Further kinds share one count, because error codes and names of unknown commands may come from anywhere. */
const MOST_KINDS = 30
/** OpenTelemetry's name for all other kinds. */
const OTHER = '_OTHER'

/** Counts by kind, for metrics. The number of kinds is limited, whatever is counted. */
export class Kinds {
  readonly #counts = new Map<string, number>()

  count(kind: string): void {
    const isKnown = this.#counts.has(kind) || this.#counts.size < MOST_KINDS
    const name = isKnown ? kind : OTHER
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1)
  }

  read(): Record<string, number> {
    return Object.fromEntries(this.#counts)
  }
}

/** What OpenTelemetry calls `error.type`: the code of an error, or its name if it has no code. */
export function errorTypeOf(error: unknown): string {
  try {
    if (isPoolError(error)) return error.code
    const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown }
    return [code, name].find(isNameLike) ?? OTHER
  } catch {
    // Reading its properties throws.
    return OTHER
  }
}

/** Excludes text for people, which may differ each time. */
const isNameLike = (word: unknown): word is string =>
  typeof word === 'string' && /^[A-Za-z_][\w.]{0,59}$/.test(word)
