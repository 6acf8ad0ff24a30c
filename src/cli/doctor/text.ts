import { printable } from '../printable.ts'
import type { Diagnosis } from './doctor.ts'
import type { Finding, Pattern } from './finding.ts'

/** The outages that each pattern is known from, as in docs/doctor.md. */
const NAMES: Readonly<Record<Pattern, string>> = {
  'half-closed': 'I0, half-closed connections',
  'unread-pipe': 'I1, output that nobody reads',
  'blocked-loop': 'I2, a blocked event loop',
  'pool-used-up': 'I3, a pool used up by those who wait for it',
  'pool-stands-still': 'a pool whose connections are all lent',
  'unowned-sockets': 'I4, connections that nobody owns',
  'unread-requests': 'requests that nobody reads',
  stopped: 'a stopped process',
  'silent-peer': 'a silent server',
  descriptors: 'descriptors near their limit',
  leak: 'connections that were lent and not given back',
  deadlock: 'I3, nested acquires that deadlock',
  'idle-limit': 'a server that closes idle connections',
  unreachable: 'a server that cannot be reached',
}

const WIDTH = 110

/** Formats a diagnosis for people: what is wrong comes first. */
export function diagnosisText(diagnosis: Diagnosis): string {
  const { pid, name, command, seconds, looks, findings, reasons, sockets, pools } = diagnosis
  const { unsure, unseen, isBlind, isPartial } = diagnosis
  const lines = [
    `${name} (pid ${pid}), ${looks} looks in ${seconds.toFixed(1)} s: ${command.slice(0, WIDTH).replaceAll('\n', ' ')}`,
    '',
    ...(findings.length > 0
      ? findings.flatMap(findingLines)
      : [
          isBlind
            ? 'VERDICT: none, because'
            : `VERDICT: none of the known outages${isPartial ? ', as far as it could be seen' : ''}, because`,
          ...listed(reasons),
        ]),
  ]
  if (unsure.length > 0) lines.push('', 'cannot be told:', ...listed(unsure))
  if (sockets.length > 0) lines.push('', 'its sockets:', ...listed(sockets))
  if (pools.length > 0)
    lines.push('', 'its pools:', ...pools.flatMap(pool => pool.split('\n').map(line => `  ${line}`)))
  if (unseen.length > 0) lines.push('', 'not visible:', ...listed(unseen))
  // What a process calls itself, or its server says, must not reach a terminal as a command.
  return `${printable(lines.join('\n'))}\n`
}

function findingLines({ pattern, title, evidence, next }: Finding, index: number): string[] {
  return [
    ...(index > 0 ? [''] : []),
    `${index === 0 ? 'VERDICT' : 'ALSO'}: ${NAMES[pattern]}`,
    ...wrapped(title, '  '),
    '  evidence:',
    ...listed(evidence, '    '),
    '  what to do next:',
    ...listed(next, '    '),
  ]
}

const listed = (lines: readonly string[], indent = '  '): string[] =>
  lines.flatMap(line => wrapped(line, `${indent}- `))

/** Wraps text at a width. All lines but the first are indented to the start of the text. */
function wrapped(text: string, start: string): string[] {
  const lines = [start]
  let isEmpty = true
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? ''
    if (!isEmpty && line.length + 1 + word.length > WIDTH) {
      lines.push(' '.repeat(start.length) + word)
    } else lines[lines.length - 1] = isEmpty ? line + word : `${line} ${word}`
    isEmpty = false
  }
  return lines
}
