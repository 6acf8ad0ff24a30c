/* Writes figures into docs/reliability.md, between the marks of their part. */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../support/package-root.ts'

export function writeFigures(part: string, lines: readonly string[]): void {
  const page = join(packageRoot(), 'docs/reliability.md')
  const text = readFileSync(page, 'utf8')
  const place = new RegExp(`(<!-- ${part} -->\\n)[\\s\\S]*?(<!-- /${part} -->)`)
  if (!place.test(text)) throw new Error(`docs/reliability.md has no place for ${part}`)
  writeFileSync(
    page,
    text.replace(place, (_, begin: string, end: string) => `${begin}\n${lines.join('\n')}\n\n${end}`),
  )
}
