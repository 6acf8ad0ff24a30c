import { join } from 'node:path'
import { Inspector } from '../inspect/inspector.ts'
import { ProcFiles } from '../proc/proc-files.ts'
import { pause } from '../proc/series.ts'
import { targetOf } from '../proc/target.ts'

/** The recorder of this package. It is loaded into the process, and records from channels that all copies share. */
const RECORDER = join(__dirname, '..', '..', 'diagnostics', 'timeline', 'record-timeline.js')
/** A recording that nobody fetches ends after this time. Milliseconds. */
const LEFT_MILLIS = 60_000

/**
 * Records in a process that has no diagnostics handler, by its inspector, and closes that again.
 *
 * @throws Error that says why it could not be done
 */
export async function recordByInspector(pid: number, seconds: number, pool?: string): Promise<string> {
  const proc = new ProcFiles()
  const target = targetOf(proc, pid)
  if (target === undefined) throw new Error(`there is no process ${pid} that can be seen from here`)
  const inspector = await Inspector.open(proc, target)
  try {
    await inspector.evaluate(start(pool, seconds * 1000 + LEFT_MILLIS))
    await pause(seconds * 1000)
    return String(await inspector.evaluate(STOP))
  } finally {
    await inspector.close(proc, target)
  }
}

/*
 * What follows in quotes runs in the other process.
 */

const KEY = `Symbol.for('lifeguard-pool:recording')`

const start = (pool: string | undefined, mostMillis: number): string => `{
  const { createRequire } = process.getBuiltinModule?.('node:module') ?? require('node:module')
  const file = ${JSON.stringify(RECORDER)}
  globalThis[${KEY}] = createRequire(file)(file).recordTimeline(${JSON.stringify({ pool })})
  globalThis.setTimeout(recording => recording.stop(), ${mostMillis}, globalThis[${KEY}]).unref()
  true
}`

const STOP = `{
  const recording = globalThis[${KEY}]
  delete globalThis[${KEY}]
  JSON.stringify(recording.stop())
}`
