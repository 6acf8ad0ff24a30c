import { once } from 'node:events'
import { connect } from 'node:net'

/** Sends these bytes. @returns all that comes back until the connection ends */
export async function raw(path: string, bytes: string): Promise<string> {
  const socket = connect(path)
  let answer = ''
  socket.setEncoding('latin1').on('data', part => {
    answer += part
  })
  socket.on('error', () => {})
  socket.end(bytes, 'latin1')
  await once(socket, 'close')
  return answer
}
