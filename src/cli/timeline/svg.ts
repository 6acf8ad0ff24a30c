import type { Timeline, TimelineMark } from '../../diagnostics/timeline/timeline.ts'
import { COLOURS, type Look, WORDS } from './looks.ts'
import { type Group, groupsOf, millisInWords, niceStep, type Row, WHAT } from './rows.ts'

const WIDTH = 980
const LEFT = 64
const RIGHT = 20
const ROW = 18
const BAR = 13
const LETTER = 6.2
const MOST_CONNECTIONS = 40
const MOST_LANES = 16
const MOST_NOTES = 12

/** Control characters, halves of characters and these two have no place in XML; others would turn the text around them. */
const escaped = (text: string): string =>
  text
    .replaceAll(/[\p{Cc}\p{Cf}\p{Cs}\ufffe\uffff]/gu, ' ')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')

const text = (x: number, y: number, content: string, more = ''): string =>
  `<text x="${round(x)}" y="${round(y)}" ${more}>${escaped(content)}</text>`

const round = (value: number): number => Number(value.toFixed(1))

/** Draws a timeline as a picture for a document. */
export function timelineSvg(timeline: Timeline, title?: string): string {
  const drawing = new Drawing(timeline)
  return drawing.draw(title)
}

class Drawing {
  readonly #timeline: Timeline
  readonly #parts: string[] = []
  /** What happened, and where it is drawn. */
  readonly #marked: { readonly mark: TimelineMark; readonly y: number }[] = []
  #y = 0

  constructor(timeline: Timeline) {
    this.#timeline = timeline
  }

  draw(title: string | undefined): string {
    const groups = groupsOf(this.#timeline, MOST_LANES).filter(
      group => group.connections.length + group.failed.length + group.waits.length + group.marks.length > 0,
    )
    if (title !== undefined) {
      this.#y += 30
      this.#parts.push(text(20, this.#y, title, 'font-size="16" font-weight="600"'))
    }
    const top = this.#y + 14
    for (const group of groups) this.#group(group, groups.length > 1)
    const notes = this.#drawMarks()
    const bottom = this.#y + 6
    this.#axis(top, bottom)
    this.#legend(groups, notes.length > 0)
    this.#noteLines(notes)
    const height = this.#y + 16
    const font = 'font-family="system-ui, -apple-system, sans-serif" font-size="12" fill="#1c2733"'
    return (
      `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" ${font}>\n` +
      `<title>${escaped(title ?? 'What the connections of a pool did')}</title>\n${PATTERNS}\n` +
      `<rect width="100%" height="100%" rx="8" fill="#fff"/>\n${this.#stalls(top, bottom)}${this.#parts.join('\n')}\n</svg>\n`
    )
  }

  #x(millis: number): number {
    return LEFT + (millis / Math.max(this.#timeline.millis, 1)) * (WIDTH - LEFT - RIGHT)
  }

  #group({ name, max, connections, failed, waits, moreWaits, marks }: Group, isNamed: boolean): void {
    this.#y += 26
    const few =
      connections.length > MOST_CONNECTIONS
        ? `, ${connections.length - MOST_CONNECTIONS} more connections`
        : ''
    const more = moreWaits > 0 ? `, ${moreWaits} more waits` : ''
    const heading = `${isNamed ? `${name}: ` : ''}at most ${max} connection${max === 1 ? '' : 's'}${few}`
    this.#parts.push(text(20, this.#y, heading, 'font-weight="600"'))
    this.#marks(marks, this.#y - 4)
    this.#y += 8
    for (const row of connections.slice(0, MOST_CONNECTIONS)) this.#row(row)
    for (const row of failed) this.#row({ ...row, label: 'failed' })
    if (waits.length === 0) return
    this.#y += 14
    this.#parts.push(text(20, this.#y, `acquires that wait${more}`, 'fill="#5b6670"'))
    this.#y += 5
    for (const row of waits) this.#row(row)
  }

  #row({ label, bars, marks }: Row): void {
    const y = this.#y
    this.#parts.push(text(LEFT - 8, y + 11, label, 'text-anchor="end" fill="#5b6670"'))
    for (const { from, to, look, label: name, words } of bars) {
      const [x, width] = [
        this.#x(from),
        Math.max(this.#x(to) - this.#x(from), look === 'failed-connect' ? 3 : 1),
      ]
      const shape = `<rect x="${round(x)}" y="${y}" width="${round(width)}" height="${BAR}" rx="2" ${paint(look)}>`
      this.#parts.push(`${shape}<title>${escaped(words)}</title></rect>`)
      if (name.length * LETTER + 10 < width)
        this.#parts.push(text(x + 5, y + 10, name, `font-size="10.5" fill="${INK[look] ?? '#1c2733'}"`))
    }
    this.#marks(marks, y + BAR / 2)
    this.#y += ROW
  }

  #marks(marks: readonly TimelineMark[], y: number): void {
    this.#marked.push(...marks.map(mark => ({ mark, y })))
  }

  /** A numbered diamond for each of the first. @returns those that have one */
  #drawMarks(): TimelineMark[] {
    const first = this.#marked.toSorted((a, b) => a.mark.at - b.mark.at).slice(0, MOST_NOTES)
    for (const [index, { mark, y }] of first.entries()) {
      const x = this.#x(mark.at)
      const style = 'text-anchor="middle" font-size="9.5" font-weight="600" fill="#b3261e"'
      this.#parts.push(
        `<path d="M${round(x)} ${y - 9}l8 9l-8 9l-8 -9z" fill="#fff" stroke="#b3261e" stroke-width="1.6"/>`,
        text(x, y + 3.5, String(index + 1), style),
      )
    }
    return first.map(({ mark }) => mark)
  }

  #axis(top: number, bottom: number): void {
    const { millis } = this.#timeline
    const step = niceStep(Math.max(millis, 1), 9)
    const lines: string[] = []
    for (let at = 0; at <= millis; at += step) {
      const x = round(this.#x(at))
      lines.push(`<path d="M${x} ${top}V${bottom}" stroke="#d5dae0" stroke-width="0.7"/>`)
      lines.push(
        text(x, bottom + 14, at === 0 ? '0' : millisInWords(at), 'text-anchor="middle" fill="#5b6670"'),
      )
    }
    this.#parts.unshift(...lines)
    this.#y = bottom + 16
  }

  #stalls(top: number, bottom: number): string {
    return this.#timeline.stalls
      .map(({ from, to }) => {
        const [x, width] = [this.#x(from), Math.max(this.#x(to) - this.#x(from), 1)]
        return `<rect x="${round(x)}" y="${top}" width="${round(width)}" height="${bottom - top}" fill="url(#stall)"><title>the event loop was blocked for ${millisInWords(to - from)}</title></rect>\n`
      })
      .join('')
  }

  #legend(groups: readonly Group[], hasNotes: boolean): void {
    const rows = groups.flatMap(({ connections, failed, waits }) => [...connections, ...failed, ...waits])
    const used = new Set<Look>(rows.flatMap(({ bars }) => bars.map(({ look }) => look)))
    if (this.#timeline.stalls.length > 0) used.add('stall')
    this.#y += 22
    let x = 20
    for (const [look, words] of Object.entries(WORDS) as [keyof typeof WORDS, string][]) {
      if (!used.has(look)) continue
      const width = 22 + words.length * LETTER + 16
      if (x + width > WIDTH - 10) {
        x = 20
        this.#y += 20
      }
      this.#parts.push(
        `<rect x="${round(x)}" y="${this.#y - 10}" width="16" height="12" rx="2" ${paint(look)}/>`,
      )
      this.#parts.push(text(x + 21, this.#y, words))
      x += width
    }
    if (!hasNotes) return
    if (x + 22 + NOTED.length * LETTER > WIDTH - 10) {
      x = 20
      this.#y += 20
    }
    this.#parts.push(
      `<path d="M${round(x + 8)} ${this.#y - 12}l7 8l-7 8l-7 -8z" fill="#fff" stroke="#b3261e" stroke-width="1.6"/>`,
      text(x + 21, this.#y, NOTED),
    )
  }

  #noteLines(notes: readonly TimelineMark[]): void {
    for (const [index, { at, what, words }] of notes.entries()) {
      this.#y += 18
      const line = `${index + 1}  ${millisInWords(at)}: ${WHAT[what]}: ${words}`
      this.#parts.push(
        text(20, this.#y, line.length > 150 ? `${line.slice(0, 149)}…` : line, 'fill="#3c4852"'),
      )
    }
    const { spans, waits, marks, completeFrom } = this.#timeline.dropped
    if (spans + waits + marks === 0) return
    this.#y += 18
    this.#parts.push(
      text(
        20,
        this.#y,
        `${spans + waits + marks} records did not fit; complete from ${millisInWords(completeFrom)} on`,
        'fill="#b3261e"',
      ),
    )
  }
}

const NOTED = 'something happened: told below by its number'

/** White letters where the bar is dark. */
const INK: Partial<Record<Look, string>> = {
  lent: '#fff',
  'half-closed': '#fff',
  failed: '#fff',
  waiting: '#fff',
}

const paint = (look: Look): string => {
  const colour = COLOURS[look]
  if (look === 'idle') return `fill="#fff" stroke="${colour}" stroke-width="1"`
  if (['connecting', 'validating', 'resetting', 'closing', 'stall'].includes(look))
    return `fill="url(#${look})" stroke="${colour}" stroke-width="1"`
  return `fill="${colour}"`
}

const pattern = (look: Look, size: number, shape: string, paper = '#fff'): string =>
  `<pattern id="${look}" width="${size}" height="${size}" patternUnits="userSpaceOnUse"><rect width="${size}" height="${size}" fill="${paper}"/>${shape}</pattern>`

/** The same states without colours: strokes that lean, dots, lines, crosses. */
const PATTERNS = `<defs>${[
  pattern('connecting', 6, `<path d="M-1 7L7 -1" stroke="${COLOURS.connecting}" stroke-width="2.4"/>`),
  pattern('validating', 5, `<circle cx="2.5" cy="2.5" r="1.4" fill="${COLOURS.validating}"/>`),
  pattern('resetting', 5, `<path d="M0 2.5H5" stroke="${COLOURS.resetting}" stroke-width="1.8"/>`),
  pattern('closing', 6, `<path d="M0 0L6 6M6 0L0 6" stroke="${COLOURS.closing}" stroke-width="1"/>`),
  pattern(
    'stall',
    7,
    `<path d="M-1 -1L8 8" stroke="${COLOURS.stall}" stroke-width="1" opacity="0.45"/>`,
    '#fdeceb',
  ),
].join('')}</defs>`
