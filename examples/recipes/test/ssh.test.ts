import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { createSftpPool, type Sftp } from '../ssh.ts'
import { block, reasonsOf, toldAtOnce, until } from './dangers.ts'
import { find, startSshd } from './servers.ts'

const missing = find('sshd') && find('ssh-keygen') ? false : 'there is no sshd on this machine'

describe('SFTP', { skip: missing }, async () => {
  if (missing) return
  const server = await startSshd()
  after(() => server.stop())
  const config = {
    host: '127.0.0.1',
    port: server.port,
    username: userInfo().username,
    privateKey: readFileSync(server.key),
  }
  const list = ({ sftp }: Sftp): Promise<string[]> =>
    new Promise((resolve, reject) =>
      sftp.readdir(server.folder, (error, files) =>
        error ? reject(error) : resolve(files.map(file => file.filename)),
      ),
    )
  /** Ends the processes of the server that serve one connection. */
  const hangUp = (socket: Sftp['socket']): void => {
    const told = execFileSync('ss', ['-tnp', 'sport', '=', `:${server.port}`], { encoding: 'utf8' })
    const own = told.split('\n').find(line => line.includes(`:${socket.localPort} `)) ?? ''
    const pids = [...own.matchAll(/pid=(\d+)/g)].map(([, pid]) => Number(pid))
    assert.ok(pids.length > 0, told)
    for (const pid of pids) process.kill(pid, 'SIGKILL')
  }

  test('a file is written on one connection and listed on another', async () => {
    await using pool = createSftpPool(config, { max: 2, min: 2 })
    await pool.ready()
    await pool.use(
      ({ sftp }) =>
        new Promise<void>((resolve, reject) =>
          sftp.writeFile(join(server.folder, 'hello'), 'hello', error => (error ? reject(error) : resolve())),
        ),
    )
    assert.ok((await pool.use(list)).includes('hello'))
  })

  test('a request that fails costs no connection', async () => {
    await using pool = createSftpPool(config, { max: 1 })
    const missing = pool.use(
      ({ sftp }) => new Promise((_, reject) => sftp.stat('/no/such/file', error => reject(error))),
    )
    await assert.rejects(missing, /No such file/)
    await pool.use(list)
    assert.equal(pool.stats().totals.created, 1)
  })

  test('a connection whose server process is killed while idle is replaced, and does not end the process', async () => {
    await using pool = createSftpPool(config, { max: 1 })
    const reasons = reasonsOf(pool)
    hangUp(await pool.use(({ socket }) => socket))
    await until('the dead one is gone', () => reasons.length === 1)
    await pool.use(list)
    assert.equal(pool.stats().totals.created, 2)
  })

  test('a connection that ended while the event loop was blocked is not lent', async () => {
    await using pool = createSftpPool(config, { max: 1 })
    hangUp(await pool.use(({ socket }) => socket))
    block(300)
    await pool.use(list)
    assert.equal(pool.stats().totals.created, 2)
  })

  test('a wrong user is told at once', async () => {
    await using pool = createSftpPool({ ...config, username: 'nobody-of-that-name' }, { max: 2 })
    await assert.rejects(pool.acquire(), toldAtOnce(/authentication methods failed/))
  })

  test('a server that is not there is waited for, and no error is unhandled', async () => {
    await using pool = createSftpPool({ ...config, port: 1 }, { max: 1, acquireTimeoutMillis: 300 })
    await assert.rejects(pool.acquire(), { code: 'POOL_ACQUIRE_TIMEOUT' })
  })
})
