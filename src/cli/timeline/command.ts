import { parseArgs } from 'node:util'
import type { Timeline } from '../../diagnostics/timeline/timeline.ts'
import { findSocket, NO_TLS } from '../inspect/served.ts'
import { ProcFiles } from '../proc/proc-files.ts'
import { askForTimeline } from './ask.ts'
import { recordByInspector } from './by-inspector.ts'
import { checkOut, kindOf, readText, writeText } from './files.ts'
import { timelineHtml } from './html.ts'
import { timelineSvg } from './svg.ts'

const USAGE = `lifeguard-pool timeline <pid | socket | url | file.json> [options]

Draws what the connections of a process did: each one's life, each acquire that waited, each time in which the
event loop was blocked, as bars over time. It records in a process that serves its diagnostics (serveDiagnostics,
diagnosticsHandler), or in any process of Node with --inspect; or it draws what recordTimeline() has recorded.

  --record N    for how many seconds; default 10
  --pool NAME   only this pool
  --inspect     record by the inspector, in a process that serves no diagnostics: SIGUSR1 opens it, and it is
                closed again; the process loads the recorder of this package
  --token T     what the diagnostics handler wants; or in the environment, as LIFEGUARD_POOL_TOKEN
  --svg         a picture for a document, instead of a page that can be zoomed
  --json        the recording as it is
  --title T     a heading for the picture
  --out FILE    where to write it; default stdout. --force overwrites a file that is there

lifeguard-pool timeline 4711 --record 30 --out pools.html
`

const DEFAULT_SECONDS = 10
const MOST_SECONDS = 600

/** @returns the exit code and the text to print */
export async function timeline(args: readonly string[]): Promise<{ code: number; text: string }> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      record: { type: 'string' },
      pool: { type: 'string' },
      token: { type: 'string' },
      title: { type: 'string' },
      out: { type: 'string' },
      force: { type: 'boolean', default: false },
      inspect: { type: 'boolean', default: false },
      svg: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) return { code: 0, text: USAGE }
  const [what, ...more] = positionals
  if (what === undefined || more.length > 0)
    throw new Error(
      `timeline needs one process, socket, URL or file, got ${positionals.join(' ') || 'nothing'}`,
    )
  if (values.svg && values.json) throw new Error('--svg and --json exclude each other')
  const seconds = values.record === undefined ? DEFAULT_SECONDS : Number(values.record)
  if (!(seconds > 0 && seconds <= MOST_SECONDS))
    throw new Error(`--record must be a number above 0, at most ${MOST_SECONDS}, got ${values.record}`)
  if (values.out !== undefined) checkOut(values.out, values.force)
  const { pool, token = process.env.LIFEGUARD_POOL_TOKEN } = values
  const { recorded, left } = await recordingOf(what, values.inspect, () => ({ seconds, pool, token }))
  if (left !== undefined) process.stderr.write(`lifeguard-pool timeline: ${left}\n`)
  const found = readTimeline(recorded, what)
  const text = values.json
    ? `${JSON.stringify(found)}\n`
    : values.svg
      ? timelineSvg(found, values.title)
      : timelineHtml(found)
  if (values.out === undefined) return { code: 0, text }
  writeText(values.out, text, values.force)
  const { spans, waits } = found
  return {
    code: 0,
    text: `${values.out}: ${Math.round(found.millis / 1000)} s, ${spans.length} spans of connections, ${waits.length} acquires that waited\n`,
  }
}

interface Request {
  readonly seconds: number
  readonly pool: string | undefined
  readonly token: string | undefined
}

interface Recorded {
  readonly recorded: string
  /** What the recording has left open. */
  readonly left?: string | undefined
}

async function recordingOf(what: string, inspect: boolean, request: () => Request): Promise<Recorded> {
  const { seconds, pool, token } = request()
  const isPid = /^[1-9]\d*$/.test(what)
  if (inspect) {
    if (!isPid) throw new Error(`--inspect needs the id of a process, got ${what}`)
    return await recordByInspector(Number(what), seconds, pool)
  }
  const ask = async (where: string): Promise<Recorded> => ({
    recorded: await askForTimeline(where, seconds, pool, token),
  })
  if (/^http:\/\//.test(what)) return await ask(what)
  if (/^https:\/\//.test(what)) throw new Error(NO_TLS)
  if (isPid) {
    const socket = await findSocket(new ProcFiles(), Number(what), { token })
    if (socket !== undefined) return await ask(socket)
    throw new Error(
      `process ${what} serves no diagnostics that can be found: call serveDiagnostics() in it, give the path of its ` +
        'socket or its URL, or use --inspect',
    )
  }
  const kind = kindOf(what)
  if (kind === 'socket') return await ask(what)
  if (kind === 'file') return { recorded: readText(what) }
  throw new Error(`${what} is no process, socket, URL or file`)
}

function readTimeline(text: string, from: string): Timeline {
  let found: unknown
  try {
    found = JSON.parse(text)
  } catch {}
  const { version, pools, spans, waits, stalls, marks, dropped } = (found ?? {}) as Partial<Timeline>
  if (version !== 1 || ![pools, spans, waits, stalls, marks].every(Array.isArray) || dropped === undefined)
    throw new Error(`${from} is no timeline, or one of another version of this package`)
  return found as Timeline
}
