import { COLOURS, type Look } from '../../src/cli/timeline/looks.ts'
import { blankSwatch } from '../shared/dom.ts'

/*
 * Bars in colours, and in patterns for whoever sees none. The patterns are those of the pictures for documents.
 */

const patterns = new Map<Look, CanvasPattern | string>()

/** Called when the colours of the page have changed. */
export const forgetPatterns = (): void => patterns.clear()

export function fillOf(context: CanvasRenderingContext2D, look: Look, paper: string): CanvasPattern | string {
  const known = patterns.get(look)
  if (known !== undefined) return known
  const made = patternOf(context, look, paper) ?? COLOURS[look]
  patterns.set(look, made)
  return made
}

/** Looks that are an outline around a pattern. */
const DRAWN: Partial<Record<Look, (pen: CanvasRenderingContext2D) => void>> = {
  idle: () => {},
  connecting: pen => line(pen, 2.4, [-1, 7, 7, -1], [-1, 13, 13, -1], [5, 13, 13, 5]),
  validating: pen => {
    for (const [x, y] of [
      [3, 3],
      [9, 9],
    ] as const)
      pen.fillRect(x - 1.5, y - 1.5, 3, 3)
  },
  resetting: pen => line(pen, 2, [0, 3, 12, 3], [0, 9, 12, 9]),
  closing: pen => line(pen, 1, [0, 0, 12, 12], [12, 0, 0, 12]),
}

export const isOutlined = (look: Look): boolean => DRAWN[look] !== undefined

function line(
  pen: CanvasRenderingContext2D,
  width: number,
  ...lines: [number, number, number, number][]
): void {
  pen.lineWidth = width
  pen.beginPath()
  for (const [x1, y1, x2, y2] of lines) {
    pen.moveTo(x1, y1)
    pen.lineTo(x2, y2)
  }
  pen.stroke()
}

function patternOf(context: CanvasRenderingContext2D, look: Look, paper: string): CanvasPattern | null {
  const draw = DRAWN[look]
  if (draw === undefined) return null
  const tile = document.createElement('canvas')
  tile.width = 12
  tile.height = 12
  const pen = tile.getContext('2d')
  if (pen === null) return null
  pen.fillStyle = paper
  pen.fillRect(0, 0, 12, 12)
  pen.fillStyle = COLOURS[look]
  pen.strokeStyle = COLOURS[look]
  draw(pen)
  return context.createPattern(tile, 'repeat')
}

export function legendOf(look: Look): HTMLCanvasElement {
  const made = blankSwatch(36)
  const pen = made.getContext('2d')
  if (pen === null) return made
  pen.fillStyle = patternOf(pen, look, 'transparent') ?? COLOURS[look]
  if (look === 'stall') pen.globalAlpha = 0.3
  pen.fillRect(1, 1, 34, 26)
  pen.globalAlpha = 1
  if (!isOutlined(look)) return made
  pen.strokeStyle = COLOURS[look]
  pen.lineWidth = 2
  pen.strokeRect(2, 2, 32, 24)
  return made
}

export function legendOfMark(): HTMLCanvasElement {
  const made = blankSwatch(36)
  const pen = made.getContext('2d')
  if (pen === null) return made
  pen.scale(1.7, 1.7)
  drawMark(pen, 10.5, 8, 'transparent')
  return made
}

/** A diamond, for what happened at one moment. */
export function drawMark(context: CanvasRenderingContext2D, x: number, y: number, paper: string): void {
  context.beginPath()
  context.moveTo(x, y - 7)
  context.lineTo(x + 6, y)
  context.lineTo(x, y + 7)
  context.lineTo(x - 6, y)
  context.closePath()
  context.fillStyle = paper
  context.fill()
  context.strokeStyle = COLOURS.failed
  context.lineWidth = 2
  context.stroke()
}
