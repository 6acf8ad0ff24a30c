import type { LiveData, LivePool } from '../../src/diagnostics/live/live-data.ts'
import { count, duration, el, encoded, say, visible } from '../shared/dom.ts'
import { History, sampleOf } from './history.ts'
import { PoolView } from './pool-view.ts'
import { Source } from './source.ts'

/*
 * The live page of the diagnostics handler. It asks for `live.json` about once a second, and shows one pool at a time.
 */

/** Without an answer for so long, the page says so. Milliseconds. */
const SILENCE_MILLIS = 3000

const source = new Source()
const histories = new Map<string, History>()
const view = new PoolView(name => source.report(name))
let latest: LiveData | undefined
/** The pool that the address names, as `encoded` has it. */
let chosen = hash()

const process = el('span', { class: 'dim' })
const pause = el('button', { type: 'button', 'aria-pressed': 'false' }, 'Pause')
const silence = el('p', { class: 'silence', role: 'alert' })
const tabs = el('nav', { class: 'tabs', 'aria-label': 'Pools' })
const body = el('main')
silence.hidden = true

document.body.replaceChildren(
  el('header', {}, el('h1', {}, 'lifeguard-pool'), process, pause),
  silence,
  tabs,
  body,
)

/** The browser may have encoded it in its own way, and a person may have typed anything. */
function hash(): string {
  const text = location.hash.slice(1)
  try {
    return encoded(decodeURIComponent(text))
  } catch {
    return text
  }
}

function show(data: LiveData): void {
  const at = performance.now()
  latest = data
  const { pid, node } = data.process
  say(process, `process ${pid}, Node ${node}, up ${duration(data.process.upSeconds * 1000)}`)
  for (const pool of data.pools) {
    const history = histories.get(pool.name) ?? new History()
    histories.set(pool.name, history)
    history.add(sampleOf(pool, at))
  }
  for (const name of histories.keys())
    if (!data.pools.some(pool => pool.name === name)) histories.delete(name)
  render()
}

function render(): void {
  if (latest === undefined) return
  performance.mark('render-start')
  const { pools } = latest
  const pool = pools.find(({ name }) => encoded(name) === chosen) ?? pools.find(isSick) ?? pools[0]
  showTabs(pools, pool)
  if (pool === undefined) {
    body.replaceChildren(el('p', {}, 'There is no open pool in this process.'))
  } else {
    if (view.element.parentNode !== body) body.replaceChildren(view.element)
    view.show(pool, histories.get(pool.name) ?? new History(), performance.now())
    document.title = `${visible(pool.name)}: ${count(pool.stats.borrowed)} lent, ${count(pool.stats.pending)} waiting`
  }
  performance.measure('render', 'render-start')
  performance.clearMarks()
}

const isSick = ({ findings }: LivePool): boolean => findings.length > 0

const buttons = new Map<string, HTMLButtonElement>()

function showTabs(pools: readonly LivePool[], shown: LivePool | undefined): void {
  tabs.hidden = pools.length < 2
  for (const pool of pools) {
    const { name, stats } = pool
    let button = buttons.get(name)
    if (button === undefined) {
      button = el('button', { type: 'button' })
      button.addEventListener('click', () => {
        chosen = encoded(name)
        history.replaceState(null, '', `#${chosen}`)
        render()
      })
      buttons.set(name, button)
      tabs.append(button)
    }
    const waiting = stats.pending === 0 ? '' : `, ${count(stats.pending)} waiting`
    say(
      button,
      `${isSick(pool) ? '\u26a0 ' : ''}${name}  ${count(stats.borrowed)}/${count(stats.max)}${waiting}`,
    )
    button.setAttribute('aria-pressed', String(name === shown?.name))
  }
  for (const [name, button] of buttons) {
    if (pools.some(pool => pool.name === name)) continue
    button.remove()
    buttons.delete(name)
  }
}

function tick(): void {
  const quiet = performance.now() - source.answeredAt
  // A process that is asked seldom is not silent.
  const waits = source.askedAt === undefined ? 0 : performance.now() - source.askedAt
  const isSilent = (waits > SILENCE_MILLIS || source.trouble !== undefined) && !source.isPaused && !isAsking
  silence.hidden = !isSilent
  body.classList.toggle('stale', isSilent)
  if (!isSilent) return
  const why = source.trouble === undefined ? 'the process is busy, or gone' : source.trouble
  say(
    silence,
    `No answer for ${Math.round(quiet / 1000)} s: ${why}. ${latest === undefined ? '' : 'What you see is from before that.'}`,
  )
}

/** The handler wants a token: asks for it. It is sent as a header, and kept in no storage. */
let isAsking = false
function askForToken(): void {
  isAsking = true
  const input = el('input', { type: 'password', id: 'token', autocomplete: 'current-password', required: '' })
  const wrong = source.token === undefined ? '' : 'That was not it. '
  const form = el(
    'form',
    { class: 'token' },
    el('label', { for: 'token' }, `${wrong}This handler wants its token:`),
    input,
    el('button', { type: 'submit' }, 'Show the pools'),
  )
  form.addEventListener('submit', event => {
    event.preventDefault()
    isAsking = false
    source.token = input.value
    body.replaceChildren()
    source.start()
  })
  body.replaceChildren(form)
  input.focus()
}

pause.addEventListener('click', () => {
  source.isPaused = !source.isPaused
  source.answeredAt = performance.now()
  pause.setAttribute('aria-pressed', String(source.isPaused))
  say(pause, source.isPaused ? 'Go on' : 'Pause')
})
addEventListener('resize', render)
addEventListener('hashchange', () => {
  chosen = hash()
  render()
})
source.onData = show
source.onRefused = askForToken
setInterval(tick, 500)
source.start()
