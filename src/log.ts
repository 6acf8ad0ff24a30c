import createDebug from 'debug'

const channel = (name: string) => createDebug(`lifeguard-pool:${name}`)

/**
 * Whether loans are traced. debug's own `enabled` is a getter that costs as much as a tenth of a loan, so the answer
 * is kept, and looked up again whenever a connection is made.
 */
export const tracing = { loans: false }

export function refreshTracing(): void {
  tracing.loans = log.lend.enabled
}

/** The `DEBUG=lifeguard-pool:*` channels. Ask `.enabled` first where the arguments cost anything to make. */
export const log = {
  pool: channel('pool'),
  create: channel('create'),
  lend: channel('lend'),
  validate: channel('validate'),
  destroy: channel('destroy'),
  stall: channel('stall'),
}
