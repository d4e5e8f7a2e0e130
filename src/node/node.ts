/** Puts a broker together from its settings, starts it, and stops it in order. */
import { hostname } from 'node:os'
import { Listener } from '../amqp/listener.js'
import { Broker } from '../broker/broker.js'
import type { Logger } from '../platform/log.js'
import { systemWorld } from '../platform/world.js'
import { AmqpError } from '../wire/replies.js'
import { MemoryMonitor, memoryLimit } from './memory-monitor.js'
import type { Settings } from './settings-table.js'
import { version } from './version.js'

export class Node {
  /** Where AMQP clients connect. */
  readonly host: string
  readonly port: number
  readonly #broker: Broker
  readonly #listener: Listener
  readonly #memory: MemoryMonitor
  #stopping: Promise<void> | null = null

  private constructor(
    broker: Broker,
    listener: Listener,
    memory: MemoryMonitor,
    address: { readonly host: string; readonly port: number },
  ) {
    this.#broker = broker
    this.#listener = listener
    this.#memory = memory
    this.host = address.host
    this.port = address.port
  }

  /** Starts a broker; rejects with the system's error if it cannot listen. */
  static async start(settings: Settings, log: Logger): Promise<Node> {
    const broker = new Broker(
      {
        vhosts: [settings.default_vhost],
        users: [{ name: settings.default_user, password: settings.default_pass }],
        loopbackUsers: settings.loopback_users,
      },
      systemWorld(log),
    )
    const listener = new Listener(broker, {
      frameMax: settings.frame_max,
      channelMax: settings.channel_max,
      heartbeatSeconds: settings.heartbeat,
      maxMessageBytes: settings.max_message_size,
      handshakeTimeoutMs: settings.handshake_timeout,
      shutdownTimeoutMs: settings.shutdown_timeout,
      maxConnections: settings.max_connections,
      consumersPerChannelMax: settings.consumer_max_per_channel,
      mechanisms: settings.auth_mechanisms,
      clusterName: settings.cluster_name || `leveret@${hostname()}`,
      product: settings['product.name'],
      productVersion: settings['product.version'],
      leveretVersion: version,
      platform: `Node.js ${process.versions.node}`,
    })
    try {
      await broker.open(() => {})
      const address = await listen(listener, settings)
      return new Node(broker, listener, new MemoryMonitor(broker, memoryLimit(settings)), address)
    } catch (error) {
      await broker.close()
      throw error
    }
  }

  /** Closes clients with 320, then everything else; resolves when no handle is left. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    this.#memory.stop()
    await this.#listener.close(
      new AmqpError('CONNECTION_FORCED', "broker forced connection closure with reason 'shutdown'"),
    )
    await this.#broker.close()
  }
}

async function listen(listener: Listener, settings: Settings) {
  const options = {
    port: settings['listeners.tcp.default'],
    host: settings['listeners.tcp.ip'],
    backlog: settings['tcp_listen_options.backlog'],
    noDelay: settings['tcp_listen_options.nodelay'],
    keepAlive: settings['tcp_listen_options.keepalive'],
  }
  try {
    return await listener.open(options)
  } catch (error) {
    // A machine without IPv6 has all its interfaces at 0.0.0.0.
    if (options.host !== '::' || (error as NodeJS.ErrnoException).code !== 'EAFNOSUPPORT')
      throw error
    return await listener.open({ ...options, host: '0.0.0.0' })
  }
}
