import { hazard } from './hazard.ts'

hazard(5, 'a destroy that throws leaves the waiter hanging', '05-destroy-throws', {
  theirs: { facts: { threw: true, waiter: 'TimeoutError: ResourceRequest timed out' } },
  ours: { facts: { threw: false, waiter: 'fulfilled', reported: 1 } },
})

hazard(
  5,
  'a destroy that throws in the sweep crashes the process and ends all sweeps',
  '05-destroy-throws-in-sweep',
  {
    theirs: { crashes: /^uncaughtException: already closed$/, facts: { all: false } },
    ours: { facts: { all: true, available: 0 } },
  },
)

hazard(7, 'drain hangs on a loan that nobody returns', '07-drain-with-a-forgotten-loan', {
  theirs: { facts: { drain: 'pending' } },
  ours: { facts: { drain: 'POOL_DRAIN_TIMEOUT' } },
})

hazard(7, 'drain hangs while creates fail', '07-drain-in-an-outage', {
  theirs: { facts: { drain: 'pending' } },
  ours: { facts: { drain: 'POOL_DRAIN_TIMEOUT' } },
})

hazard(7, 'clear hangs on a hung create', '07-clear-with-a-hung-create', {
  theirs: { facts: { clear: 'pending' } },
  ours: { facts: { clear: 'fulfilled' } },
})

hazard(7, 'clear hangs on a hung destroy', '07-clear-with-a-hung-destroy', {
  theirs: { facts: { clear: 'pending' } },
  ours: { facts: { clear: 'fulfilled' } },
})

hazard(
  8,
  'a cleared pool lends what it has destroyed, and destroys it again',
  '08-clear-lends-the-destroyed',
  {
    theirs: { facts: { availableOnceCleared: 1, lentDestroyed: true, borrowed: 2, strayDestroys: 1 } },
    ours: { facts: { availableOnceCleared: 0, lentDestroyed: false, borrowed: 1, strayDestroys: 0 } },
  },
)

hazard(8, 'a clear that races a create lends what it has destroyed', '08-clear-races-a-create', {
  theirs: { facts: { lentDestroyed: true } },
  ours: { facts: { acquire: 'fulfilled', lentDestroyed: false, strayDestroys: 0 } },
})

hazard(11, 'connections that are closing are not counted against max', '11-closing-connections-not-counted', {
  theirs: { facts: { mostOpen: 10 } },
  ours: { facts: { mostOpen: 2, created: 10 } },
})
