/*
 * What `npm run test:toolchains` runs: the packed package, installed in an empty folder, as its users do. First a new
 * user's path, see user-path.ts: a service on Redis, a service of generic-pool migrated, a service of Next. Then the tools:
 * Jest, ts-jest and Vitest run tests, with their fake timers; webpack, Rspack, Vite, Parcel and esbuild build a service,
 * which is then run; Bun and Deno run it as it is. Arguments choose cases by a part of their names.
 */
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual, promisify } from 'node:util'
import { packageRoot } from '../support/package-root.ts'
import { USER_PATH } from './user-path.ts'

const run = promisify(execFile)
const root = packageRoot()
const CASE_MILLIS = 120_000

const TOOLS = {
  '@rspack/cli': '^2.2.0',
  '@rspack/core': '^2.3.0',
  '@types/jest': '^30.0.0',
  '@types/node': '^20.19.0',
  bun: '^1.4.0',
  deno: '^2.9.0',
  esbuild: '^0.28.0',
  ioredis: '^5.11.0',
  jest: '^30.5.0',
  next: '^16.4.0',
  parcel: '^2.16.0',
  react: '^19.3.0',
  'react-dom': '^19.3.0',
  'ts-jest': '^29.4.0',
  typescript: '^5.9.0',
  'typescript-5.6': 'npm:typescript@~5.6.3',
  'typescript-6': 'npm:typescript@^6.0.3',
  'typescript-7': 'npm:typescript@^7.0.2',
  vite: '^8.4.0',
  vitest: '^4.1.0',
  webpack: '^5.113.0',
  'webpack-cli': '^7.3.0',
}

/** What the service says, wherever it runs: heading and two pools in the reports. */
const FACTS = {
  timeout: true,
  deadlock: true,
  echoed: 'hello',
  isOne: true,
  redis: 'function',
  reports: 3,
  warnings: [],
}

const folder = mkdtempSync(join(tmpdir(), 'lifeguard-toolchains-'))

const bin = (name: string): string => join(folder, 'node_modules', '.bin', name)

async function call(command: string, args: readonly string[], cwd = folder, env = {}): Promise<string> {
  const settings = {
    cwd,
    timeout: CASE_MILLIS,
    maxBuffer: 16_000_000,
    env: { ...process.env, ...env, CI: 'true' },
  }
  return (await run(command, args, settings)).stdout
}

async function checkFacts(output: Promise<string>, expected: object = FACTS): Promise<void> {
  const last = (await output).trim().split('\n').at(-1) ?? ''
  if (!isDeepStrictEqual(JSON.parse(last), expected)) throw new Error(`the service says ${last}`)
}

const node = (file: string): Promise<string> => call(process.execPath, [join('out', file)])

/** The ways of TypeScript to find a package; the last is the old one, which newer versions no longer have. */
const RESOLUTIONS = [
  ['--module', 'nodenext', '--skipLibCheck', 'false'],
  ['--module', 'esnext', '--moduleResolution', 'bundler', '--skipLibCheck', 'false'],
  ['--module', 'commonjs', '--moduleResolution', 'node10', '--esModuleInterop'],
]

/** As an ES module, and as CommonJS where that is what the resolution is for. */
const sourceFor = (resolution: readonly string[]): string =>
  resolution.includes('commonjs') ? join('types', 'commonjs.ts') : join('types', 'module.mts')

const CASES: Readonly<Record<string, (folder: string) => Promise<void>>> = {
  ...USER_PATH,
  'jest and ts-jest': async () => {
    await call(bin('jest'), ['--config', 'jest.config.cjs'])
  },
  'typescript 5.6, 6 and 7': async () => {
    for (const version of ['5.6', '6', '7']) {
      for (const resolution of RESOLUTIONS) {
        if (version !== '5.6' && resolution.includes('node10')) continue
        const compiler = join('node_modules', `typescript-${version}`, 'bin', 'tsc')
        const alone = version === '5.6' ? [] : ['--ignoreConfig']
        const args = [
          compiler,
          ...alone,
          '--noEmit',
          '--strict',
          '--target',
          'es2022',
          '--types',
          'node',
          ...resolution,
        ]
        await call(process.execPath, [...args, sourceFor(resolution)]).catch(error => {
          throw new Error(`TypeScript ${version}, ${resolution.join(' ')}: ${error.stdout || error}`)
        })
      }
    }
  },
  // Between two versions, Node's own types have changed the order of type parameters.
  'the types of the newest Node': async () => {
    const newest = join(folder, 'newest')
    mkdirSync(newest)
    cpSync(join(folder, 'types', 'module.mts'), join(newest, 'module.mts'))
    writeFileSync(join(newest, 'package.json'), '{ "private": true }')
    const packages = [join(folder, filename), 'ioredis@6', '@types/node@latest']
    await call('npm', ['install', '--no-audit', '--no-fund', ...packages], newest)
    const compiler = join(folder, 'node_modules', 'typescript-7', 'bin', 'tsc')
    const args = ['--ignoreConfig', '--noEmit', '--strict', '--target', 'es2022', '--types', 'node']
    await call(process.execPath, [compiler, ...args, ...(RESOLUTIONS[0] ?? []), 'module.mts'], newest).catch(
      error => {
        throw new Error(error.stdout || error)
      },
    )
  },
  vitest: async () => {
    await call(bin('vitest'), ['run', '--root', 'vitest'])
  },
  webpack: async () => {
    await call(bin('webpack'), ['-c', 'bundler.config.cjs'], folder, { BUNDLE: 'webpack' })
    await checkFacts(node('webpack.cjs'))
  },
  rspack: async () => {
    await call(bin('rspack'), ['build', '-c', 'bundler.config.cjs'], folder, { BUNDLE: 'rspack' })
    await checkFacts(node('rspack.cjs'))
  },
  vite: async () => {
    await call(bin('vite'), ['build'])
    const [file] = readdirSync(join(folder, 'out', 'vite')).filter(name => /^service\./.test(name))
    await checkFacts(node(join('vite', file ?? '')))
  },
  parcel: async () => {
    await call(bin('parcel'), ['build', '--no-cache'], join(folder, 'parcel'))
    await checkFacts(node('parcel.cjs'))
  },
  'esbuild, CommonJS': async () => {
    await call(bin('esbuild'), ['service.mjs', '--bundle', '--platform=node', '--outfile=out/esbuild.cjs'])
    await checkFacts(node('esbuild.cjs'))
  },
  'esbuild, ES module': async () => {
    const outside = ['debug', 'generic-pool', 'ioredis'].map(name => `--external:${name}`)
    const args = [
      'service.mjs',
      '--bundle',
      '--platform=node',
      '--format=esm',
      '--outfile=out/esbuild.mjs',
      ...outside,
    ]
    await call(bin('esbuild'), args)
    await checkFacts(node('esbuild.mjs'))
  },
  // Neither tells who awaits a promise: a nested plain acquire ends at its deadline, not as a deadlock.
  bun: () => checkFacts(call(bin('bun'), ['service.mjs']), { ...FACTS, deadlock: false }),
  deno: () =>
    checkFacts(call(bin('deno'), ['run', '-A', 'service.mjs']), {
      ...FACTS,
      deadlock: false,
      warnings: ['LIFEGUARD_POOL_DENO'],
    }),
}

const parts = process.argv.slice(2)
let filename = ''
let passed = 0
let failed = 0
try {
  cpSync(join(root, 'test', 'toolchains', 'project'), folder, { recursive: true })
  const packed = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], {
    cwd: root,
  })
  ;[{ filename }] = JSON.parse(packed.stdout) as [{ filename: string }]
  const dependencies = { ...TOOLS, 'lifeguard-pool': `file:./${filename}` }
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({ name: 'service', private: true, dependencies }),
  )
  await run('npm', ['install', '--no-audit', '--no-fund'], { cwd: folder, timeout: 600_000 })
  for (const [name, test] of Object.entries(CASES)) {
    if (parts.length > 0 && !parts.some(part => name.includes(part))) continue
    const failure = await test(folder).then(
      () => undefined,
      error => (error as { stderr?: string }).stderr || String(error),
    )
    if (failure === undefined) passed += 1
    else failed += 1
    process.stdout.write(failure === undefined ? `ok      ${name}\n` : `failed  ${name}: ${failure}\n`)
  }
} finally {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
}
process.stdout.write(`${passed} passed, ${failed} failed\n`)
process.exitCode = failed > 0 || passed === 0 ? 1 : 0
