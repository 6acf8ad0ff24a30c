import { callSite } from '../../diagnostics/call-sites.ts'
import type { LeaseReport } from '../../diagnostics/pool-report.ts'

/** The leases that were taken at one place. */
export interface HolderGroup {
  readonly site: string
  readonly count: number
  /** The oldest of them. Milliseconds. */
  readonly heldMillis: number
  /** What the oldest one does. */
  readonly doing: string
  readonly isForgotten: boolean
}

/** Groups leases by call site. The group with the oldest lease comes first. */
export function holdersOf(leases: readonly LeaseReport[]): HolderGroup[] {
  const groups = new Map<string, HolderGroup>()
  // They are sorted by age already.
  for (const lease of leases) {
    const site = siteOf(lease.stack)
    const known = groups.get(site)
    if (known === undefined)
      groups.set(site, {
        ...{
          site,
          count: 1,
          heldMillis: lease.heldMillis,
          doing: doingOf(lease),
          isForgotten: lease.suspect,
        },
      })
    else
      groups.set(site, { ...known, count: known.count + 1, isForgotten: known.isForgotten || lease.suspect })
  }
  return [...groups.values()]
}

function doingOf({ busy, command, suspect }: LeaseReport): string {
  if (suspect) return 'FORGOTTEN?'
  if (busy) return command ?? 'at work'
  return busy === false ? 'no command' : ''
}

/** The function, and the end of its path: enough to find the line, and short. */
function siteOf(stack: string | undefined): string {
  const site = callSite(stack)
  if (site === undefined) return '(no stack was taken)'
  const text = site.replace(/^at (?:async )?/, '')
  const [, func = '', place = text] = /^(.*) \((.*)\)$/.exec(text) ?? []
  const path = place.split('/').slice(-2).join('/')
  return func === '' ? path : `${func} (${path})`
}
