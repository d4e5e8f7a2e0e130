/**
 * Loaded into the processes of a client's own tests, which know no other port than 5672: those
 * connections go to the port in BROKER_PORT of this machine instead.
 */
import { Socket } from 'node:net'

const { BROKER_PORT: port } = process.env
const connect = Socket.prototype.connect as (...args: unknown[]) => Socket

Socket.prototype.connect = function (this: Socket, ...args: unknown[]): Socket {
  const [first] = args
  const options = (Array.isArray(first) ? first[0] : first) as { port?: unknown; host?: string }
  if (Number(options?.port) === 5672) Object.assign(options, { port, host: '127.0.0.1' })
  return connect.apply(this, args)
}
