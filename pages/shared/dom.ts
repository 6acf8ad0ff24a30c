/*
 * Elements, made without markup: whatever a pool or a call site is called, it is text.
 */

type Child = Node | string | undefined | false

export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string>> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value)
  made.append(...children.filter(isNode).map(child => (typeof child === 'string' ? visible(child) : child)))
  return made
}

/** Characters that turn the text around them, and halves of characters: what others have named may hold them. */
const ODD = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]|\p{Cs}/gu
export const visible = (text: string): string => text.replaceAll(ODD, '\ufffd')

/** For an address: half a character has no code there. */
export const encoded = (text: string): string => encodeURIComponent(text.replaceAll(/\p{Cs}/gu, '\ufffd'))

const isNode = (child: Child): child is Node | string => child !== undefined && child !== false

const SVG = 'http://www.w3.org/2000/svg'

export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string | number>> = {},
  ...children: readonly Node[]
): SVGElementTagNameMap[K] {
  const made = document.createElementNS(SVG, tag)
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value))
  made.append(...children)
  return made
}

/** Puts a text into an element, if it is another one: screen readers read out what changes. */
export function say(element: Element, text: string): void {
  const shown = visible(text)
  if (element.textContent !== shown) element.textContent = shown
}

const MINUTES = [60_000, 1000, 'min', 's'] as const
const HOURS = [3_600_000, 60_000, 'h', 'min'] as const

/** A duration as people read it. */
export function duration(millis: number): string {
  if (millis < 1) return millis <= 0 ? '0 ms' : '< 1 ms'
  if (millis < 1000) return `${millis < 10 ? Number(millis.toFixed(1)) : Math.round(millis)} ms`
  if (millis < 60_000) return `${Number((millis / 1000).toFixed(millis < 10_000 ? 1 : 0))} s`
  const [unit, of, long, short] = millis < 3_600_000 ? MINUTES : HOURS
  const rest = Math.floor((millis % unit) / of)
  return `${Math.floor(millis / unit)} ${long}${rest === 0 ? '' : ` ${rest} ${short}`}`
}

/** A number with narrow spaces between its thousands. */
export const count = (value: number): string =>
  String(Math.round(value)).replaceAll(/\B(?=(?:\d{3})+(?!\d))/g, '\u202f')

/** A canvas with as many dots as the screen has. */
export function sized(
  canvas: HTMLCanvasElement,
  width: number,
  height: number,
): CanvasRenderingContext2D | undefined {
  const ratio = devicePixelRatio || 1
  canvas.width = Math.round(width * ratio)
  canvas.height = Math.round(height * ratio)
  canvas.style.height = `${height}px`
  const context = canvas.getContext('2d') ?? undefined
  context?.scale(ratio, ratio)
  return context
}

/** A canvas for the legend, which a screen reader leaves out: the words stand beside it. */
export function blankSwatch(width: number): HTMLCanvasElement {
  const made = document.createElement('canvas')
  made.className = 'swatch'
  made.width = width
  made.height = 28
  made.setAttribute('aria-hidden', 'true')
  return made
}
