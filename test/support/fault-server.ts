import { fork } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { extname } from 'node:path'
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads'
import type { FaultAddress, FaultOperation, FaultOperations, FaultServerOptions } from './fault-operations.ts'
import type { FaultAnswer, FaultRequest, FaultWorkerData } from './fault-worker.ts'

export type { FaultAddress, FaultOperations, FaultServerOptions } from './fault-operations.ts'

/** A server in a worker thread. Its operations block this thread until the fault lies in the kernel. */
export interface FaultServer extends FaultOperations, FaultAddress {
  options: FaultServerOptions
  stop(): Promise<void>
}

/** The same in a child process, for tests that count this process's file descriptors. */
export type FaultProcess = FaultAddress & {
  [K in FaultOperation]: (...args: Parameters<FaultOperations[K]>) => Promise<ReturnType<FaultOperations[K]>>
} & { options: FaultServerOptions; pid: number; stop(): Promise<void> }

const names: readonly FaultOperation[] = [
  'fin',
  'finAll',
  'rst',
  'dataThenFin',
  'write',
  'pause',
  'resume',
  'refuse',
  'connections',
  'closed',
  'received',
  'indexOf',
  'waitForConnections',
  'waitForClosed',
]

/** Longest wait for one operation; only a mistake in a test comes near it. */
const patienceMillis = 10_000

// As this file: .ts when types are stripped at run time, .js when compiled.
const entry = new URL(`./fault-worker${extname(import.meta.url)}`, import.meta.url)

function bind(perform: (operation: FaultOperation, args: readonly unknown[]) => unknown): object {
  return Object.fromEntries(names.map(name => [name, (...args: unknown[]) => perform(name, args)]))
}

function unwrap(answer: FaultAnswer, operation: FaultOperation): unknown {
  if (answer.error !== undefined) throw new Error(`fault server, ${operation}: ${answer.error}`)
  return answer.value
}

/** The kernel leaves the name of a Unix socket behind when its owner ends without closing it. */
function removeSocket({ path }: FaultServerOptions): void {
  if (path !== undefined) rmSync(path, { force: true })
}

/** Starts a fault server in a worker thread. It does not keep the process alive. */
export async function startFaultServer(options: FaultServerOptions = {}): Promise<FaultServer> {
  const { port1: near, port2: far } = new MessageChannel()
  const done = new Int32Array(new SharedArrayBuffer(4))
  const workerData: FaultWorkerData = { options, port: far, done }
  const worker = new Worker(entry, { workerData, transferList: [far] })
  const [address] = (await once(worker, 'message')) as [FaultAddress]
  worker.unref()
  let lastSeq = 0

  const perform = (operation: FaultOperation, args: readonly unknown[]): unknown => {
    const request: FaultRequest = { seq: ++lastSeq, operation, args }
    near.postMessage(request)
    const deadline = performance.now() + patienceMillis
    for (;;) {
      const seen = Atomics.load(done, 0)
      if (seen >= request.seq) break
      const left = deadline - performance.now()
      if (left <= 0) throw new Error(`fault server: ${operation} was not done within ${patienceMillis} ms`)
      Atomics.wait(done, 0, seen, left)
    }
    for (;;) {
      const received = receiveMessageOnPort(near) as { message: FaultAnswer } | undefined
      if (received === undefined) throw new Error(`fault server: ${operation} has no answer`)
      // An earlier operation that was given up may have answered since.
      if (received.message.seq === request.seq) return unwrap(received.message, operation)
    }
  }

  const stop = async () => {
    near.close()
    await worker.terminate()
    removeSocket(options)
  }
  return { ...(bind(perform) as FaultOperations), ...address, options, stop }
}

/** Starts a fault server in a child process, which ends with this one. */
export async function startFaultServerProcess(options: FaultServerOptions = {}): Promise<FaultProcess> {
  const child = fork(entry, [JSON.stringify(options)], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    serialization: 'advanced',
  })
  const [address] = (await once(child, 'message')) as [FaultAddress]
  const open = new Map<number, (answer: FaultAnswer) => void>()
  let lastSeq = 0
  child.on('message', message => {
    const answer = message as FaultAnswer
    open.get(answer.seq)?.(answer)
    open.delete(answer.seq)
  })
  child.on('exit', () => {
    for (const [seq, settle] of open) settle({ seq, error: 'the server process has ended' })
  })

  const perform = async (operation: FaultOperation, args: readonly unknown[]): Promise<unknown> => {
    const request: FaultRequest = { seq: ++lastSeq, operation, args }
    const answer = await new Promise<FaultAnswer>(resolve => {
      open.set(request.seq, resolve)
      child.send(request)
    })
    return unwrap(answer, operation)
  }

  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
    removeSocket(options)
  }
  const operations = bind(perform) as Pick<FaultProcess, FaultOperation>
  return { ...operations, ...address, options, pid: child.pid as number, stop }
}
