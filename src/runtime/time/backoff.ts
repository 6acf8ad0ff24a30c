/** The pause before the next try: it doubles with every round, from the first to the longest. */
export function backoff(rounds: number, first: number, longest: number): number {
  return Math.min(first * 2 ** rounds, longest)
}
