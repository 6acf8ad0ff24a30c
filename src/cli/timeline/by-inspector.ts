import { join } from 'node:path'
import { openSession } from '../inspect/session.ts'
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
export async function recordByInspector(
  pid: number,
  seconds: number,
  pool?: string,
): Promise<{ recorded: string; left: string | undefined }> {
  const proc = new ProcFiles()
  const target = targetOf(proc, pid)
  if (target === undefined) throw new Error(`there is no process ${pid} that can be seen from here`)
  const { inspector, close } = await openSession(proc, target)
  let left: string | undefined
  let recorded: string
  try {
    const id = Number(await inspector.evaluate(start(pool, seconds * 1000 + LEFT_MILLIS)))
    await pause(seconds * 1000)
    recorded = String(await inspector.evaluate(stop(id)))
  } finally {
    left = await close()
  }
  return { recorded, left }
}

/*
 * What follows in quotes runs in the other process.
 */

/** Several commands may record at a time. */
const RECORDINGS = `globalThis[Symbol.for('lifeguard-pool:recordings')]`

const start = (pool: string | undefined, mostMillis: number): string => `{
  const { createRequire } = process.getBuiltinModule?.('node:module') ?? require('node:module')
  const file = ${JSON.stringify(RECORDER)}
  const recordings = (${RECORDINGS} ??= new Map())
  const id = (recordings.last = (recordings.last ?? 0) + 1)
  recordings.set(id, createRequire(file)(file).recordTimeline(${JSON.stringify({ pool })}))
  const end = () => { recordings.get(id)?.stop(); recordings.delete(id) }
  globalThis.setTimeout(end, ${mostMillis}).unref()
  id
}`

const stop = (id: number): string => `{
  const recording = ${RECORDINGS}.get(${id})
  ${RECORDINGS}.delete(${id})
  if (${RECORDINGS}.size === 0) delete ${RECORDINGS}
  JSON.stringify(recording.stop())
}`
