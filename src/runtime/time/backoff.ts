/** The pause before the next try, in milliseconds: it starts at `first` and doubles every round, up to `longest`. */
export function backoff(rounds: number, first: number, longest: number): number {
  return Math.min(first * 2 ** rounds, longest)
}
