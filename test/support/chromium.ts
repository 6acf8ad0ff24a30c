import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openWebSocket, type WebSocketLine } from '../../src/cli/inspect/websocket.ts'
import { guardChild } from './orphan-guard.ts'

/** Debian's, or the one that is named. */
const BINARY = [process.env.LIFEGUARD_CHROMIUM, '/usr/bin/chromium', '/usr/bin/google-chrome'].find(
  path => path !== undefined && existsSync(path),
)
export const noChromium =
  BINARY === undefined
    ? 'there is no Chromium: apt-get install chromium, or name one in LIFEGUARD_CHROMIUM'
    : false

/** On a busy machine, a browser takes its time. Milliseconds. */
const PATIENCE_MILLIS = 60_000

type Answer = Readonly<Record<string, unknown>>

/** A page of a headless Chromium. */
export class BrowserPage {
  /** What went wrong in the page: exceptions, refusals of the content security policy. */
  readonly complaints: string[] = []
  readonly #line: WebSocketLine
  readonly #calls = new Map<number, { resolve(answer: Answer): void; reject(error: Error): void }>()
  #last = 0

  constructor(line: WebSocketLine) {
    this.#line = line
  }

  hear(text: string): void {
    const { id, method, params, result, error } = JSON.parse(text) as {
      id?: number
      method?: string
      params?: Answer
      result?: Answer
      error?: { message: string }
    }
    if (method === 'Runtime.exceptionThrown' || method === 'Log.entryAdded')
      this.complaints.push(JSON.stringify(params))
    const call = this.#calls.get(id ?? 0)
    this.#calls.delete(id ?? 0)
    if (error !== undefined) call?.reject(new Error(error.message))
    else call?.resolve(result ?? {})
  }

  call(method: string, params: Answer = {}): Promise<Answer> {
    const id = ++this.#last
    this.#line.send(JSON.stringify({ id, method, params }))
    return new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject }))
  }

  async open(url: string, width = 1200, height = 900): Promise<void> {
    await this.call('Emulation.setDeviceMetricsOverride', {
      ...{ width, height, deviceScaleFactor: 1, mobile: width < 500 },
    })
    await this.call('Page.navigate', { url })
  }

  async dark(isDark: boolean): Promise<void> {
    const features = [{ name: 'prefers-color-scheme', value: isDark ? 'dark' : 'light' }]
    await this.call('Emulation.setEmulatedMedia', { features })
  }

  /** What an expression gives in the page, as data. */
  async read<R>(expression: string): Promise<R> {
    const { result, exceptionDetails } = await this.call('Runtime.evaluate', {
      expression,
      returnByValue: true,
      awaitPromise: true,
    })
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails))
    return (result as { value: R }).value
  }

  /** Waits until an expression is true in the page. */
  async until(expression: string): Promise<void> {
    const deadline = performance.now() + PATIENCE_MILLIS
    while (!(await this.read<boolean>(`Boolean(${expression})`).catch(() => false))) {
      if (performance.now() > deadline)
        throw new Error(
          `not so within ${PATIENCE_MILLIS} ms: ${expression}; the page says: ${await this.text()} ${this.complaints}`,
        )
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  }

  text(): Promise<string> {
    return this.read('document.body.innerText')
  }

  /** Writes the whole page as a picture. */
  async picture(file: string, isWhole = true): Promise<void> {
    const { data } = await this.call('Page.captureScreenshot', { captureBeyondViewport: isWhole })
    writeFileSync(file, Buffer.from(String(data), 'base64'))
  }
}

export interface Browser {
  page(): Promise<BrowserPage>
  close(): Promise<void>
}

/** Starts a headless Chromium. */
export async function startChromium(): Promise<Browser> {
  const folder = mkdtempSync(join(tmpdir(), 'lifeguard-chromium-'))
  const flags = [
    '--headless=new',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--no-first-run',
  ]
  const child = spawn(
    BINARY as string,
    [...flags, '--remote-debugging-port=0', `--user-data-dir=${folder}`, 'about:blank'],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  guardChild(child)
  const port = await new Promise<number>((resolve, reject) => {
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text
      const found = /DevTools listening on ws:\/\/127\.0\.0\.1:(\d+)\//.exec(said)
      if (found !== null) resolve(Number(found[1]))
    })
    child.once('exit', code => reject(new Error(`Chromium ended with ${code}: ${said}`)))
  })
  const close = async (): Promise<void> => {
    const ended = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined
    child.kill('SIGKILL')
    await ended
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  }
  return { page: () => openPage(port), close }
}

async function openPage(port: number): Promise<BrowserPage> {
  const target = await new Promise<{ webSocketDebuggerUrl: string }>((resolve, reject) => {
    const asked = request({ port, path: '/json/new?about:blank', method: 'PUT', agent: false }, response => {
      let text = ''
      response.setEncoding('utf8').on('data', part => {
        text += part
      })
      response.on('end', () => resolve(JSON.parse(text)))
    })
    asked.on('error', reject).end()
  })
  let hear: (text: string) => void = () => {}
  const listener = { message: (text: string) => hear(text), closed: () => {} }
  const path = new URL(target.webSocketDebuggerUrl).pathname
  const page = new BrowserPage(
    await openWebSocket({ host: '127.0.0.1', port, path }, listener, PATIENCE_MILLIS),
  )
  hear = text => page.hear(text)
  for (const domain of ['Page', 'Runtime', 'Log']) await page.call(`${domain}.enable`)
  return page
}
