import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { packageRoot } from './support/package-root.ts'
import { entryPoints, filesBelow, readSources } from './support/sources.ts'

/*
 * The rooms of `src` stand on floors. A file imports from its own room and from the floors below, types included; from
 * another room it imports a door of that room, and never what lies behind. No circle of imports, within a room neither.
 */

/** The folders of `src`, from the ground up. Rooms on one floor do not know each other. */
const FLOORS: Readonly<Record<string, number>> = {
  api: 1,
  runtime: 2,
  sockets: 3,
  nested: 3,
  queue: 4,
  connections: 4,
  connecting: 5,
  health: 6,
  diagnostics: 6,
  pool: 7,
  adapters: 8,
  testing: 8,
  'adapters/ioredis': 9,
  'adapters/net': 9,
  'adapters/otel': 9,
  'adapters/prometheus': 9,
  cli: 9,
  // What lies loose in `src`: the names of the package.
  '.': 9,
}

/**
 * The doors: the files of a room that other rooms may import. `api` and `runtime` are foundations, with no inside. A
 * file joins this list only if another room cannot do without it.
 */
const DOORS: Readonly<Record<string, readonly string[] | 'every file'>> = {
  api: 'every file',
  runtime: 'every file',
  sockets: ['conn-check', 'poll-phase', 'socket-state', 'socket-watch', 'tcp-table'],
  nested: ['awaiters', 'host', 'nesting', 'process-wide'],
  queue: ['load-shedder', 'service-rate', 'traced-acquire', 'wait-queue', 'waiter', 'waiting-clients'],
  connections: ['handles', 'lifetime', 'liveness', 'server-idle-timeout', 'slot', 'slots', 'socket-faults'],
  connecting: [
    'breaker',
    'budget',
    'capacity',
    'connect-failure',
    'connector',
    'control-place',
    'pool-context',
    'pool-share',
  ],
  health: ['checks', 'evictor', 'socket-reaper', 'validator'],
  diagnostics: [
    'call-sites',
    'findings',
    'http/unix-socket',
    'metrics/exposition',
    'metrics/metric-table',
    'metrics/observed-pools',
    'metrics/reading',
    'pool-report',
    'recent-problems',
    'registry',
    'report',
    'report-text',
    'stats',
    'timeline/timeline',
  ],
  pool: ['call-limits', 'create-pool', 'lease', 'pool'],
  adapters: ['open-adapter'],
  'adapters/ioredis': [],
  'adapters/net': [],
  'adapters/otel': [],
  'adapters/prometheus': [],
  cli: [],
  testing: [],
  '.': [],
}

/** Who may import what is dangerous: one file for each hazard, so that it stays findable. */
const KEEPERS: Readonly<Record<string, readonly RegExp[]>> = {
  'generic-pool': [/^connecting\/engine\.ts$/],
  'node:async_hooks': [/^runtime\/async-context\.ts$/],
  debug: [/^runtime\/log\/log\.ts$/],
  ioredis: [/^adapters\/ioredis/],
  // A probe without a connection, which tells how Node notes what was set on a socket.
  'node:net': [/^adapters\//, /^sockets\/socket-settings\.ts$/],
  'node:tls': [/^adapters\//],
  '@opentelemetry/api': [/^adapters\/otel\//],
  'node:events': [/^runtime\/emitter\.ts$/],
  'node:fs': [
    /^sockets\/conn-check\.ts$/,
    /^runtime\/log\/output\.ts$/,
    /^diagnostics\/http\/unix-socket\.ts$/,
    /^cli\/proc\/proc-files\.ts$/,
    /^cli\/timeline\/files\.ts$/,
  ],
  'node:http': [
    /^diagnostics\/http\/(?:diagnostics-server|unix-socket)\.ts$/,
    /^cli\/inspect\//,
    /^cli\/timeline\/ask\.ts$/,
  ],
  'node:tty': [/^runtime\/log\/output\.ts$/],
}

/** The folders of `test` that look at the whole. */
const BESIDE_ROOMS = [
  'simulation',
  'faults',
  'mutation',
  'dependents',
  'docs',
  'drop-in',
  'examples',
  'model',
  'package',
  'support',
  'toolchains',
]

const MOST_LINES = 300

const files = readSources()
const names = new Set(files.map(({ name }) => name))
const edges = files.flatMap(({ name, imports }) =>
  imports.filter(({ isFile }) => isFile).map(({ from }) => ({ from: name, to: from })),
)

/** The room of a file: its folder, but for the rooms of the adapters and what lies in folders of a room. */
function roomOf(name: string): string {
  const [first = '', second, third] = name.split('/')
  if (second === undefined) return '.'
  return first === 'adapters' && third !== undefined ? `${first}/${second}` : first
}

function floorOf(name: string): number {
  const floor = FLOORS[roomOf(name)]
  assert.ok(floor !== undefined, `src/${name} is in no room: give its folder a floor in FLOORS`)
  return floor
}

/** The imports that break a rule. */
const broken = (rule: (edge: { from: string; to: string }) => boolean): string[] => [
  ...new Set(edges.filter(rule).map(({ from, to }) => `${from} -> ${to}`)),
]

test('imports flow down: rooms know only the floors below', () => {
  assert.ok(files.length > 80, `${files.length} files`)
  for (const { to } of edges) assert.ok(names.has(to), `${to} is imported, but not there`)
  const up = broken(({ from, to }) => roomOf(from) !== roomOf(to) && floorOf(to) >= floorOf(from))
  assert.deepEqual(up, [], 'imports that lead up, or to a room on the same floor (types count)')
})

test('a room is entered by its doors', () => {
  const inside = broken(({ from, to }) => {
    if (roomOf(from) === roomOf(to)) return false
    const doors = DOORS[roomOf(to)]
    if (doors === 'every file') return false
    const file = to.slice(roomOf(to).length + 1).replace(/\.m?ts$/, '')
    return doors === undefined || !doors.includes(file)
  })
  assert.deepEqual(inside, [], 'imports of what lies behind the door of a room: see DOORS in this file')
})

test('every door is one: another room comes in by it', () => {
  for (const [room, doors] of Object.entries(DOORS)) {
    if (doors === 'every file') continue
    for (const door of doors) {
      const used = edges.some(({ from, to }) => to === `${room}/${door}.ts` && roomOf(from) !== room)
      assert.ok(used, `no other room imports ${room}/${door}.ts: take it from DOORS in this file`)
    }
  }
})

test('no circle of imports, types included', () => {
  const below = new Map<string, string[]>()
  for (const edge of edges) below.set(edge.from, [...(below.get(edge.from) ?? []), edge.to])
  const done = new Set<string>()
  const visit = (name: string, path: readonly string[]): void => {
    assert.ok(!path.includes(name), `a circle: ${[...path.slice(path.indexOf(name)), name].join(' → ')}`)
    if (done.has(name)) return
    for (const to of below.get(name) ?? []) visit(to, [...path, name])
    done.add(name)
  }
  for (const name of names) visit(name, [])
})

test('every file is reached from an entry point of the package', () => {
  const reached = new Set<string>()
  const open = entryPoints()
  for (const entry of open) assert.ok(names.has(entry), `package.json exports ${entry}, which is not in src`)
  assert.ok(open.length >= 8, `entry points: ${open.join(', ')}`)
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (reached.has(name)) continue
    reached.add(name)
    for (const { from, to } of edges) if (from === name) open.push(to)
  }
  assert.deepEqual(
    [...names].filter(name => !reached.has(name)),
    [],
    'files that nothing imports',
  )
})

test('no file is longer than one can read at a sitting', () => {
  const long = files.filter(({ lines }) => lines > MOST_LINES).map(({ name, lines }) => `${name}: ${lines}`)
  assert.deepEqual(long, [], `files of more than ${MOST_LINES} lines`)
})

test('each dangerous thing has one keeper', () => {
  for (const { name, imports } of files) {
    for (const { from, typeOnly } of imports) {
      const keepers = KEEPERS[from]
      if (keepers === undefined || (typeOnly && (from.startsWith('node:') || from === 'ioredis'))) continue
      assert.ok(
        keepers.some(keeper => keeper.test(name)),
        `${name} must not import ${from}`,
      )
    }
  }
})

test('time and timers are touched by the clock alone', () => {
  const touch =
    /(?<![.\w])(?:setTimeout|setInterval|setImmediate|new Date|Date\.now|performance\.now|process\.hrtime)\s*\(/
  for (const { name, code } of files) {
    if (name === 'runtime/time/clock.ts' || name === 'runtime/time/fake-timers.ts') continue
    // It has a method of this name, as every socket does.
    if (name === 'testing/simulated-socket.ts') continue
    // What runs in a browser has the browser's clock.
    if (name.endsWith('.generated.ts')) continue
    assert.ok(!touch.test(code), `${name} touches time: ${touch.exec(code)?.[0]}`)
  }
})

test('signals are listened to by one helper, which ends the listening as well', () => {
  for (const { name, code } of files) {
    if (name === 'runtime/abort.ts') continue
    assert.ok(!/(?:add|remove)EventListener\(\s*'abort'/.test(code), `${name} listens to a signal by hand`)
  }
})

test('tests have the rooms of src, and what they share with bench and examples lies in test/support', () => {
  const root = packageRoot()
  const foldersOf = (path: string): string[] =>
    readdirSync(join(root, path), { withFileTypes: true })
      .filter(entry => entry.isDirectory() && readdirSync(join(root, path, entry.name)).length > 0)
      .map(({ name }) => name)
  const rooms = Object.keys(FLOORS)
  const noRooms = foldersOf('test').filter(
    folder => !rooms.includes(folder) && !BESIDE_ROOMS.includes(folder),
  )
  assert.deepEqual(noRooms, [], 'folders of test/ that no room of src/ has')
  const adapters = foldersOf('test/adapters').filter(folder => !rooms.includes(`adapters/${folder}`))
  assert.deepEqual(adapters, [], 'folders of test/adapters/')
  for (const folder of ['bench', 'examples']) {
    for (const name of filesBelow(join(root, folder))) {
      if (!name.endsWith('.ts')) continue
      const text = readFileSync(join(root, folder, name), 'utf8')
      const [foreign] = /from '[./]+\/test\/(?!support\/)[^']*'/.exec(text) ?? []
      assert.equal(foreign, undefined, `${folder}/${name} imports ${foreign}`)
    }
  }
})
