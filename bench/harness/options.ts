/** The options of a command line, as `--name value` or `--name`. */
export function commandLine(known: readonly string[]) {
  const given = process.argv.slice(2)
  for (const word of given) {
    if (word.startsWith('--') && !known.includes(word.slice(2))) {
      process.stderr.write(`unknown option ${word}; there are: ${known.map(name => `--${name}`).join(' ')}\n`)
      process.exit(2)
    }
  }
  return {
    has: (name: string): boolean => given.includes(`--${name}`),
    textOf: (name: string): string | undefined => {
      const at = given.indexOf(`--${name}`)
      return at < 0 ? undefined : given[at + 1]
    },
    listOf: (name: string): string[] | undefined => {
      const at = given.indexOf(`--${name}`)
      return at < 0 ? undefined : given[at + 1]?.split(',').map(each => each.trim())
    },
  }
}
