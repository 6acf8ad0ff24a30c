import { systemClock } from '../runtime/time/clock.ts'

/*
 * What a command has opened in another process must be closed again, also when the command is ended by a signal.
 */

const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGTERM: 15 } as const
type Name = keyof typeof SIGNALS

/** Undoes something, and says what is left, if anything is. */
type Undo = () => Promise<string | undefined>

const undos = new Set<Undo>()
/** When the first signal came. */
let endingSince: number | undefined
/** `npx` passes on a Ctrl-C that has come here already. Milliseconds. */
const SAME_MILLIS = 1000

/** Has something undone before a signal ends this process. @returns forgets it again */
export function undoOnSignal(undo: Undo): () => void {
  if (undos.size === 0) for (const name of Object.keys(SIGNALS)) process.on(name, onSignal)
  undos.add(undo)
  return () => {
    undos.delete(undo)
    if (undos.size === 0 && endingSince === undefined)
      for (const name of Object.keys(SIGNALS)) process.off(name, onSignal)
  }
}

function onSignal(name: Name): void {
  const code = 128 + SIGNALS[name]
  const now = systemClock.now()
  // Whoever asks again does not want to wait.
  if (endingSince !== undefined) {
    if (now - endingSince > SAME_MILLIS) process.exit(code)
    return
  }
  endingSince = now
  void Promise.allSettled([...undos].map(undo => undo())).then(results => {
    for (const result of results) {
      const left = result.status === 'fulfilled' ? result.value : String(result.reason)
      if (left !== undefined) process.stderr.write(`lifeguard-pool: ${left}\n`)
    }
    process.exit(code)
  })
}
