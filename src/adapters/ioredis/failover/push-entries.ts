/**
 * The entries of a push message, as texts; lists within it are left out. The message is complete and well-formed, see
 * `ReplyScanner`.
 */
export function entriesOf(frame: Buffer): (string | null)[] {
  const entries: (string | null)[] = []
  let at = endOfLine(frame, 0)
  while (at < frame.length) {
    const end = endOfLine(frame, at)
    const type = String.fromCharCode(frame[at] as number)
    const line = frame.toString('utf8', at + 1, end - 2)
    at = end
    if ('$=!'.includes(type)) {
      const size = Number(line)
      entries.push(size < 0 ? null : frame.toString('utf8', at, at + size))
      if (size >= 0) at += size + 2
    } else if ('*%~'.includes(type)) break
    else entries.push(type === '_' ? null : line)
  }
  return entries
}

const endOfLine = (frame: Buffer, from: number): number => {
  const end = frame.indexOf('\r\n', from)
  return end === -1 ? frame.length : end + 2
}
