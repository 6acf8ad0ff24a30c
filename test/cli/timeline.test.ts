import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { timelineHtml } from '../../src/cli/timeline/html.ts'
import { timelineSvg } from '../../src/cli/timeline/svg.ts'
import { recordTimeline, type Timeline } from '../../src/diagnostics/index.ts'
import { ChildOutput } from '../support/child-output.ts'
import { noChromium, startChromium } from '../support/chromium.ts'
import { countSockets } from '../support/fds.ts'
import { guardChild } from '../support/orphan-guard.ts'
import { COMMAND, run, Started } from './support.ts'

const CHILD = fileURLToPath(new URL('./timeline-child.js', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'lifeguard-timeline-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const PICTURES = process.env.LIFEGUARD_PICTURES
const NAME = '</script><script>alert(1)</script>'

/** A recording with all there can be in one. */
const FULL: Timeline = {
  version: 1,
  startedAt: '2026-01-01T00:00:00.000Z',
  millis: 1000,
  pools: [{ name: NAME, max: 2 }],
  spans: [
    { pool: 0, connection: 1, state: 'connecting', from: 0, to: 100 },
    { pool: 0, connection: 1, state: 'lent', from: 100, to: 400, loan: 1, site: `evil (/srv/<b>.js:1:2)` },
    { pool: 0, connection: 1, state: 'half-closed', from: 400, to: 500, loan: 1 },
    { pool: 0, connection: 1, state: 'closing', from: 500, to: 600, detail: 'half-closed: & "gone"' },
    { pool: 0, connection: 3, state: 'connecting', from: 610, to: 620 },
    { pool: 0, connection: 4, state: 'connecting', from: 640, to: 650 },
    { pool: 0, connection: 2, state: 'validating', from: 200, to: 300 },
    { pool: 0, connection: 2, state: 'resetting', from: 300, to: 450 },
    { pool: 0, connection: 2, state: 'idle', from: 450, to: 1000, isOpen: true },
  ],
  waits: [
    { pool: 0, from: 50, to: 100, connection: 1 },
    { pool: 0, from: 60, to: 900, error: 'POOL_ACQUIRE_TIMEOUT', site: 'slow (/srv/a.js:1:2)' },
    { pool: 0, from: 950, to: 1000, isOpen: true },
  ],
  stalls: [{ from: 600, to: 700 }],
  marks: [
    {
      pool: 0,
      at: 400,
      what: 'half-close',
      words: '#1: the server closed its side \u0000\u001b[31m\uffff\ud800\u202e',
      connection: 1,
    },
    { pool: 0, at: 620, what: 'create-failed', words: 'connect ECONNREFUSED', connection: 3 },
    { pool: 0, at: 650, what: 'create-failed', words: 'connect ECONNREFUSED', connection: 4 },
    { pool: 0, at: 800, what: 'deadlock', words: '<script>alert(2)</script>' },
  ],
  dropped: { spans: 3, waits: 0, marks: 0, completeFrom: 10 },
}

test('a process that serves its diagnostics is recorded by its socket', async () => {
  const path = join(folder, 'a.sock')
  const child = new Started(process.execPath, [CHILD, path])
  try {
    await child.word
    const { code, stdout, stderr } = await run('timeline', path, '--record', '0.5', '--json')
    assert.equal(code, 0, stderr)
    const timeline = JSON.parse(stdout) as Timeline
    assert.deepEqual(timeline.pools, [{ name: NAME, max: 2 }])
    assert.ok(timeline.spans.some(({ state, site }) => state === 'lent' && site?.includes('worker')))
    assert.ok(timeline.waits.length > 0)
    assert.equal(timeline.dropped.spans, 0)
  } finally {
    await child.kill()
  }
})

test('a process that nobody prepared is recorded by its inspector, which is closed again', {
  skip: process.platform !== 'linux',
}, async () => {
  const child = new Started(process.execPath, ['--inspect-port=0', CHILD, ''], 'ignore')
  try {
    await child.word
    const refused = await run('timeline', String(child.pid), '--record', '0.5')
    assert.equal(refused.code, 2)
    assert.match(refused.stderr, /serves no diagnostics that can be found.*use --inspect/)
    const out = join(folder, 'inspected.html')
    const said = await run('timeline', String(child.pid), '--inspect', '--record', '0.5', '--out', out)
    assert.equal(said.code, 0, said.stderr)
    assert.match(said.stdout, /spans of connections/)
    // The service loads another copy of this package than the command.
    const sites = [...readFileSync(out, 'utf8').matchAll(/"site":"([^"]*)"/g)].map(([, site = '']) => site)
    assert.deepEqual([sites.length > 0, sites.filter(site => !site.startsWith('worker'))], [true, []])
    assert.equal(countSockets(child.pid)?.tcp.LISTEN ?? 0, 0)
  } finally {
    await child.kill()
  }
})

test('what is no process, no socket, no recording is refused with what to do', async () => {
  const file = join(folder, 'wrong.json')
  writeFileSync(file, '{"version":2}')
  const cases: [string[], RegExp][] = [
    [[], /needs one process/],
    [['/nowhere'], /no process, socket, URL or file/],
    [[file], /no timeline, or one of another version/],
    [[file, '--svg', '--json'], /exclude each other/],
    [[file, '--record', '0'], /--record must be/],
    [['/nowhere', '--inspect'], /needs the id of a process/],
    [['http://127.0.0.1:1/'], /ECONNREFUSED/],
  ]
  for (const [args, words] of cases) {
    const { code, stderr } = await run('timeline', ...args)
    assert.equal(code, 2, args.join(' '))
    assert.match(stderr, words)
  }
})

test('a recording in a file becomes a page and a picture in which all that it says is text', async () => {
  const file = join(folder, 'recorded.json')
  using recording = recordTimeline()
  writeFileSync(file, JSON.stringify(recording.stop()))
  assert.equal((await run('timeline', file, '--svg')).code, 0)
  writeFileSync(file, JSON.stringify(FULL))
  const { stdout: html } = await run('timeline', file)
  assert.equal(html, timelineHtml(FULL))
  assert.equal(html.match(/<script/g)?.length, 2)
  assert.doesNotMatch(html, /alert\(1\)<\/script>/)
  const svg = timelineSvg(FULL, 'A & B <c>')
  // Neither markup nor what XML forbids nor what turns the text around.
  assert.doesNotMatch(svg, /<script|<b>|\p{Cc}(?<!\n)|[\p{Cs}\p{Cf}\ufffe\uffff]/u)
  assert.match(svg, /A &amp; B &lt;c&gt;/)
  for (const word of [
    'POOL_ACQUIRE_TIMEOUT',
    'evil',
    '3 records did not fit',
    'its peer has gone',
    'ECONNREFUSED, 2 times',
  ])
    assert.match(svg, new RegExp(word))
  for (const look of ['connecting', 'validating', 'resetting', 'closing', 'stall'])
    assert.match(svg, new RegExp(`fill="url\\(#${look}\\)"`))
})

test('a link to a recording, or to a socket, leads there', async () => {
  const [file, path] = [join(folder, 'linked.json'), join(folder, 'linked.sock')]
  writeFileSync(file, JSON.stringify(FULL))
  symlinkSync(file, join(folder, 'link.json'))
  assert.equal((await run('timeline', join(folder, 'link.json'), '--svg')).stdout, timelineSvg(FULL))
  const child = new Started(process.execPath, [CHILD, path])
  try {
    await child.word
    symlinkSync(path, join(folder, 'link.sock'))
    const said = await run('timeline', join(folder, 'link.sock'), '--record', '0.1', '--json')
    assert.equal(said.code, 0, said.stderr)
  } finally {
    await child.kill()
  }
})

test('where it cannot be written, nothing is recorded, and no file is overwritten unasked', async () => {
  const [file, out] = [join(folder, 'kept.json'), join(folder, 'precious')]
  writeFileSync(file, JSON.stringify(FULL))
  writeFileSync(out, 'precious')
  // Port 1 refuses, which nobody comes to.
  for (const [where, words] of [
    [out, /is there already: choose another name, or --force/],
    [folder, /is a folder/],
    [join(folder, 'nowhere', 'out.html'), /ENOENT/],
  ] as const) {
    const { code, stderr } = await run('timeline', 'http://127.0.0.1:1/', '--out', where)
    assert.equal(code, 2)
    assert.match(stderr, words)
  }
  assert.equal(readFileSync(out, 'utf8'), 'precious')
  assert.equal((await run('timeline', file, '--out', out, '--force', '--svg')).code, 0)
  assert.equal(readFileSync(out, 'utf8'), timelineSvg(FULL))
})

test('output that cannot be written is no success', {
  skip: existsSync('/dev/full') ? false : 'there is no /dev/full',
}, async () => {
  const full = openSync('/dev/full', 'w')
  const child = spawn(process.execPath, [COMMAND, '--help'], { stdio: ['ignore', full, 'pipe'] })
  closeSync(full)
  guardChild(child)
  const output = new ChildOutput(child)
  assert.equal(await output.ended, 2)
  assert.match(output.stderr, /ENOSPC/)
})

test('in a browser, the page shows each bar, by pointer and by keyboard, and runs nothing else', {
  skip: noChromium,
}, async () => {
  const browser = await startChromium()
  try {
    const file = join(folder, 'page.html')
    writeFileSync(file, timelineHtml(FULL))
    const page = await browser.page()
    await page.open(`file://${file}`)
    await page.until(`performance.getEntriesByName('draw').length > 0`)
    const text = await page.text()
    assert.match(text, /3 records did not fit/)
    assert.match(text, /deadlock broken: <script>alert\(2\)<\/script>/)
    await page.read(`document.querySelector('canvas[tabindex]').focus()`)
    const press = (key: string): Promise<unknown> =>
      page.call('Input.dispatchKeyEvent', { type: 'keyDown', key })
    await press('ArrowDown')
    await page.until(`/^0 ms: #1 connecting/.test(document.querySelector('.pointed').textContent)`)
    await press('ArrowRight')
    await page.until(
      `/^100 ms: #1 lent, 300 ms, loan 1, taken at evil \\(.srv.<b>/.test(document.querySelector('.pointed').textContent)`,
    )
    for (const key of ['+', '+', '-', '0']) await press(key)
    await page.until(`/^0 ms to 1 s of 1 s$/.test(document.querySelector('.actions span').textContent)`)
    if (PICTURES !== undefined) await page.picture(join(PICTURES, 'timeline-full.png'))
    assert.deepEqual(page.complaints, [])
  } finally {
    await browser.close()
  }
})
