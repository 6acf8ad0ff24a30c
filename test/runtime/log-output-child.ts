/*
 * Says numbered lines to its own LogSink on stderr, as many as it is told, so many a burst; then ends by itself.
 * Its counts go to stdout.
 */
import { writeSync } from 'node:fs'
import { LogSink } from '../../src/runtime/log/log-sink.ts'

const [lines = '1000', burst = '100', pauseMillis = '0', end = 'falls'] = process.argv.slice(2)
const sink = new LogSink({ maxBytes: 65_536 })
for (let index = 0; index < Number(lines); index += 1) {
  sink.write(`${String(index).padStart(99, '0')}\n`)
  if ((index + 1) % Number(burst) === 0) {
    await new Promise(resolve => setTimeout(resolve, Number(pauseMillis)))
  }
}
process.on('exit', () => {
  const { written, dropped, waiting } = sink
  writeSync(1, JSON.stringify({ written, dropped, waiting, rss: process.memoryUsage.rss() }))
})
if (end === 'exits') process.exit(0)
if (end === 'throws') throw new Error('on purpose')
