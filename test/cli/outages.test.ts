import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { get } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { after, describe, test } from 'node:test'
import { setTimeout as turn } from 'node:timers/promises'
import { countSockets } from '../support/fds.ts'
import { startPeer } from '../support/half-closing-peer.ts'
import { makePipe } from '../support/pipe.ts'
import { sleepsIn } from '../support/proc.ts'
import { until } from '../support/processes.ts'
import { startGate } from '../support/redis-gate.ts'
import { startRedis } from '../support/redis-server.ts'
import { Service } from '../support/service.ts'
import { doctor, fixture, noPython, PYTHON, patternsOf, SECONDS, Started, skip } from './support.ts'

/*
 * The doctor looks at each of the outages as it is, without this library: in services of Node, and in the two programs
 * of Python in which they happened.
 */

const redis = skip === false ? await startRedis() : undefined
after(() => redis?.stop())
const url = redis?.url ?? ''

/** Requests that nobody waits for, given up by their client after a while. */
function askAndGiveUp(port: number, count: number, path = '/', millis = 300): void {
  for (let request = 0; request < count; request += 1) {
    const call = get({ host: '127.0.0.1', port, path, agent: false }, response => response.resume())
    call.setTimeout(millis, () => call.destroy()).on('error', () => {})
  }
}

describe('the doctor names each outage', { skip, concurrency: 3 }, () => {
  test('I0: connections that the server has closed stay open, and nobody looks at them', async () => {
    const peer = await startPeer()
    const service = await Service.start('I0-service', ['without', '-', String(peer.port)])
    try {
      await service.call('warmPeers', 10)
      await peer.sayGoodbye()
      await until(() => countSockets(service.pid)?.tcp.CLOSE_WAIT === 10, '10 sockets in CLOSE_WAIT')
      const said = await doctor(service.pid, ...SECONDS)
      assert.deepEqual(patternsOf(said), ['half-closed'])
      assert.match(
        said.findings[0]?.evidence.join('\n') ?? '',
        new RegExp(`10 sockets to 127.0.0.1:${peer.port} in CLOSE_WAIT`),
      )
    } finally {
      await service.kill()
      await peer.stop()
    }
  })

  test('I0 in Python: a select loop spins on a half-closed connection', { skip: noPython }, async () => {
    const server = createServer(socket => socket.on('error', () => {}).end()).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const spinning = new Started(PYTHON ?? '', [fixture('spinning.py'), String(port)])
    try {
      await spinning.word
      await until(() => countSockets(spinning.pid)?.tcp.CLOSE_WAIT === 1, 'one socket in CLOSE_WAIT')
      const said = await doctor(spinning.pid, ...SECONDS)
      assert.deepEqual(patternsOf(said), ['half-closed'])
      assert.match(said.findings[0]?.title ?? '', /a thread spins on it/)
    } finally {
      await spinning.kill()
      server.close()
    }
  })

  test('I1: a synchronous logger waits for a pipe that nobody reads', async () => {
    const pipe = makePipe()
    const service = await Service.start('I1-service', ['sync', url], { stderr: pipe.fd })
    try {
      askAndGiveUp(await service.call<number>('port'), 60)
      await until(() => /futex|pipe_write/.test(sleepsIn(service.pid) ?? ''), 'it waits for the pipe')
      const said = await doctor(service.pid, ...SECONDS)
      assert.deepEqual(patternsOf(said), ['unread-pipe'])
      assert.match(said.findings[0]?.title ?? '', /is blocked: it writes to stderr/)
      assert.match(
        said.findings[0]?.evidence.join('\n') ?? '',
        new RegExp(`held by node \\(pid ${process.pid}\\)`),
      )
    } finally {
      await service.kill()
      pipe.close()
    }
  })

  test('I1: debug on a pipe that nobody reads fills the memory', async () => {
    const pipe = makePipe()
    const env = { DEBUG: 'heartbeat:*' }
    const service = await Service.start('I1-service', ['stream', url], { stderr: pipe.fd, env })
    try {
      askAndGiveUp(await service.call<number>('port'), 60)
      await until(() => waitsForRoom(service.pid), 'it waits for room in the pipe')
      const said = await doctor(service.pid, ...SECONDS)
      assert.deepEqual(patternsOf(said), ['unread-pipe'])
      assert.match(said.findings[0]?.title ?? '', /Nobody reads stderr/)
    } finally {
      await service.kill()
      pipe.close()
    }
  })

  test('I1 in Python: all workers are stuck in a write to stderr', { skip: noPython }, async () => {
    const pipe = makePipe()
    const workers = new Started(PYTHON ?? '', [fixture('workers.py')], pipe.fd)
    try {
      askAndGiveUp(Number(await workers.word), 30)
      const closeWait = () => countSockets(workers.pid)?.tcp.CLOSE_WAIT ?? 0
      await until(() => closeWait() === 10, 'all ten are stuck, and their clients are gone')
      const said = await doctor(workers.pid, ...SECONDS)
      assert.deepEqual(patternsOf(said), ['unread-pipe'])
      assert.match(said.findings[0]?.evidence.join('\n') ?? '', /10 threads of 11 in the same write/)
    } finally {
      await workers.kill()
      pipe.close()
    }
  })

  test('I2: a synchronous call blocks the event loop, and requests pile up', async () => {
    const service = await Service.start('I2-node', ['without', url, 'node A'])
    try {
      const port = await service.call<number>('port')
      await service.call('thirdParty', 60_000)
      askAndGiveUp(port, 1, '/pay')
      await until(() => /futex/.test(sleepsIn(service.pid) ?? ''), 'the loop is blocked')
      askAndGiveUp(port, 20, '/read')
      const said = await doctor(service.pid, ...SECONDS)
      assert.deepEqual(patternsOf(said), ['blocked-loop'])
      assert.match(said.findings[0]?.evidence.join('\n') ?? '', /wait to be accepted[\s\S]*sleeps in futex/)
    } finally {
      await service.kill()
    }
  })

  test('I3: those who hold all connections of a generic-pool wait for a second one', async () => {
    const service = await Service.start('I3-service', ['without', url, '20'], {
      env: { NODE_OPTIONS: '--inspect-port=0' },
    })
    try {
      await service.call('spike', 20)
      const inside = async () => (await service.call<{ inside: number }>('progress')).inside
      while ((await inside()) < 20) await turn(20)
      await service.call('letGo')
      const said = await doctor(service.pid, '--inspect', ...SECONDS)
      assert.deepEqual(patternsOf(said), ['pool-used-up'])
      const evidence = said.findings[0]?.evidence.join('\n') ?? ''
      assert.match(evidence, /20 of 20 lent, 20 waiting[\s\S]*0 lent connections at work/)
      // It goes on as before, and nothing listens there any more.
      assert.equal(await inside(), 20)
      assert.equal(countSockets(service.pid)?.tcp.LISTEN, undefined)
    } finally {
      await service.kill()
    }
  })

  test('I4: what follows a connect fails, and the sockets are not closed', async () => {
    const gate = await startGate(redis?.port ?? 0, 'late')
    const service = await Service.start('I4-service', ['without'])
    try {
      await service.call('start', { host: '127.0.0.1', port: gate.port })
      await until(() => gate.open > 20, 'more connections than the pool has')
      const said = await doctor(service.pid, ...SECONDS)
      assert.deepEqual(patternsOf(said), ['unowned-sockets'])
      assert.match(
        said.findings[0]?.title ?? '',
        new RegExp(`more and more connections to 127.0.0.1:${gate.port}`),
      )
    } finally {
      await service.kill()
      await gate.stop()
    }
  })
})

/** Does an event loop of the process wait for room in its stderr? */
function waitsForRoom(pid: number): boolean {
  const infoOf = (fd: string): string => {
    try {
      return readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'latin1')
    } catch {
      // Closed since the folder was read.
      return ''
    }
  }
  return readdirSync(`/proc/${pid}/fdinfo`).some(fd => {
    const [, events = '0'] = /^tfd:\s+2 events:\s+([0-9a-f]+)/m.exec(infoOf(fd)) ?? []
    return (Number.parseInt(events, 16) & 4) !== 0
  })
}
