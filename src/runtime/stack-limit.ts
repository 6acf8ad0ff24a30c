/** Runs a function while V8 keeps so many frames of a stack. Where `Error` is frozen that cannot be changed. */
export function withStackLimit<R>(frames: number, run: () => R): R {
  const limit = Error.stackTraceLimit
  // An assignment would throw where `Error` is frozen.
  Reflect.set(Error, 'stackTraceLimit', frames)
  try {
    return run()
  } finally {
    Reflect.set(Error, 'stackTraceLimit', limit)
  }
}

/**
 * Makes an error without a stack: where a timer or a signal ends a wait, the stack shows our own frames and nothing of
 * the caller's, and costs more than all the rest when a hundred thousand waits end at once.
 */
export const withoutStack = <R>(make: () => R): R => withStackLimit(0, make)
