/*
 * From the symptom to the cause: for each of these, one command names the cause and, where it can be known, the line.
 * As the table in docs/doctor.md says.
 */
import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { makePipe } from '../support/pipe.ts'
import { cpuMillis, sleepsIn } from '../support/proc.ts'
import { until } from '../support/processes.ts'
import { ensureRedisBinary, type RedisServer, startRedis } from '../support/redis-server.ts'
import { doctor, Started } from './support.ts'

const binary = await ensureRedisBinary()
const skip =
  process.platform !== 'linux' ? 'doctor reads /proc' : 'missing' in binary ? binary.missing : false
const redis = skip === false ? await startRedis() : undefined
after(() => redis?.stop())

const SERVICE = fileURLToPath(new URL('./faulty-service.js', import.meta.url))

interface Case {
  /** What the doctor names. */
  readonly pattern: string
  readonly says: RegExp
  /** The line, in the evidence. */
  readonly line?: RegExp
  /** A server of its own, as the fault is in the server. */
  readonly server?: () => Promise<RedisServer>
  /** Waits for the fault, or makes it. */
  readonly until?: (service: Started, server: RedisServer) => Promise<void>
  readonly isUnread?: boolean
  readonly env?: Record<string, string>
  /** How long the doctor looks. Default 1. */
  readonly seconds?: string
}

const CASES: Readonly<Record<string, Case>> = {
  'silent server': {
    pattern: 'silent-peer',
    says: /is stopped|does not answer/,
    line: /at work \(GET\).* at (?:async )?readsUser \(.*faulty-service\.js:\d+/,
    server: () => startRedis(),
    until: async (_, server) => void server.child.kill('SIGSTOP'),
  },
  leak: {
    pattern: 'leak',
    says: /2 connections of pool 'cache' were lent, and are neither used nor given back/,
    line: /at (?:async )?forgetsToRelease \(.*faulty-service\.js:\d+/,
    // The first one was told; the second is a moment behind it.
    until: async () => {},
  },
  'nested deadlock': {
    pattern: 'deadlock',
    says: /nested, and deadlock/,
    line: /an acquire at (?:async )?inner .* while its caller held what was taken at (?:async )?outer /,
  },
  'blocked loop': {
    pattern: 'blocked-loop',
    says: /.*/,
    line: /computesForLong .*faulty-service\.js:\d+/,
    until: async service => {
      const before = cpuMillis(service.pid) ?? 0
      await until(() => (cpuMillis(service.pid) ?? 0) > before + 500, 'it computes')
    },
  },
  'stalls again and again': {
    pattern: 'blocked-loop',
    says: /The event loop is blocked again and again: \d+ % of the time/,
    line: /sortsMuch \(.*faulty-service\.js:\d+/,
    // From one stall to the next it takes 0.8 s.
    seconds: '1.5',
  },
  'idle limit': {
    pattern: 'idle-limit',
    says: /closes connections that are idle/,
    server: () => startRedis({ timeout: '1' }),
  },
  'unread stderr': {
    pattern: 'unread-pipe',
    says: /is blocked: it writes to stderr/,
    isUnread: true,
    until: async service =>
      await until(() => /futex|pipe_write/.test(sleepsIn(service.pid) ?? ''), 'it waits for the pipe'),
  },
  'unread log': {
    pattern: 'unread-pipe',
    says: /Nobody reads stderr/,
    isUnread: true,
    env: { DEBUG: 'lifeguard-pool:*' },
  },
}

describe('one command names the cause and the line', { skip, concurrency: 3 }, () => {
  for (const [what, one] of Object.entries(CASES))
    test(what, async () => {
      const { pattern, says, line, server, until: happened, isUnread, env, seconds = '1' } = one
      const own = await server?.()
      const pipe = isUnread ? makePipe() : undefined
      const { url = '' } = own ?? redis ?? {}
      const args = ['--inspect-port=0', SERVICE, what, url]
      const service = new Started(process.execPath, args, pipe?.fd ?? 'ignore', env)
      try {
        await service.word
        await happened?.(service, own as RedisServer)
        const said = await doctor(service.pid, '--inspect', '--seconds', seconds)
        // A machine that is short of processor time may give the service stalls besides.
        const found = said.findings.find(finding => finding.pattern === pattern)
        assert.ok(found !== undefined, JSON.stringify(said, null, 1))
        assert.match(found.title, says)
        if (line !== undefined) assert.match(found.evidence.join('\n'), line)
      } finally {
        own?.child.kill('SIGCONT')
        await service.kill()
        await own?.stop()
        pipe?.close()
      }
    })
})
