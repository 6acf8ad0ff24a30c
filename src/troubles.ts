import { messageOf } from './errors.ts'
import type { PoolEvents } from './types.ts'

/** Something that went wrong, and how often in a row. */
export interface Trouble {
  readonly what: string
  times: number
  /** The last time, in milliseconds of the pool's clock. */
  at: number
}

/** So many are kept for the report. */
const MOST = 12
/** Ends of connections that nobody wished for. */
const UNWISHED = new Set(['half-closed', 'broken', 'invalid', 'dirty', 'leaked', 'server-timeout'])

/** The last things that went wrong, for the report. They are told as events anyway; this listens along. */
export class Troubles {
  readonly recent: Trouble[] = []

  note<T>(event: keyof PoolEvents<T>, details: readonly unknown[], now: number): void {
    const what = inWords(event as string, details[0])
    if (what === undefined) return
    const last = this.recent.find(trouble => trouble.what === what)
    if (last !== undefined) {
      last.times += 1
      last.at = now
      return
    }
    this.recent.push({ what, times: 1, at: now })
    if (this.recent.length > MOST) this.recent.shift()
  }
}

function inWords(event: string, detail: unknown): string | undefined {
  if (event === 'factoryCreateError') return `connecting failed: ${messageOf(detail)}`
  if (event === 'factoryDestroyError') return `closing failed: ${messageOf(detail)}`
  if (event === 'deadlock')
    return `a deadlock was broken: ${messageOf((detail as { error?: unknown }).error)}`
  if (event !== 'destroy') return undefined
  const { reason, detail: more } = detail as PoolEvents<unknown>['destroy'][0]
  if (!UNWISHED.has(reason)) return undefined
  return `a connection was destroyed as ${reason}${more === undefined ? '' : `: ${more}`}`
}
