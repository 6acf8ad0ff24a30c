/** From this share of a wait on, stalls of the event loop are worth a word; from the other, whatever else is wrong. */
const NOTABLE_SHARE = 1 / 5
const MOST_OF_IT = 1 / 2

/**
 * Are stalls the first thing to look at where acquires waited: do they explain the wait, and nothing else does?
 *
 * @param share - of the wait, for which the event loop stood still
 * @param isExplained - whether something else explains all of the wait: no connection could be made, the server is silent
 */
export const isCausedByStalls = (share: number, isExplained: boolean): boolean =>
  share >= (isExplained ? MOST_OF_IT : NOTABLE_SHARE)

/** Are they worth a word? */
export const isNotableStall = (share: number): boolean => share >= NOTABLE_SHARE
