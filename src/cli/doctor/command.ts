import { parseArgs } from 'node:util'
import { CannotLook } from '../cannot-look.ts'
import { diagnose } from './doctor.ts'
import { diagnosisText } from './text.ts'

const USAGE = `lifeguard-pool doctor <pid> [--seconds N] [--inspect] [--json]

Looks at a running process on Linux, of Node or any other, for some seconds, and says which of the known
outages it is in, why, and what to do next. Without --inspect it only reads /proc, and changes nothing.

  --seconds N   how long to look; default 3
  --inspect     ask a process of Node itself: opens its inspector (SIGUSR1), looks for its pools or, if it
                computes all the time, takes its stack, and closes the inspector again
  --json        the findings as JSON

Exit code: 0 nothing found, 1 something is wrong, 2 it could not be looked at.
`

const DEFAULT_SECONDS = 3
const MOST_SECONDS = 600

/** @returns the exit code and the text to print */
export async function doctor(args: readonly string[]): Promise<{ code: number; text: string }> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      seconds: { type: 'string' },
      inspect: { type: 'boolean', default: false },
      json: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) return { code: 0, text: USAGE }
  const [word, ...more] = positionals
  if (word === undefined || more.length > 0 || !/^[1-9]\d*$/.test(word))
    throw new CannotLook(`doctor needs the id of one process, got ${positionals.join(' ') || 'nothing'}`)
  const seconds = values.seconds === undefined ? DEFAULT_SECONDS : Number(values.seconds)
  if (!(seconds > 0 && seconds <= MOST_SECONDS))
    throw new CannotLook(`--seconds must be a number above 0, at most ${MOST_SECONDS}, got ${values.seconds}`)
  const diagnosis = await diagnose(Number(word), { seconds, inspect: values.inspect })
  return {
    code: diagnosis.isBlind ? 2 : diagnosis.findings.length > 0 ? 1 : 0,
    text: values.json ? `${JSON.stringify(diagnosis, null, 2)}\n` : diagnosisText(diagnosis),
  }
}
