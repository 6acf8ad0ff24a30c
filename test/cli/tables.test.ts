// The doctor reads a table of the kernel only if a socket of the process may be in it: none of them may be lost by that.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { ProcFiles } from '../../src/cli/proc/proc-files.ts'
import { sampleOf } from '../../src/cli/proc/sample.ts'

const folder = mkdtempSync(join(tmpdir(), 'lifeguard-tables-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const HOST = '0100007F'
const LISTENS = `${HOST}:1F90 00000000:0000 0A 00000000:00000002`
const WAITS = `${HOST}:1F90 ${HOST}:C001 01 00000000:00000000`
const CLOSED_BY_PEER = `${HOST}:C002 ${HOST}:1F91 08 00000000:00000001`
const row = (text: string, inode: number): string =>
  `   0: ${text} 00:00000000 00000000     0        0 ${inode} 1 0`
const UNIX = (inode: number): string => `000000001a71f89c: 00000003 00000000 00000000 0001 03 ${inode} /a b`

/** A process with these sockets, and these tables. */
function seen(name: string, inodes: readonly number[], tables: Readonly<Record<string, readonly string[]>>) {
  const process = join(folder, name, '1')
  for (const below of ['fd', 'net', 'task']) mkdirSync(join(process, below), { recursive: true })
  for (const [fd, inode] of inodes.entries())
    symlinkSync(`socket:[${inode}]`, join(process, 'fd', String(fd)))
  for (const [table, rows] of Object.entries(tables))
    writeFileSync(join(process, 'net', table), ['  heading', ...rows, ''].join('\n'))
  const { sockets, queued } = sampleOf(new ProcFiles(join(folder, name)), 1, 0)
  return {
    sockets: sockets.map(({ inode, state, direction }) => `${inode} ${state} ${direction}`),
    queued: queued.length,
  }
}

test('sockets in the first table, beside one that is not of TCP', () => {
  const tables = { unix: [UNIX(7)], tcp: [row(LISTENS, 8), row(WAITS, 0), row(CLOSED_BY_PEER, 9)] }
  const all = { sockets: ['8 LISTEN listen', '9 CLOSE_WAIT out'], queued: 1 }
  assert.deepEqual(seen('first', [7, 8, 9], tables), all)
})

test('sockets in the second table, and one in each', () => {
  const unix = [UNIX(7)]
  const listens = [row(LISTENS, 8), row(WAITS, 0)]
  const all = { sockets: ['8 LISTEN listen'], queued: 1 }
  assert.deepEqual(seen('second', [7, 8], { unix, tcp: [row(CLOSED_BY_PEER, 90)], tcp6: listens }), all)
  assert.deepEqual(seen('each', [8, 9], { unix, tcp: [row(CLOSED_BY_PEER, 9)], tcp6: listens }), {
    sockets: ['9 CLOSE_WAIT out', '8 LISTEN listen'],
    queued: 1,
  })
})

test('a process whose table of Unix sockets cannot be read, and one without any of TCP', () => {
  const tcp6 = [row(CLOSED_BY_PEER, 9)]
  assert.deepEqual(seen('unread', [7, 9], { tcp: [], tcp6 }).sockets, ['9 CLOSE_WAIT out'])
  assert.deepEqual(seen('none', [7], { unix: [UNIX(7)], tcp: [], tcp6 }), { sockets: [], queued: 0 })
})
