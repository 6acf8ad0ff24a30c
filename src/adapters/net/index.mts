/* The entry point for `import`. It uses the same implementation as `require`. */
export type * from './index.ts'
export { createSocketPool } from './index.ts'
