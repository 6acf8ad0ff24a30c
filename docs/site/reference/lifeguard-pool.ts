/* What typedoc shows of the package: its classes and functions themselves, where src/index.ts has them as constants. */

export * from '../../../src/index.ts'
export { createPool } from '../../../src/pool/create-pool.ts'
export { Pool } from '../../../src/pool/pool.ts'
