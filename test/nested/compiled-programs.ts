/*
 * The same random programs written out as source and compiled, so that V8 sees real functions with real awaits.
 */

import { runInThisContext } from 'node:vm'
import type { Chance } from '../support/random.ts'
import { type Lender, Line, type Way } from './random-programs.ts'

/** A program as source: a function for each block, a statement for each acquire, as people write them. */
export interface Source {
  readonly pools: readonly number[]
  readonly text: string
  /** Is it written as what the docs call proved? Of a plain lease around a `Promise.all` it is not. */
  readonly isProvable: boolean
}

type Main = (lenders: readonly Lender[], run: CompiledRun) => void

/** Where a block stands: what of the line around it matters for what may be written there. */
interface Place {
  readonly depth: number
  /** Nobody awaits this line, or holds anything of its own yet: what it takes carries the mark. */
  readonly detached: boolean
  /** Is a plain lease held around this place, by the same line? */
  readonly holdsPlain: boolean
  readonly line: string
}

/** The truth about the lines of one program, kept by the program itself. */
export class CompiledRun {
  readonly lines: Line[] = []
  readonly sleep: (millis: number) => Promise<void>

  constructor(sleep: (millis: number) => Promise<void>) {
    this.sleep = sleep
  }

  get isOver(): boolean {
    return this.lines.every(line => line.state === 'over')
  }

  get failures(): unknown[] {
    return this.lines.flatMap(line => (line.failure === undefined ? [] : [line.failure]))
  }

  start({ text }: Source, name: string, lenders: readonly Lender[]): void {
    const main = runInThisContext(text, { filename: name }) as Main
    main(lenders, this)
  }

  line(): Line {
    const line = new Line()
    this.lines.push(line)
    return line
  }

  /** The line will go on when these have ended. */
  branches(line: Line, count: number): Line[] {
    line.branches = Array.from({ length: count }, () => this.line())
    line.state = 'joins'
    return [...line.branches]
  }

  joins(line: Line, branch: Line): void {
    line.branches = [branch]
    line.state = 'joins'
  }

  joined(line: Line): void {
    line.state = 'runs'
    const failed = line.branches.some(branch => branch.failure !== undefined)
    line.branches = []
    if (failed) throw new Error('a branch failed')
  }

  waits(line: Line, pool: number): void {
    line.state = 'waits'
    line.waitsFor = pool
  }

  runs(line: Line): void {
    line.state = 'runs'
  }

  holds(line: Line, pool: number): void {
    line.state = 'runs'
    line.holds.push(pool)
  }

  gives(line: Line, pool: number): void {
    line.holds.splice(line.holds.indexOf(pool), 1)
  }
}

/** Writes one random program. */
export class Writer {
  readonly #chance: Chance
  readonly #functions: string[] = []
  #ways: readonly Way[] = []
  #pools = 0
  #names = 0
  #isProvable = true

  constructor(chance: Chance) {
    this.#chance = chance
  }

  write(): Source {
    const chance = this.#chance
    const pools = Array.from({ length: 1 + chance.below(3) }, () => 1 + chance.below(3))
    this.#pools = pools.length
    this.#ways = chance.oneIn(3)
      ? ['acquire', 'lease', 'use']
      : [chance.pick<Way>(['acquire', 'acquire', 'lease'])]
    // A task may be started several times, in a context that carries whatever the last one has left there.
    const tasks = Array.from({ length: 1 + chance.below(3) }, () =>
      this.#func({ depth: 3, detached: false, holdsPlain: false, line: 'line' }),
    )
    const starts = Array.from({ length: 1 + chance.below(5) }, () => {
      const pause = chance.oneIn(2) ? `await run.sleep(${this.#millis(20)});` : ''
      return `${pause} void ${chance.pick(tasks)}(run.line())`
    })
    const main = `async function main() {\n${starts.join('\n')}\n}`
    const text = `(pool, run) => {\n${[...this.#functions, main].join('\n')}\nvoid main()\n}`
    return { pools, text, isProvable: this.#isProvable }
  }

  #name(kind: string): string {
    this.#names += 1
    return `${kind}${this.#names}`
  }

  #millis(most: number): string {
    const { next } = this.#chance
    // Times that do not coincide: what happens in one instant has an order that is nobody's promise.
    return (Math.ceil(next() * most * 1000) / 1000 + next() / 1e6).toFixed(9)
  }

  /** A function that runs as a line of its own: it never fails, and tells when it is over. */
  #func(place: Place): string {
    const name = this.#name('block')
    const body = this.#steps(place)
    this.#functions.push(`async function ${name}(${place.line}) {
try {\n${body}\n} catch (error) { ${place.line}.failure = error } finally { ${place.line}.state = 'over' }\n}`)
    return name
  }

  /** A function that runs as part of its caller's line. */
  #part(place: Place): string {
    const name = this.#name('part')
    this.#functions.push(`async function ${name}(${place.line}) {\n${this.#steps(place)}\n}`)
    return name
  }

  #steps(place: Place): string {
    return Array.from({ length: 1 + this.#chance.below(3) }, () => this.#step(place)).join('\n')
  }

  #step(place: Place): string {
    const { depth, detached, line } = place
    const chance = this.#chance
    const inner = { ...place, depth: depth - 1 }
    const kind = depth === 0 ? 0 : chance.below(15)
    if (kind >= 4 && kind <= 8) return this.#hold(inner, detached)
    if (kind === 9) {
      if (place.holdsPlain) this.#isProvable = false
      const branches = Array.from({ length: 2 + chance.below(2) }, () => this.#func(inner))
      const lines = this.#name('lines')
      const calls = branches.map((branch, index) => `${branch}(${lines}[${index}])`).join(', ')
      return `const ${lines} = run.branches(${line}, ${branches.length})
await Promise.all([${calls}])\nrun.joined(${line})`
    }
    if (kind === 10) return `void ${this.#func({ ...inner, detached: true, holdsPlain: false })}(run.line())`
    if (kind === 11) return `await ${this.#part(inner)}(${line})`
    if (kind === 12) return this.#loop(inner)
    // Started now and awaited later: with `use` this would have to carry the mark until then.
    if (kind === 13 && !this.#ways.includes('use')) return this.#later(inner)
    if (kind === 14 && !this.#ways.includes('use')) return this.#handOver(inner, detached)
    return `await run.sleep(${this.#millis(chance.oneIn(12) ? 1000 : chance.oneIn(8) ? 150 : 12)})`
  }

  #loop(place: Place): string {
    return `for (let round = 0; round < ${2 + this.#chance.below(2)}; round += 1) {\n${this.#step(place)}\n}`
  }

  #later(place: Place): string {
    const { line } = place
    const [child, promise] = [this.#name('line'), this.#name('promise')]
    const started = `const ${child} = run.line()\nconst ${promise} = ${this.#func(place)}(${child})`
    const meanwhile = this.#step(place)
    return `{\n${started}\ntry {\n${meanwhile}\n} finally {
run.joins(${line}, ${child})\nawait ${promise}\n}\nrun.joined(${line})\n}`
  }

  /** Takes a connection and hands it to a consumer that nobody awaits, which gives it back after some time. */
  #handOver({ line }: Place, detached: boolean): string {
    const pool = this.#chance.below(this.#pools)
    const way = this.#chance.pick<Way>(['acquire', 'lease'])
    const [taken, consume, consumer] = [this.#name('taken'), this.#name('consume'), this.#name('line')]
    const give = way === 'acquire' ? `pool[${pool}].release(taken)` : 'taken.release()'
    this.#functions.push(`async function ${consume}(taken, ${consumer}) {
run.holds(${consumer}, ${pool})\nawait run.sleep(${this.#millis(1000)})\nrun.gives(${consumer}, ${pool})
${give}\n${consumer}.state = 'over'\n}`)
    return `run.waits(${line}, ${pool})\ntry {\nconst ${taken} = await ${this.#take(way, pool, detached)}
void ${consume}(${taken}, run.line())\n} finally { run.runs(${line}) }`
  }

  #hold(place: Place, detached: boolean): string {
    const chance = this.#chance
    const pool = chance.below(this.#pools)
    const way = chance.pick(this.#ways)
    const { line } = place
    const body = this.#steps({ ...place, detached: false, holdsPlain: place.holdsPlain || way !== 'use' })
    const taken = this.#name('taken')
    const held = `run.holds(${line}, ${pool})\ntry {\n${body}\n} finally { run.gives(${line}, ${pool})`
    if (way === 'use') {
      return `run.waits(${line}, ${pool})\ntry {\nawait pool[${pool}].use(async () => {\n${held} }\n}, ${detached})
} finally { run.runs(${line}) }`
    }
    const give = way === 'acquire' ? `pool[${pool}].release(${taken})` : `${taken}.release()`
    return `run.waits(${line}, ${pool})\ntry {\nconst ${taken} = await ${this.#take(way, pool, detached)}
${held}; ${give} }\n} finally { run.runs(${line}) }`
  }

  /** The call that gives a connection: the pool's own, or a helper's. */
  #take(way: Way, pool: number, detached: boolean): string {
    const call = `pool[${pool}].${way}(${detached})`
    const kind = this.#chance.below(4)
    if (kind > 1) return call
    const name = this.#name('take')
    if (kind === 0) this.#functions.push(`async function ${name}() { return ${call} }`)
    else this.#functions.push(`const ${name} = () => ${call}`)
    return `${name}()`
  }
}
