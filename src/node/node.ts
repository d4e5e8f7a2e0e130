/** Puts a broker together from its settings, starts it, and stops it in order. */
import { hostname } from 'node:os'
import { Listener } from '../amqp/listener.js'
import type { CertificateLogin, Login } from '../amqp/sasl.js'
import type { ProtocolSettings } from '../amqp/settings.js'
import { Broker, type RecoveryProgress } from '../broker/broker.js'
import type { DefinitionsSource } from '../broker/import/document.js'
import type { Logger } from '../platform/log.js'
import { systemWorld, type World } from '../platform/world.js'
import { AmqpError } from '../wire/replies.js'
import { DataFolder } from './data-folder.js'
import { definesAny, loadDefinitions, readDefinitions } from './definitions-file.js'
import { DiskMonitor, diskFreeLimit } from './disk-monitor.js'
import { Listeners, type Listening } from './listeners.js'
import { type Management, nodeName, openManagement } from './management.js'
import { MemoryMonitor, memoryLimit } from './memory-monitor.js'
import type { Settings } from './settings-table.js'
import { version } from './version.js'

/** How often a long recovery says how far it is. */
const progressMs = 1000

/** Room on the disk that cleaning and settlements have, however low the disk alarm is set. */
const leastReserve = 16 * 1024 * 1024

const shutdown = new AmqpError(
  'CONNECTION_FORCED',
  "broker forced connection closure with reason 'shutdown'",
)

export class Node {
  /** Where everything is kept; null if that is memory. */
  readonly folder: DataFolder | null
  /** Null: the settings want none. */
  readonly management: Management | null
  readonly #broker: Broker
  readonly #listener: Listener
  readonly #listeners: Listeners
  readonly #monitors: readonly { stop(): void }[]
  #stopping: Promise<void> | null = null

  private constructor(
    folder: DataFolder | null,
    broker: Broker,
    listener: Listener,
    listeners: Listeners,
    monitors: readonly { stop(): void }[],
    management: Management | null,
  ) {
    this.management = management
    this.folder = folder
    this.#broker = broker
    this.#listener = listener
    this.#listeners = listeners
    this.#monitors = monitors
  }

  /**
   * Starts a broker, with further definitions if there are `given` ones. Rejects with a FolderInUse
   * or FolderRefused if it may not have its data folder, with a SettingsError if a certificate is
   * not good, with a DefinitionsError if definitions cannot be taken, and with the system's error if
   * it cannot listen.
   */
  static async start(settings: Settings, log: Logger, given?: unknown): Promise<Node> {
    const world = systemWorld(log)
    const { load_definitions: path } = settings
    const loaded = path === null ? [] : await readDefinitions(path)
    const folder =
      settings.persistence === 'file' ? await DataFolder.open(settings.data_dir, world) : null
    try {
      const more = given === undefined ? [] : [{ from: 'definitions', value: given }]
      return await Node.#startIn(folder, settings, world, loaded, more)
    } catch (error) {
      await folder?.close()
      throw error
    }
  }

  static async #startIn(
    folder: DataFolder | null,
    settings: Settings,
    world: World,
    loaded: readonly DefinitionsSource[],
    given: readonly DefinitionsSource[],
  ) {
    if (folder !== null)
      world.log.info({ epoch: folder.epoch }, `data folder ${folder.path}, start ${folder.epoch}`)
    const broker = new Broker(
      {
        ...firstStart(settings, loaded, world.log),
        loopbackUsers: settings.loopback_users,
        eventsVhost: settings.default_vhost,
        nodeName: nodeName(settings),
        rules: {
          deliveryLimit: settings['quorum_queue.default_delivery_limit'],
          everyReturnFails: settings['quorum_queue.failed_deliveries'] === 'all-returns',
          consumerTimeoutMs: settings.consumer_timeout ?? -1,
          classicTimesOut: settings['classic_queue.consumer_timeout'],
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
    let listener: Listener | null = null
    try {
      await broker.open(recoveryLines(world))
      loadDefinitions(broker, [...loaded, ...given])
      // Before anybody can publish.
      monitors.push(new MemoryMonitor(broker, memoryLimit(settings)))
      const { storage } = broker
      if (storage !== null)
        monitors.push(await DiskMonitor.start(broker, storage, diskFreeLimit(settings)))
      listener = new Listener(broker, protocolSettings(settings))
      const listeners = new Listeners(settings, world)
      await listeners.open(listener)
      const management = await openManagement(broker, settings, () => listeners.all)
      return new Node(folder, broker, listener, listeners, monitors, management)
    } catch (error) {
      for (const monitor of monitors) monitor.stop()
      await listener?.close(shutdown)
      await broker.close()
      throw error
    }
  }

  /** Where clients connect, in the order of the settings. */
  get listening(): readonly Listening[] {
    return this.#listeners.all
  }

  /**
   * Reads the certificates anew, for connections to come. Rejects with a SettingsError if they are
   * not good: then those in use stay.
   */
  renewCertificates(): Promise<void> {
    return this.#listeners.renewCertificates()
  }

  /** Closes clients with 320, then everything else; resolves when no handle is left. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    for (const monitor of this.#monitors) monitor.stop()
    await this.management?.server.close()
    await this.#listener.close(shutdown)
    try {
      await this.#broker.close()
    } finally {
      await this.folder?.close()
    }
  }
}

/**
 * What a first start begins with. Where definitions name users there is no other one, and where
 * they name vhosts besides, no other vhost (rule of RabbitMQ, which operators often miss).
 */
function firstStart(settings: Settings, loaded: readonly DefinitionsSource[], log: Logger) {
  const { default_user: name, default_pass: password, default_vhost: vhost } = settings
  if (definesAny(loaded, 'users')) {
    log.warn({}, `users are those of load_definitions: default_user '${name}' is not created`)
    return { vhosts: definesAny(loaded, 'vhosts') ? [] : [vhost], users: [] }
  }
  const permissions = {
    configure: settings['default_permissions.configure'],
    write: settings['default_permissions.write'],
    read: settings['default_permissions.read'],
  }
  const user = { name, password, tags: settings.default_user_tags, permissions }
  return { vhosts: [vhost], users: [user] }
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
    channelsPerNodeMax: settings.channel_max_per_node,
    consumersPerChannelMax: settings.consumer_max_per_channel,
    mechanisms: settings.auth_mechanisms,
    anonymous: anonymousLogin(settings),
    certificateLogin: certificateLogin(settings),
    clusterName: settings.cluster_name || `leveret@${hostname()}`,
    product: settings['product.name'],
    productVersion: settings['product.version'],
    leveretVersion: version,
    platform: `Node.js ${process.versions.node}`,
  }
}

function anonymousLogin(settings: Settings): Login | null {
  const { anonymous_login_user: user, anonymous_login_pass: password } = settings
  return user === null || password === null ? null : { user, password }
}

function certificateLogin(settings: Settings): CertificateLogin | null {
  if (settings['ssl_options.verify'] !== 'verify_peer') return null
  return {
    from: settings.ssl_cert_login_from,
    type: settings.ssl_cert_login_san_type,
    index: settings.ssl_cert_login_san_index,
  }
}
