import { readdirSync } from 'node:fs'
import { dirname } from 'node:path'

/** The folder of the package, wherever the compiled tests lie: its own name resolves from there, to what is published. */
export function packageRoot(): string {
  for (let folder = import.meta.dirname; ; folder = dirname(folder)) {
    if (readdirSync(folder).includes('package.json')) return folder
  }
}
