/* The same for `import`. */
export type * from './index.ts'
export { instrumentAll, instrumentPool, poolMetricProducer } from './index.ts'
