/** Members of the classes of pools that are internal, though their names do not say so. */
const INTERNAL: ReadonlySet<string> = new Set([
  'constructor',
  'announce',
  'identity',
  'watchTimes',
  'reportWith',
  'observeWaiting',
  'entryOf',
  'withdraw',
  'controlPlace',
])

/** The names of the methods and getters of a class that are public. */
export const publicMembersOf = (type: { readonly prototype: object }): string[] =>
  Object.getOwnPropertyNames(type.prototype).filter(name => !name.startsWith('_') && !INTERNAL.has(name))
