/** One place in a call stack. Our own frames are left out, and Node's too, unless they await a function of the user. */
export interface Frame {
  /** Identifies the function: where it starts, and its name. */
  readonly func: string
  /** The position of the call or `await` in the function; for a `Promise.all`, the index of the promise. */
  readonly place: string
  /** The same as a number: of two places in one file, the one further down has the greater number. */
  readonly position: number
  /** Is it suspended in an `await`? */
  readonly async: boolean
  /** Had it begun before this call? True if it is suspended, or if this microtask itself resumed it. */
  readonly begun: boolean
  /**
   * A frame that V8 adds for `Promise.all`, `allSettled` or `any`, between one of the promises and the function that
   * awaits them all.
   */
  readonly joins: boolean
  /** The number of the lease, if this is the function that `use` runs under. That frame is ours and is not printed. */
  readonly lease: number | undefined
  /** The printed form; empty if the frame is not printed. */
  readonly text: string
}

/** How many frames of one stack are read, async ones included. Few enough to be fast. */
const DEPTH = 50

/** The function that `use` runs under has the number of its lease in its name, and is recognised by it. */
const LEASE = 'lease '
export const leaseName = (id: number): string => `${LEASE}${id}`

function leaseIn(name: string | null): number | undefined {
  if (name?.startsWith(LEASE) !== true) return undefined
  const id = Number(name.slice(LEASE.length))
  return Number.isSafeInteger(id) ? id : undefined
}

/** The script of the frame that runs microtasks, where V8 shows one. */
const MICROTASKS = 'node:internal/process/task_queues'

/** V8's call site, with the methods that Node's types leave out. */
interface Site {
  getFunctionName(): string | null
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
 * The stack of a call. It is taken at once (2 to 3 µs) and read only when somebody wants to see it (about 10 µs more).
 * V8 appends the functions that await the running one, from inner to outer.
 */
export class StackTrace {
  /** For the stack of an acquire: who awaited the connection when it was handed over, if that was recorded. */
  owners: StackTrace | undefined = undefined
  #raw: { stack?: unknown } | undefined = {}
  #sites: readonly Site[] = []
  #frames: readonly Frame[] | undefined = undefined
  #leases: readonly number[] | undefined = undefined

  /** @param above - this function and everything it called are left out */
  constructor(above: (...args: never[]) => unknown, depth = DEPTH) {
    // Not by `withStackLimit`: each function between `above` and this one costs 0.4 µs.
    const limit = Error.stackTraceLimit
    Reflect.set(Error, 'stackTraceLimit', depth)
    try {
      Error.captureStackTrace(this.#raw as object, above)
    } finally {
      Reflect.set(Error, 'stackTraceLimit', limit)
    }
  }

  /** The `use` leases inside which the call was made, from inner to outer. Cheaper than {@link frames}. */
  get leases(): readonly number[] {
    this.#leases ??= leasesIn(this.#read())
    return this.#leases
  }

  get frames(): readonly Frame[] {
    if (this.#frames === undefined) {
      this.#leases ??= leasesIn(this.#read())
      this.#frames = framesOf(this.#read())
      // Call sites keep functions and receivers alive.
      this.#sites = []
    }
    return this.#frames
  }

  /** The text as `Error.stack` prints it, starting with the user's file. */
  get text(): string {
    return stackText(this.frames)
  }

  /** The place of the call itself, to tell call sites apart. */
  get place(): string {
    return this.frames[0]?.place ?? ''
  }

  #read(): readonly Site[] {
    if (this.#raw !== undefined) {
      this.#sites = sitesOf(this.#raw)
      this.#raw = undefined
    }
    return this.#sites
  }
}

/**
 * Lets the stack of an error begin at the line of the user's code where this stack was taken. It is formatted only when
 * somebody reads it.
 */
export function showOrigin(error: Error, origin: StackTrace): void {
  Object.defineProperty(error, 'stack', {
    configurable: true,
    enumerable: false,
    get: () => {
      const { text } = origin
      return `${error.name}: ${error.message}${text === '' ? '' : `\n${text}`}`
    },
    set: (value: unknown) =>
      Object.defineProperty(error, 'stack', { value, writable: true, configurable: true, enumerable: false }),
  })
}

/** Formats frames as they are printed. */
function stackText(frames: readonly Frame[]): string {
  const shown = frames.filter(frame => frame.text !== '')
  return shown.map(frame => `    at ${frame.text}`).join('\n')
}

/** The call sites of a captured stack. Empty in other engines, and where a tool has replaced V8's stack formatting. */
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
 * The folder of this package, to leave its own frames out. Unknown when the package is bundled into another file. It is
 * read from a stack because CommonJS has no `import.meta`, and bundlers replace both that and `__filename`.
 */
export const HOME: string | undefined = homeOf(urlOf(sitesOf(new Error('where is this file?'))[0]))

function homeOf(file: string): string | undefined {
  return /^(.*[\\/])runtime[\\/]stack-trace\.[jt]s$/.exec(file)?.[1]
}

function leasesIn(sites: readonly Site[]): number[] {
  const leases: number[] = []
  for (const site of sites) {
    const name = site.getFunctionName()
    const lease = leaseIn(name)
    if (lease !== undefined) leases.push(lease)
    // Code that awaits a `Promise.any` can go on without this branch, so functions further out do not wait for sure.
    else if (name === 'any' && (site.getPromiseIndex?.() ?? null) !== null) break
  }
  return leases
}

/** Greater than any column: a minified file may consist of one long line. */
const LONGEST_LINE = 1e8
const NONE = { place: '', position: 0, joins: false, lease: undefined, text: '' }

function framesOf(sites: readonly Site[]): Frame[] {
  const bottom = resumed(sites)
  const frames: Frame[] = []
  for (const [index, site] of sites.entries()) {
    const url = urlOf(site)
    const async = site.isAsync?.() ?? false
    const name = site.getFunctionName()
    const lease = leaseIn(name)
    if (lease !== undefined) {
      frames.push({ ...NONE, func: name as string, async, begun: async, lease })
      continue
    }
    const branch = async ? (site.getPromiseIndex?.() ?? null) : null
    if (branch !== null) {
      const func = `Promise.${name ?? 'all'}`
      const text = `async ${func} (index ${branch})`
      frames.push({ ...NONE, func, place: `${branch}`, async, begun: true, joins: true, text })
      continue
    }
    const isInternal = url.startsWith('node:')
    if (url === '' || (isInternal && (!async || frames.length === 0)) || isOurs(url)) continue
    if (frames.length === 0 && isLease(site)) continue
    const [line, column] = [site.getLineNumber() ?? 0, site.getColumnNumber() ?? 0]
    const place = `${url}:${line}:${column}`
    const start = `${site.getEnclosingLineNumber?.() ?? ''}:${site.getEnclosingColumnNumber?.() ?? ''}`
    frames.push({
      ...NONE,
      func: `${url}:${start}:${name ?? ''}`,
      place,
      position: line * LONGEST_LINE + column,
      async,
      begun: async || index === bottom,
      text: isInternal ? '' : `${async ? 'async ' : ''}${name === null ? place : `${name} (${place})`}`,
    })
  }
  return frames
}

/** The index of the function that this microtask resumed, if it did: no user code has called that function. */
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
  // If an event called the function, Node's `emit`, `listOnTimeout` or the like are beneath it.
  return beneath === MICROTASKS ? bottom : -1
}

/** In a bundle, the only function of ours that is ever seen is `Pool.lease`, suspended as the innermost one. */
const isLease = (site: Site): boolean =>
  HOME === undefined && site.isAsync?.() === true && site.getFunctionName() === 'lease'

const isOurs = (url: string): boolean =>
  HOME !== undefined && url.startsWith(HOME) && !url.startsWith(`${HOME}node_modules/`)
