import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../support/package-root.ts'

interface Dashboard {
  readonly panels: readonly {
    readonly title: string
    readonly targets: readonly { readonly expr: string }[]
  }[]
  readonly templating: { readonly list: readonly { readonly definition?: string }[] }
}

/** The queries of the dashboard that is in the package, and of its variables. */
export function dashboardQueries(): { queries: string[]; variables: string[] } {
  const text = readFileSync(join(packageRoot(), 'docs', 'grafana-dashboard.json'), 'utf8')
  const { panels, templating } = JSON.parse(text) as Dashboard
  return {
    queries: panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
    variables: templating.list.flatMap(({ definition }) => definition ?? []),
  }
}

/** The metric names, or patterns of them, that a query asks for. */
export function namesIn(query: string): RegExp[] {
  const patterns = [...query.matchAll(/__name__=~"([^"]+)"/g)].map(([, pattern]) => pattern as string)
  const plain = [...query.matchAll(/\b((?:db_client|lifeguard)_\w+)\{/g)].map(([, name]) => name as string)
  const bare = [...query.matchAll(/label_values\((\w+),/g)].map(([, name]) => name as string)
  return [...patterns, ...plain, ...bare].map(pattern => new RegExp(`^(?:${pattern})$`))
}

/** The labels of ours that a query selects or groups by. */
export function labelsIn(query: string): string[] {
  const grouped = [...query.matchAll(/by \(([^)]*)\)/g)].flatMap(([, list]) => (list as string).split(/,\s*/))
  const selected = [...query.matchAll(/(\w+)=~/g)].map(([, label]) => label as string)
  return [...grouped, ...selected].filter(label => /^(?:db_client|lifeguard)_/.test(label))
}
