import { type Command, integer } from './data-commands.ts'
import { Failure, OK, type Reply, Status, Table } from './resp.ts'
import type { Session } from './session.ts'

const version = '7.0.0'
const many = Number.POSITIVE_INFINITY

function authenticate(session: Session, password: string | undefined): void {
  const expected = session.server.password
  if (expected !== undefined && password !== expected) {
    throw new Failure('WRONGPASS invalid username-password pair or user is disabled.')
  }
  session.authenticated = true
}

function auth(session: Session, args: string[]): Reply {
  if (session.server.password === undefined) {
    throw new Failure('ERR AUTH <password> called without any password configured for the default user.')
  }
  authenticate(session, args.at(-1))
  return OK
}

function hello(session: Session, [asked, ...options]: string[]): Reply {
  if (asked !== undefined && asked !== '2' && asked !== '3') {
    throw new Failure('NOPROTO unsupported protocol version')
  }
  let name: string | undefined
  for (let i = 0; i < options.length; i++) {
    const option = options[i]!.toUpperCase()
    if (option === 'AUTH') {
      authenticate(session, options[i + 2])
      i += 2
    } else if (option === 'SETNAME') name = options[++i]
    else throw new Failure(`ERR Syntax error in HELLO option '${options[i]}'`)
  }
  if (!session.authenticated) {
    throw new Failure(
      'NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time',
    )
  }
  if (asked !== undefined) session.protocol = asked === '3' ? 3 : 2
  if (name !== undefined) session.name = name
  return new Table([
    ['server', 'redis'],
    ['version', version],
    ['proto', session.protocol],
    ['id', session.id],
    ['mode', 'standalone'],
    ['role', 'master'],
    ['modules', []],
  ])
}

function describe(session: Session): string {
  const now = Date.now()
  const age = Math.floor((now - session.connectedAt) / 1000)
  const idle = Math.floor((now - session.lastCommandAt) / 1000)
  const queued = session.transaction === undefined ? -1 : session.transaction.length
  return (
    `id=${session.id} addr=${session.address} laddr=${session.localAddress} fd=-1 name=${session.name} age=${age} ` +
    `idle=${idle} flags=${session.flags} db=${session.db} sub=0 psub=0 multi=${queued} ` +
    `cmd=${session.lastCommand} user=default resp=${session.protocol}\n`
  )
}

/** CLIENT KILL, new form (filters; answers how many) and old (an address; answers OK). */
function kill(session: Session, args: string[]): Reply {
  const sessions = [...session.server.sessions]
  const [only] = args
  if (args.length === 1) {
    const victim = sessions.find(one => one.address === only)
    if (victim === undefined) throw new Failure('ERR No such client')
    victim.end()
    return OK
  }
  if (args.length === 0 || args.length % 2 === 1) throw new Failure('ERR syntax error')
  let skipSelf = true
  const filters: ((one: Session) => boolean)[] = []
  for (let i = 0; i < args.length; i += 2) {
    const value = args[i + 1]!
    const filter = args[i]!.toUpperCase()
    if (filter === 'ID') filters.push(one => one.id === integer(value))
    else if (filter === 'TYPE') filters.push(() => value.toLowerCase() === 'normal')
    else if (filter === 'ADDR') filters.push(one => one.address === value)
    else if (filter === 'SKIPME') skipSelf = value.toLowerCase() !== 'no'
    else throw new Failure('ERR syntax error')
  }
  const victims = sessions.filter(one => !(skipSelf && one === session) && filters.every(fits => fits(one)))
  for (const victim of victims) victim.end()
  return victims.length
}

function client(session: Session, [sub = '', ...args]: string[]): Reply {
  switch (sub.toUpperCase()) {
    case 'ID':
      return session.id
    case 'GETNAME':
      return session.name === '' ? null : session.name
    case 'SETNAME':
      session.name = args[0] ?? ''
      return OK
    case 'SETINFO':
      return OK
    case 'INFO':
      return describe(session)
    case 'LIST':
      return [...session.server.sessions].map(describe).join('')
    case 'KILL':
      return kill(session, args)
    default:
      throw new Failure(`ERR unknown subcommand '${sub}'. Try CLIENT HELP.`)
  }
}

function config(_session: Session, [sub = '', ...names]: string[]): Reply {
  if (sub.toUpperCase() !== 'GET') throw new Failure(`ERR unknown subcommand '${sub}'. Try CONFIG HELP.`)
  const values: Record<string, string> = {
    timeout: '0',
    'tcp-keepalive': '300',
    maxclients: '10000',
    databases: '16',
  }
  const known = names.map(name => name.toLowerCase()).filter(name => name in values)
  return new Table(known.map(name => [name, values[name] as string]))
}

function info(session: Session): Reply {
  return [
    '# Server',
    `redis_version:${version}`,
    'redis_mode:standalone',
    `process_id:${process.pid}`,
    '# Clients',
    `connected_clients:${session.server.sessions.size}`,
    '# Persistence',
    'loading:0',
    '# Replication',
    'role:master',
    '',
  ].join('\r\n')
}

function select(session: Session, [db]: string[]): Reply {
  const index = integer(db)
  if (index < 0 || index > 15) throw new Failure('ERR DB index is out of range')
  session.db = index
  return OK
}

/** The commands about the connection itself, its transaction included. */
export const connectionCommands: Record<string, Command> = {
  ping: { arity: [0, 1], run: (_s, [text]) => text ?? new Status('PONG') },
  echo: { arity: [1, 1], run: (_s, [text = '']) => text },
  hello: { arity: [0, many], run: hello },
  auth: { arity: [1, 2], run: auth },
  select: { arity: [1, 1], run: select },
  client: { arity: [1, many], run: client },
  config: { arity: [2, many], run: config },
  info: { arity: [0, many], run: info },
  quit: {
    arity: [0, many],
    run: session => {
      session.end()
      return OK
    },
  },
  watch: {
    arity: [1, many],
    run: (session, keys) => {
      session.watch(keys)
      return OK
    },
  },
  unwatch: {
    arity: [0, 0],
    run: session => {
      session.unwatch()
      return OK
    },
  },
  multi: {
    arity: [0, 0],
    run: session => {
      session.transaction = []
      return OK
    },
  },
  discard: {
    arity: [0, 0],
    run: session => {
      session.discard()
      return OK
    },
  },
  exec: { arity: [0, 0], run: session => session.exec() },
  blpop: { arity: [2, many], run: (session, args) => session.blockOn(args.slice(0, -1), args.at(-1)) },
}
