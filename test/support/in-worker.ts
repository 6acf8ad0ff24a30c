import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { packageRoot } from './package-root.ts'

/** On a busy machine a start takes its time; only what hangs takes as long. */
const LIMIT_MILLIS = 60_000

/**
 * Runs code in a thread, with globals, timers and modules of its own, and the package found by its name: like a process of
 * its own, at a third of the processor time. What does not end by itself fails.
 *
 * @param code - calls `tell(value)` once
 * @returns what it told
 */
export async function inWorker(code: string, type: 'module' | 'commonjs'): Promise<unknown> {
  const parent = join(packageRoot(), '.build', 'workers')
  mkdirSync(parent, { recursive: true })
  const folder = mkdtempSync(join(parent, 'case-'))
  const [file, load] =
    type === 'module'
      ? ['case.mjs', "import { parentPort } from 'node:worker_threads'"]
      : ['case.cjs', "const { parentPort } = require('node:worker_threads')"]
  const path = join(folder, file)
  writeFileSync(path, `${load}\nconst tell = value => parentPort.postMessage(value)\n${code}`)
  const worker = new Worker(path)
  const told: unknown[] = []
  worker.on('message', value => told.push(value))
  try {
    // Rejects with what was thrown and not caught.
    await once(worker, 'exit', { signal: AbortSignal.timeout(LIMIT_MILLIS) })
  } finally {
    await worker.terminate()
    rmSync(folder, { recursive: true, force: true })
  }
  if (told.length !== 1) throw new Error(`the code told ${told.length} values, not one, and ended`)
  return told[0]
}
