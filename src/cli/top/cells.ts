/*
 * Text in the cells of a terminal.
 */

/** Colours of the view. `plain` writes none. */
export type Paint = 'good' | 'busy' | 'warn' | 'bad' | 'dim' | 'title'

const CODES: Readonly<Record<Paint, string>> = {
  good: '32',
  busy: '36',
  warn: '33',
  bad: '1;31',
  dim: '2',
  title: '7',
}

export type Painter = (paint: Paint, text: string) => string
export const colours: Painter = (paint, text) =>
  text === '' ? '' : `\u001b[${CODES[paint]}m${text}\u001b[0m`
export const plain: Painter = (_, text) => text

const COMBINING = /^\p{M}$/u
/** Characters that take two cells, roughly: East Asian ones and emoji. */
const WIDE =
  /^[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]$/u

const cellsOf = (character: string): number => (COMBINING.test(character) ? 0 : WIDE.test(character) ? 2 : 1)

/** How many cells a text takes. */
export function width(text: string): number {
  let cells = 0
  for (const character of text) cells += cellsOf(character)
  return cells
}

/** Cuts a text to so many cells, with a sign that something is missing. */
export function cut(text: string, cells: number): string {
  if (cells <= 0) return ''
  if (width(text) <= cells) return text
  let kept = ''
  let used = 0
  for (const character of text) {
    const more = cellsOf(character)
    if (used + more > cells - 1) break
    kept += character
    used += more
  }
  return `${kept}…`
}

/** The same from its start on: of a path, the end tells more. */
export function cutStart(text: string, cells: number): string {
  const mirrored = [...text].reverse().join('')
  return [...cut(mirrored, cells)].reverse().join('')
}

export const padded = (text: string, cells: number): string => {
  const short = cut(text, cells)
  return short + ' '.repeat(Math.max(cells - width(short), 0))
}

export const right = (text: string, cells: number): string => {
  const short = cut(text, cells)
  return ' '.repeat(Math.max(cells - width(short), 0)) + short
}

/** A time in at most six cells. */
export function time(millis: number | undefined): string {
  if (millis === undefined || Number.isNaN(millis)) return '-'
  if (millis < 0.05) return '0 ms'
  if (millis < 10) return `${Number(millis.toPrecision(2))} ms`
  if (millis < 1000) return `${Math.round(millis)} ms`
  if (millis < 100_000) return `${Number((millis / 1000).toPrecision(3))} s`
  if (millis < 5_940_000) return `${Math.round(millis / 60_000)} min`
  if (millis < 360_000_000) return `${Math.round(millis / 3_600_000)} h`
  return `${Math.round(millis / 86_400_000)} d`
}

/** A count in at most five cells. */
export function short(count: number | undefined): string {
  if (count === undefined) return '-'
  if (count < 10 && count > 0 && !Number.isInteger(count)) return count.toFixed(1)
  if (count < 100_000) return `${Math.round(count)}`
  return count < 10_000_000 ? `${Math.round(count / 1000)}k` : `${Math.round(count / 1_000_000)}M`
}
