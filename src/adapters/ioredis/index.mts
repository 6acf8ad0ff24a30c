/* The entry point for `import`. It uses the same implementation as `require`. */
export type * from './index.ts'
export { createRedisClusterPool, createRedisPool } from './index.ts'
