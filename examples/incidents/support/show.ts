import type { Named } from '../../../test/support/service.ts'
import { objections, type Played, type Seen, type Side } from './incident.ts'

const HEADLINE: Readonly<Record<Side, string>> = {
  without: 'without: as people write it today',
  with: 'with lifeguard-pool: the same service code',
}
const MOST_REPORT_LINES = 14
const WIDTH = 112

/** One run for a person. */
export function linesOf(side: Side, seen: Seen): string[] {
  const { rows, harm, named, report } = seen
  return [
    `  ${HEADLINE[side]}`,
    ...rows.map(([label, value]) => `    ${label.padEnd(46)} ${value}`),
    ...(named ? namedLines(named) : []),
    ...(report ? reportLines(report) : []),
    `    => ${harm.length > 0 ? `SUFFERED: ${harm.join('; ')}` : `no harm: ${seen.unharmed}`}`,
  ]
}

function namedLines({ seconds, text }: Named): string[] {
  const [first = '', ...more] = text
    .split('\n')
    .flatMap(line => (line.length > WIDTH ? wrap(line, WIDTH) : [line]))
  return [
    `    named after ${seconds.toFixed(2)} s: ${first}`,
    ...more.slice(0, MOST_REPORT_LINES).map(line => `      | ${line}`),
  ]
}

function reportLines(report: string): string[] {
  const lines = report.trimEnd().split('\n')
  const shown = lines.slice(0, MOST_REPORT_LINES)
  const more = lines.length - shown.length
  return [
    '    pool.report():',
    ...shown.map(line => `      | ${clip(line, WIDTH)}`),
    ...(more > 0 ? [`      | … ${more} more lines`] : []),
  ]
}

/** The end of it all: what happened on either side, and how soon the cause was named. */
export function tableOf(all: readonly Played[]): string {
  const cell = (seen: Seen): string => (seen.harm.length > 0 ? seen.harm.join('; ') : seen.unharmed)
  const rows = [
    ['incident', 'without', 'with', 'cause reported after'],
    ...all.map(({ id, title, without, with: guarded }) => [
      `${id} ${title}`,
      cell(without),
      cell(guarded),
      guarded.named ? `${guarded.named.seconds.toFixed(2)} s` : 'never',
    ]),
  ]
  const widths = [24, 44, 34, 17]
  const lines = rows.flatMap((row, index) => [
    ...wrapped(row, widths),
    ...(index === 0 ? [widths.map(width => '-'.repeat(width)).join('  ')] : []),
  ])
  return lines.map(line => line.trimEnd()).join('\n')
}

/** A row of a table whose cells may take several lines. */
function wrapped(cells: readonly string[], widths: readonly number[]): string[] {
  const columns = cells.map((text, index) => wrap(text, widths[index] ?? 20))
  const height = Math.max(...columns.map(column => column.length))
  return Array.from({ length: height }, (_, line) =>
    columns.map((column, index) => (column[line] ?? '').padEnd(widths[index] ?? 20)).join('  '),
  )
}

function wrap(text: string, width: number): string[] {
  const lines = ['']
  for (const word of text.split(' ')) {
    const last = lines.at(-1) ?? ''
    if (last !== '' && last.length + 1 + word.length > width) lines.push(word)
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`
  }
  return lines
}

function clip(text: string, most: number): string {
  const line = text.replaceAll('\n', ' ')
  return line.length > most ? `${line.slice(0, most - 1)}…` : line
}

/** The last lines: whether all went as it must. */
export function verdictOf(all: readonly Played[]): string {
  const against = all.flatMap(objections)
  if (against.length > 0) return `NOT AS IT MUST BE:\n${against.map(line => `  - ${line}`).join('\n')}`
  return 'Every unguarded run suffered, no guarded one did, and each cause was named.'
}
