import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { createPool, type Pool, type PoolOptions } from 'lifeguard-pool'
import { Client, type ConnectConfig, type SFTPWrapper } from 'ssh2'

/** An SSH connection with an SFTP session on it. `client.exec` works beside the session. */
export interface Sftp {
  readonly client: Client
  readonly sftp: SFTPWrapper
  readonly socket: Socket
}

export function createSftpPool(config: ConnectConfig, options?: PoolOptions): Pool<Sftp> {
  const { host = 'localhost', port = 22 } = config
  return createPool<Sftp>(
    {
      async create(signal) {
        // A socket of our own: ssh2 does not show the one that it would make.
        const socket = connect({ host, port })
        const client = new Client()
        const failed = once(client, 'error').then(([error]) => Promise.reject(error))
        try {
          await once(socket, 'connect', { signal })
          client.connect({ ...config, sock: socket })
          await Promise.race([once(client, 'ready', { signal }), failed])
          const sftp = await new Promise<SFTPWrapper>((resolve, reject) => {
            client.sftp((error, session) => (error ? reject(error) : resolve(session)))
          })
          return { client, sftp, socket }
        } catch (error) {
          socket.destroy()
          throw error
        } finally {
          failed.catch(() => {})
          // Without a listener, the end of an idle connection would end the process. The pool sees it by the socket.
          for (const emitter of [client, socket]) emitter.on('error', () => {})
        }
      },
      destroy: async ({ client }) => {
        client.end()
      },
      socket: ({ socket }) => socket,
      // A server may say something unasked at any time: keepalive requests, new keys, a bigger window.
      unsolicited: () => true,
      validate: ({ sftp }) =>
        new Promise((resolve, reject) => {
          sftp.realpath('.', (error?: Error) => (error ? reject(error) : resolve(true)))
        }),
      // A failed request leaves nothing on the connection: a `use` that failed need not cost it.
      reset: () => {},
      isPermanent: error =>
        (error as { level?: unknown }).level === 'client-authentication' && 'check user, password and key',
    },
    { fifo: false, validateAfterIdleMillis: 500, idleTimeoutMillis: 60_000, ...options },
  )
}
