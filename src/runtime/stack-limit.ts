/** Runs a function while V8 records this many stack frames. Has no effect where `Error` is frozen. */
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
 * Creates an error without a stack. When a timer or a signal ends a wait, the stack shows only our own frames, nothing
 * of the caller. It would cost more than all other work when a hundred thousand waits end at once.
 */
export const withoutStack = <R>(make: () => R): R => withStackLimit(0, make)
