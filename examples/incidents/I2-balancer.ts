import { get } from 'node:http'

/** A node as the balancer knows it. */
export interface Upstream {
  readonly name: string
  readonly port: number
}

interface State extends Upstream {
  downUntil: number
  marked: number
}

/** After nginx's `proxy_next_upstream error timeout http_500` and `max_fails=1`; 502 when no node is left. */
export interface BalancerOptions {
  /** How long a node may take to answer. Milliseconds. */
  readonly patience: number
  /** How long a node that failed gets no requests. Milliseconds. */
  readonly failTimeout: number
}

/** What became of one request: the status that the user sees, 502 if there was no node to ask. */
export type Status = number

/** A small load balancer: in turn to each node that is up, and to the next one when that fails. */
export class Balancer {
  /** Requests that were given up by the balancer, and those that a node answered with an error. */
  timeouts = 0
  errors = 0
  readonly #nodes: State[]
  readonly #options: BalancerOptions
  #turn = 0

  constructor(nodes: readonly Upstream[], options: BalancerOptions) {
    this.#nodes = nodes.map(node => ({ ...node, downUntil: 0, marked: 0 }))
    this.#options = options
  }

  /** How often each node was taken out, in order. */
  get marked(): readonly (readonly [name: string, times: number])[] {
    return this.#nodes.map(({ name, marked }) => [name, marked])
  }

  async request(path: string): Promise<Status> {
    const tried = new Set<State>()
    let status = 502
    for (;;) {
      const node = this.#next(tried)
      if (node === undefined) return status
      tried.add(node)
      status = await this.#ask(node, path)
      if (status < 500) return status
      if (performance.now() >= node.downUntil) node.marked += 1
      node.downUntil = performance.now() + this.#options.failTimeout
    }
  }

  #next(tried: ReadonlySet<State>): State | undefined {
    const now = performance.now()
    const up = this.#nodes.filter(node => node.downUntil <= now && !tried.has(node))
    this.#turn += 1
    return up[this.#turn % up.length]
  }

  #ask({ port }: State, path: string): Promise<Status> {
    return new Promise(resolve => {
      // A connection for each request, as nginx does unless told otherwise.
      const request = get({ host: '127.0.0.1', port, path, agent: false }, response => {
        const status = response.statusCode ?? 500
        if (status >= 500) this.errors += 1
        response.resume().on('close', () => {
          clearTimeout(timer)
          resolve(status)
        })
      })
      const timer = setTimeout(() => {
        this.timeouts += 1
        request.destroy()
        resolve(504)
      }, this.#options.patience)
      request.on('error', () => {
        clearTimeout(timer)
        resolve(504)
      })
    })
  }
}
