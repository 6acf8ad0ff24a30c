/*
 * Two callers that waited for the same moment before the first acquire of the process, as requests of a service that
 * starts up. Run by `contexts.test.ts` in a process of its own, as whatever runs before would have switched context
 * tracking on. Nobody awaits them, so that their stacks look alike.
 */

const { createPool } = await import('../../src/index.ts')
const pool = createPool({ create: () => ({}), destroy: () => {} }, { max: 2, min: 2, nested: 'forbid' })
await pool.ready()
const moment = new Promise<void>(resolve => setImmediate(resolve))
let end = (_: string): void => {}
const ended = new Promise<string>(resolve => {
  end = resolve
})

async function caller(isFirst: boolean): Promise<void> {
  await moment
  if (isFirst) {
    const held = await pool.acquire()
    await ended
    await pool.release(held)
    return
  }
  await new Promise(resolve => setImmediate(resolve))
  try {
    // A later statement of the same function: by its stack alone, it could be the caller that holds the first one.
    await pool.release(await pool.acquire())
    end('served')
  } catch (error) {
    end(String(error))
  }
}

void caller(true)
void caller(false)
process.stdout.write(await ended)
