import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { Pool } from '../../src/index.ts'
import { between, now } from './clock.ts'
import type { Kill, Killer } from './killer.ts'

const BLOCK_MILLIS = 300

/** What was done to the service. */
export interface Troubles {
  readonly kills: Kill[]
  /** How often CLIENT KILL was sent to one or several connections. */
  rounds: number
  block: { readonly millis: number; readonly killed: number } | undefined
  purges: number
  resize: { readonly from: number; readonly to: number } | undefined
}

/** Makes trouble for the service, and keeps the record of it. */
export class Troublemaker {
  readonly done: Troubles = { kills: [], rounds: 0, block: undefined, purges: 0, resize: undefined }
  readonly #killer: Killer
  readonly #pool: Pool<Redis>
  #news: string[] = []

  constructor(killer: Killer, pool: Pool<Redis>) {
    this.#killer = killer
    this.#pool = pool
  }

  /** What happened since the last time, in words. */
  news(): string {
    const news = this.#news.join(', ')
    this.#news = []
    return news
  }

  /** Kills one, two or three connections about once a second. */
  async keepKilling(isOver: () => boolean): Promise<void> {
    for (;;) {
      await delay(between(700, 1200))
      if (isOver()) return
      await this.kill(Math.ceil(between(0, 3)))
    }
  }

  async kill(count: number, afterMillis = 0): Promise<readonly Kill[]> {
    const kills = await this.#killer.kill(count, afterMillis)
    this.done.rounds += 1
    this.done.kills.push(...kills)
    this.#news.push(`${kills.length} killed`)
    return kills
  }

  /** Half of the connections are killed while the event loop stands still and cannot hear of it. */
  async block(): Promise<void> {
    // In the middle of an answer's arrival, as in a request handler that computes: the worst place, as timers that
    // are due run before the news from the network.
    await this.#pool
      .use(client => client.ping())
      // Killed just now: its end comes from the network as well.
      .catch(() => {})
    const killing = this.kill(Math.ceil(this.#pool.max / 2), BLOCK_MILLIS / 3)
    const begin = now()
    while (now() - begin < BLOCK_MILLIS);
    const end = now()
    this.#news.push(`loop blocked for ${Math.round(end - begin)} ms`)
    const killed = (await killing).filter(({ answeredAt }) => answeredAt > begin && answeredAt < end)
    this.done.block = { millis: end - begin, killed: killed.length }
  }

  purge(): void {
    this.#pool.purge('shown by npm start')
    this.done.purges += 1
    this.#news.push('purge()')
  }

  resize(max: number): void {
    const from = this.#pool.max
    this.#pool.resize({ max })
    this.done.resize = { from, to: max }
    this.#news.push(`resize() to ${max}`)
  }
}
