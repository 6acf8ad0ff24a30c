import { findRedis } from '../../../test/support/redis-server.ts'
import { type Incident, objections, type Played, type Scale, type Side, type Stage } from './incident.ts'
import { linesOf, tableOf, verdictOf } from './show.ts'

export interface PlayOptions {
  readonly json: boolean
  readonly scale: Scale
}

/** Plays both sides of each incident and shows what happened. @returns the exit code */
export async function playAll(incidents: readonly Incident[], { json, scale }: PlayOptions): Promise<number> {
  const say = (line: string): void => {
    const stream = json ? process.stderr : process.stdout
    stream.write(`${line}\n`)
  }
  const redis = await findRedis()
  try {
    say(`Redis: ${redis.how}`)
    const all: Played[] = []
    for (const incident of incidents) all.push(await playOne(incident, { redis, scale, say }))
    if (json) process.stdout.write(`${JSON.stringify({ redis: redis.how, incidents: all }, null, 2)}\n`)
    say(`\n${tableOf(all)}\n\n${verdictOf(all)}`)
    return all.flatMap(objections).length === 0 ? 0 : 1
  } finally {
    await redis.stop()
  }
}

async function playOne(incident: Incident, stage: Stage): Promise<Played> {
  const { id, title } = incident
  const startedAt = performance.now()
  stage.say(`\n${id} · ${title}`)
  const side = async (which: Side) => {
    const seen = await incident.play(which, {
      ...stage,
      say: line => stage.say(`  ${which.padEnd(8)} … ${line}`),
    })
    for (const line of linesOf(which, seen)) stage.say(line)
    return seen
  }
  const without = await side('without')
  const guarded = await side('with')
  const seconds = (performance.now() - startedAt) / 1000
  return { id, title, seconds, without, with: guarded }
}
