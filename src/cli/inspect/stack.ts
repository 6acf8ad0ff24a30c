import type { Inspector } from './inspector.ts'

const MOST_FRAMES = 12

/** The stack of what runs at this moment, the innermost call first. The process stops for the time of taking it. */
export async function stackOf(inspector: Inspector): Promise<string[]> {
  const scripts = new Map<unknown, unknown>()
  inspector.listen('Debugger.scriptParsed', ({ scriptId, url }) => scripts.set(scriptId, url))
  await inspector.call('Debugger.enable')
  const paused = inspector.event('Debugger.paused')
  try {
    await inspector.call('Debugger.pause')
    const { callFrames } = await paused
    return (callFrames as CallFrame[]).slice(0, MOST_FRAMES).map(({ functionName, location }) => {
      const place = `${scripts.get(location.scriptId) ?? '?'}:${location.lineNumber + 1}:${(location.columnNumber ?? 0) + 1}`
      return `at ${functionName === '' ? place : `${functionName} (${place})`}`
    })
  } finally {
    paused.catch(() => {})
    // Also lets it go on.
    await inspector.call('Debugger.disable')
  }
}

interface CallFrame {
  readonly functionName: string
  readonly location: {
    readonly scriptId: string
    readonly lineNumber: number
    readonly columnNumber?: number
  }
}
