// Programs that look like one of the outages, and are another, or none: the doctor blames only what it has seen.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { describe, test } from 'node:test'
import { diagnose } from '../../src/cli/doctor/doctor.ts'
import { CHILD, fixture, noPython, PYTHON, patternsOf, Started, skip } from './support.ts'

interface Case {
  readonly patterns: readonly string[]
  /** What the findings, or the reasons for none, say. */
  readonly says: RegExp
}

const PROGRAMS: Readonly<Record<string, Case>> = {
  sleeps_on_half_closed: { patterns: ['half-closed'], says: /5 sockets to .* in CLOSE_WAIT/ },
  reads_slowly: { patterns: [], says: /1 socket in CLOSE_WAIT, of which the data .* is being read: fd \d+/ },
  writes_to_slow_reader: {
    patterns: [],
    says: /in a write most of the time, .*its reader is slow, and reads/,
  },
  sends_to_slow_reader: { patterns: [], says: /no socket in CLOSE_WAIT/ },
  prefork: { patterns: [], says: /wait to be accepted, where others accept too: look at python3/ },
  polls: { patterns: [], says: /5 bytes unread on fd \d+ .*: that alone is no fault/ },
  accepts_slowly: { patterns: [], says: /the main thread was waiting for events/ },
  reset_while_not_accepting: { patterns: ['blocked-loop'], says: /connections? to .* waits? to be accepted/ },
  sleeps_instead_of_accepting: {
    patterns: ['blocked-loop'],
    says: /3 connections to .* wait to be accepted/,
  },
}

describe('the doctor judges a program of Python by what it sees', {
  skip: skip || noPython,
  concurrency: 3,
}, () => {
  for (const [program, { patterns, says }] of Object.entries(PROGRAMS))
    test(program.replaceAll('_', ' '), async () => {
      const started = new Started(PYTHON ?? '', [fixture('judged.py'), program])
      try {
        assert.equal(await started.word, 'ready')
        const said =
          patterns.length > 0 ? await untilFound(started.pid) : await diagnose(started.pid, { seconds: 1 })
        assert.deepEqual(patternsOf(said), patterns, JSON.stringify(said, null, 1))
        assert.match([...said.reasons, ...said.findings.flatMap(({ evidence }) => evidence)].join('\n'), says)
      } finally {
        // Its children end with it.
        started.child.kill('SIGTERM')
        await once(started.child, 'exit')
      }
    })
})

describe('the doctor judges a process of Node by what it sees', { skip, concurrency: 3 }, () => {
  test('requests on connections that were accepted, and lost before their first read', async () => {
    const service = new Started(process.execPath, [CHILD, 'lost after accept'])
    try {
      const port = Number(await service.word)
      const clients = [1, 2, 3].map(() => connect(port, '127.0.0.1', () => {}))
      for (const client of clients) client.write('a request')
      const said = await untilFound(service.pid)
      assert.deepEqual(patternsOf(said), ['unowned-sockets'], JSON.stringify(said, null, 1))
      assert.match(said.findings[0]?.title ?? '', /3 accepted connections hold a request that nobody reads/)
      for (const client of clients) client.destroy()
    } finally {
      await service.kill()
    }
  })

  for (const [kind, patterns, says] of [
    ['execSync with connections', ['blocked-loop'], /another loop .*as execSync and spawnSync do/],
    ['Atomics.wait with connections', ['blocked-loop'], /sleeps in futex/],
    ['execSync alone', [], /epoll_p?wait of another loop than its event loop, as in execSync/],
  ] as const)
    test(`blocked while no input waits: ${kind}`, async () => {
      const server = createServer().listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo
      const service = new Started(process.execPath, [CHILD, kind, String(port)])
      try {
        await service.word
        const said =
          patterns.length > 0 ? await untilFound(service.pid) : await diagnose(service.pid, { seconds: 1 })
        assert.deepEqual(patternsOf(said), patterns, JSON.stringify(said, null, 1))
        assert.match([...said.reasons, ...said.findings.flatMap(({ evidence }) => evidence)].join('\n'), says)
      } finally {
        await service.kill()
        server.close()
      }
    })

  test('a pool of which only this is known: it has not been asked, so the exit code is not that of health', async () => {
    const service = new Started(process.execPath, [CHILD, ''])
    try {
      await service.word
      const { findings, isPartial, unseen } = await diagnose(service.pid, { seconds: 0.5 })
      assert.deepEqual(findings, [])
      assert.equal(isPartial, true)
      assert.match(unseen.join('\n'), /its pools.*--inspect asks/)
    } finally {
      await service.kill()
    }
  })
})

/** The fault may strike a moment after the word, and two files of /proc cannot be read at the same moment. */
async function untilFound(pid: number) {
  for (let look = 0; ; look += 1) {
    const said = await diagnose(pid, { seconds: 1 })
    if (said.findings.length > 0 || look === 4) return said
  }
}
