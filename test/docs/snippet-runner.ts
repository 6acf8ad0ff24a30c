/*
 * Runs the programs of one page, one after the other, in a process of its own: `node snippet-runner.js FILE…`. Says which
 * one has begun, so that a failure can be placed, and ends the process whatever they have left open.
 */

const say = (text: string): boolean => process.stdout.write(`${text}\n`)

for (const file of process.argv.slice(2)) {
  say(`begins ${file}`)
  try {
    await import(file)
    // What a block has started and not awaited must not fail either.
    await new Promise(resolve => setImmediate(resolve))
  } catch (error) {
    console.error(error)
    process.exit(1)
  }
}
say('all done')
process.exit(0)
