/** What a figure counts. Less is better, except for `/s`. */
export type Unit = 'ns' | 'µs' | 'ms' | 's' | 'B' | '/s' | '%' | '×' | ''

/** One measured figure: a row of a table. */
export interface Figure {
  readonly row: string
  readonly unit: Unit
  /** CPU time where a time is meant and nothing else is said: other processes share the machine. */
  readonly value: number
  /** The same by the clock on the wall. */
  readonly wall?: number
}

/** What is run in one process for one contender. */
export interface Scene {
  /** Names a table; several scenes may share it. */
  readonly group: string
  readonly contenders: readonly string[]
  /** The contender that ratios are formed to; generic-pool unless it cannot take part. */
  readonly base?: string
  /** How often each contender runs, in turn with the others. */
  readonly rounds: number
  /** Part of `--quick`, with this many rounds. */
  readonly quickRounds?: number
  /** Part of a run with `--nodes`. */
  readonly eachNode?: boolean
  /** Flags of the process. */
  readonly flags?: readonly string[]
  /** Needs a Redis server: its URL is in `BENCH_REDIS`. */
  readonly redis?: boolean
  /** After this time a contender is given up. Milliseconds, default 20 000. */
  readonly patience?: number
  run(contender: string, quick: boolean): Promise<Figure[]>
}
