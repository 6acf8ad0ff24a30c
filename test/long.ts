/*
 * What `npm run test:long` runs: the tests that take minutes, because each cell of the half-close matrix is tried
 * 2000 times instead of 200, and Redis is left idle for ten rounds instead of three.
 */

process.env.LIFEGUARD_LONG = '1'
await import('./run.ts')
