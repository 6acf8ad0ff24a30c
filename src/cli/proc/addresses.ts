import { hostPort } from '../../api/messages/wording.ts'

/*
 * Addresses as /proc/net/tcp writes them: groups of four bytes, each in the byte order of the machine. That is
 * little-endian wherever Node runs, except on s390x.
 */

const LOOPBACK = /^(?:127\.|::1$)/

export interface Address {
  readonly host: string
  readonly port: number
}

/** @param text - such as `0100007F:1F90` */
export function addressOf(text: string): Address {
  const [hex = '', port = ''] = text.split(':')
  const bytes = [...hex.matchAll(/.{8}/g)].flatMap(([group]) =>
    [...group.matchAll(/../g)].map(([byte]) => Number.parseInt(byte, 16)).reverse(),
  )
  return { host: hostOf(bytes), port: Number.parseInt(port, 16) }
}

function hostOf(bytes: readonly number[]): string {
  const mapped = bytes.length === 16 && bytes.slice(0, 10).every(byte => byte === 0) && bytes[10] === 0xff
  if (bytes.length === 4) return bytes.join('.')
  if (mapped) return bytes.slice(12).join('.')
  const groups: string[] = []
  for (let at = 0; at < bytes.length; at += 2)
    groups.push((((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)).toString(16))
  // A URL shortens its host: [::1].
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1)
}

export const showAddress = ({ host, port }: Address): string => hostPort(host, port)

export const isLoopback = ({ host }: Address): boolean => LOOPBACK.test(host)
