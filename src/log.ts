import createDebug from 'debug'

const channel = (name: string) => createDebug(`lifeguard-pool:${name}`)

/** The `DEBUG=lifeguard-pool:*` channels. Ask `.enabled` first where the arguments cost anything to make. */
export const log = {
  pool: channel('pool'),
  create: channel('create'),
  lend: channel('lend'),
  validate: channel('validate'),
  destroy: channel('destroy'),
  stall: channel('stall'),
}
