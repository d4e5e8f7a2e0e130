/** Puts a broker together from its settings, starts it, and stops it in order. */
import { hostname } from 'node:os'
import { Listener } from '../amqp/listener.js'
import type { ProtocolSettings } from '../amqp/settings.js'
import { Broker, type RecoveryProgress } from '../broker/broker.js'
import type { Logger } from '../platform/log.js'
import { systemWorld, type World } from '../platform/world.js'
import { AmqpError } from '../wire/replies.js'
import { DataFolder } from './data-folder.js'
import { DiskMonitor, diskFreeLimit } from './disk-monitor.js'
import { MemoryMonitor, memoryLimit } from './memory-monitor.js'
import type { Settings } from './settings-table.js'
import { version } from './version.js'

/** How often a long recovery says how far it is. */
const progressMs = 1000

/** Room on the disk that cleaning and settlements have, however low the disk alarm is set. */
const leastReserve = 16 * 1024 * 1024

export class Node {
  /** Where AMQP clients connect. */
  readonly host: string
  readonly port: number
  /** Where everything is kept; null if that is memory. */
  readonly folder: DataFolder | null
  readonly #broker: Broker
  readonly #listener: Listener
  readonly #monitors: readonly { stop(): void }[]
  #stopping: Promise<void> | null = null

  private constructor(
    folder: DataFolder | null,
    broker: Broker,
    listener: Listener,
    monitors: readonly { stop(): void }[],
    address: { readonly host: string; readonly port: number },
  ) {
    this.folder = folder
    this.#broker = broker
    this.#listener = listener
    this.#monitors = monitors
    this.host = address.host
    this.port = address.port
  }

  /**
   * Starts a broker. Rejects with a FolderInUse or FolderRefused if it may not have its data folder,
   * and with the system's error if it cannot listen.
   */
  static async start(settings: Settings, log: Logger): Promise<Node> {
    const world = systemWorld(log)
    const folder =
      settings.persistence === 'file' ? await DataFolder.open(settings.data_dir, world) : null
    try {
      return await Node.#startIn(folder, settings, world)
    } catch (error) {
      await folder?.close()
      throw error
    }
  }

  static async #startIn(folder: DataFolder | null, settings: Settings, world: World) {
    if (folder !== null)
      world.log.info({ epoch: folder.epoch }, `data folder ${folder.path}, start ${folder.epoch}`)
    const broker = new Broker(
      {
        vhosts: [settings.default_vhost],
        users: [{ name: settings.default_user, password: settings.default_pass }],
        loopbackUsers: settings.loopback_users,
        nodeName: `leveret@${hostname()}`,
        rules: {
          deliveryLimit: settings['quorum_queue.default_delivery_limit'],
          everyReturnFails: settings['quorum_queue.failed_deliveries'] === 'all-returns',
        },
      },
      world,
      // Where the disk alarm allows little, the log must not ask for more: a small disk is of use too.
      folder && {
        files: world.files,
        folder: folder.path,
        reserveBytes: Math.max(leastReserve, diskFreeLimit(settings)),
      },
    )
    const monitors: { stop(): void }[] = []
    try {
      await broker.open(recoveryLines(world))
      // Before anybody can publish.
      monitors.push(new MemoryMonitor(broker, memoryLimit(settings)))
      const { storage } = broker
      if (storage !== null)
        monitors.push(await DiskMonitor.start(broker, storage, diskFreeLimit(settings)))
      const listener = new Listener(broker, protocolSettings(settings))
      const address = await listen(listener, settings)
      return new Node(folder, broker, listener, monitors, address)
    } catch (error) {
      for (const monitor of monitors) monitor.stop()
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
    for (const monitor of this.#monitors) monitor.stop()
    await this.#listener.close(
      new AmqpError('CONNECTION_FORCED', "broker forced connection closure with reason 'shutdown'"),
    )
    try {
      await this.#broker.close()
    } finally {
      await this.folder?.close()
    }
  }
}

/** Says each second how far recovery is, if it takes so long. */
export function recoveryLines({ clock, log }: Pick<World, 'clock' | 'log'>): RecoveryProgress {
  let last = clock.monotonicMs()
  return (done, total) => {
    if (clock.monotonicMs() < last + progressMs) return
    last = clock.monotonicMs()
    const mebibytes = (bytes: number) => Math.round(bytes / 2 ** 20)
    log.info({ done, total }, `recovering: ${mebibytes(done)} of ${mebibytes(total)} MiB read`)
  }
}

function protocolSettings(settings: Settings): ProtocolSettings {
  return {
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
