import { readFileSync, writeFileSync } from 'node:fs'

/*
 * Draws what `npm start` has found, for the README:
 *
 *     npm start --silent -- --json > found.json && node .build/examples/incidents/picture.js found.json docs/start.svg
 */

interface Found {
  readonly redis: string
  readonly incidents: readonly {
    readonly id: string
    readonly title: string
    readonly without: { readonly harm: readonly string[] }
    readonly with: { readonly unharmed?: string; readonly named?: { readonly seconds: number } }
  }[]
}

const WIDTH = 980
const LINE = 17
const COLUMNS = [
  { x: 20, letters: 27 },
  { x: 236, letters: 44 },
  { x: 564, letters: 40 },
  { x: 868, letters: 20 },
] as const
const RED = '#b3261e'
const GREEN = '#1b6e3a'

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

/** Lines of at most so many letters, broken between words. */
function wrapped(text: string, letters: number): string[] {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + word.length < letters) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines
}

const text = (x: number, y: number, content: string, style = ''): string =>
  `<text x="${x}" y="${y}" ${style}>${escaped(content)}</text>`

function draw({ redis, incidents }: Found): string {
  const heads = ['', 'without this pool', 'with it', 'cause reported']
  const parts = [
    text(
      20,
      34,
      'What npm start shows: five outages, without this pool and with it',
      'font-size="17" font-weight="600"',
    ),
    ...COLUMNS.map(({ x }, index) => text(x, 66, heads[index] ?? '', 'fill="#5b6670"')),
  ]
  let y = 78
  for (const { id, title, without, with: guarded } of incidents) {
    const seconds = guarded.named?.seconds
    const cells = [
      { lines: wrapped(`${id} ${title}`, COLUMNS[0].letters), style: 'font-weight="600"' },
      { lines: without.harm.flatMap(harm => wrapped(harm, COLUMNS[1].letters)), style: `fill="${RED}"` },
      { lines: wrapped(guarded.unharmed ?? '', COLUMNS[2].letters), style: `fill="${GREEN}"` },
      {
        lines: [seconds === undefined ? '' : `within ${(Math.ceil(seconds * 10) / 10).toFixed(1)} s`],
        style: '',
      },
    ]
    parts.push(`<path d="M20 ${y}H${WIDTH - 20}" stroke="#d5dae0"/>`)
    for (const [column, { lines, style }] of cells.entries()) {
      for (const [index, line] of lines.entries())
        parts.push(text(COLUMNS[column]?.x ?? 0, y + 20 + index * LINE, line, style))
    }
    y += 12 + LINE * Math.max(...cells.map(({ lines }) => lines.length))
  }
  // The port and the path of the server are nobody's business.
  const server = /redis-server/.test(redis) ? 'a real redis-server' : 'a small server of its own'
  parts.push(text(20, y + 24, `On ${server}; each service runs twice, with the same code.`, 'fill="#5b6670"'))
  const height = y + 42
  const font = 'font-family="system-ui, -apple-system, sans-serif" font-size="13" fill="#1c2733"'
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" ${font}>
<rect width="100%" height="100%" rx="8" fill="#fff"/>
${parts.join('\n')}
</svg>
`
}

const [from, to] = process.argv.slice(2)
if (from === undefined || to === undefined) throw new Error('two files: the findings, and the picture')
writeFileSync(to, draw(JSON.parse(readFileSync(from, 'utf8'))))
