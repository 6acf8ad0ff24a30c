import { blankSwatch } from './dom.ts'
/*
 * How each state of a connection looks: a colour that the colour-blind can tell from the others (after Okabe and Ito),
 * and a shape of its own, for print and for whoever sees no colour.
 */

export interface Look {
  readonly name: string
  readonly words: string
  readonly colour: string
  /** Draws the shape into the square from 0 to 1. */
  readonly shape: 'full' | 'hollow' | 'dot' | 'half' | 'stripe' | 'cross' | 'ring' | 'bolt' | 'faint'
}

const look = (name: string, words: string, colour: string, shape: Look['shape']): Look => ({
  ...{ name, words, colour, shape },
})

export const LOOKS = {
  lent: look('lent', 'lent', '#0072b2', 'full'),
  idle: look('idle', 'idle', '#7d93a1', 'hollow'),
  connecting: look('connecting', 'connecting', '#e69f00', 'half'),
  validating: look('validating', 'validating', '#56b4e9', 'dot'),
  resetting: look('resetting', 'resetting', '#cc79a7', 'stripe'),
  closing: look('closing', 'closing', '#8a8a8a', 'cross'),
  gone: look('gone', 'half-closed', '#d55e00', 'bolt'),
  forgotten: look('forgotten', 'looks forgotten', '#c9a800', 'ring'),
  free: look('free', 'free', '#7d93a1', 'faint'),
} as const

export type LookName = keyof typeof LOOKS

const CORNERS = [
  [0, 0],
  [1, 0],
  [0, 1],
  [1, 1],
] as const

/** Draws one square. */
export function drawLook(
  context: CanvasRenderingContext2D,
  { colour, shape }: Look,
  x: number,
  y: number,
  size: number,
): void {
  const line = Math.max(size / 7, 1)
  context.fillStyle = colour
  context.strokeStyle = colour
  context.lineWidth = line
  const frame = (): void => context.strokeRect(x + line / 2, y + line / 2, size - line, size - line)
  switch (shape) {
    case 'full':
      context.fillRect(x, y, size, size)
      break
    case 'hollow':
      frame()
      break
    case 'faint':
      context.globalAlpha = 0.55
      for (const [left, top] of CORNERS)
        context.fillRect(x + left * (size - line), y + top * (size - line), line, line)
      context.globalAlpha = 1
      break
    case 'dot':
      frame()
      context.fillRect(x + size / 3, y + size / 3, size / 3, size / 3)
      break
    case 'half':
      frame()
      context.beginPath()
      context.moveTo(x, y + size)
      context.lineTo(x + size, y + size)
      context.lineTo(x + size, y)
      context.fill()
      break
    case 'stripe':
      frame()
      context.fillRect(x, y + size / 3, size, size / 3)
      break
    case 'cross':
      context.beginPath()
      context.moveTo(x, y)
      context.lineTo(x + size, y + size)
      context.moveTo(x + size, y)
      context.lineTo(x, y + size)
      context.stroke()
      break
    case 'ring':
      context.fillRect(x, y, size, size)
      context.clearRect(x + size / 3, y + size / 3, size / 3, size / 3)
      break
    case 'bolt':
      context.fillRect(x, y, size, size)
      context.clearRect(x + size * 0.42, y, Math.max(size * 0.16, 1), size * 0.6)
      context.clearRect(x + size * 0.42, y + size * 0.75, Math.max(size * 0.16, 1), size * 0.25)
      break
  }
}

/** A picture of a look for a legend. */
export function swatch(look: Look): HTMLCanvasElement {
  const made = blankSwatch(28)
  const context = made.getContext('2d')
  if (context !== null) drawLook(context, look, 2, 2, 24)
  return made
}
