import { test } from 'node:test'
import { CORPUS } from './corpus.ts'
import { runProgram } from './run-program.ts'

for (const [danger, program] of Object.entries(CORPUS))
  test(danger, async () => void (await runProgram(program)))
