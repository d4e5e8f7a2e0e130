/** Takes the sockets of all listeners and makes connections of them; knows which are open. */
import type { Broker } from '../broker/broker.js'
import { BusyWait } from '../platform/busy-wait.js'
import type { Peer } from '../platform/peer.js'
import type { Acceptor, Socket, SocketListener } from '../platform/sockets.js'
import type { AmqpError } from '../wire/replies.js'
import { Connection, type ConnectionHost } from './connection.js'
import { startFrame } from './handshake.js'
import { connectionClosed, connectionCreated } from './session-events.js'
import type { ProtocolSettings } from './settings.js'

/** Connections that may be in their handshake at once: a flood of strangers costs no more than that. */
const handshakesMax = 1024

/** Begins to listen, and hands its sockets to the acceptor. */
export type Listen<L extends SocketListener> = (acceptor: Acceptor) => Promise<L>

export class Listener implements ConnectionHost, Acceptor {
  readonly #broker: Broker
  readonly #settings: ProtocolSettings
  readonly #startFrame: Buffer
  readonly #startFrameOfTls: Buffer
  readonly #connections = new Set<Connection>()
  readonly #handshaking = new Set<Connection>()
  readonly #listening: SocketListener[] = []
  /** Those who have not got as far as to be a connection. */
  #entering = 0
  #whenEmpty: (() => void) | null = null
  readonly #busyWait = new BusyWait()

  constructor(broker: Broker, settings: ProtocolSettings) {
    this.#broker = broker
    this.#settings = settings
    this.#startFrame = startFrame(settings, false)
    this.#startFrameOfTls = startFrame(settings, true)
  }

  /** Listens at one more place; rejects with the system's error. */
  async open<L extends SocketListener>(listen: Listen<L>): Promise<L> {
    const listening = await listen(this)
    this.#listening.push(listening)
    return listening
  }

  /** Stops listening, closes all connections with `error`, and resolves when they are gone. */
  async close(error: AmqpError): Promise<void> {
    const stopped = this.#listening.map(listening => listening.close())
    this.#busyWait.end()
    for (const connection of [...this.#connections]) connection.close(error)
    if (this.#connections.size > 0) {
      const cancel = this.#broker.world.clock.after(this.#settings.shutdownTimeoutMs, () => {
        for (const connection of [...this.#connections]) connection.destroy()
      })
      await new Promise<void>(resolve => {
        this.#whenEmpty = resolve
      })
      cancel()
    }
    await Promise.all(stopped)
  }

  get isFull(): boolean {
    const open = this.#connections.size - this.#handshaking.size
    return open >= this.#settings.maxConnections
  }

  startFrame(tls: boolean): Buffer {
    return tls ? this.#startFrameOfTls : this.#startFrame
  }

  opened(connection: Connection): void {
    this.#handshaking.delete(connection)
    connectionCreated(this.#broker.events, connection)
  }

  closed(connection: Connection): void {
    if (!this.#handshaking.delete(connection)) connectionClosed(this.#broker.events, connection)
    this.#connections.delete(connection)
    if (this.#connections.size === 0) this.#whenEmpty?.()
  }

  expectsMore(): void {
    this.#busyWait.begin()
  }

  // --- as an acceptor

  get admits(): boolean {
    return this.#entering + this.#handshaking.size < handshakesMax
  }

  entering(change: 1 | -1): void {
    this.#entering += change
  }

  accept(socket: Socket): Connection {
    const connection = new Connection(socket, this.#broker, this.#settings, this)
    this.#connections.add(connection)
    this.#handshaking.add(connection)
    return connection
  }

  refused(peer: Peer, reason: string): void {
    this.#broker.world.log.error(
      { conn: peer.title },
      `closing connection (${peer.title}): ${reason}`,
    )
  }

  failed(error: Error): void {
    this.#broker.world.log.error({ err: error }, 'a connection could not be accepted')
  }
}
