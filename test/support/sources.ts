import { readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { packageRoot } from './package-root.ts'

export interface Import {
  /** A file below `src`, or a package. */
  readonly from: string
  readonly isFile: boolean
  readonly typeOnly: boolean
}

/** A file of `src`, as the tests of the architecture read it. */
export interface SourceFile {
  /** Below `src`, with forward slashes. */
  readonly name: string
  readonly lines: number
  /** Without comments. */
  readonly code: string
  readonly imports: readonly Import[]
}

const root = join(packageRoot(), 'src')

const STATEMENT = /^(?:import|export)\s+(type\s)?[^'"`]*?from\s+'([^']+)'|^import\s+'([^']+)'/gm
/** `import('…')`, as an expression or as a type, and `require('…')`. */
const INLINE = /\b(?:import|require)\(\s*'([^']+)'\s*\)/g

/** The files of `src` from which the package is imported or run, as `exports` and `bin` in package.json have them. */
export function entryPoints(): string[] {
  const { exports, bin } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8'))
  const built = JSON.stringify([exports, bin]).matchAll(/"\.\/dist\/(?:esm\/)?([^"]*?)(?:\.d)?(\.m?)[jt]s"/g)
  return [...new Set([...built].map(([, path, extension]) => `${path}${extension}ts`))]
}

/** All of `src`. */
export function readSources(): SourceFile[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter(path => /\.m?ts$/.test(path))
    .sort()
    .map(path => {
      const name = path.replaceAll('\\', '/')
      const text = readFileSync(join(root, path), 'utf8')
      const code = text.replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')
      return { name, lines: text.split('\n').length - 1, code, imports: importsOf(name, code) }
    })
}

function importsOf(name: string, code: string): Import[] {
  const resolved = (specifier: string, typeOnly: boolean): Import =>
    specifier.startsWith('.')
      ? { from: posix.join(posix.dirname(name), specifier), isFile: true, typeOnly }
      : { from: specifier, isFile: false, typeOnly }
  return [
    ...[...code.matchAll(STATEMENT)].map(([whole, type, from, bare]) => {
      const named = /^(?:import|export)\s*\{([^}]*)\}/.exec(whole)?.[1]
      const onlyTypes = named?.split(',').every(part => part.trim() === '' || part.trim().startsWith('type '))
      return resolved(from ?? bare ?? '', type !== undefined || onlyTypes === true)
    }),
    ...[...code.matchAll(INLINE)].map(([, from]) => resolved(from ?? '', false)),
  ]
}

/** All files below a folder, by path from there, but for installed packages. */
export function filesBelow(root: string, folder = ''): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap(entry => {
    const path = join(folder, entry.name)
    if (entry.name === 'node_modules') return []
    return entry.isDirectory() ? filesBelow(root, path) : [path]
  })
}
