/**
 * What a connection writes to the log, in the phrases that operators of RabbitMQ look for. Text
 * that a client chose is cut and escaped.
 */
import { type Logger, shown } from '../platform/log.js'
import type { Socket } from '../platform/sockets.js'
import type { AmqpError } from '../wire/replies.js'
import type { Handshake } from './handshake.js'

export class ConnectionLog {
  readonly #log: Logger
  readonly #fields: { readonly conn: string }
  readonly #handshake: Handshake

  /** A connection is called by the addresses of its socket. */
  constructor(log: Logger, socket: Socket, handshake: Handshake) {
    this.#log = log
    this.#fields = { conn: socket.peer.title }
    this.#handshake = handshake
  }

  /** What a connection is called. */
  get connection(): string {
    return this.#fields.conn
  }

  accepted(): void {
    this.#log.info(this.#fields, `accepting AMQP connection (${this.#fields.conn})`)
  }

  badHeader(header: Buffer): void {
    const octets = JSON.stringify(header.toString('latin1'))
    this.#log.error(
      this.#fields,
      `closing AMQP connection (${this.#fields.conn}): bad header ${octets}${hint(header)}`,
    )
  }

  handshakeTimeout(): void {
    this.#log.error(this.#fields, `handshake timeout on ${this.#fields.conn}`)
  }

  loginRefused(reason: string): void {
    this.#log.error(this.#fields, shown(reason))
  }

  opened(): void {
    const { connectionName, user, vhost } = this.#handshake
    const { conn } = this.#fields
    if (connectionName !== '')
      this.#log.info(
        this.#fields,
        `connection (${conn}) has a client-provided name: ${shown(connectionName)}`,
      )
    this.#log.info(
      { conn, user: shown(user), vhost: vhost?.name },
      `connection (${conn}): user '${shown(user)}' authenticated and granted access to vhost '${vhost?.name}'`,
    )
  }

  secretUpdated(reason: string): void {
    const { conn } = this.#fields
    const user = shown(this.#handshake.user)
    this.#log.info(
      { conn, user },
      `connection (${conn}): user '${user}' updated secret, reason: ${shown(reason)}`,
    )
  }

  closed(): void {
    this.#log.info(this.#fields, `closing AMQP connection ${this.#title}`)
  }

  lost(): void {
    this.#log.warn(
      this.#fields,
      `closing AMQP connection ${this.#title}: client unexpectedly closed TCP connection`,
    )
  }

  silent(seconds: number): void {
    this.#log.warn(
      this.#fields,
      `closing AMQP connection ${this.#title}: missed heartbeats from client, timeout: ${seconds}s`,
    )
  }

  channelError(channel: number, error: AmqpError): void {
    this.#log.error(
      { ...this.#fields, channel },
      `Channel error on connection ${this.#title}, channel ${channel}: ${shown(error.message)}`,
    )
  }

  ackTimedOut(channel: number, consumer: string, queue: string, ms: number): void {
    this.#log.warn(
      { ...this.#fields, channel, consumer: shown(consumer), queue: shown(queue), timeout: ms },
      `Consumer '${shown(consumer)}' on channel ${channel} of connection ${this.#title} and queue '${shown(queue)}' has timed out waiting for a consumer acknowledgement of a delivery. Timeout used: ${ms} ms`,
    )
  }

  connectionError(error: AmqpError): void {
    this.#log.error(
      this.#fields,
      `Error on AMQP connection ${this.#title}: ${shown(error.message)}`,
    )
  }

  /** A fault of ours, with its stack. */
  fault(error: unknown): void {
    this.#log.error({ ...this.#fields, err: error }, 'unexpected error on AMQP connection')
  }

  get #title(): string {
    const { connectionName, vhost, user } = this.#handshake
    const name = connectionName === '' ? '' : ` - ${shown(connectionName)}`
    return `(${this.#fields.conn}${name}, vhost: '${vhost?.name ?? 'none'}', user: '${shown(user)}')`
  }
}

/** What a peer that speaks something else than AMQP probably is, to be put behind a log line. */
function hint(header: Buffer): string {
  if (/^(GET|POST|PUT|HEAD|OPTIO)/.test(header.toString('latin1'))) return ' (an HTTP client?)'
  if (header.toString('latin1').startsWith('PROXY ')) return ' (a proxy? see proxy_protocol)'
  return header[0] === 0x16 && header[1] === 0x03 ? ' (a TLS client?)' : ''
}
