/* The same for `import`. */
export type * from './index.ts'
export { metricsContentType, metricsText, registerPools } from './index.ts'
