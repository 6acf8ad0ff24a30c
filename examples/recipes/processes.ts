import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { createPool, type Pool, type PoolOptions } from 'lifeguard-pool'

/** A child process that answers one message with one message. */
export class Worker {
  readonly process: ChildProcess
  pending = 0

  constructor(program: string) {
    this.process = fork(program, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.process.on('error', () => {})
  }

  get alive(): boolean {
    return this.process.connected && this.process.exitCode === null
  }

  async ask(question: unknown): Promise<unknown> {
    this.pending += 1
    const over = new AbortController()
    try {
      const ended = once(this.process, 'exit', { signal: over.signal }).then(([code, signal]) => {
        throw new Error(`the worker has ended with ${signal ?? code}`)
      })
      this.process.send(question as object)
      const [answer] = await Promise.race([once(this.process, 'message', { signal: over.signal }), ended])
      return answer
    } finally {
      over.abort()
      this.pending -= 1
    }
  }
}

export function createWorkerPool(program: string, options?: PoolOptions): Pool<Worker> {
  const pool = createPool<Worker>(
    {
      async create(signal) {
        const worker = new Worker(program)
        // One that ends while it is idle is removed at once.
        worker.process.once('exit', () => pool.invalidate(worker, 'the worker has ended'))
        // It says 'ready' once it can be asked.
        await once(worker.process, 'message', { signal }).catch(error => {
          worker.process.kill('SIGKILL')
          throw error
        })
        return worker
      },
      async destroy({ process, alive }) {
        if (!alive) return
        const gone = once(process, 'exit')
        process.kill()
        const late = setTimeout(() => process.kill('SIGKILL'), 1000)
        await gone
        clearTimeout(late)
      },
      validate: worker => worker.alive, // no round trip
      busy: worker => worker.pending > 0 && 'a question', // its answer must not reach the next borrower
      reset: () => {}, // a question that failed leaves nothing; a worker that died fails the validation
    },
    { fifo: false, testOnBorrow: true, testOnReturn: true, idleTimeoutMillis: 60_000, ...options },
  )
  return pool
}
