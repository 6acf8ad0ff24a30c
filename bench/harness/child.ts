import type { Scene } from '../scenes/scene.ts'

/*
 * One contender in one scene, in a process of its own: AsyncLocalStorage slows every promise of its process on Node 20
 * and 22, those of other pools, too.
 */

const [file = '', scene = '', contender = '', quick = ''] = process.argv.slice(2)
const { SCENES } = (await import(`../scenes/${file}.js`)) as { SCENES: Record<string, Scene> }
const known = SCENES[scene]
if (known === undefined) throw new Error(`no such scene: ${scene}`)
const figures = await known.run(contender, quick === 'quick')
// Not every contender has every figure: no median of no errors.
const found = figures.filter(({ value }) => Number.isFinite(value))
process.stdout.write(`\n${JSON.stringify(found)}\n`, () => process.exit(0))
