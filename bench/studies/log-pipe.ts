/*
 * Incident I1, three times over: a service whose stderr is a pipe that nobody reads.
 *
 *     node .build/bench/studies/log-pipe.js [cycles]
 */

import { runUnread } from '../../test/support/log-pipe/unread.ts'
import { makePipe } from '../../test/support/pipe.ts'

const cycles = Number(process.argv[2] ?? 1_000_000)
for (const way of ['plain', 'sync', 'guarded'] as const) {
  const pipe = makePipe()
  const { ended, lastWord } = await runUnread(way, cycles, 10_000, pipe.fd)
  pipe.close()
  const end = ended ? 'ended by itself' : 'had to be killed'
  const done = lastWord === undefined ? 'never said a word' : `last word ${JSON.stringify(lastWord)}`
  process.stdout.write(`${way.padEnd(8)} ${end}; ${done}\n`)
}
