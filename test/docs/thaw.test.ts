import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'

const COUNT = 8

/** Is a process stopped, as the kernel sees it? */
const isStopped = (pid: number): boolean => /^\d+ \(.*\) T/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))

test('a process that is frozen while its server closes every connection serves the first calls after its thaw', {
  skip: process.platform !== 'linux' && 'asks /proc whether a process is stopped',
}, async () => {
  const sockets = new Set<Socket>()
  const server = createServer(socket => {
    sockets.add(socket)
    socket.on('data', () => socket.write('!')).on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const child = fork(join(import.meta.dirname, 'thaw-child.js'), [`${port}`])
  after(() => {
    child.kill('SIGKILL')
    server.close()
  })
  const call = async (): Promise<number> => {
    child.send('call')
    const [answers] = await once(child, 'message')
    return answers as number
  }
  assert.equal(await call(), COUNT)
  const pid = child.pid as number
  child.kill('SIGSTOP')
  while (!isStopped(pid)) await pause(1)
  const old = [...sockets]
  for (const socket of old) socket.destroySoon()
  // The kernel of the frozen side answers for it: the FIN is there before anybody wakes.
  while (old.some(socket => !socket.writableFinished)) await pause(1)
  child.kill('SIGCONT')
  assert.equal(await call(), COUNT)
})
