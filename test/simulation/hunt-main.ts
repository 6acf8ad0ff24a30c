/* What runs on a mutant, in a process of its own: says how it was found, or nothing. */

import { BUDGET, hunt } from './hunt.ts'

const tell = (found: string | undefined): void => {
  process.stdout.write(`${JSON.stringify({ found: found ?? null })}\n`)
  process.exit(0)
}
for (const event of ['uncaughtException', 'unhandledRejection'] as const)
  process.on(event, (error: Error) => tell(`${event}: ${error.message.split('\n')[0]}`))
hunt(BUDGET).then(tell)
