import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createBrowserPool } from '../browsers.ts'
import { until } from './dangers.ts'
import { find } from './servers.ts'

const chromium = find('chromium', 'chromium-browser', 'google-chrome')
const missing = chromium ? false : 'there is no Chromium on this machine'
const launch = { executablePath: chromium ?? '', args: ['--no-sandbox', '--disable-gpu'] }

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
      const session = await browser.newBrowserCDPSession()
      const { processInfo } = await session.send('SystemInfo.getProcessInfo')
      process.kill(processInfo.find(({ type }) => type === 'browser')?.id ?? 0, 'SIGKILL')
      return browser
    })
    await until('it is known to be dead', () => !dead.isConnected())
    assert.equal(await pool.use(browser => browser.isConnected()), true)
    assert.equal(pool.stats().totals.created, 2)
  })
})
