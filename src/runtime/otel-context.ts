/*
 * Access to OpenTelemetry, where the process uses it, through the global object of its API. So this package does not
 * need the API to be installed.
 */

interface Context {
  setValue(key: symbol, value: unknown): Context
}

interface ContextManager {
  active(): Context
  with<R>(context: Context, run: () => R): R
}

/** The key under which version 1 of `@opentelemetry/api` stores its registered parts. */
const API = Symbol.for('opentelemetry.js.api.1')
/** The key that `suppressTracing` of `@opentelemetry/core` uses; its `createContextKey` creates it in this way. */
const SUPPRESS = Symbol.for('OpenTelemetry SDK Context Key SUPPRESS_TRACING')

const api = (): { context?: ContextManager; metrics?: unknown } | undefined =>
  (globalThis as { [API]?: ReturnType<typeof api> })[API]

/** Has the process registered a provider of metrics? */
export const hasMeterProvider = (): boolean => api()?.metrics !== undefined

/**
 * Runs a function without creating spans. OpenTelemetry's instrumentation of generic-pool creates a span for each of
 * its acquires. This pool calls that once per connection and outside any request, so the span would be a meaningless
 * root span.
 */
export function withoutSpans<R>(run: () => R): R {
  const manager = api()?.context
  return manager === undefined ? run() : manager.with(manager.active().setValue(SUPPRESS, true), run)
}
