import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { createSocketPool } from 'lifeguard-pool/net'

/*
 * A client for a line protocol (one line asks, one line answers), over TCP or TLS.
 *
 *     node .build/examples/protocol-client.js PORT            plain
 *     node .build/examples/protocol-client.js PORT CA.pem     TLS; the certificate is for `localhost`
 */

const REQUEST_MILLIS = 2000

/** Sends a line and resolves with the line that comes back. */
function ask(socket: Socket, line: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const settle = (end: () => void): void => {
      clearTimeout(timer)
      socket.off('data', onData).off('error', onError).off('close', onClose)
      end()
    }
    const onData = (chunk: Buffer): void => {
      answer += chunk.toString()
      if (answer.endsWith('\n')) settle(() => resolve(answer.trimEnd()))
    }
    // An answer that is late would be read by the next borrower: the connection must not live on.
    const onError = (error: Error): void => settle(() => reject(error))
    const onClose = (): void => settle(() => reject(new Error('closed before the answer')))
    const timer = setTimeout(() => socket.destroy(new Error('no answer in time')), REQUEST_MILLIS)
    socket.on('data', onData).on('error', onError).on('close', onClose)
    socket.write(`${line}\n`)
  })
}

const [, , port, authority] = process.argv
const pool = createSocketPool(
  {
    host: 'localhost',
    port: Number(port),
    tls: authority === undefined ? false : { ca: readFileSync(authority) },
  },
  { name: 'lines', max: 4, maxLifetimeMillis: 60_000 },
)

const words = ['one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight']
const answers = await Promise.all(words.map(word => pool.use(socket => ask(socket, word))))
console.log(answers.join(' '))
console.log(`${pool.stats().totals.created} connections`)
await pool.close()
