import { request } from 'node:http'
import { systemClock } from '../../runtime/time/clock.ts'
import { clean } from '../printable.ts'

/** How long the process may take beyond the recording. Milliseconds. */
const PATIENCE_MILLIS = 30_000

/** Asks the diagnostics handler of a process to record for so long. */
export function askForTimeline(
  where: string,
  seconds: number,
  pool: string | undefined,
  token: string | undefined,
): Promise<string> {
  const query = new URLSearchParams({ seconds: String(seconds), ...(pool === undefined ? {} : { pool }) })
  const url = /^https?:/.test(where) ? new URL(where) : undefined
  const base = (url?.pathname ?? '').replace(/\/$/, '')
  const path = `${base}/timeline.json?${query}`
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
  const target =
    url === undefined
      ? { socketPath: where }
      : { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port || 80 }
  return new Promise((resolve, reject) => {
    const asked = request({ ...target, path, headers, agent: false }, response => {
      let text = ''
      response.setEncoding('utf8').on('data', part => {
        text += part
      })
      response.on('error', reject)
      response.on('end', () => {
        limit.cancel()
        if (response.statusCode === 200 && response.complete) resolve(text)
        else if (response.statusCode === 401)
          reject(new Error(`${where} wants its token: --token, or LIFEGUARD_POOL_TOKEN`))
        else if (response.statusCode === 404)
          reject(
            new Error(
              `${where} has no /timeline.json: is diagnosticsHandler mounted there (reportHandler has none), below this path?`,
            ),
          )
        else
          reject(new Error(`${where} answered ${response.statusCode}: ${clean(text.trim().slice(0, 200))}`))
      })
    })
    const limit = systemClock.after(seconds * 1000 + PATIENCE_MILLIS, () =>
      asked.destroy(
        new Error(`${where} has not answered: is its event loop blocked? See: lifeguard-pool doctor`),
      ),
    )
    limit.hold(true)
    asked.on('error', error => {
      limit.cancel()
      reject(error)
    })
    asked.end()
  })
}
