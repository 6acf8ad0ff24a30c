#!/usr/bin/env node
import { doctor } from './doctor/command.ts'
import { timeline } from './timeline/command.ts'
import { top } from './top/command.ts'

/*
 * `npx lifeguard-pool <command>`
 */

const USAGE = `lifeguard-pool <command>

  doctor <pid>                        what is wrong with a running process
  top <pid|socket|URL>                its pools, once a second
  timeline <pid|socket|URL|file.json> what its connections do, as bars over time

lifeguard-pool <command> --help tells more.
`

type Command = (args: readonly string[]) => Promise<{ readonly code: number; readonly text: string }>

const COMMANDS: Readonly<Record<string, Command>> = { doctor, timeline, top }

async function main([name = '', ...args]: readonly string[]): Promise<number> {
  if (name === '--help' || name === '-h' || name === 'help') return say(process.stdout, USAGE, 0)
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (command === undefined)
    return say(process.stderr, `${name === '' ? '' : `no such command: ${name}\n\n`}${USAGE}`, 2)
  try {
    const { code, text } = await command(args)
    return say(process.stdout, text, code)
  } catch (error) {
    return say(
      process.stderr,
      `lifeguard-pool ${name}: ${error instanceof Error ? error.message : error}\n`,
      2,
    )
  }
}

function say(stream: NodeJS.WriteStream, text: string, code: number): number {
  stream.write(text)
  return code
}

/** The exit code, if the output could not be written. */
let failed: number | undefined

for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    // Whoever reads the output may go away, as `head` does.
    if (error.code === 'EPIPE' || failed !== undefined) return
    failed = 2
    process.exitCode = failed
    if (stream === process.stdout) process.stderr.write(`lifeguard-pool: ${error.message}\n`)
  })
main(process.argv.slice(2)).then(code => {
  process.exitCode = failed ?? code
})
