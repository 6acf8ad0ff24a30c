/**
 * Where the documentation of the installed package is. The pages are part of the package, so this is right for the
 * version in use, and without a network. The only place that knows.
 */
const INSTALLED = 'node_modules/lifeguard-pool/'

/** The section of docs/errors.md about an error. */
export const errorUrl = (code: string): string => `${INSTALLED}docs/errors.md#${code.toLowerCase()}`
