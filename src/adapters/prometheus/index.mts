/* The entry point for `import`. It uses the same implementation as `require`. */
export type * from './index.ts'
export { metricsContentType, metricsText, registerPools } from './index.ts'
