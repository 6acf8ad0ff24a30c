/* The entry point for `import`. It uses the same implementation as `require`. */
export type * from './index.ts'
export { instrumentAll, instrumentPool, poolMetricProducer } from './index.ts'
