// A service with OpenTelemetry's SDK and its instrumentations of generic-pool and ioredis, as auto-instrumentation sets
// them up: before anything else is loaded. Plays against the Redis at argv[2]; argv[3] says what it uses of ours. Tells
// its spans on stdout.
import { createRequire } from 'node:module'
import { context, SpanStatusCode, trace } from '@opentelemetry/api'
import { registerInstrumentations } from '@opentelemetry/instrumentation'
import { GenericPoolInstrumentation } from '@opentelemetry/instrumentation-generic-pool'
import { IORedisInstrumentation } from '@opentelemetry/instrumentation-ioredis'
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node'
import type * as Redis from '../../../src/adapters/ioredis/index.ts'
import type * as Otel from '../../../src/adapters/otel/index.ts'

export interface SpanFacts {
  readonly name: string
  readonly id: string
  readonly parent: string | undefined
  readonly millis: number
  readonly error: boolean
  readonly attributes: Record<string, unknown>
  readonly events: { name: string; attributes: Record<string, unknown> }[]
}

export interface ServiceFacts {
  readonly spans: readonly SpanFacts[]
  /** Connections made. */
  readonly created: number
}

const REQUESTS = 12
const [, , url = '', mode = 'auto'] = process.argv

const exporter = new InMemorySpanExporter()
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
provider.register()
registerInstrumentations({
  instrumentations: [new GenericPoolInstrumentation(), new IORedisInstrumentation()],
})

const require = createRequire(import.meta.url)
const { createRedisPool } = require('lifeguard-pool/ioredis') as typeof Redis
if (mode !== 'auto') {
  const { instrumentAll } = require('lifeguard-pool/otel') as typeof Otel
  instrumentAll({ spans: mode === 'all' ? 'all' : 'waited' })
}

const tracer = trace.getTracer('service')
const pool = createRedisPool(url, { name: 'cache', max: 3, acquireTimeoutMillis: 1000 })

function request<R>(name: string, run: () => Promise<R>): Promise<R> {
  const span = tracer.startSpan(name)
  return context.with(trace.setSpan(context.active(), span), run).finally(() => span.end())
}

await Promise.all(
  Array.from({ length: REQUESTS }, (_, index) =>
    request(`request ${index}`, () => pool.use(client => client.get('key'))),
  ),
)
// Alone, outside of any request: no span is wanted of it.
await pool.use(client => client.get('key'))
const held = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()])
await request('late', () => pool.acquire()).catch(() => {})
for (const client of held) await pool.release(client)
await request('after', async () => {
  const client = await pool.acquire()
  await client.get('key')
  await pool.release(client)
})
const { created } = pool.stats().totals
await pool.close()

const spans = exporter.getFinishedSpans().map(
  (span): SpanFacts => ({
    name: span.name,
    id: span.spanContext().spanId,
    parent: span.parentSpanContext?.spanId,
    millis: span.duration[0] * 1000 + span.duration[1] / 1e6,
    error: span.status.code === SpanStatusCode.ERROR,
    attributes: span.attributes,
    events: span.events.map(({ name, attributes = {} }) => ({ name, attributes })),
  }),
)
const facts: ServiceFacts = { spans, created }
process.stdout.write(JSON.stringify(facts))
