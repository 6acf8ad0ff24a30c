/* The same for `import`. */
export type * from './index.ts'
export { createSocketPool } from './index.ts'
