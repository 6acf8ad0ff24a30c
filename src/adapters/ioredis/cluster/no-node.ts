import { messageOf, PoolError } from '../../../api/errors.ts'
import { adviceFor } from '../../../api/messages/connect-advice.ts'
import { firstFew } from '../../../api/messages/wording.ts'
import { systemClock } from '../../../runtime/time/clock.ts'
import { type CredentialSource, isOfCredentials } from '../client/credentials.ts'
import type { Target } from './loan-target.ts'
import { refusalAdvice } from './refusals.ts'
import type { Topology } from './topology.ts'

/** A call of `credentials` that takes so long is what callers wait for, whatever else has failed. Milliseconds. */
const LONG_CALL_MILLIS = 1000
/** At most this many nodes are named in an error. */
const MOST_NODES = 10

const CREDENTIALS =
  'Look into the function credentials: it has createTimeoutMillis, and no node is asked before'
const LOOK = 'Look at CLUSTER INFO and CLUSTER NODES'
const NAMES =
  'A node is called as the cluster reports it (CLUSTER SLOTS, and natMap), whatever other names lead there'

interface Host {
  readonly name: string
  readonly topology: Topology
  readonly credentials: CredentialSource | undefined
}

/** Why there is no node, and what to do. */
interface Reason {
  readonly why: string
  readonly advice: string
  readonly details: { readonly cause?: unknown }
}

/**
 * The error where no node serves what is wanted.
 *
 * @param target - what an acquire waits for; undefined: any nodes are wanted
 */
export function noNode(host: Host, target: Target | undefined): PoolError {
  const { name, topology } = host
  const isKnown = topology.map.isKnown
  const { why, advice, details } = isKnown ? amongKnown(topology, target) : noneAsked(host)
  const none = isKnown ? 'no node serves any slot' : 'its nodes are not known'
  const what = target === undefined ? none : missing(target)
  return new PoolError('POOL_CONNECT_FAILED', `pool '${name}': ${what}; ${why}. ${advice}`, {
    pool: name,
    ...details,
  })
}

const missing = ({ slot, role, node }: Target): string =>
  node === undefined ? `no ${role} serves slot ${slot}` : `there is no node '${node}'`

function amongKnown({ map }: Topology, target: Target | undefined): Reason {
  if (map.nodes.size === 0) {
    const why = 'the nodes say that no slot has a node: the cluster was reset, or is not set up yet'
    return { why, advice: LOOK, details: {} }
  }
  const why = `the nodes known are ${firstFew([...map.nodes.keys()], MOST_NODES)}`
  return { why, advice: target?.node === undefined ? LOOK : NAMES, details: {} }
}

function noneAsked({ topology, credentials }: Host): Reason {
  const { lastError: cause, hopeless, hasAnswer } = topology.refresher
  const pending = credentialsPending(credentials, cause)
  if (pending !== undefined)
    return { why: `no node could be asked: ${pending}`, advice: CREDENTIALS, details: {} }
  const advice = hopeless ?? ownAdvice(cause)
  if (cause === undefined) {
    const why = hasAnswer ? 'no two nodes agree yet' : 'no node has answered yet'
    return { why, advice, details: { cause } }
  }
  const why = `no node could be asked: ${saidBy(cause)}`.trim().replace(/\.$/, '')
  return { why, advice, details: { cause } }
}

/** Is the function `credentials` what keeps the nodes from being asked? */
function credentialsPending(credentials: CredentialSource | undefined, cause: unknown): string | undefined {
  const since = credentials?.askedSince
  if (since === undefined) return undefined
  const millis = Math.round(systemClock.now() - since)
  const isLong = cause === undefined || millis >= LONG_CALL_MILLIS
  return isLong ? `the function credentials has not answered for ${millis} ms` : undefined
}

/** What to do about nodes that cannot be asked. An error that says so itself needs no more. */
function ownAdvice(cause: unknown): string {
  const refusal = refusalAdvice(cause)
  if (refusal !== undefined) return refusal
  if (isOfCredentials(cause)) return CREDENTIALS
  const advice = adviceFor(cause)
  const saysNothing = cause === undefined || advice.startsWith('See the cause')
  return saysNothing ? 'Check the addresses of the nodes, and that they are up' : advice
}

/** What an error says; one that the function `credentials` threw need not name it. */
function saidBy(cause: unknown): string {
  const message = messageOf(cause)
  const isUnnamed = isOfCredentials(cause) && !/\bcredentials\b/.test(message)
  return isUnnamed ? `the function credentials failed: ${message}` : message
}
