import { parseArgs } from 'node:util'
import { CannotLook } from '../cannot-look.ts'
import { closeInspector } from '../inspect/session.ts'
import { ProcFiles } from '../proc/proc-files.ts'
import { targetOf } from '../proc/target.ts'
import { diagnose } from './doctor.ts'
import { diagnosisText } from './text.ts'

const USAGE = `lifeguard-pool doctor <pid> [--seconds N] [--inspect] [--token T] [--json]

Looks at a running process on Linux, of Node or any other, for some seconds, and says which of the known
outages it is in, why, and what to do next. Without --inspect it only reads /proc, and changes nothing.

  --seconds N   how long to look; default 3
  --inspect     ask a process of Node itself: opens its inspector (SIGUSR1), looks for its pools or, if it
                computes all the time, takes its stack, and closes the inspector again
  --token T     the token of its diagnostics server; default: LIFEGUARD_POOL_TOKEN in the environment
  --json        the findings as JSON
  --close-inspector   only closes the inspector of the process, if it is open

Exit code: 0 nothing found, 1 something is wrong, 2 nothing found, but a part could not be seen or told (such as
the pools of a process of Node without --inspect), or it could not be looked at.
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
      token: { type: 'string' },
      'close-inspector': { type: 'boolean' },
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
  const pid = Number(word)
  if (values['close-inspector']) return { code: 0, text: `${await closeInspectorOf(pid)}\n` }
  const { inspect, token = process.env.LIFEGUARD_POOL_TOKEN } = values
  const diagnosis = await diagnose(pid, { seconds, inspect, token })
  return {
    code: diagnosis.findings.length > 0 ? 1 : diagnosis.isPartial ? 2 : 0,
    text: values.json ? `${JSON.stringify(diagnosis, null, 2)}\n` : diagnosisText(diagnosis),
  }
}

async function closeInspectorOf(pid: number): Promise<string> {
  const proc = new ProcFiles()
  const target = targetOf(proc, pid)
  if (target === undefined) throw new CannotLook(`there is no process ${pid} that can be seen from here`)
  return await closeInspector(proc, target)
}
