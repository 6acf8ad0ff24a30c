import { SCENES } from './scenes/index.ts'

/*
 * One contender in one scene, in a process of its own: AsyncLocalStorage slows every promise of its process on Node 20
 * and 22, those of other pools, too.
 */

const [scene = '', contender = '', quick = ''] = process.argv.slice(2)
const found = SCENES[scene]
if (found === undefined) throw new Error(`no such scene: ${scene}`)
const figures = await found.run(contender, quick === 'quick')
process.stdout.write(`\n${JSON.stringify(figures)}\n`, () => process.exit(0))
