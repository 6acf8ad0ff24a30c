/*
 * What `npm run test:long` runs: the tests that take minutes, because each cell of the half-close matrix is tried
 * 2000 times instead of 200, Redis is left idle for ten rounds instead of three, and a hundred thousand loans with
 * random leftovers are taken for each version of ioredis instead of a few thousand.
 */

process.env.LIFEGUARD_LONG = '1'
await import('./run.ts')
