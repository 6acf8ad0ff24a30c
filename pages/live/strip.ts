import {
  LIVE_FLAGS,
  LIVE_STATES,
  type LiveConnection,
  type LivePool,
} from '../../src/diagnostics/live/live-data.ts'
import { count, duration, el, say, sized } from '../shared/dom.ts'
import { drawLook, LOOKS, type LookName, swatch } from '../shared/looks.ts'

/** The sizes of a square, from the one for few connections to the one for thousands. */
const SIZES = [26, 22, 18, 14, 11, 9, 7, 6, 5]
const MOST_HEIGHT = 260
/** Free places are drawn as well, unless that were too many. */
const MOST_FREE = 400

/** All connections of a pool, a square each, in the order in which they were made. */
export class Strip {
  readonly element: HTMLElement
  readonly #canvas = el('canvas', {
    class: 'strip',
    tabindex: '0',
    role: 'img',
    'aria-describedby': 'strip-words',
  })
  readonly #legend = el('ul', { class: 'legend' })
  readonly #words = el('p', { class: 'pointed', id: 'strip-words', 'aria-live': 'polite' })
  readonly #heading = el('h2', {}, 'Connections')
  #pool: LivePool | undefined
  #size = 1
  #columns = 1
  #cursor = -1

  constructor() {
    this.element = el('section', {}, this.#heading, this.#canvas, this.#words, this.#legend)
    this.#canvas.addEventListener('pointermove', ({ offsetX, offsetY }) => {
      this.#point(Math.floor(offsetY / this.#size) * this.#columns + Math.floor(offsetX / this.#size))
    })
    this.#canvas.addEventListener('pointerleave', () => this.#point(-1))
    this.#canvas.addEventListener('keydown', event => {
      const steps: Record<string, number> = {
        ArrowLeft: -1,
        ArrowRight: 1,
        ArrowUp: -this.#columns,
        ArrowDown: this.#columns,
      }
      const step = steps[event.key]
      if (step === undefined) return
      event.preventDefault()
      this.#point(this.#cursor < 0 ? 0 : this.#cursor + step)
    })
  }

  show(pool: LivePool): void {
    if (this.#pool?.name !== pool.name) this.#cursor = -1
    this.#pool = pool
    const counts = new Map<LookName, number>()
    for (const connection of pool.connections) {
      const name = lookOf(connection)
      counts.set(name, (counts.get(name) ?? 0) + 1)
    }
    const { max, size, closing } = pool.stats
    const free = Math.max(max - size - closing, 0)
    if (free > 0) counts.set('free', free)
    say(this.#heading, `Connections: ${count(size)} of at most ${count(max)}`)
    const entries = (Object.keys(LOOKS) as LookName[]).flatMap(name => {
      const number = counts.get(name)
      return number === undefined
        ? []
        : [el('li', {}, swatch(LOOKS[name]), `${count(number)} ${LOOKS[name].words}`)]
    })
    this.#legend.replaceChildren(...entries)
    this.#canvas.setAttribute('aria-label', entries.map(({ textContent }) => textContent).join(', '))
    this.#draw()
  }

  #draw(): void {
    const pool = this.#pool
    if (pool === undefined) return
    const { connections, stats } = pool
    const free = Math.max(stats.max - stats.size - stats.closing, 0)
    const squares = connections.length + (free > MOST_FREE ? 0 : free)
    const width = this.#canvas.clientWidth || this.element.clientWidth || 300
    this.#size =
      SIZES.find(size => Math.ceil(squares / Math.floor(width / size)) * size <= MOST_HEIGHT) ??
      SIZES.at(-1) ??
      5
    this.#columns = Math.max(Math.floor(width / this.#size), 1)
    const height = Math.max(Math.ceil(squares / this.#columns), 1) * this.#size
    const context = sized(this.#canvas, width, height)
    if (context === undefined) return
    const inner = this.#size - (this.#size > 8 ? 3 : 1)
    const ratio = devicePixelRatio || 1
    // By pixels: ten thousand calls to draw take a tenth of a second.
    const image = context.createImageData(this.#canvas.width, this.#canvas.height)
    const pixels = new Uint32Array(image.data.buffer)
    const stamps = new Map<LookName, Stamp>()
    for (let index = 0; index < squares; index += 1) {
      const connection = connections[index]
      const name = connection === undefined ? 'free' : lookOf(connection)
      let stamp = stamps.get(name)
      if (stamp === undefined) {
        stamp = stampOf(name, inner, ratio)
        stamps.set(name, stamp)
      }
      const x = Math.round((index % this.#columns) * this.#size * ratio)
      const y = Math.round(Math.floor(index / this.#columns) * this.#size * ratio)
      place(stamp, pixels, image, x, y)
    }
    context.putImageData(image, 0, 0)
    if (this.#cursor >= 0 && this.#cursor < connections.length) {
      const [x, y] = [
        (this.#cursor % this.#columns) * this.#size,
        Math.floor(this.#cursor / this.#columns) * this.#size,
      ]
      context.strokeStyle = getComputedStyle(this.#canvas).color
      context.lineWidth = 2
      context.strokeRect(x - 0.5, y - 0.5, inner + 1, inner + 1)
    }
    this.#tell()
  }

  #point(index: number): void {
    const most = (this.#pool?.connections.length ?? 0) - 1
    const cursor = index > most ? (this.#cursor < 0 ? -1 : this.#cursor) : index
    if (cursor === this.#cursor) return
    this.#cursor = cursor
    this.#draw()
  }

  #tell(): void {
    const connection = this.#pool?.connections[this.#cursor]
    say(
      this.#words,
      connection === undefined
        ? 'Point at a square, or use the arrow keys, to read about a connection.'
        : this.#describe(connection),
    )
  }

  #describe([id, state, millis, flags, group]: LiveConnection): string {
    const name = LIVE_STATES[state] ?? 'unknown'
    const site = this.#pool?.holders.groups[group]?.site
    const isLent = name === 'lent'
    return [
      `#${id} ${isLent ? 'lent for' : name === 'idle' ? 'idle for' : `${name},`} ${duration(millis)}${isLent || name === 'idle' ? '' : ' old'}`,
      isLent && (flags & LIVE_FLAGS.atWork) > 0 ? 'a command is under way' : '',
      (flags & LIVE_FLAGS.forgotten) > 0 ? 'looks forgotten' : '',
      (flags & LIVE_FLAGS.gone) > 0 ? 'its peer has gone' : '',
      site === undefined ? '' : site,
    ]
      .filter(part => part !== '')
      .join(', ')
  }
}

/** One square, as its pixels. */
interface Stamp {
  readonly side: number
  readonly pixels: Uint32Array
}

function stampOf(name: LookName, inner: number, ratio: number): Stamp {
  const canvas = document.createElement('canvas')
  const side = Math.ceil(inner * ratio)
  canvas.width = side
  canvas.height = side
  const pen = canvas.getContext('2d', { willReadFrequently: true })
  if (pen === null) return { side: 0, pixels: new Uint32Array() }
  pen.scale(ratio, ratio)
  drawLook(pen, LOOKS[name], 0, 0, inner)
  return { side, pixels: new Uint32Array(pen.getImageData(0, 0, side, side).data.buffer) }
}

function place(
  { side, pixels }: Stamp,
  target: Uint32Array,
  { width, height }: { width: number; height: number },
  x: number,
  y: number,
): void {
  const [columns, rows] = [Math.min(side, width - x), Math.min(side, height - y)]
  for (let row = 0; row < rows; row += 1) {
    const from = row * side
    const to = (y + row) * width + x
    for (let column = 0; column < columns; column += 1) target[to + column] = pixels[from + column] as number
  }
}

function lookOf([, state, , flags]: LiveConnection): LookName {
  if ((flags & LIVE_FLAGS.gone) > 0 && LIVE_STATES[state] !== 'closing') return 'gone'
  if ((flags & LIVE_FLAGS.forgotten) > 0) return 'forgotten'
  return LIVE_STATES[state] ?? 'closing'
}
