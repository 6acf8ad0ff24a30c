import { get } from 'node:http'
import type { Address } from '../proc/addresses.ts'
import { holdersOf } from '../proc/holders.ts'
import type { ProcFiles } from '../proc/proc-files.ts'
import { listeningAt, sampleOf } from '../proc/sample.ts'
import { nameOf, type Target } from '../proc/target.ts'

/** Where an inspector answers. */
export interface Place {
  readonly host: string
  readonly port: number
  readonly path: string
}

/** How long an address of this machine may take. Milliseconds. */
const ANSWER_MILLIS = 1000
const DEFAULT_PORT = 9229

/** The addresses at which a process listens. */
export const listensAt = (proc: ProcFiles, pid: number): Address[] =>
  sampleOf(proc, pid, 0).sockets.flatMap(({ direction, local }) => (direction === 'listen' ? [local] : []))

export const isSame = (one: Address, other: Address): boolean =>
  one.host === other.host && one.port === other.port

/** Those of some addresses at which an inspector answers: of that process, or of another that shares the address. */
export async function inspectorsAt(addresses: readonly Address[]): Promise<Place[]> {
  const found = await Promise.all(addresses.map(placeAt))
  return found.filter(place => place !== undefined)
}

function placeAt({ host: bound, port }: Address): Promise<Place | undefined> {
  const host = bound === '0.0.0.0' ? '127.0.0.1' : bound === '::' ? '::1' : bound
  return new Promise(resolve => {
    const call = get({ host, port, path: '/json/list', timeout: ANSWER_MILLIS, agent: false }, response => {
      let text = ''
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part
        // Whatever it is, it is no list of an inspector.
        if (text.length > 100_000) response.destroy()
      })
      response.on('end', () => {
        const path = /"webSocketDebuggerUrl":\s*"ws:\/\/[^/"]+(\/[^"]+)"/.exec(text)?.[1]
        resolve(path === undefined ? undefined : { host, port, path })
      })
      response.on('close', () => resolve(undefined))
    })
    call.on('timeout', () => call.destroy())
    call.on('error', () => resolve(undefined))
  })
}

/** Where the inspector of a process would open. It may be told so on its command line or in its environment. */
export function wantedPort(proc: ProcFiles, { pid }: Target): number {
  const words = `${
    proc
      .text(`${pid}/environ`)
      .split('\0')
      .find(line => line.startsWith('NODE_OPTIONS=')) ?? ''
  } ${proc.text(`${pid}/cmdline`).replaceAll('\0', ' ')}`
  const told = [...words.matchAll(/--(?:inspect|debug)-port[= ](?:\S*:)?(\d+)(?=\s|$)/g)].at(-1)?.[1]
  return told === undefined ? DEFAULT_PORT : Number(told)
}

/** Which other process listens where an inspector would open; undefined if none does. */
export function usedBy(proc: ProcFiles, { pid }: Target, port: number): string | undefined {
  if (port === 0) return undefined
  for (const { inode, local } of listeningAt(proc, pid, port)) {
    if (!['127.0.0.1', '0.0.0.0', '::'].includes(local.host)) continue
    const link = `socket:[${inode}]`
    const holder = holdersOf(proc, new Set([link])).get(link)?.[0]
    return holder === undefined ? 'another process' : nameOf(proc, holder.pid)
  }
  return undefined
}
