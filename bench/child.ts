import { CONTENDERS } from './contenders.ts'
import { SCENES } from './scenes.ts'

/* One contender in one scene, in a process of its own: AsyncLocalStorage slows every promise of its process. */

const [contender = '', scene = '', quick = ''] = process.argv.slice(2)
const make = CONTENDERS[contender]
const found = SCENES[scene]
if (make === undefined || found === undefined) throw new Error(`no such bench: ${contender} / ${scene}`)
const figure = await found.run(make(found.max), quick === 'quick')
process.stdout.write(JSON.stringify(figure), () => process.exit(0))
