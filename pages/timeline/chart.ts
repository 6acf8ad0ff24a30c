import { COLOURS } from '../../src/cli/timeline/looks.ts'
import { type Bar, millisInWords, niceStep, WHAT } from '../../src/cli/timeline/rows.ts'
import type { Timeline } from '../../src/diagnostics/timeline/timeline.ts'
import { el, sized, visible } from '../shared/dom.ts'
import { firstWithin, type Line, linesOf } from './lines.ts'
import { drawMark, fillOf, forgetPatterns, isOutlined } from './paint.ts'

const ROW = 18
const BAR = 13
const LEFT = 74
const TOP = 24
const RIGHT = 16
/** No closer. Milliseconds. */
const LEAST_RANGE = 0.5

/** Bars over time. Only what is in sight is drawn, however much was recorded. */
export class Chart {
  readonly element = el('div', { class: 'chart' })
  onPoint: (words: string) => void = () => {}
  onRange: (from: number, to: number) => void = () => {}
  readonly #timeline: Timeline
  readonly #lines: Line[]
  readonly #canvas = el('canvas', {
    tabindex: '0',
    role: 'img',
    'aria-label': 'What each connection did over time. The arrow keys go through the bars.',
  })
  readonly #spacer = el('div')
  #from = 0
  #to = 1
  /** The bar under the cursor. */
  #line = -1
  #bar = -1
  #isPlanned = false

  constructor(timeline: Timeline) {
    this.#timeline = timeline
    this.#lines = linesOf(timeline)
    this.element.append(this.#canvas, this.#spacer)
    this.#listen()
  }

  all(): void {
    this.#range(0, Math.max(this.#timeline.millis, 1))
  }

  /** @param factor - of what is in sight: 2 shows twice as much */
  zoom(factor: number, at = (this.#from + this.#to) / 2): void {
    const width = Math.min(
      Math.max((this.#to - this.#from) * factor, LEAST_RANGE),
      this.#timeline.millis || 1,
    )
    const share = (at - this.#from) / (this.#to - this.#from)
    this.#range(at - share * width, at + (1 - share) * width)
  }

  /** Brings a moment into sight. */
  show(at: number): void {
    const width = Math.min(this.#to - this.#from, this.#timeline.millis / 4)
    this.#range(at - width / 2, at + width / 2)
  }

  #range(from: number, to: number): void {
    const width = to - from
    const most = Math.max(this.#timeline.millis, width)
    this.#from = Math.min(Math.max(from, 0), most - width)
    this.#to = this.#from + width
    this.onRange(this.#from, this.#to)
    this.#plan()
  }

  #listen(): void {
    const { element } = this
    const canvas = this.#canvas
    element.addEventListener('scroll', () => this.#plan())
    addEventListener('resize', () => this.#plan())
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
      forgetPatterns()
      this.#plan()
    })
    canvas.addEventListener(
      'wheel',
      event => {
        if (!event.ctrlKey && !event.shiftKey) return
        event.preventDefault()
        if (event.shiftKey) this.#move((event.deltaX + event.deltaY) / 2)
        else this.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.#time(event.offsetX))
      },
      { passive: false },
    )
    canvas.addEventListener('pointerdown', event => canvas.setPointerCapture(event.pointerId))
    canvas.addEventListener('pointermove', event => {
      if (event.buttons > 0) this.#move(-event.movementX)
      else this.#hover(event.offsetX, event.offsetY)
    })
    canvas.addEventListener('keydown', event => {
      if (!this.#key(event.key)) return
      event.preventDefault()
    })
  }

  #move(pixels: number): void {
    const millis = (pixels / this.#width) * (this.#to - this.#from)
    this.#range(this.#from + millis, this.#to + millis)
  }

  #key(key: string): boolean {
    if (key === '+' || key === '=') this.zoom(0.5)
    else if (key === '-') this.zoom(2)
    else if (key === '0') this.all()
    else if (key === 'ArrowDown') this.#select(this.#nextLine(1), 0)
    else if (key === 'ArrowUp') this.#select(this.#nextLine(-1), 0)
    else if (key === 'ArrowRight')
      this.#select(this.#line < 0 ? this.#nextLine(1) : this.#line, this.#bar + 1)
    else if (key === 'ArrowLeft') this.#select(this.#line, this.#bar - 1)
    else return false
    return true
  }

  /** The next line that has bars. */
  #nextLine(step: number): number {
    let at = this.#line + step
    while (at >= 0 && at < this.#lines.length && this.#lines[at]?.bars.length === 0) at += step
    return this.#lines[at] === undefined ? this.#line : at
  }

  #select(line: number, bar: number): void {
    const bars = this.#lines[line]?.bars ?? []
    if (bars.length === 0) return
    this.#line = line
    this.#bar = Math.min(Math.max(bar, 0), bars.length - 1)
    const found = bars[this.#bar]
    if (found === undefined) return
    const y = line * ROW
    const { element } = this
    if (y < element.scrollTop) element.scrollTop = y
    else if (y + TOP + 2 * ROW > element.scrollTop + element.clientHeight)
      element.scrollTop = y + TOP + 2 * ROW - element.clientHeight
    if (found.to < this.#from || found.from > this.#to) this.show(found.from)
    this.#tell(found.words, found.from)
    this.#plan()
  }

  #tell(words: string, from: number): void {
    this.onPoint(`${millisInWords(from)}: ${words}`)
  }

  #hover(x: number, y: number): void {
    const line = Math.floor((y - TOP + this.element.scrollTop) / ROW)
    const shown = y < TOP ? undefined : this.#lines[line]
    const at = this.#time(x)
    const near = ((this.#to - this.#from) / this.#width) * 6
    const mark = shown?.marks.find(each => Math.abs(each.at - at) < near)
    if (mark !== undefined) {
      this.#tell(`${WHAT[mark.what]}: ${mark.words}`, mark.at)
      return
    }
    const stall = this.#timeline.stalls.find(each => each.from <= at && at <= each.to)
    const bar = shown?.bars.findIndex(each => each.from - near / 6 <= at && at <= each.to + near / 6) ?? -1
    const found = shown?.bars[bar]
    if (found !== undefined) {
      this.#line = line
      this.#bar = bar
      this.#tell(found.words, found.from)
      this.#plan()
    } else if (stall !== undefined)
      this.#tell(`the event loop was blocked for ${millisInWords(stall.to - stall.from)}`, stall.from)
  }

  get #width(): number {
    return Math.max(this.element.clientWidth - LEFT - RIGHT, 50)
  }

  #time(x: number): number {
    return this.#from + ((x - LEFT) / this.#width) * (this.#to - this.#from)
  }

  #x(at: number): number {
    return LEFT + ((at - this.#from) / (this.#to - this.#from)) * this.#width
  }

  #plan(): void {
    if (this.#isPlanned) return
    this.#isPlanned = true
    requestAnimationFrame(() => {
      this.#isPlanned = false
      performance.mark('draw-start')
      this.#draw()
      performance.measure('draw', 'draw-start')
      performance.clearMarks()
    })
  }

  #draw(): void {
    const all = this.#lines.length * ROW + TOP + 8
    const height = Math.min(all, Math.max(innerHeight * 0.62, 200))
    this.element.style.height = `${height + 2}px`
    this.#spacer.style.height = `${all - height}px`
    const context = sized(this.#canvas, this.element.clientWidth, height)
    if (context === undefined) return
    const style = getComputedStyle(this.element)
    const [ink, dim, paper] = ['--ink', '--dim', '--paper'].map(name =>
      style.getPropertyValue(name).trim(),
    ) as [string, string, string]
    context.font = '11px system-ui, sans-serif'
    this.#scale(context, dim, style.getPropertyValue('--line').trim(), height)
    context.save()
    context.beginPath()
    context.rect(0, TOP, this.element.clientWidth, height - TOP)
    context.clip()
    this.#stalls(context, height)
    const first = Math.floor(this.element.scrollTop / ROW)
    const last = Math.min(first + Math.ceil(height / ROW) + 1, this.#lines.length)
    for (let at = first; at < last; at += 1)
      this.#drawLine(context, at, TOP + at * ROW - this.element.scrollTop, ink, dim, paper)
    context.restore()
  }

  #scale(context: CanvasRenderingContext2D, dim: string, faint: string, height: number): void {
    const step = niceStep(this.#to - this.#from, Math.max(this.#width / 110, 2))
    context.textAlign = 'center'
    context.lineWidth = 1
    for (let at = Math.ceil(this.#from / step) * step; at <= this.#to; at += step) {
      const x = Math.round(this.#x(at)) + 0.5
      context.strokeStyle = faint
      context.beginPath()
      context.moveTo(x, TOP - 6)
      context.lineTo(x, height)
      context.stroke()
      context.fillStyle = dim
      context.fillText(at < step / 2 ? '0' : millisInWords(at), x, 12)
    }
    context.textAlign = 'left'
  }

  #stalls(context: CanvasRenderingContext2D, height: number): void {
    context.fillStyle = COLOURS.stall
    context.globalAlpha = 0.16
    for (const { from, to } of this.#timeline.stalls) {
      if (to < this.#from || from > this.#to) continue
      const x = Math.max(this.#x(from), LEFT)
      context.fillRect(x, TOP, Math.max(this.#x(to) - x, 1), height - TOP)
    }
    context.globalAlpha = 1
  }

  #drawLine(
    context: CanvasRenderingContext2D,
    index: number,
    y: number,
    ink: string,
    dim: string,
    paper: string,
  ): void {
    const { heading, label, bars, marks } = this.#lines[index] as Line
    if (heading !== undefined) {
      context.fillStyle = ink
      context.font = '600 12px system-ui, sans-serif'
      context.fillText(visible(heading), 6, y + 12)
      context.font = '11px system-ui, sans-serif'
    }
    if (label !== undefined) {
      context.fillStyle = dim
      context.textAlign = 'right'
      context.fillText(label, LEFT - 8, y + 11)
      context.textAlign = 'left'
    }
    context.save()
    context.beginPath()
    context.rect(LEFT, y - 8, this.#width + RIGHT, ROW + 12)
    context.clip()
    // Of thousands of short bars in one place, one a pixel is enough.
    let covered = Number.NEGATIVE_INFINITY
    for (let at = firstWithin(bars, this.#from); at < bars.length; at += 1) {
      const bar = bars[at] as Bar
      if (bar.from > this.#to) break
      const x = Math.max(this.#x(bar.from), LEFT - 4)
      const end = Math.min(this.#x(bar.to), LEFT + this.#width + 4)
      const isChosen = index === this.#line && at === this.#bar
      if (end - x < 1 && x - covered < 0.7 && !isChosen) continue
      covered = Math.max(end, x + 1)
      this.#drawBar(context, bar, x, y, Math.max(end - x, bar.look === 'failed-connect' ? 2 : 1), ink, paper)
      if (!isChosen) continue
      context.strokeStyle = ink
      context.lineWidth = 2
      context.strokeRect(x - 1, y - 1, Math.max(end - x, 1) + 2, BAR + 2)
    }
    for (const mark of marks)
      if (mark.at >= this.#from && mark.at <= this.#to)
        drawMark(context, this.#x(mark.at), y + BAR / 2, paper)
    context.restore()
  }

  #drawBar(
    context: CanvasRenderingContext2D,
    { look, label }: Bar,
    x: number,
    y: number,
    width: number,
    ink: string,
    paper: string,
  ): void {
    context.fillStyle = fillOf(context, look, paper)
    context.fillRect(x, y, width, BAR)
    if (isOutlined(look)) {
      context.strokeStyle = COLOURS[look]
      context.lineWidth = 1
      context.strokeRect(x + 0.5, y + 0.5, Math.max(width - 1, 0.5), BAR - 1)
    }
    if (width < 30 || context.measureText(label).width + 10 > width) return
    const isPattern = isOutlined(look) && look !== 'idle'
    if (isPattern) {
      context.fillStyle = paper
      context.fillRect(x + 3, y + 1.5, context.measureText(label).width + 5, BAR - 3)
    }
    context.fillStyle = isOutlined(look) ? ink : '#ffffff'
    context.fillText(label, x + 5, y + 10)
  }
}
