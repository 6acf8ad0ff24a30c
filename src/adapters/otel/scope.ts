/** The instrumentation scope of everything that is reported. */
export const SCOPE = 'lifeguard-pool'
export const VERSION = '0.1.0'
/** The version of the semantic conventions that names, units and attributes follow. */
export const SCHEMA = { schemaUrl: 'https://opentelemetry.io/schemas/1.44.0' } as const
