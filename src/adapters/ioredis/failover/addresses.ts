import { hostPort } from '../../../api/messages/wording.ts'
import type { RedisClient } from '../client/client-types.ts'

export interface Address {
  readonly host: string
  readonly port: number
}

export const isSameAddress = (a: Address, b: Address): boolean => a.host === b.host && a.port === b.port

export const inWords = ({ host, port }: Address): string => hostPort(host, port)

/** Reads an address as a sentinel gives it. @returns undefined if it is none */
export function addressOf(host: unknown, port: unknown): Address | undefined {
  if (host === null || host === undefined || port === null) return undefined
  const [name, number] = [String(host), Number(String(port))]
  const isPort = Number.isInteger(number) && number > 0 && number < 65_536
  return name !== '' && isPort ? { host: name, port: number } : undefined
}

/** The address at the other end of a client's connection, as an IP address. */
export function remoteOf(client: RedisClient): Address {
  const { remoteAddress = '', remotePort = 0 } = client.stream
  return { host: remoteAddress.replace(/^::ffff:/, ''), port: remotePort }
}
