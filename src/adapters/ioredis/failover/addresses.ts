import { hostPort } from '../../../api/wording.ts'
import type { RedisClient } from '../client/client-types.ts'

export interface Address {
  readonly host: string
  readonly port: number
}

export const isSameAddress = (a: Address, b: Address): boolean => a.host === b.host && a.port === b.port

export const inWords = ({ host, port }: Address): string => hostPort(host, port)

/** The address at the other end of a client's connection, as an IP address. */
export function remoteOf(client: RedisClient): Address {
  const { remoteAddress = '', remotePort = 0 } = client.stream
  return { host: remoteAddress.replace(/^::ffff:/, ''), port: remotePort }
}
