/** Accepts sockets and makes connections of them; knows which are open. */
import type { Broker } from '../broker/broker.js'
import { BusyWait } from '../platform/busy-wait.js'
import {
  type ListenOptions,
  listen,
  type Socket,
  type SocketListener,
} from '../platform/sockets.js'
import type { AmqpError } from '../wire/replies.js'
import { Connection, type ConnectionHost } from './connection.js'
import { startFrame } from './handshake.js'
import { connectionClosed, connectionCreated } from './session-events.js'
import type { ProtocolSettings } from './settings.js'

/** Connections that may be in their handshake at once: a flood of strangers costs no more than that. */
const handshakesMax = 1024

export class Listener implements ConnectionHost {
  readonly startFrame: Buffer
  readonly #broker: Broker
  readonly #settings: ProtocolSettings
  readonly #connections = new Set<Connection>()
  readonly #handshaking = new Set<Connection>()
  #socket: SocketListener | null = null
  #whenEmpty: (() => void) | null = null
  readonly #busyWait = new BusyWait()

  constructor(broker: Broker, settings: ProtocolSettings) {
    this.#broker = broker
    this.#settings = settings
    this.startFrame = startFrame(settings)
  }

  /** Starts to listen; rejects with the system's error. */
  async open(options: ListenOptions): Promise<{ host: string; port: number }> {
    this.#socket = await listen(
      options,
      this.#broker.world.turn,
      socket => this.#accept(socket),
      error => this.#broker.world.log.error({ err: error }, 'a connection could not be accepted'),
    )
    return this.#socket
  }

  /** Stops listening, closes all connections with `error`, and resolves when they are gone. */
  async close(error: AmqpError): Promise<void> {
    const stopped = this.#socket?.close()
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
    await stopped
  }

  get isFull(): boolean {
    const open = this.#connections.size - this.#handshaking.size
    return open >= this.#settings.maxConnections
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

  #accept(socket: Socket): void {
    if (this.#handshaking.size >= handshakesMax) {
      socket.destroy()
      return
    }
    const connection = new Connection(socket, this.#broker, this.#settings, this)
    this.#connections.add(connection)
    this.#handshaking.add(connection)
  }
}
