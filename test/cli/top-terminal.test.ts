// `top` in a real terminal: tmux runs it, sends the keys, and tells what is on the screen.
import assert from 'node:assert/strict'
import { execFile, execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { eventually } from '../support/factories.ts'
import { guardChild } from '../support/orphan-guard.ts'
import { COMMAND } from './support.ts'

const CHILD = fileURLToPath(new URL('./pools-child.js', import.meta.url))
const skip = process.platform === 'linux' ? noTmux() : 'reads /proc'
const folder = mkdtempSync(join(tmpdir(), 'lifeguard-tmux-'))
after(() => rmSync(folder, { recursive: true, force: true }))

function noTmux(): string | false {
  try {
    execFileSync('tmux', ['-V'])
    return false
  } catch {
    return 'there is no tmux'
  }
}

let terminals = 0

/** A terminal of its own, with a shell in it. */
class Terminal {
  readonly #socket: string

  private constructor(socket: string) {
    this.#socket = socket
  }

  static async open(columns: number, rows: number): Promise<Terminal> {
    terminals += 1
    const terminal = new Terminal(join(folder, `${terminals}`))
    const size = ['-x', String(columns), '-y', String(rows)]
    await terminal.tmux('-f', '/dev/null', 'new-session', '-d', ...size, "env PS1='ready> ' ENV= sh -i")
    await terminal.shows(/ready>/)
    return terminal
  }

  async tmux(...args: readonly string[]): Promise<string> {
    return (await promisify(execFile)('tmux', ['-S', this.#socket, ...args])).stdout
  }

  screen(...how: readonly string[]): Promise<string> {
    return this.tmux('capture-pane', '-p', ...how)
  }

  async shows(what: RegExp): Promise<string> {
    let last = ''
    try {
      await eventually(
        async () => {
          last = await this.screen()
          return what.test(last)
        },
        { within: 30_000 },
      )
    } catch {
      assert.match(last, what)
    }
    return last
  }

  async type(...keys: readonly string[]): Promise<void> {
    await this.tmux('send-keys', ...keys)
  }

  /** The process that the shell waits for. */
  async running(): Promise<number> {
    const shell = (await this.tmux('display-message', '-p', '#{pane_pid}')).trim()
    let found = ''
    await eventually(() => {
      found = readFileSync(`/proc/${shell}/task/${shell}/children`, 'utf8').trim()
      return found !== ''
    })
    return Number(found.split(' ')[0])
  }

  /** The terminal is as it was before `top`: the shell's screen, a cursor, lines and echo. */
  async isRestored(): Promise<void> {
    await this.shows(/ready> *\n*$/)
    const flags = await this.tmux('display-message', '-p', '#{alternate_on} #{cursor_flag} #{wrap_flag}')
    assert.equal(flags.trim(), '0 1 1')
    await this.type('clear; stty -a | tr " " "\\n" | grep -E "^-?(icanon|echo);?$"; echo said', 'Enter')
    const screen = await this.shows(/^said$/m)
    assert.match(screen, /^icanon/m)
    assert.match(screen, /^echo/m)
  }

  async close(): Promise<void> {
    await this.tmux('kill-server').catch(() => {})
  }
}

/** A service with three pools, and `top` on it in a terminal. */
async function onService(
  run: (
    terminal: Terminal,
    service: { pid: number; block(millis: number): void; kill(): void },
  ) => Promise<void>,
  { columns = 80, rows = 24, environment = '' } = {},
): Promise<void> {
  const child = fork(CHILD, [], { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
  guardChild(child)
  let terminal: Terminal | undefined
  try {
    await once(child.stdout as NodeJS.ReadableStream, 'data')
    terminal = await Terminal.open(columns, rows)
    const pid = child.pid as number
    await terminal.type(`${environment} ${process.execPath} ${COMMAND} top ${pid}`, 'Enter')
    await terminal.shows(/^>cache/m)
    await run(terminal, { pid, block: millis => child.send(millis), kill: () => child.kill('SIGKILL') })
  } finally {
    await terminal?.close()
    child.kill('SIGKILL')
  }
}

describe('top in a terminal', { skip, concurrency: 2 }, () => {
  test('fills 80 × 24 to the edge, follows the keys, and leaves the terminal as it was', async () => {
    await onService(async terminal => {
      const screen = await terminal.shows(/acquires\/s/)
      const lines = screen.split('\n')
      assert.match(lines[1] ?? '', /^ POOL .*STATE$/)
      assert.equal(lines[1]?.length, 80)
      assert.match(lines[2] ?? '', /^>cache .* 5\/8 .* open$/)
      assert.match(lines[23] ?? '', /^↑ ↓ pool .*q quit$/)
      await terminal.type('Down')
      await terminal.shows(
        /^>orders [\s\S]*findings\n {2}All 2 connections are lent[\s\S]*2× GET +holdsOrders/m,
      )
      await terminal.type('3')
      await terminal.shows(/^>sessions [\s\S]*FORGOTTEN\? +forgetsSession/m)
      await terminal.type('k', 'e')
      await terminal.shows(/^>orders [\s\S]*orders lately, newest first[\s\S]*an acquire timed out/m)
      await terminal.type('h')
      await terminal.shows(/2 leases of orders, by call site/)
      await terminal.type('a')
      await terminal.shows(/^\[██\]$/m)
      await terminal.type('q')
      await terminal.isRestored()
    })
  })

  test('follows the size of the terminal, down to 40 × 10 and up', async () => {
    await onService(async terminal => {
      await terminal.tmux('resize-window', '-x', '40', '-y', '10')
      await terminal.shows(/^ POOL +LENT WAIT OLDEST\b.*\n>cache/m)
      await terminal.tmux('resize-window', '-x', '120', '-y', '40')
      const screen = await terminal.shows(/^ POOL .*STATE$[\s\S]*q quit\n$/m)
      assert.equal(screen.split('\n').length, 41)
      await terminal.type('C-c')
      await terminal.isRestored()
    })
  })

  for (const signal of ['SIGTERM', 'SIGHUP'] as const)
    test(`leaves the terminal as it was after ${signal}`, async () => {
      await onService(async terminal => {
        process.kill(await terminal.running(), signal)
        await terminal.isRestored()
      })
    })

  test('suspended, it gives the terminal back, and takes it again afterwards', async () => {
    await onService(async terminal => {
      await terminal.type('C-z')
      await terminal.shows(/ready> *\n*$/)
      assert.equal((await terminal.tmux('display-message', '-p', '#{alternate_on}')).trim(), '0')
      await terminal.type('fg', 'Enter')
      await terminal.shows(/^>cache[\s\S]*q quit/m)
      await terminal.type('q')
      await terminal.isRestored()
    })
  })

  test('says that there is no answer while the event loop is blocked, and goes on afterwards', async () => {
    await onService(async (terminal, service) => {
      service.block(6000)
      await terminal.shows(/^NO ANSWER FOR \d+ s, is its event loop blocked\?[\s\S]*>cache/)
      await terminal.shows(/^lifeguard-pool top[\s\S]*>cache/)
      await terminal.type('q')
      await terminal.isRestored()
    })
  })

  test('ends with its process, and says so', async () => {
    await onService(async (terminal, service) => {
      service.kill()
      await terminal.shows(new RegExp(`pid ${service.pid}\\) has ended`))
      await terminal.isRestored()
    })
  })

  test('has colours, and none where NO_COLOR says so', async () => {
    await onService(async terminal => {
      await eventually(async () => (await terminal.screen('-e')).includes('\u001b['), { within: 30_000 })
    })
    await onService(
      async terminal => {
        await terminal.shows(/acquires\/s/)
        assert.equal((await terminal.screen('-e')).includes('\u001b['), false)
      },
      { environment: 'NO_COLOR=1' },
    )
  })

  test('in a dumb terminal it prints once', async () => {
    const child = fork(CHILD, [], { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
    guardChild(child)
    const terminal = await Terminal.open(80, 40)
    try {
      await once(child.stdout as NodeJS.ReadableStream, 'data')
      await terminal.type(`TERM=dumb ${process.execPath} ${COMMAND} top ${child.pid}`, 'Enter')
      await terminal.shows(/forgetsSession[\s\S]*ready>/)
    } finally {
      await terminal.close()
      child.kill('SIGKILL')
    }
  })
})
