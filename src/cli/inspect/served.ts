import { get } from 'node:http'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { defaultSocketPath } from '../../diagnostics/http/unix-socket.ts'
import type { PoolReport } from '../../diagnostics/pool-report.ts'
import { CannotLook } from '../cannot-look.ts'
import type { ProcFiles } from '../proc/proc-files.ts'

/** Reports of more than this are not read: something else answers. */
const MOST_BYTES = 256 * 2 ** 20

/**
 * The default diagnostics socket of a process, in its folder for temporary files or in ours.
 *
 * @returns undefined if there is none
 * @throws Error that says why the one that is there cannot be used
 */
export async function findSocket(
  proc: ProcFiles,
  pid: number,
  how: Asking = {},
): Promise<string | undefined> {
  const own = /(?:^|\0)TMPDIR=([^\0]+)/.exec(proc.text(`${pid}/environ`))?.[1]
  const folders = new Set([own ?? tmpdir(), tmpdir(), '/tmp'])
  const paths = [...folders].map(folder => join(folder, basename(defaultSocketPath(pid))))
  // In a container it has another number, and files of its own.
  const inner = /^NSpid:.*\s(\d+)$/m.exec(proc.text(`${pid}/status`))?.[1]
  if (inner !== undefined && Number(inner) !== pid)
    paths.push(`/proc/${pid}/root${join(own ?? '/tmp', basename(defaultSocketPath(Number(inner))))}`)
  for (const path of paths) {
    try {
      await reportsAt(path, how)
      return path
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      // A dead process of the same number may have left its socket there.
      if (code !== 'ENOENT' && code !== 'ECONNREFUSED') throw error
    }
  }
  return undefined
}

export interface Asking {
  readonly token?: string | undefined
  /** Give up after this time without a byte. Default: never, so that no requests pile up in a process that is blocked. */
  readonly millis?: number | undefined
}

/** Why a URL of https is refused. */
export const NO_TLS =
  'https is not spoken here: diagnostics belong on a port of the machine itself (http), or behind a tunnel (ssh -L)'

/** Asks a diagnostics server once, by the path of its Unix socket or by its URL. */
export function reportsAt(where: string, { token, millis }: Asking): Promise<PoolReport[]> {
  if (/^https:\/\//.test(where)) return Promise.reject(new CannotLook(NO_TLS))
  const isUrl = /^https?:\/\//.test(where)
  const folder = isUrl ? new URL(where).pathname.replace(/\/$/, '') : ''
  const path = `${folder}/report?format=json`
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => reject(new CannotLook(`${where} ${why}`))
    const call = isUrl
      ? get(new URL(path, where), { agent: false, headers })
      : get({ socketPath: where, path, agent: false, headers })
    call.on('error', (error: NodeJS.ErrnoException) => {
      const known = REASONS[error.code ?? '']
      reject(
        known === undefined
          ? error
          : Object.assign(new CannotLook(`${where} ${known}`), { code: error.code }),
      )
    })
    if (millis !== undefined)
      call.setTimeout(millis, () =>
        call.destroy(new CannotLook(`${where} has not answered within ${millis} ms`)),
      )
    call.on('response', response => {
      const { statusCode } = response
      const parts: Buffer[] = []
      let bytes = 0
      response.on('data', (part: Buffer) => {
        bytes += part.length
        if (bytes > MOST_BYTES) response.destroy(new CannotLook(`${where} sends more than any report has`))
        else parts.push(part)
      })
      response.on('error', reject)
      response.on('end', () => {
        if (statusCode === 401) fail('wants its token: --token, or LIFEGUARD_POOL_TOKEN in the environment')
        else if (statusCode !== 200) fail(`answers ${statusCode}`)
        else {
          const reports = reportsIn(Buffer.concat(parts).toString())
          if (reports === undefined) fail('answers with something that is no report of lifeguard-pool')
          else resolve(reports)
        }
      })
    })
  })
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  ECONNREFUSED: 'is served by nobody',
  EACCES: 'may not be opened by this user',
  ENOTSOCK: 'is no socket',
}

/** @returns undefined if the text is something else */
export function reportsIn(text: string): PoolReport[] | undefined {
  try {
    const reports = JSON.parse(text) as PoolReport[]
    return Array.isArray(reports) && reports.every(({ stats }) => typeof stats?.name === 'string')
      ? reports
      : undefined
  } catch {
    return undefined
  }
}
