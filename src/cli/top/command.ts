import { parseArgs } from 'node:util'
import { systemClock } from '../../runtime/time/clock.ts'
import { CannotLook } from '../cannot-look.ts'
import { clean } from '../printable.ts'
import { colours, plain } from './cells.ts'
import { History } from './history.ts'
import { Live, timeOfDay } from './live.ts'
import { type Source, sourceOf } from './source.ts'
import { linesOf } from './view.ts'

/** What is printed once waits so long for the process: its event loop may be blocked. Milliseconds. */
const PATIENCE_MILLIS = 10_000

const USAGE = `lifeguard-pool top <pid|socket|URL> [--once] [--json] [--inspect] [--token T]

Shows the pools of a running process, once a second: slots by state, who waits and for how long, the oldest
leases by call site, what went wrong lately. Asks its diagnostics socket (serveDiagnostics, reportHandler).

  --once      print it once; so it does without a terminal, too
  --json      print the reports once, as JSON
  --inspect   ask a process of Node without such a socket: opens its inspector (SIGUSR1), and closes it again
  --token T   the token of its diagnostics server; default: LIFEGUARD_POOL_TOKEN in the environment

Keys: arrows, Tab or 1 to 9 the pool, h holders, e events, a all, q quit.
`

/** Where there is no terminal. */
const DEFAULT_COLUMNS = 120

/** @returns the exit code and the text to print */
export async function top(args: readonly string[]): Promise<{ code: number; text: string }> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      once: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      inspect: { type: 'boolean', default: false },
      token: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) return { code: 0, text: USAGE }
  const [target, ...more] = positionals
  if (target === undefined || target === '' || more.length > 0)
    throw new CannotLook(`top needs one process, socket or URL, got ${positionals.join(' ') || 'nothing'}`)
  const { env, stdout, stdin } = process
  const token = values.token ?? env.LIFEGUARD_POOL_TOKEN
  const isTerminal = stdout.isTTY === true && stdin.isTTY === true && env.TERM !== 'dumb'
  const isLive = isTerminal && !values.once && !values.json
  const millis = isLive ? undefined : PATIENCE_MILLIS
  const source = await sourceOf(target, { inspect: values.inspect, token, millis })
  const hasColours = isTerminal && (env.NO_COLOR ?? '') === ''
  const paint = hasColours ? colours : plain
  try {
    if (values.json) return { code: 0, text: `${JSON.stringify(await source.read(), null, 2)}\n` }
    if (isLive) return await new Live(source, { input: stdin, output: stdout }, paint).run()
    return { code: 0, text: await once(source, stdout.columns || DEFAULT_COLUMNS, paint) }
  } finally {
    await source.close()
  }
}

/** All pools, one after the other, on as many lines as it takes. */
async function once(source: Source, columns: number, paint: typeof plain): Promise<string> {
  const pools = new History().add(await source.read(), systemClock.now())
  const model = { what: source.what, pools, page: 'all', asOf: timeOfDay(), isLive: false } as const
  const size = { columns, rows: Number.POSITIVE_INFINITY }
  const lines: string[] = []
  for (let selected = 0; selected < Math.max(pools.length, 1); selected += 1) {
    const page = linesOf({ ...model, selected }, size, paint)
    // The list of pools stands once, at the top.
    lines.push(
      ...(selected === 0
        ? page
        : ['', clean(`${pools[selected]?.report.stats.name}`), ...page.slice(2 + pools.length)]),
    )
  }
  return `${lines.join('\n')}\n`
}
