/*
 * The numbers of the system calls in which a thread can be blocked, as /proc/PID/syscall shows them.
 */

/** What a call means when looking for a blocked thread. */
type CallKind = 'wait' | 'write' | 'read' | 'sleep' | 'lock' | 'child' | 'connect' | 'other'

interface Named {
  readonly name: string
  readonly kind: CallKind
}

const KINDS: Readonly<Record<CallKind, readonly string[]>> = {
  /** Waits for events of many descriptors: the idle state of an event loop. */
  wait: [
    'epoll_wait',
    'epoll_pwait',
    'epoll_pwait2',
    'poll',
    'ppoll',
    'select',
    'pselect6',
    'io_uring_enter',
  ],
  write: ['write', 'writev', 'pwrite64', 'sendto', 'sendmsg', 'sendfile'],
  read: ['read', 'readv', 'pread64', 'recvfrom', 'recvmsg', 'accept', 'accept4'],
  sleep: ['nanosleep', 'clock_nanosleep', 'pause', 'rt_sigsuspend', 'rt_sigtimedwait'],
  lock: ['futex', 'flock', 'fcntl'],
  child: ['wait4', 'waitid'],
  connect: ['connect'],
  other: ['openat', 'fsync', 'fdatasync', 'statx'],
}

/** https://github.com/torvalds/linux: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h */
const X64 =
  'read 0 write 1 poll 7 pread64 17 pwrite64 18 readv 19 writev 20 select 23 pause 34 nanosleep 35 sendfile 40 connect 42 accept 43 sendto 44 recvfrom 45 sendmsg 46 recvmsg 47 wait4 61 fcntl 72 flock 73 fsync 74 fdatasync 75 rt_sigtimedwait 128 rt_sigsuspend 130 futex 202 clock_nanosleep 230 epoll_wait 232 waitid 247 openat 257 pselect6 270 ppoll 271 epoll_pwait 281 accept4 288 statx 332 io_uring_enter 426 epoll_pwait2 441'
const ARM64 =
  'epoll_pwait 22 fcntl 25 flock 32 openat 56 read 63 write 64 readv 65 writev 66 pread64 67 pwrite64 68 sendfile 71 pselect6 72 ppoll 73 fsync 82 fdatasync 83 waitid 95 futex 98 nanosleep 101 clock_nanosleep 115 rt_sigsuspend 133 rt_sigtimedwait 137 accept 202 connect 203 sendto 206 recvfrom 207 sendmsg 211 recvmsg 212 accept4 242 wait4 260 statx 291 io_uring_enter 426 epoll_pwait2 441'

function table(text: string): Map<number, Named> {
  const kinds = Object.entries(KINDS) as [CallKind, readonly string[]][]
  const words = text.split(' ')
  const found = new Map<number, Named>()
  for (let at = 0; at < words.length; at += 2) {
    const name = words[at] ?? ''
    const kind = kinds.find(([, names]) => names.includes(name))?.[0] ?? 'other'
    found.set(Number(words[at + 1]), { name, kind })
  }
  return found
}

const TABLES: Readonly<Partial<Record<string, Map<number, Named>>>> = { x64: table(X64), arm64: table(ARM64) }

/** The system call that a thread is in. */
export interface SystemCall extends Named {
  /** The arguments as /proc shows them. The first one is the descriptor, if there is one. */
  readonly args: readonly string[]
}

/** The system call for each place in the kernel where a thread sleeps. Used where `syscall` may not be read. */
const SLEEPS: readonly (readonly [where: RegExp, name: string])[] = [
  [/^(?:do_|sys_)?e?poll_(?:wait|schedule)|ep_poll|poll_schedule/, 'epoll_wait'],
  [/pipe_write|unix_stream_sendmsg|sock_alloc_send|tty_write|n_tty_write/, 'write'],
  [/pipe_read|unix_stream_(?:read|data_wait)|n_tty_read/, 'read'],
  [/futex/, 'futex'],
  [/nanosleep/, 'clock_nanosleep'],
  [/^do_wait/, 'wait4'],
]

/**
 * @param text - /proc/PID/task/TID/syscall
 * @param wchan - /proc/PID/task/TID/wchan
 * @param arch - of the machine
 * @returns undefined if the thread is running or its call is unknown
 */
export function systemCallOf(text: string, wchan: string, arch: string): SystemCall | undefined {
  const [number = '', ...args] = text.trim().split(' ')
  if (/^\d+$/.test(number)) {
    const known = TABLES[arch]?.get(Number(number))
    return { name: `system call ${number}`, kind: 'other', ...known, args: args.slice(0, 6) }
  }
  if (text.trim() !== '') return undefined
  const name = SLEEPS.find(([where]) => where.test(wchan))?.[1]
  const kind = (Object.keys(KINDS) as CallKind[]).find(one => name !== undefined && KINDS[one].includes(name))
  return name === undefined || kind === undefined ? undefined : { name, kind, args: [] }
}

/** The descriptor that a call uses, where the kernel shows it. */
export function descriptorOfCall({ kind, args, name }: SystemCall): number | undefined {
  const hasOne = kind === 'read' || kind === 'write' || kind === 'connect' || name.startsWith('epoll')
  return hasOne && args[0] !== undefined ? Number(args[0]) : undefined
}
