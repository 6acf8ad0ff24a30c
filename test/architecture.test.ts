import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { test } from 'node:test'

/** The sources, wherever the compiled test lies. */
function findSources(): string {
  for (let folder = import.meta.dirname; ; folder = dirname(folder)) {
    const names = readdirSync(folder)
    if (names.includes('package.json') && names.includes('src')) return join(folder, 'src')
  }
}

interface Import {
  readonly from: string
  readonly typeOnly: boolean
}

const root = findSources()
const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('.ts'))
  .map(name => ({
    name: name.replaceAll('\\', '/'),
    text: withoutComments(readFileSync(join(root, name), 'utf8')),
  }))

function withoutComments(code: string): string {
  return code.replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')
}

function importsOf({ name, text }: { name: string; text: string }): Import[] {
  return [
    ...text.matchAll(/^(?:import|export)\s+(type\s)?[^'"]*?from\s+'([^']+)'|^import\s+'([^']+)'/gm),
  ].map(match => {
    const from = match[2] ?? match[3] ?? ''
    const target = from.startsWith('.') ? relative('.', normalize(join(dirname(name), from))) : from
    const named = /^(?:import|export)\s*\{([^}]*)\}/.exec(match[0])?.[1]
    const onlyTypes = named?.split(',').every(part => part.trim() === '' || part.trim().startsWith('type '))
    return { from: target.replaceAll('\\', '/'), typeOnly: match[1] !== undefined || onlyTypes === true }
  })
}

/** One door for each dangerous thing: who may import it. */
const DOORS: Readonly<Record<string, readonly RegExp[]>> = {
  'generic-pool': [/^connecting\/engine\.ts$/],
  'node:async_hooks': [/^runtime\/async-context\.ts$/],
  debug: [/^runtime\/log\.ts$/],
  ioredis: [/^adapters\/ioredis/],
  'node:net': [/^adapters\//],
  'node:tls': [/^adapters\//],
  'node:events': [/^runtime\/emitter\.ts$/],
  'node:fs': [/^sockets\/conn-check\.ts$/, /^runtime\/output\.ts$/],
  'node:tty': [/^runtime\/output\.ts$/],
}

test('each dangerous thing has one door', () => {
  assert.ok(files.length > 20, `${files.length} files`)
  for (const file of files) {
    for (const { from, typeOnly } of importsOf(file)) {
      const doors = DOORS[from]
      if (doors === undefined || (typeOnly && from.startsWith('node:')) || (typeOnly && from === 'ioredis'))
        continue
      assert.ok(
        doors.some(door => door.test(file.name)),
        `${file.name} must not import ${from}`,
      )
    }
  }
})

test('time and timers are touched by the clock alone', () => {
  const touch =
    /(?<![.\w])(?:setTimeout|setInterval|setImmediate|new Date|Date\.now|performance\.now|process\.hrtime)\s*\(/
  for (const { name, text } of files) {
    if (name === 'runtime/clock.ts') continue
    assert.ok(!touch.test(text), `${name} touches time: ${touch.exec(text)?.[0]}`)
  }
})

test('imports flow down: no two modules need each other', () => {
  const graph = new Map(
    files.map(file => [
      file.name,
      importsOf(file).filter(({ from, typeOnly }) => !typeOnly && from.endsWith('.ts')),
    ]),
  )
  const done = new Set<string>()
  const visit = (name: string, path: readonly string[]): void => {
    assert.ok(!path.includes(name), `a circle: ${[...path, name].join(' → ')}`)
    if (done.has(name)) return
    for (const { from } of graph.get(name) ?? []) visit(from, [...path, name])
    done.add(name)
  }
  for (const name of graph.keys()) visit(name, [])
})

test('policies and the core know no adapter', () => {
  for (const file of files) {
    if (file.name.startsWith('adapters/')) continue
    for (const { from } of importsOf(file))
      assert.ok(!from.startsWith('adapters/'), `${file.name} imports ${from}`)
  }
})
