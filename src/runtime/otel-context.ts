/*
 * OpenTelemetry, where the process uses it, by way of what its API keeps on the global object: this package does not need
 * that API to be installed.
 */

interface Context {
  setValue(key: symbol, value: unknown): Context
}

interface ContextManager {
  active(): Context
  with<R>(context: Context, run: () => R): R
}

/** Where version 1 of `@opentelemetry/api` keeps what has been registered. */
const API = Symbol.for('opentelemetry.js.api.1')
/** The key of `suppressTracing` in `@opentelemetry/core`: `createContextKey` makes it so. */
const SUPPRESS = Symbol.for('OpenTelemetry SDK Context Key SUPPRESS_TRACING')

const api = (): { context?: ContextManager; metrics?: unknown } | undefined =>
  (globalThis as { [API]?: ReturnType<typeof api> })[API]

/** Has somebody registered a provider of metrics? */
export const hasMeterProvider = (): boolean => api()?.metrics !== undefined

/**
 * Runs a function whose spans nobody wants. OpenTelemetry's instrumentation of generic-pool makes a span for each of its
 * acquires; ours is one a connection, made for nobody's request, so the span would be a root without meaning.
 */
export function withoutSpans<R>(run: () => R): R {
  const manager = api()?.context
  return manager === undefined ? run() : manager.with(manager.active().setValue(SUPPRESS, true), run)
}
