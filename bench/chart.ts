type Measured = { scene: string; contender: string; unit: string; median: number; ratio: number | undefined }

interface Run {
  readonly machine: string
  readonly measured: readonly Measured[]
}

const WIDTH = 960
const LEFT = 300
const BAR = 16
const COLOURS: Readonly<Record<string, string>> = { 'lifeguard-pool': '#d1495b', 'generic-pool': '#30638e' }

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')

/** Bars, shorter is better, each scene on its own scale, with the machine named. */
export function chart(runs: readonly Run[]): string {
  const parts: string[] = []
  let y = 30
  const text = (x: number, content: string, style = ''): void => {
    parts.push(`<text x="${x}" y="${y}" ${style}>${escaped(content)}</text>`)
  }
  for (const { machine, measured } of runs) {
    text(10, machine, 'font-weight="bold"')
    y += 26
    for (const scene of new Set(measured.map(each => each.scene))) {
      const rows = measured.filter(each => each.scene === scene && Number.isFinite(each.median))
      const longest = Math.max(...rows.map(row => row.median))
      text(10, scene, 'font-style="italic"')
      y += 8
      for (const { contender, median, unit, ratio } of rows.toSorted((a, b) => a.median - b.median)) {
        const width = Math.max(((WIDTH - LEFT - 150) * median) / longest, 1)
        const colour = COLOURS[contender] ?? '#9aa5b1'
        parts.push(
          `<rect x="${LEFT}" y="${y}" width="${width.toFixed(1)}" height="${BAR - 4}" fill="${colour}"/>`,
        )
        y += BAR - 5
        text(LEFT - 8, contender, 'text-anchor="end"')
        const factor = ratio === undefined ? '' : ` (${ratio.toFixed(2)}×)`
        text(LEFT + width + 6, `${median.toFixed(median < 100 ? 1 : 0)} ${unit}${factor}`)
        y += 5
      }
      y += 26
    }
  }
  const font = 'font-family="system-ui, sans-serif" font-size="12" fill="#222"'
  const size = `width="${WIDTH}" height="${y}" viewBox="0 0 ${WIDTH} ${y}"`
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} ${font}>\n<rect width="100%" height="100%" fill="#fff"/>\n${parts.join('\n')}\n</svg>\n`
}
