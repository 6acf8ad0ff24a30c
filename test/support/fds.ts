export { countSockets, type SocketCensus, type TcpState } from '../../examples/support/fds.ts'
