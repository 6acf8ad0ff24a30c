/** Where the documents of the package can be read. The one place that knows: errors link there, the site links back. */
const SOURCES = 'https://github.com/lifeguard-pool/lifeguard-pool/blob/main/'

/** The paragraph of docs/errors.md about an error. */
export const errorUrl = (code: string): string => `${SOURCES}docs/errors.md#${code.toLowerCase()}`
