import { atLeast, hazard } from './hazard.ts'

hazard(1, 'one hung validate starves all later acquires', 'hungValidate', {
  theirs: { facts: { served: 0 } },
  ours: { facts: { served: 4, open: 1, available: 1 } },
})

hazard(2, 'a validate that rejects crashes the process and loses its slot', 'validateRejects', {
  theirs: { crashes: /^unhandledRejection: ping failed$/, facts: { served: 0, destroyed: 0, spare: 0 } },
  ours: { facts: { served: 3, destroyed: 1, spare: 0 } },
})

hazard(2, 'a validate that throws escapes from acquire and leaves an orphan in the queue', 'validateThrows', {
  theirs: { facts: { threw: true, orphans: atLeast(1) } },
  ours: { facts: { threw: false, orphans: 0, first: 'fulfilled', second: 'fulfilled' } },
})
