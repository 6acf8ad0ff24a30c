/**
 * How many frames V8 keeps of a stack from here on. Where `Error` is frozen that cannot be changed, and an assignment
 * would throw.
 */
export function limitStacks(frames: number): void {
  Reflect.set(Error, 'stackTraceLimit', frames)
}

/**
 * Makes an error without a stack: where a timer or a signal ends a wait, the stack shows our own frames and nothing of
 * the caller's, and costs more than all the rest when a hundred thousand waits end at once.
 */
export function withoutStack<R>(make: () => R): R {
  const limit = Error.stackTraceLimit
  limitStacks(0)
  try {
    return make()
  } finally {
    limitStacks(limit)
  }
}
