import { test } from 'node:test'
import { mutated, readMutants } from './mutants.ts'

test('each past fault can be put back into the sources of today: a search for one that has no place would find nothing', () => {
  for (const mutant of readMutants()) mutated(mutant)
})
