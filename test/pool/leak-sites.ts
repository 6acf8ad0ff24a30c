import type { Pool } from '../../src/index.ts'

/** Fifty functions that use a pool, each at a line of its own; the one with this number forgets to release. */
export function callSites<T>(pool: Pool<T>, forgetful: number): (() => Promise<void>)[] {
  return Array.from({ length: 50 }, (_, index) => {
    const source = `return async function site${index}() {
      const connection = await pool.acquire()
      await work(connection)
      ${index === forgetful ? '' : 'await pool.release(connection)'}
    }\n//# sourceURL=app/site-${index}.js`
    const work = (): Promise<void> => new Promise(resolve => setTimeout(resolve, 1))
    return new Function('pool', 'work', source)(pool, work) as () => Promise<void>
  })
}
