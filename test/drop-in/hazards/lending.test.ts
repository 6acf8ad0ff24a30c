import { atLeast, atMost, hazard } from './hazard.ts'

hazard(6, 'a listener that throws stops the dispatch', 'listenerThrows', {
  theirs: {
    crashes: /^unhandledRejection: listener of factoryCreateError$/m,
    facts: { first: 'TimeoutError: ResourceRequest timed out' },
  },
  ours: {
    facts: { first: 'fulfilled', second: 'fulfilled', available: 1, heard: fact => Number(fact) >= 4 },
  },
})

hazard(9, 'use with a function that is not async leaks the loan', 'useWithAPlainFunction', {
  theirs: { facts: { returned: fact => String(fact).startsWith('TypeError'), borrowed: 2 } },
  ours: { facts: { returned: 'result', threw: 'Error: business', borrowed: 0 } },
})

// Without a reset nothing vouches for the connection: there it is destroyed, as generic-pool does.
hazard(9, 'use destroys a connection after a failure though it can be cleaned', 'useAndABusinessError', {
  theirs: {
    facts: { used: 'Error: out of stock', destroyed: 1, destroyedThoughReset: 1, availableAfterReset: 0 },
  },
  ours: {
    facts: {
      used: 'Error: out of stock',
      destroyed: 1,
      available: 0,
      destroyedThoughReset: 0,
      availableAfterReset: 1,
    },
  },
})

hazard(10, 'a stale second release lends one connection to two', 'staleSecondRelease', {
  theirs: { facts: { second: 'fulfilled', shared: true } },
  ours: { facts: { second: 'POOL_LEASE_ENDED', shared: false, third: 'POOL_DEADLOCK' } },
})

hazard(13, 'connections that nobody needs survive under trickle load', 'surplusUnderTrickleLoad', {
  theirs: { facts: { retired: atMost(2) } },
  ours: { facts: { retired: 3 } },
})

hazard(
  14,
  'hooks, and the timers of a connection, run in the context of a request',
  'contextOfTheRequester',
  {
    theirs: {
      facts: { create: 'request 1', timer: 'request 1', validate: 'request 1', destroy: 'request 1' },
    },
    ours: {
      facts: {
        create: 'nobody',
        timer: 'nobody',
        validate: 'nobody',
        destroy: 'nobody',
        fn: 'request 1',
        after: 'request 1',
      },
    },
  },
)

hazard(15, 'late promise callbacks corrupt the queue', 'latePromises', {
  theirs: { facts: { pending: -1, next: 'TimeoutError: ResourceRequest timed out' } },
  ours: { facts: { pending: 0, next: 'fulfilled' } },
})

hazard(15, 'fake timers corrupt the queue', 'fakeTimers', {
  theirs: { facts: { pending: -1, next: 'pending' } },
  ours: { facts: { waiter: 'POOL_ACQUIRE_TIMEOUT', pending: 0, next: 'fulfilled' } },
})

hazard(16, 'thirty thousand timeouts at once stop the event loop', 'manyTimeoutsAtOnce', {
  theirs: { facts: { expired: 30_000, mostInOneTurn: atLeast(7_500) } },
  ours: { facts: { expired: 30_000, pending: 0, mostInOneTurn: atMost(6_000) } },
})
