import { atLeast, atMost, hazard } from './hazard.ts'

hazard(1, 'one hung create starves all later acquires', 'hungCreate', {
  theirs: { facts: { served: 0, creates: 1 } },
  // The first waits for it in vain; the second as well if the loop stands still just as the first one's create begins.
  ours: { facts: { served: atLeast(8), creates: 2, openAtLast: 0 } },
})

hazard(1, 'a hung create keeps the only slot, and its late connection is lost', 'hungCreateOnlySlot', {
  theirs: { facts: { served: 0, lateIsClosed: false } },
  ours: { facts: { served: 3, lateIsClosed: true, open: 1 } },
})

hazard(
  3,
  'creates that reject at once spin the loop, and no acquire ever times out',
  'createRejectsAtOnce',
  {
    theirs: { ending: 'spun' },
    ours: {
      facts: {
        acquire: 'POOL_ACQUIRE_TIMEOUT',
        cause: 'connect ECONNREFUSED',
        attempts: fact => atLeast(2)(fact) && atMost(20)(fact),
      },
    },
  },
  1000,
)

hazard(3, 'failing creates are tried without pause, and nobody hears why', 'createKeepsFailing', {
  theirs: {
    facts: { acquire: 'TimeoutError: ResourceRequest timed out', cause: null, perTurn: atLeast(1) },
  },
  ours: {
    facts: {
      acquire: 'POOL_ACQUIRE_TIMEOUT',
      cause: 'connect ECONNREFUSED',
      attempts: fact => atLeast(2)(fact) && atMost(20)(fact),
      reported: true,
      mostOnceFailing: 1,
    },
  },
})

hazard(3, 'in an outage every acquire waits in vain for its whole deadline', 'outageWithoutEnd', {
  theirs: {
    facts: { newcomer: 'TimeoutError: ResourceRequest timed out', newcomerCause: null, quick: false },
  },
  ours: {
    facts: {
      newcomer: 'POOL_UNHEALTHY',
      newcomerCause: 'connect ECONNREFUSED',
      quick: true,
      earlier: 'POOL_ACQUIRE_TIMEOUT',
      earlierCause: 'connect ECONNREFUSED',
      recovered: true,
    },
  },
})

hazard(4, 'a create that throws escapes from acquire, and a connection is lent to nobody', 'createThrows', {
  theirs: {
    facts: { first: 'threw', second: 'TimeoutError: ResourceRequest timed out', lentToNobody: 1 },
  },
  ours: { facts: { first: 'fulfilled', second: 'fulfilled', lentToNobody: 0 } },
})

hazard(4, 'a create that throws escapes from createPool', 'createThrowsAtStart', {
  theirs: { facts: { threw: true } },
  ours: { facts: { threw: false, filled: true } },
})

hazard(12, 'after a failed create, min stays unfilled until somebody acquires', 'minNotRestored', {
  theirs: { facts: { filled: false } },
  ours: { facts: { filled: true } },
})

hazard(12, 'ready never tells that the pool cannot become ready', 'readyInAnOutage', {
  theirs: { facts: { ready: 'pending' } },
  ours: {
    facts: {
      ready: 'rejected',
      code: fact => String(fact).startsWith('POOL_'),
      cause: 'connect ECONNREFUSED',
    },
  },
})

hazard(12, 'ready is told late, as it polls', 'readyPolls', {
  theirs: { facts: { available: 2, ready: 'pending' } },
  ours: { facts: { available: 2, ready: 'fulfilled' } },
})
