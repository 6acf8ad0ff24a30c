import { existsSync } from 'node:fs'
import { join, posix } from 'node:path'
import { defineConfig } from 'vitepress'
import { nameOfCopy } from '../files.mjs'

const root = join(import.meta.dirname, '..', '..', '..')
const pages = join(import.meta.dirname, '..', '.pages')

/** For links to sources, tests and examples, which are no pages: build.mjs has copied these files. */
const FILES = '/files/'

/** As on GitHub, and as test/docs/pages.ts checks it. */
const slugify = heading =>
  heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replace(/\s/g, '-')

/** Links of the pages to what is no page lead to a copy of that file. */
function linkOut(md) {
  const isPage = path => existsSync(join(pages, path)) && /\.(?:md|svg)$/.test(path)
  md.core.ruler.push('link-out', ({ tokens, env }) => {
    const folder = posix.dirname(env.relativePath ?? 'index.md')
    for (const token of tokens.flatMap(({ children }) => children ?? [])) {
      if (token.type !== 'link_open') continue
      const target = token.attrGet('href') ?? ''
      if (target === '' || /^(?:[a-z]+:|#|\/)/.test(target)) continue
      const [path = ''] = target.split('#')
      const file = posix.normalize(posix.join(folder, path))
      if (!isPage(file) && existsSync(join(root, file)))
        token.attrSet('href', `${FILES}${nameOfCopy(root, file)}`)
    }
  })
}

const page = (text, name) => ({ text, link: `/docs/${name}` })
/** Pages of other subjects, as they come. */
const optional = entries => entries.filter(({ link }) => existsSync(join(pages, `${link}.md`)))

export default defineConfig({
  title: 'lifeguard-pool',
  description: 'A connection pool for Node that does not hang, deadlock, leak, or lend dead connections.',
  srcDir: '.pages',
  outDir: 'dist',
  cleanUrls: true,
  lastUpdated: false,
  markdown: { anchor: { slugify }, config: linkOut },
  // A dead link fails the build.
  ignoreDeadLinks: false,
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    nav: [
      page('Getting started', 'getting-started'),
      page('Options', 'options'),
      page('Errors', 'errors'),
      { text: 'API', link: '/reference/' },
    ],
    sidebar: [
      {
        text: 'Begin',
        items: optional([
          page('Getting started', 'getting-started'),
          page('Migrating from generic-pool', 'migrating'),
          page('Production settings', 'production'),
          page('Testing your service', 'testing'),
          page('Sizing', 'sizing'),
          page('One budget for several pools', 'budget'),
          page('Serverless', 'serverless'),
          page('Troubleshooting', 'troubleshooting'),
        ]),
      },
      {
        text: 'Look up',
        items: [
          ...optional([
            page('API', 'api'),
            page('Options', 'options'),
            page('Timeouts', 'timeouts'),
            page('Errors', 'errors'),
          ]),
          { text: 'API reference', link: '/reference/' },
          { text: 'Changelog', link: '/CHANGELOG' },
        ],
      },
      {
        text: 'Clients',
        items: optional([
          page('Redis', 'redis'),
          page('Redis Cluster', 'cluster'),
          page('Tokens of cloud providers', 'redis-iam'),
          page('Sockets', 'sockets'),
          page('Factories: your own client', 'factory'),
          page('PostgreSQL', 'clients/postgresql'),
          page('MySQL and MariaDB', 'clients/mysql'),
          page('SSH and SFTP', 'clients/ssh'),
          page('AMQP channels', 'clients/amqp'),
          page('Browsers', 'clients/browsers'),
          page('Child processes', 'clients/processes'),
        ]),
      },
      {
        text: 'Watch',
        items: optional([
          page('Diagnostics', 'diagnostics'),
          page('Doctor', 'doctor'),
          page('Top', 'top'),
          page('Timeline', 'timeline'),
          page('Channels', 'channels'),
          page('OpenTelemetry', 'otel'),
          page('Prometheus', 'prometheus'),
        ]),
      },
      {
        text: 'Understand',
        items: optional([
          page('Reliability', 'reliability'),
          page('Promises and their tests', 'promises'),
          page('Half-closed connections', 'half-close'),
          page('Nested acquires and deadlocks', 'nested'),
          page('Overload and stalls', 'overload'),
          page('Outages', 'outages'),
          page('Pools compared under faults', 'comparison'),
          page('Performance', 'performance'),
          page('Architecture', 'architecture'),
          page('Where do I change …', 'where'),
        ]),
      },
    ],
  },
})
