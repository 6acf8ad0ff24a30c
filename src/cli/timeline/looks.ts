/*
 * The colours of what connections do, on the pages and in pictures: such that the colour-blind can tell them from each
 * other (after Okabe and Ito). Each has a pattern as well, for print.
 */

export const COLOURS = {
  connecting: '#e69f00',
  idle: '#7d93a1',
  validating: '#56b4e9',
  lent: '#0072b2',
  resetting: '#cc79a7',
  closing: '#8a8a8a',
  'failed-connect': '#b3261e',
  'half-closed': '#d55e00',
  waiting: '#8b5fbf',
  failed: '#b3261e',
  stall: '#b3261e',
  forgotten: '#c9a800',
} as const

export type Look = keyof typeof COLOURS

/** The states of a timeline, as they stand in a legend. */
export const WORDS: Readonly<Record<Exclude<Look, 'forgotten'>, string>> = {
  connecting: 'connecting',
  'failed-connect': 'connecting in vain',
  idle: 'idle',
  lent: 'lent',
  'half-closed': 'lent, and its peer has gone',
  validating: 'validating',
  resetting: 'resetting',
  closing: 'closing',
  waiting: 'an acquire waits',
  failed: 'an acquire waits in vain',
  stall: 'the event loop is blocked',
}
