export * from '../../../src/adapters/prometheus/index.ts'
