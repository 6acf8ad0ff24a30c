import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type FaultServer, type FaultServerOptions, startFaultServer } from '../support/fault-server.ts'
import { blindPoolFor, cell, type Fault, poolFor } from './fault-matrix.ts'
import { afterFile, check, microtask, openPollPhase, type Phase, TRIES, timer } from './loop-phases.ts'

const FAULTS: readonly Fault[] = ['fin', 'rst', 'dataThenFin', 'write']
const TCP: FaultServerOptions = {}
const PLAIN: Readonly<Record<string, FaultServerOptions>> = {
  TCP,
  'a Unix socket': { path: join(tmpdir(), `lifeguard-matrix-${process.pid}.sock`) },
}
const SECURE: Readonly<Record<string, FaultServerOptions>> = {
  'TLS 1.2': { tls: { version: '1.2' } },
  'TLS 1.2 without close_notify': { tls: { version: '1.2', closeNotify: false } },
  'TLS 1.3': { tls: { version: '1.3' } },
  'TLS 1.3 without close_notify': { tls: { version: '1.3', closeNotify: false } },
}

describe('a connection that dies while the loop is blocked is never lent', () => {
  let poll: Phase
  let close: () => void
  const servers = new Map<FaultServerOptions, FaultServer>()
  before(async () => {
    ;({ poll, close } = await openPollPhase())
    for (const options of [...Object.values(PLAIN), ...Object.values(SECURE)])
      servers.set(options, await startFaultServer({ mode: 'echo', ...options }))
  })
  after(async () => {
    close()
    for (const server of servers.values()) await server.stop()
  })
  const serverOf = (options: FaultServerOptions): FaultServer => servers.get(options) as FaultServer

  const phases: Readonly<Record<string, () => Phase>> = {
    'a timer': () => timer,
    'the poll phase': () => poll,
    'the check phase': () => check,
    'a continuation of file I/O': () => afterFile,
    'a microtask': () => microtask,
  }
  const tryAll = (
    transports: Readonly<Record<string, FaultServerOptions>>,
    faults: readonly Fault[],
    names: readonly string[],
  ): void => {
    for (const [transport, options] of Object.entries(transports)) {
      for (const fault of faults) {
        for (const name of names) {
          test(`${fault} over ${transport}, in ${name}`, async () => {
            const { dead } = await cell(serverOf(options), fault, (phases[name] as () => Phase)(), TRIES)
            assert.equal(dead, 0, `${dead} of ${TRIES} dead connections were lent`)
          })
        }
      }
    }
  }
  tryAll(PLAIN, FAULTS, Object.keys(phases))
  tryAll(SECURE, ['fin', 'rst', 'dataThenFin'], ['a timer', 'the poll phase'])

  for (const fault of FAULTS) {
    for (const name of Object.keys(phases)) {
      test(`${fault} where the kernel cannot be asked, in ${name}`, async () => {
        const { dead, pool } = await cell(
          serverOf(TCP),
          fault,
          (phases[name] as () => Phase)(),
          TRIES,
          blindPoolFor,
        )
        assert.equal(dead, 0, `${dead} of ${TRIES} dead connections were lent`)
        const { kernel, looks, barriers } = pool.stats().halfClose
        assert.equal(kernel, 'unavailable')
        assert.ok(barriers >= TRIES && looks === 0)
      })
    }
  }

  test('with halfClose off they would be: the matrix can tell', async () => {
    const { dead } = await cell(serverOf(TCP), 'fin', timer, 20, server =>
      poolFor(server, { halfClose: 'off' }),
    )
    assert.ok(dead > 15, `${dead} of 20`)
  })
})
