/** From the first share of a wait on, stalls are worth mentioning; from the second on, they come first in any case. */
const NOTABLE_SHARE = 1 / 5
const MOST_OF_IT = 1 / 2

/**
 * Do stalls of the event loop explain why acquires waited, so that they are the first thing to look at?
 *
 * @param share - the share of the wait in which the event loop was blocked
 * @param isExplained - whether something else explains the whole wait: no connection could be made, or the server is
 * silent
 */
export const isCausedByStalls = (share: number, isExplained: boolean): boolean =>
  share >= (isExplained ? MOST_OF_IT : NOTABLE_SHARE)

/** Are stalls worth mentioning? */
export const isNotableStall = (share: number): boolean => share >= NOTABLE_SHARE
