import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { context, SpanKind, SpanStatusCode, type TracerProvider, trace } from '@opentelemetry/api'
import type { AcquireMessage } from '../../api/channels.ts'
import { isPoolError, messageOf } from '../../api/errors.ts'
import { attributesOf } from '../../diagnostics/metrics/observed-pools.ts'
import type { Reporting } from '../../diagnostics/registry.ts'
import { errorTypeOf } from '../../runtime/kinds.ts'
import { epochMillis } from '../../runtime/time/clock.ts'
import { faultyProvider } from './faulty-provider.ts'
import { processWide, type SpanRule } from './process-wide.ts'
import { SCHEMA, SCOPE, VERSION } from './scope.ts'

/**
 * Creates a span for each acquire when it ends.
 * @returns a function that stops it
 */
export function traceAcquires(provider: TracerProvider, rule: SpanRule): () => void {
  const { spanRules } = processWide()
  const all = spanRules.get(provider) ?? new Set()
  spanRules.set(provider, all)
  all.add(rule)
  const tracer = provider.getTracer(SCOPE, VERSION, SCHEMA)
  const onEnd = (message: unknown): void => {
    const acquire = message as AcquireMessage
    const first = [...all].find(each => each.concerns(acquire.instance))
    try {
      if (first === rule) makeSpan(tracer, acquire, rule)
    } catch (error) {
      // Node would end the process with what a subscriber throws. A faulty provider costs spans only.
      faultyProvider('spans', error)
    }
  }
  // This event is published in the context of the acquire's caller, where the span of the request is active.
  const channel = 'tracing:lifeguard-pool:acquire:asyncEnd'
  subscribe(channel, onEnd)
  return () => {
    unsubscribe(channel, onEnd)
    all.delete(rule)
  }
}

function makeSpan(
  tracer: ReturnType<TracerProvider['getTracer']>,
  { instance, call, waitedMillis = 0, connection, loan, error }: AcquireMessage,
  { spans, requireParentSpan }: SpanRule,
): void {
  if (spans === 'waited' && waitedMillis === 0 && error === undefined) return
  const parent = context.active()
  if (requireParentSpan && trace.getSpan(parent) === undefined) return
  const end = epochMillis()
  const attributes = {
    ...attributesOf(instance as Reporting),
    'lifeguard.call': call,
    'lifeguard.waited': waitedMillis / 1000,
    ...(connection === undefined ? {} : { 'lifeguard.connection.id': connection }),
    ...(loan === undefined ? {} : { 'lifeguard.loan': loan }),
  }
  const startTime = end - waitedMillis
  const span = tracer.startSpan(
    `${SCOPE}.acquire`,
    { kind: SpanKind.INTERNAL, startTime, attributes },
    parent,
  )
  if (error !== undefined) {
    span.setAttribute('error.type', errorTypeOf(error))
    span.setStatus({ code: SpanStatusCode.ERROR, message: messageOf(error) })
    if (isPoolError(error) && error.holders !== undefined)
      span.addEvent(`${SCOPE}.holders`, { 'lifeguard.holders': [...error.holders] }, end)
  }
  span.end(end)
}
