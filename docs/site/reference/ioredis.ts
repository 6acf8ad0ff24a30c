export * from '../../../src/adapters/ioredis/index.ts'
