export * from '../../../src/diagnostics/index.ts'
