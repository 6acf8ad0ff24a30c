export * from '../../../src/adapters/net/index.ts'
