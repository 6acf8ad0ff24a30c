import { limitStacks } from './stack-limit.ts'

/** One place in a call stack, without ours; of Node's only what awaits a function of the user. */
export interface Frame {
  /** Tells functions apart: where the function starts, and its name. */
  readonly func: string
  /** Where in it the call, or the `await`, stands; of a `Promise.all`, which of its promises. */
  readonly place: string
  /** Suspended in an `await`. */
  readonly async: boolean
  /** Suspended so, or called by this microtask and nobody else: it had begun before this call. */
  readonly begun: boolean
  /** V8's for `Promise.all`, `allSettled` or `any`: between one of its promises and whoever awaits them all. */
  readonly joins: boolean
  /** As it is printed; empty: it is not. */
  readonly text: string
}

/** Frames of one stack, the async ones included; enough for deep recursion, few enough to be quick. */
const DEPTH = 50
/** What runs microtasks, when it is seen at all beneath them. */
const MICROTASKS = 'node:internal/process/task_queues'

/** V8's, beyond what the types of Node know. */
interface Site {
  getFunctionName(): string | null
  getTypeName(): string | null
  getScriptNameOrSourceURL?(): string | null
  getFileName(): string | null | undefined
  getLineNumber(): number | null
  getColumnNumber(): number | null
  getEnclosingLineNumber?(): number | null
  getEnclosingColumnNumber?(): number | null
  isAsync?(): boolean
  getPromiseIndex?(): number | null
}

/**
 * The stack of a call, taken now (2 to 3 µs) and read only when somebody wants to see it (some 10 µs more).
 * V8 adds the functions that await the running one, from inner to outer.
 */
export class StackTrace {
  #raw: { stack?: unknown } | undefined = {}
  #frames: readonly Frame[] = []

  /** @param above - this function and what it called are cut off */
  constructor(above: (...args: never[]) => unknown) {
    const limit = Error.stackTraceLimit
    limitStacks(DEPTH)
    Error.captureStackTrace(this.#raw as object, above)
    limitStacks(limit)
  }

  get frames(): readonly Frame[] {
    if (this.#raw !== undefined) {
      this.#frames = framesOf(sitesOf(this.#raw))
      // V8's raw stack holds on to functions and receivers.
      this.#raw = undefined
    }
    return this.#frames
  }

  /** As under `Error.stack`, the user's file first. */
  get text(): string {
    const shown = this.frames.filter(frame => frame.text !== '')
    return shown.map(frame => `    at ${frame.text}`).join('\n')
  }

  /** The place of the call itself, to tell call sites apart. */
  get place(): string {
    return this.frames[0]?.place ?? ''
  }
}

/** The call sites of a captured stack; none in another engine, or where a tool has replaced V8's way of making stacks. */
function sitesOf(raw: { stack?: unknown }): readonly Site[] {
  const prepare = Error.prepareStackTrace
  let sites: unknown
  try {
    Reflect.set(Error, 'prepareStackTrace', (_: unknown, callSites: unknown) => callSites)
    sites = raw.stack
  } finally {
    if (prepare === undefined) Reflect.deleteProperty(Error, 'prepareStackTrace')
    else Reflect.set(Error, 'prepareStackTrace', prepare)
  }
  return Array.isArray(sites) ? (sites as Site[]) : []
}

const urlOf = (site: Site | undefined): string =>
  site?.getScriptNameOrSourceURL?.() ?? site?.getFileName() ?? ''

/**
 * Where this package lies: its own frames are cut off. Bundled into another file it cannot know. Read from a stack, as
 * `import.meta` is no CommonJS, and bundlers replace both it and `__filename`.
 */
export const HOME: string | undefined = homeOf(urlOf(sitesOf(new Error('where is this file?'))[0]))

function homeOf(file: string): string | undefined {
  return /^(.*[\\/])runtime[\\/]stack-trace\.[jt]s$/.exec(file)?.[1]
}

function framesOf(sites: readonly Site[]): Frame[] {
  const bottom = resumed(sites)
  const frames: Frame[] = []
  for (const [index, site] of sites.entries()) {
    const url = urlOf(site)
    const async = site.isAsync?.() ?? false
    const name = site.getFunctionName()
    const branch = async ? (site.getPromiseIndex?.() ?? null) : null
    if (branch !== null) {
      const func = `Promise.${name ?? 'all'}`
      const text = `async ${func} (index ${branch})`
      frames.push({ func, place: `${branch}`, async, begun: true, joins: true, text })
      continue
    }
    const isInternal = url.startsWith('node:')
    if (url === '' || (isInternal && (!async || frames.length === 0)) || isOurs(url)) continue
    if (frames.length === 0 && isLease(site)) continue
    const place = `${url}:${site.getLineNumber() ?? 0}:${site.getColumnNumber() ?? 0}`
    const start = `${site.getEnclosingLineNumber?.() ?? ''}:${site.getEnclosingColumnNumber?.() ?? ''}`
    frames.push({
      func: `${url}:${start}:${name ?? ''}`,
      place,
      async,
      begun: async || index === bottom,
      joins: false,
      text: isInternal ? '' : `${async ? 'async ' : ''}${name === null ? place : `${name} (${place})`}`,
    })
  }
  return frames
}

/** The index of the function that this microtask has resumed: nothing of the user's has called it. */
function resumed(sites: readonly Site[]): number {
  const firstAsync = sites.findIndex(site => site.isAsync?.())
  let bottom = (firstAsync === -1 ? sites.length : firstAsync) - 1
  let beneath: string = MICROTASKS
  for (; bottom >= 0; bottom -= 1) {
    const site = sites[bottom] as Site
    const url = urlOf(site)
    if (url !== '' && !url.startsWith('node:')) break
    beneath = url
  }
  // Beneath a function that an event has called are Node's `emit`, `listOnTimeout` and the like.
  return beneath === MICROTASKS ? bottom : -1
}

/** In a bundle, of our functions only `Pool.lease` is ever seen: as the innermost one, suspended. */
const isLease = (site: Site): boolean =>
  HOME === undefined && site.isAsync?.() === true && site.getFunctionName() === 'lease'

const isOurs = (url: string): boolean =>
  HOME !== undefined && url.startsWith(HOME) && !url.startsWith(`${HOME}node_modules/`)
