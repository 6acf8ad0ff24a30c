import { constants } from 'node:os'
import { messageOf } from '../api/errors.ts'
import { sink } from '../runtime/log/log.ts'
import { appendNow } from '../runtime/log/output.ts'
import { type ReportSignalOptions, reportAll } from './all-reports.ts'

/** So many lines go to the sink at once. */
const PORTION_LINES = 100

/**
 * Has the process write the reports of all its pools when it gets a signal: `kill -USR2 <pid>`. Never blocks, also if
 * stderr is a pipe that nobody reads. A loop that stands still answers only once it runs again.
 *
 * @param signal - not SIGUSR1, which starts Node's debugger
 * @returns takes it back
 */
export function installReportSignal(
  signal: NodeJS.Signals = 'SIGUSR2',
  options: ReportSignalOptions = {},
): () => void {
  if (!Object.hasOwn(constants.signals, signal)) throw new TypeError(`${signal} is no signal of this system`)
  if (signal === 'SIGUSR1') throw new TypeError("SIGUSR1 starts Node's debugger: use another signal")
  const { file } = options
  if (file !== undefined && (typeof file !== 'string' || file === '')) {
    throw new TypeError('file must be the path of a file')
  }
  const onSignal = (): void => write(reportAll(), file)
  process.on(signal, onSignal)
  return () => process.off(signal, onSignal)
}

function write(reports: readonly string[], file: string | undefined): void {
  if (file !== undefined) {
    try {
      appendNow(file, `${reports.join('\n')}\n`)
      return
    } catch (error) {
      sink.write(`lifeguard-pool: the report cannot be written to ${file}: ${messageOf(error)}\n`)
    }
  }
  // In portions: of a report for which the sink has no room, the beginning is not dropped.
  for (const report of reports) for (const portion of portionsOf(report)) sink.write(portion)
}

/** The whole text, in portions of some lines; each line ends where a `\n` is, whatever else stands in it. */
function* portionsOf(text: string): Generator<string> {
  const lines = text.split('\n')
  for (let from = 0; from < lines.length; from += PORTION_LINES)
    yield `${lines.slice(from, from + PORTION_LINES).join('\n')}\n`
}
