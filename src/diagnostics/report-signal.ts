import { constants } from 'node:os'
import { messageOf } from '../api/errors.ts'
import { sink } from '../runtime/log/log.ts'
import { appendNow } from '../runtime/log/output.ts'
import { type ReportSignalOptions, reportAll } from './all-reports.ts'

/** How many lines are given to the sink at once. */
const PORTION_LINES = 100

/**
 * Makes the process write the reports of all its pools when it receives a signal, such as `kill -USR2 <pid>`. Never
 * blocks, even if stderr is a pipe that nobody reads. While the event loop is blocked, the report has to wait.
 *
 * @param signal - any but SIGUSR1, which starts Node's debugger
 * @returns a function that removes the signal handler
 */
export function installReportSignal(
  signal: NodeJS.Signals = 'SIGUSR2',
  options: ReportSignalOptions = {},
): () => void {
  if (!Object.hasOwn(constants.signals, signal))
    throw new TypeError(`${signal} is not a signal of this system: use one such as SIGUSR2`)
  if (signal === 'SIGKILL' || signal === 'SIGSTOP')
    throw new TypeError(`${signal} cannot be caught: use another signal, such as SIGUSR2`)
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
  // Writes in portions. If the sink has room for a part of a report only, the beginning is kept and not the whole
  // report dropped.
  for (const report of reports) for (const portion of portionsOf(report)) sink.write(portion)
}

/** Splits the text into portions of several lines. A line ends only at `\n`, whatever other characters it contains. */
function* portionsOf(text: string): Generator<string> {
  const lines = text.split('\n')
  for (let from = 0; from < lines.length; from += PORTION_LINES)
    yield `${lines.slice(from, from + PORTION_LINES).join('\n')}\n`
}
