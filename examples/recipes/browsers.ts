import { createPool, type Pool, type PoolOptions } from 'lifeguard-pool'
import { type Browser, type BrowserServer, chromium, type LaunchOptions } from 'playwright-core'

/** The process of each browser, for the case that it no longer closes. */
const servers = new WeakMap<Browser, BrowserServer>()

export function createBrowserPool(launch: LaunchOptions, options?: PoolOptions): Pool<Browser> {
  return createPool<Browser>(
    {
      async create() {
        const server = await chromium.launchServer(launch)
        try {
          const browser = await chromium.connect(server.wsEndpoint())
          servers.set(browser, server)
          return browser
        } catch (error) {
          await server.kill()
          throw error
        }
      },
      async destroy(browser) {
        // A page that hangs can keep a browser from closing: it gets a second, and is killed then.
        const late = setTimeout(() => servers.get(browser)?.kill(), 1000)
        await browser.close().catch(() => {})
        await servers.get(browser)?.close()
        clearTimeout(late)
      },
      validate: browser => browser.isConnected(),
      // Cookies, storage and pages live in contexts: without them, the next borrower finds a new browser.
      async reset(browser) {
        await Promise.all(browser.contexts().map(context => context.close()))
      },
    },
    {
      fifo: false,
      testOnBorrow: true, // no round trip
      createTimeoutMillis: 30_000,
      acquireTimeoutMillis: 60_000,
      destroyTimeoutMillis: 5000,
      resetTimeoutMillis: 5000,
      maxUses: 100, // browsers grow
      maxLifetimeMillis: 10 * 60_000,
      idleTimeoutMillis: 60_000,
      ...options,
    },
  )
}
