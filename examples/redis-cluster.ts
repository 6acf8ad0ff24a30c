import { createRedisClusterPool } from 'lifeguard-pool/ioredis'

/*
 * A shop on a Redis Cluster: each order is a transaction on the keys of its article, which are in one slot.
 *
 *     REDIS_NODES=10.0.0.1:6379,10.0.0.2:6379 node .build/examples/redis-cluster.js
 *
 * The nodes are some of the cluster; URLs can have a user, a password and TLS: rediss://user:password@host:6379
 */

const MOST_TRIES = 100

const nodes = (process.env.REDIS_NODES ?? '127.0.0.1:7000').split(',')
const pool = createRedisClusterPool(nodes, {
  name: 'shop',
  max: 5, // connections to each node
  maxTotal: 12, // and to all nodes together
  acquireTimeoutMillis: 5000,
})

/** The part in braces decides the slot: the keys of one article share it, those of different articles are spread. */
const stockOf = (article: string): string => `shop:{${article}}:stock`
const soldOf = (article: string): string => `shop:{${article}}:sold`

/** Sells one piece. @returns whether there was one */
async function sell(article: string): Promise<boolean> {
  const [stock, sold] = [stockOf(article), soldOf(article)]
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    // A loan for each try. If the slot moves to another node meanwhile, the function runs again there.
    const outcome = await pool.use(
      { key: stock },
      async redis => {
        await redis.watch(stock)
        const isThere = Number(await redis.get(stock)) > 0
        if (isThere) return redis.multi().decr(stock).incr(sold).exec()
        await redis.unwatch()
        return undefined
      },
      { retryMoved: true },
    )
    // null: somebody was faster.
    if (outcome !== null) return outcome !== undefined
  }
  throw new Error(`gave up after ${MOST_TRIES} conflicts over ${article}`)
}

const articles = ['bread', 'cheese', 'wine']
for (const article of articles)
  await pool.use({ key: stockOf(article) }, redis => redis.mset(stockOf(article), 4, soldOf(article), 0))

// More orders than there are pieces: six of each article, at the same time.
const orders = articles.flatMap(article => Array.from({ length: 6 }, () => sell(article)))
const done = (await Promise.all(orders)).filter(Boolean).length

// Replicas can be read, too. They may be a moment behind, so what has to be right is read at the primary.
const left = await Promise.all(
  articles.map(article => pool.use({ key: stockOf(article) }, redis => redis.get(stockOf(article)))),
)
const seen = await Promise.all(
  articles.map(article =>
    pool.use({ key: soldOf(article), role: 'replica' }, redis => redis.get(soldOf(article))),
  ),
)
console.log(`${done} of ${orders.length} orders, ${left.join(', ')} left`)
console.error(`the replicas know of ${seen.map(Number).join(', ')}`)

for (const article of articles)
  await pool.use({ key: stockOf(article) }, redis => redis.del(stockOf(article), soldOf(article)))
await pool.close()
