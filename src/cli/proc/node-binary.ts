import type { ProcFiles } from './proc-files.ts'

/*
 * Whether a process really is Node. Its name says little: a `node_exporter` is none, and SIGUSR1 ends it.
 */

/** Every build of Node exports it, for addons; nothing else does. */
const SYMBOL = '\0_ZN4node5StartEiPPc\0'
const SHT_DYNSYM = 11
/** The string table of Node has some 5 MB. */
const MOST_BYTES = 64 * 2 ** 20

/** Does a process run a program that contains Node, or that has loaded Node as a library? */
export function runsNode(proc: ProcFiles, pid: number): boolean {
  if (exportedNames(proc, `${pid}/exe`).includes(SYMBOL)) return true
  const program = proc.link(`${pid}/exe`).replace(/ \(deleted\)$/, '')
  return /\/node(?:js)?$/.test(program) && /\/libnode\.so/.test(proc.text(`${pid}/maps`))
}

/** The names that an ELF file of 64 bits, little-endian, exports. Empty for any other file. */
function exportedNames(proc: ProcFiles, path: string): string {
  const head = proc.bytes(path, 0, 64)
  if (head.length < 64 || head.readUInt32BE(0) !== 0x7f_45_4c_46 || head[4] !== 2 || head[5] !== 1) return ''
  const [start, size, count] = [
    Number(head.readBigUInt64LE(0x28)),
    head.readUInt16LE(0x3a),
    head.readUInt16LE(0x3c),
  ]
  const table = proc.bytes(path, start, size * count)
  if (size < 64 || table.length < size * count) return ''
  for (let at = 0; at < table.length; at += size) {
    if (table.readUInt32LE(at + 4) !== SHT_DYNSYM) continue
    const names = table.readUInt32LE(at + 40) * size
    if (names + 64 > table.length) return ''
    const [from, length] = [table.readBigUInt64LE(names + 24), table.readBigUInt64LE(names + 32)]
    return length > MOST_BYTES ? '' : proc.bytes(path, Number(from), Number(length)).toString('latin1')
  }
  return ''
}
