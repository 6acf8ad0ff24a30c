import { realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Incident } from './incident.ts'
import { playAll } from './play.ts'

/** Plays the incident if its file is what Node was started with, and not imported. */
export async function playIfStarted(incident: Incident, url: string): Promise<void> {
  const started = process.argv[1]
  if (started === undefined || realpathSync(started) !== fileURLToPath(url)) return
  const scale = process.env.LIFEGUARD_SCALE === 'small' ? 'small' : 'full'
  process.exitCode = await playAll([incident], { json: process.argv.includes('--json'), scale })
}
