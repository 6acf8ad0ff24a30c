import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { Redis } from 'ioredis'
import { now } from './clock.ts'
import type { Answer, Kill, KillerData, Question } from './killer.ts'

/*
 * An administrator of the server in a thread of its own: it can kill connections while the service's event loop
 * stands still, and its clock tells when the server did so.
 */

const { url, prefix } = workerData as KillerData
// Few retries: a server that is gone for good ends the show, it does not hold it up.
const admin = new Redis(url, { maxRetriesPerRequest: 3 })
// Each command reports the failure of its own; without a listener ioredis would print them besides.
admin.on('error', () => {})

/** The service's connections: names and ids. The server may be shared: nobody else's are touched. */
async function connections(): Promise<{ id: string; name: string }[]> {
  const list = String(await admin.call('CLIENT', 'LIST'))
  return [...list.matchAll(/^id=(\d+) .* name=(\S*)/gm)]
    .map(([, id = '', name = '']) => ({ id, name }))
    .filter(({ name }) => name.startsWith(prefix))
}

async function kill(count: number): Promise<Kill[]> {
  const chosen = (await connections())
    .map(connection => ({ connection, order: Math.random() }))
    .sort((a, b) => a.order - b.order)
    .slice(0, count)
  const kills = chosen.map(async ({ connection: { id, name } }): Promise<Kill[]> => {
    const sentAt = now()
    const killed = await admin.call('CLIENT', 'KILL', 'ID', id)
    return killed === 1 ? [{ name, sentAt, answeredAt: now() }] : []
  })
  return (await Promise.all(kills)).flat()
}

/** Until the server has closed the connection: a stand-in in our own process can then be stopped at once. */
async function leave(): Promise<void> {
  const ended = once(admin, 'end')
  await admin.quit()
  await ended
}

async function answer(question: Question): Promise<Answer> {
  try {
    if (question.what === 'count') return { id: question.id, count: (await connections()).length }
    if (question.what === 'leave') {
      await leave()
      return { id: question.id }
    }
    await delay(question.afterMillis)
    return { id: question.id, kills: await kill(question.count) }
  } catch (error) {
    return { id: question.id, error: error instanceof Error ? error.message : String(error) }
  }
}

parentPort?.on('message', async (question: Question) => parentPort?.postMessage(await answer(question)))
