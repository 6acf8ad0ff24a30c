import { execFileSync } from 'node:child_process'
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A real pipe, as a shell, sshd or a supervisor makes it; Node itself would give a child a socket. */
export interface Pipe {
  /** For the child. */
  readonly fd: number
  /** For us, with an open description of its own: a child may change the flags of the one that it is given. */
  readonly reader: number
  close(): void
}

export function makePipe(): Pipe {
  const folder = mkdtempSync(join(tmpdir(), 'lifeguard-'))
  const path = join(folder, 'pipe')
  execFileSync('mkfifo', [path])
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const fd = openSync(path, constants.O_WRONLY)
  rmSync(folder, { recursive: true })
  return {
    fd,
    reader,
    close: () => {
      closeSync(fd)
      closeSync(reader)
    },
  }
}
