/** Where the documentation of the package is online. The only place that knows: errors and the site link there. */
const SOURCES = 'https://github.com/lifeguard-pool/lifeguard-pool/blob/main/'

/** The section of docs/errors.md about an error. */
export const errorUrl = (code: string): string => `${SOURCES}docs/errors.md#${code.toLowerCase()}`
