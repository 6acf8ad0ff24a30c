import { hazard } from './hazard.ts'

hazard(5, 'a destroy that throws leaves the waiter hanging', 'destroyThrows', {
  theirs: { facts: { threw: true, waiter: 'TimeoutError: ResourceRequest timed out' } },
  ours: { facts: { threw: false, waiter: 'fulfilled', reported: 1 } },
})

hazard(
  5,
  'a destroy that throws in the sweep crashes the process and ends all sweeps',
  'destroyThrowsInSweep',
  {
    theirs: { crashes: /^uncaughtException: already closed$/, facts: { all: false } },
    ours: { facts: { all: true, available: 0 } },
  },
)

hazard(7, 'drain hangs on a loan that nobody returns', 'drainWithAForgottenLoan', {
  theirs: { facts: { drain: 'pending' } },
  ours: { facts: { drain: 'POOL_DRAIN_TIMEOUT' } },
})

hazard(7, 'drain hangs while creates fail', 'drainInAnOutage', {
  theirs: { facts: { drain: 'pending' } },
  ours: { facts: { drain: 'POOL_DRAIN_TIMEOUT' } },
})

hazard(7, 'clear hangs on a hung create', 'clearWithAHungCreate', {
  theirs: { facts: { clear: 'pending' } },
  ours: { facts: { clear: 'fulfilled' } },
})

hazard(7, 'clear hangs on a hung destroy', 'clearWithAHungDestroy', {
  theirs: { facts: { clear: 'pending' } },
  ours: { facts: { clear: 'fulfilled' } },
})

hazard(8, 'a cleared pool lends what it has destroyed, and destroys it again', 'clearLendsTheDestroyed', {
  theirs: { facts: { availableOnceCleared: 1, lentDestroyed: true, borrowed: 2, strayDestroys: 1 } },
  ours: { facts: { availableOnceCleared: 0, lentDestroyed: false, borrowed: 1, strayDestroys: 0 } },
})

hazard(8, 'a clear that races a create lends what it has destroyed', 'clearRacesACreate', {
  theirs: { facts: { lentDestroyed: true } },
  ours: { facts: { acquire: 'fulfilled', lentDestroyed: false, strayDestroys: 0 } },
})

hazard(11, 'connections that are closing are not counted against max', 'closingConnectionsNotCounted', {
  theirs: { facts: { mostOpen: 10 } },
  ours: { facts: { mostOpen: 2, created: 10 } },
})
