import { messageOf } from '../../api/errors.ts'
import { isNews, warn } from '../../api/messages/warnings.ts'

/** Reports, once, that a provider of OpenTelemetry fails. That never reaches the pool or its callers. */
export function faultyProvider(what: 'metrics' | 'spans', error: unknown): void {
  if (isNews(`OpenTelemetry ${what}`))
    warn('OTEL', `OpenTelemetry's provider failed, and ${what} are missing: ${messageOf(error)}`)
}
