export * from '../../../src/adapters/otel/index.ts'
