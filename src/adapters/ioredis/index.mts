/* The same for `import`. */
export type * from './index.ts'
export { createRedisPool } from './index.ts'
