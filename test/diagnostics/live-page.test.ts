import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { diagnosticsHandler } from '../../src/diagnostics/index.ts'
import type { LiveData } from '../../src/diagnostics/live/live-data.ts'
import { type Browser, type BrowserPage, noChromium, startChromium } from '../support/chromium.ts'
import { type Connection, CountingFactory, scripted } from '../support/factories.ts'
import { open } from '../support/pools.ts'

/** Where the pictures of the pages go, if somebody wants to look at them. */
const PICTURES = process.env.LIFEGUARD_PICTURES

const servers: (() => void)[] = []
after(() => {
  for (const close of servers) close()
})

async function serve(options: Parameters<typeof diagnosticsHandler>[0] = {}, prefix = ''): Promise<string> {
  const handler = diagnosticsHandler(options)
  const server = createServer((request, response) => {
    // As express does where a handler is mounted below a path.
    request.url = request.url?.slice(prefix.length).replace(/^(?!\/)/, '/') ?? '/'
    handler(request, response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  servers.push(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${(server.address() as { port: number }).port}${prefix}`
}

const HTML = { headers: { accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' } }

describe('what is answered at /', () => {
  test('is a page for browsers alone: who takes anything is told that there is nothing, as ever', async () => {
    const url = await serve()
    for (const accept of ['*/*', 'application/json', 'text/plain, */*', 'text/html;q=0', 'xtext/html']) {
      const response = await fetch(`${url}/`, { headers: { accept } })
      assert.equal(response.status, 404, accept)
      assert.match(
        await response.text(),
        /^There are \/metrics, \/healthz, \/report, .* Mounted below a path/,
      )
    }
    for (const path of ['/', '/?x=1']) {
      const response = await fetch(url + path, HTML)
      assert.equal(response.status, 200)
      assert.equal(response.headers.get('content-type'), 'text/html; charset=utf-8')
      assert.equal(response.headers.get('cache-control'), 'no-store')
    }
    for (const path of ['/report', '/healthz', '/metrics'])
      assert.doesNotMatch(String((await fetch(url + path, HTML)).headers.get('content-type')), /html/)
    assert.equal((await fetch(`${url}/`, { ...HTML, method: 'POST' })).status, 405)
  })

  test('may run its own script and style and nothing else, and has neither markup nor data of a pool in it', async () => {
    open(new CountingFactory(), { name: 'not-in-the-page' })
    const response = await fetch(`${await serve()}/`, HTML)
    const html = await response.text()
    const policy = response.headers.get('content-security-policy') ?? ''
    assert.match(policy, /^default-src 'none'; /)
    assert.doesNotMatch(policy, /unsafe|\*|https?:/)
    const hashOf = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`
    const [scripts, styles] = ['script', 'style'].map(tag => [
      ...html.matchAll(new RegExp(`<${tag}>([\\s\\S]*?)</${tag}>`, 'g')),
    ])
    assert.equal(scripts?.length, 1)
    assert.equal(styles?.length, 1)
    assert.ok(policy.includes(`script-src ${hashOf(scripts?.[0]?.[1] ?? '')};`))
    assert.ok(policy.includes(`style-src ${hashOf(styles?.[0]?.[1] ?? '')};`))
    assert.doesNotMatch(
      html,
      /\son\w+="|javascript:|innerHTML|insertAdjacentHTML|document\.write|\beval\(|not-in-the-page/,
    )
    assert.doesNotMatch(html.replaceAll('http://www.w3.org/2000/svg', ''), /https?:\/\//)
  })

  test('needs the token as everything else does: without it, the page comes with 401 and holds nothing', async () => {
    const url = await serve({ token: 's3cret' })
    const shell = await fetch(`${url}/`, HTML)
    assert.equal(shell.status, 401)
    assert.equal(shell.headers.get('www-authenticate'), 'Bearer')
    assert.equal((await fetch(`${url}/live.json`)).status, 401)
    assert.equal((await fetch(`${url}/`)).status, 401)
    const authorization = 'Bearer s3cret'
    assert.equal((await fetch(`${url}/live.json`, { headers: { authorization } })).status, 200)
    assert.equal((await fetch(`${url}/`, { headers: { ...HTML.headers, authorization } })).status, 200)
  })
})

test('twenty thousand waiters make no heavy answer, and none is left out of the count', async () => {
  const pool = open(new CountingFactory(), {
    name: 'crowd',
    max: 1,
    acquireTimeoutMillis: 60_000,
    nested: 'allow',
  })
  const held = await pool.acquire()
  const waiting = Array.from({ length: 20_000 }, () => pool.acquire().catch(() => {}))
  const url = await serve()
  const body = await (await fetch(`${url}/live.json`)).text()
  const { pools } = JSON.parse(body) as LiveData
  const crowd = pools.find(({ name }) => name === 'crowd')
  assert.equal(crowd?.stats.pending, 20_000)
  assert.equal(crowd?.waitersRead, 1000)
  assert.equal(crowd?.next.length, 5)
  assert.ok(body.length < 50_000, `${body.length} bytes`)
  await pool.release(held)
  await pool.close({ timeoutMillis: 0 }).catch(() => {})
  await Promise.all(waiting)
})

describe('in a browser', { skip: noChromium }, () => {
  let browser: Browser | undefined
  after(() => browser?.close())
  const page = async (): Promise<BrowserPage> => {
    browser ??= await startChromium()
    return await browser.page()
  }
  const picture = async (shown: BrowserPage, name: string): Promise<void> => {
    if (PICTURES !== undefined) await shown.picture(join(PICTURES, `${name}.png`))
  }
  const says = (words: RegExp): string => `${words}.test(document.body.innerText)`

  test('an idle pool and a loaded one are shown: what is wrong, who holds, who waits', async () => {
    const pool = open(new CountingFactory(), {
      name: 'orders',
      max: 12,
      min: 4,
      acquireTimeoutMillis: 120_000,
    })
    open(new CountingFactory(), { name: 'sessions', max: 4 })
    await pool.ready()
    await pool.use(() => {})
    // Mounted below a path, and opened without a slash at its end.
    const url = await serve({}, '/debug')
    const shown = await page()
    await shown.open(`${url}#orders`)
    await shown.until(says(/Connections: 4 of at most 12/))
    // On a busy machine, the event loop of this test may have been blocked, and the page says so.
    assert.match(await shown.text(), /Nothing looks wrong: 0 of 12 lent, nobody waits|event loop was blocked/)
    assert.match(await shown.text(), /4 idle\s+8 free/)
    await picture(shown, 'live-idle')
    const held: Connection[] = []
    const checkout = async (): Promise<void> => void held.push(await pool.acquire())
    for (let loan = 0; loan < 12; loan += 1) await checkout()
    const late = Array.from({ length: 35 }, () => pool.acquire().catch(() => undefined))
    await shown.until(says(/All 12 connections are lent, and 35 acquires wait/))
    await shown.until(says(/35 wait for 12 connections/))
    assert.match(await shown.text(), /checkout/)
    assert.equal(await shown.read(`document.querySelectorAll('.mark').length`), 35)
    assert.equal(await shown.read(`document.querySelectorAll('nav button').length >= 2`), true)
    await picture(shown, 'live-loaded')
    await shown.dark(true)
    await picture(shown, 'live-loaded-dark')
    await shown.dark(false)
    await shown.open(`${url}/?narrow#orders`, 390, 800)
    await shown.until(says(/35 wait for 12 connections/))
    assert.equal(await shown.read('document.documentElement.scrollWidth <= 390'), true)
    await picture(shown, 'live-mobile')
    assert.deepEqual(shown.complaints, [])
    for (const connection of held) await pool.release(connection)
    await pool.close({ timeoutMillis: 0 }).catch(() => {})
    await Promise.all(late)
  })

  test('an outage is named, with what the server says, and its waiters are shown', async () => {
    const factory = scripted()
    factory.onCreate.always({ rejects: new Error('connect ECONNREFUSED 10.0.0.7:6379') })
    const pool = open(factory, {
      ...{ name: 'cache', max: 8, acquireTimeoutMillis: 120_000, unhealthyAfterMillis: 100_000 },
    })
    const waiting = Array.from({ length: 20 }, () => pool.acquire().catch(() => undefined))
    const shown = await page()
    await shown.open(`${await serve()}/#cache`)
    await shown.until(says(/Connecting fails, \d+ times in a row: connect ECONNREFUSED 10\.0\.0\.7:6379/))
    assert.match(await shown.text(), /20 wait for 8 connections/)
    await shown.until(`performance.getEntriesByName('render').length >= 4`)
    await picture(shown, 'live-outage')
    assert.deepEqual(shown.complaints, [])
    await pool.close({ timeoutMillis: 0 }).catch(() => {})
    await Promise.all(waiting)
  })

  test('names of pools and of call sites that are markup stay text', async () => {
    const evil = '<script>globalThis.harmed = 1</script><img src=x onerror="globalThis.harmed = 2">'
    const pool = open(
      { create: async () => ({}), destroy: async () => {} },
      { name: evil, max: 1, captureStacks: 'all', acquireTimeoutMillis: 120_000 },
    )
    open(new CountingFactory(), { name: '"><svg onload=globalThis.harmed=3>' })
    const taking = { [evil]: () => pool.acquire() }
    const held = await taking[evil]?.()
    const waiting = pool.acquire().catch(() => {})
    const url = await serve()
    const shown = await page()
    await shown.open(`${url}/#${encodeURIComponent(evil)}`)
    await shown.until(says(/1 waits for 1 connection,/))
    await shown.until(`document.querySelector('td:nth-child(3)')?.textContent.includes('<script>')`)
    assert.equal(await shown.read('typeof globalThis.harmed'), 'undefined')
    assert.equal(
      await shown.read(`document.querySelectorAll('img, main script, main svg[onload]').length`),
      0,
    )
    assert.match(await shown.read('document.title'), /<script>/)
    // Characters that turn the text, half a character, and an address that is none.
    const odd = open(new CountingFactory(), { name: 'odd \u202e name \ud800', max: 1 })
    await shown.until(
      `[...document.querySelectorAll('nav button')].some(each => each.textContent.includes('odd'))`,
    )
    await shown.read(
      `[...document.querySelectorAll('nav button')].find(each => each.textContent.includes('odd')).click()`,
    )
    await shown.until(says(/Connections: 0 of at most 1/))
    await shown.read(`document.querySelector('.actions button').click()`)
    await shown.until(`/^pool 'odd|is open/.test(document.querySelector('textarea').value)`)
    assert.doesNotMatch(await shown.text(), /[\u202e\p{Cs}]/u)
    await shown.open(`${url}/?again#%`)
    await shown.until(says(/Connections: \d/))
    assert.deepEqual(shown.complaints, [])
    await odd.close()
    await pool.release(held as object)
    await waiting
  })

  test('a token is asked for, a wrong one is refused, and the right one shows the pools; the report is copied with it', async () => {
    open(new CountingFactory(), { name: 'guarded' })
    const url = await serve({ token: 's3cret' })
    const shown = await page()
    await shown.open(`${url}/#guarded`)
    await shown.until(`document.querySelector('#token')`)
    assert.doesNotMatch(await shown.text(), /guarded/)
    const give = (token: string): Promise<void> =>
      shown.read(`{
        document.querySelector('#token').value = ${JSON.stringify(token)}
        document.querySelector('form').requestSubmit()
      }`)
    await give('wrong')
    await shown.until(says(/That was not it/))
    await give('s3cret')
    await shown.until(says(/Connections: 0 of at most 1/))
    await shown.read(`document.querySelector('.actions button').click()`)
    // Without permission to use the clipboard, the report is shown to be copied by hand.
    await shown.until(`/pool 'guarded' is open/.test(document.querySelector('textarea').value)`)
    // Answers with 401, which the browser notes, and its advice on forms; nothing else.
    for (const complaint of shown.complaints)
      assert.match(complaint, /the server responded with a status of 401|"source":"recommendation"/)
  })

  test('a process that does not answer is said not to, for how long, and what is shown stays', async () => {
    open(new CountingFactory(), { name: 'overloaded' })
    const handler = diagnosticsHandler()
    let isBlocked = false
    const held: (() => void)[] = []
    const server = createServer((request, response) => {
      if (isBlocked) held.push(() => handler(request, response))
      else handler(request, response)
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    servers.push(() => {
      server.close()
      server.closeAllConnections()
    })
    const shown = await page()
    await shown.open(`http://127.0.0.1:${(server.address() as { port: number }).port}/#overloaded`)
    await shown.until(says(/Connections: 0 of at most 1/))
    isBlocked = true
    await shown.until(says(/No answer for \d+ s: the process is busy, or gone/))
    assert.match(await shown.text(), /Connections: 0 of at most 1/)
    await picture(shown, 'live-silent')
    isBlocked = false
    for (const answer of held) answer()
    await shown.until(`document.querySelector('.silence').hidden`)
  })

  test('ten thousand connections are drawn, and each can be reached by the keyboard', async () => {
    const pool = open(new CountingFactory(), {
      name: 'ten-thousand',
      max: 10_000,
      acquireTimeoutMillis: 60_000,
    })
    const held = await Promise.all(Array.from({ length: 10_000 }, () => pool.acquire()))
    for (const connection of held.splice(0, 3000)) await pool.release(connection)
    const url = await serve()
    const shown = await page()
    await shown.open(`${url}/#ten-thousand`)
    await shown.until(says(/Connections: 10.000 of at most 10.000/))
    assert.match(await shown.text(), /7.000 lent\s+3.000 idle/)
    await shown.until(`performance.getEntriesByName('render').length >= 2`)
    const millis = await shown.read<number[]>(
      `performance.getEntriesByName('render').map(({ duration }) => Math.round(duration * 10) / 10)`,
    )
    process.stdout.write(`# 10 000 connections were drawn in ${millis.join(', ')} ms\n`)
    await shown.read(`document.querySelector('canvas.strip').focus()`)
    for (const key of ['ArrowRight', 'ArrowRight', 'ArrowDown'])
      await shown.call('Input.dispatchKeyEvent', { type: 'keyDown', key })
    await shown.until(`/^#\\d+ (?:lent|idle) for /.test(document.querySelector('#strip-words').textContent)`)
    await picture(shown, 'live-10000')
    assert.deepEqual(shown.complaints, [])
    for (const connection of held) await pool.release(connection)
  })
})
