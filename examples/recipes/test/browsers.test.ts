import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Browser } from 'playwright-core'
import { createBrowserPool } from '../browsers.ts'
import { reasonsOf, until } from './dangers.ts'
import { find } from './servers.ts'

const chromium = find('chromium', 'chromium-browser', 'google-chrome')
const missing = chromium ? false : 'there is no Chromium on this machine'
const launch = { executablePath: chromium ?? '', args: ['--no-sandbox', '--disable-gpu'] }

/** The process of a browser. */
async function idOf(browser: Browser): Promise<number> {
  const session = await browser.newBrowserCDPSession()
  const { processInfo } = await session.send('SystemInfo.getProcessInfo')
  await session.detach()
  return processInfo.find(({ type }) => type === 'browser')?.id ?? 0
}

function isRunning(id: number): boolean {
  try {
    return process.kill(id, 0)
  } catch {
    return false
  }
}

describe('browsers', { skip: missing }, () => {
  test('pages and cookies of one borrower do not reach the next, and the browser stays', async () => {
    await using pool = createBrowserPool(launch, { max: 1 })
    await pool.use(async browser => {
      const page = await browser.newPage()
      await page.setContent('<title>one</title>')
      assert.equal(await page.title(), 'one')
    })
    assert.equal(await pool.use(browser => browser.contexts().length), 0)
    assert.equal(pool.stats().totals.created, 1)
  })

  test('a browser that has crashed is not lent again', async () => {
    await using pool = createBrowserPool(launch, { max: 1 })
    const dead = await pool.use(async browser => {
      process.kill(await idOf(browser), 'SIGKILL')
      return browser
    })
    await until('it is known to be dead', () => !dead.isConnected())
    assert.equal(await pool.use(browser => browser.isConnected()), true)
    assert.equal(pool.stats().totals.created, 2)
  })

  test('a browser that has been lent a hundred times is ended with its process, and the next is new', async () => {
    await using pool = createBrowserPool(launch, { max: 1 })
    const reasons = reasonsOf(pool)
    const first = await pool.use(idOf)
    for (let loan = 2; loan <= 100; loan += 1) assert.equal(await pool.use(() => pool.size), 1)
    assert.notEqual(await pool.use(idOf), first)
    await until('its process is gone', () => !isRunning(first))
    assert.deepEqual(reasons, ['uses'])
    assert.equal(pool.stats().totals.created, 2)
  })

  test('a browser on its last loan that is lent with pages and cookies leaves none to the next', async () => {
    await using pool = createBrowserPool(launch, { max: 1, maxUses: 2 })
    const ids: number[] = []
    for (let loan = 1; loan <= 6; loan += 1) {
      ids.push(
        await pool.use(async browser => {
          assert.equal(browser.contexts().length, 0)
          await (await browser.newPage()).setContent('<title>one</title>')
          return idOf(browser)
        }),
      )
    }
    assert.equal(new Set(ids).size, 3)
    await until('two are gone', () => ids.filter(isRunning).length <= 2)
    assert.equal(pool.stats().totals.created, 3)
  })
})
