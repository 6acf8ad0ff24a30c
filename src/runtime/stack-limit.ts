/**
 * How many frames V8 keeps of a stack from here on. Where `Error` is frozen that cannot be changed, and an assignment
 * would throw.
 */
export function limitStacks(frames: number): void {
  Reflect.set(Error, 'stackTraceLimit', frames)
}
