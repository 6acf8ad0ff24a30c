/* Programs that have found something, made short. They are played before any others. */

import type { Program } from './program.ts'

export const CORPUS: Readonly<Record<string, Program>> = {
  'nobody counts on a connection from before a purge, also while it is watched or waits for a barrier': {
    seed: 26,
    options: {},
    steps: [
      ['crowd', 850, 0],
      ['purge', 0, 0],
      ['block', 353, 0],
    ],
  },
  'an idle connection that ends while a caller waits for the event loop is replaced at once': {
    seed: 744,
    options: { max: 4 },
    blind: true,
    steps: [
      ['busy', 500, 227],
      ['lease', 0, 0],
      ['long sleep', 747, 0],
      ['lease', 0, 0],
      ['end one', 0, 0],
      ['long sleep', 383, 0],
      ['restart', 0, 0],
      ['release', 0, 0],
      ['release', 0, 0],
      ['hurried', 0, 0],
    ],
  },
  'an idle connection that is renewed while a caller waits for the event loop is replaced at once': {
    seed: 3654,
    options: { max: 5, min: 2, fifo: false, idleTimeoutMillis: 500 },
    steps: [
      ['long sleep', 469, 0],
      ['use', 0, 0],
      ['rush', 0, 0],
      ['block', 177, 0],
    ],
  },
  'a connect that started as another failed is of the same wave, and does not double the pause': {
    seed: 308,
    options: { max: 3 },
    steps: [
      ['connection limit', 400, 695],
      ['failing use', 0, 0],
      ['hurried', 292, 0],
      ['slow release', 938, 0],
      ['acquire', 0, 0],
      ['long sleep', 846, 0],
    ],
  },
  'a suspect connection is lent only after a barrier that began later, where the kernel cannot be asked': {
    seed: 1,
    options: { max: 3 },
    blind: true,
    steps: [
      ['crowd', 3, 40],
      ['sleep', 0, 1],
      ['sleep', 80, 1],
      ['busy', 39, 1],
      ['end in turn', 0, 8],
      ['sleep', 5, 1],
      ['rush', 2, 9],
      ['sleep', 50, 1],
    ],
  },
}
