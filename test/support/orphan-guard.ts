import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/*
 * Nothing that this process started may outlive it, and its files no more. The 'exit' event covers a normal end and
 * an uncaught exception. A signal skips it, and a signal handler is no cure: with one, SIGTERM no longer ends a
 * process whose loop is blocked. So a small shell holds the other end of a pipe; when the pipe closes, for whatever
 * reason, it kills the children that are still listed and removes the directory, `$1`.
 */
const script = `
pids=
while read -r word pid; do
  rest=
  for p in $pids; do [ "$p" = "$pid" ] || rest="$rest $p"; done
  pids=$rest
  [ "$word" = add ] && pids="$pids $pid"
done
[ -z "$pids" ] || kill -9 $pids 2>/dev/null
rm -rf "$1"
`

interface Guard {
  directory: string
  children: Set<ChildProcess>
  tell(word: 'add' | 'drop', pid: number): void
}

function startGuard(): Guard {
  const directory = mkdtempSync(join(tmpdir(), 'lifeguard-redis-'))
  const children = new Set<ChildProcess>()
  process.once('exit', () => {
    for (const child of children) child.kill('SIGKILL')
    rmSync(directory, { recursive: true, force: true })
  })
  if (process.platform === 'win32') return { directory, children, tell: () => {} }
  // Detached: a Ctrl-C for the terminal's process group must not take the shell away before its work.
  const shell = spawn('/bin/sh', ['-c', script, 'orphan-guard', directory], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  shell.on('error', () => {})
  shell.stdin.on('error', () => {})
  shell.unref()
  const pipe = shell.stdin as Socket
  pipe.unref()
  return { directory, children, tell: (word, pid) => pipe.write(`${word} ${pid}\n`) }
}

let guard: Guard | undefined

/** A temporary directory of this process, removed when it ends, however it ends. */
export function guardedDirectory(): string {
  guard ??= startGuard()
  return guard.directory
}

/** Sees to it that the child is killed when this process ends, however it ends. */
export function guardChild(child: ChildProcess): void {
  const { pid } = child
  if (pid === undefined) return
  guard ??= startGuard()
  const { children, tell } = guard
  children.add(child)
  tell('add', pid)
  child.once('exit', () => {
    children.delete(child)
    tell('drop', pid)
  })
}
