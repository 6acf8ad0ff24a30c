import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { type FaultOperation, FaultServerCore, type FaultServerOptions } from './fault-operations.ts'

/** One operation; answers carry the same number, so that a late one cannot be taken for another's. */
export interface FaultRequest {
  seq: number
  operation: FaultOperation
  args: readonly unknown[]
}

export interface FaultAnswer {
  seq: number
  value?: unknown
  error?: string
}

export interface FaultWorkerData {
  options: FaultServerOptions
  port: MessagePort
  /** One cell: the highest number answered so far. */
  done: Int32Array
}

async function perform(core: FaultServerCore, { seq, operation, args }: FaultRequest): Promise<FaultAnswer> {
  try {
    return { seq, value: await core.perform(operation, args) }
  } catch (error) {
    return { seq, error: error instanceof Error ? error.message : String(error) }
  }
}

async function serveWorker({ options, port, done }: FaultWorkerData): Promise<void> {
  const core = new FaultServerCore(options)
  port.on('message', async (request: FaultRequest) => {
    const answer = await perform(core, request)
    // First the answer, then the number: whoever sees the number finds the answer in its port.
    port.postMessage(answer)
    if (answer.seq > Atomics.load(done, 0)) Atomics.store(done, 0, answer.seq)
    Atomics.notify(done, 0)
  })
  parentPort?.postMessage(await core.listen())
}

async function serveProcess(options: FaultServerOptions): Promise<void> {
  const core = new FaultServerCore(options)
  process.on('message', async (request: FaultRequest) => process.send?.(await perform(core, request)))
  // The parent is gone: so is the reason to be.
  process.on('disconnect', () => process.exit())
  process.send?.(await core.listen())
}

if (parentPort) await serveWorker(workerData as FaultWorkerData)
else await serveProcess(JSON.parse(process.argv[2] ?? '{}') as FaultServerOptions)
