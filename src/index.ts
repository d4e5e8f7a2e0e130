/**
 * Leveret inside a Node program: a broker in this process that says nothing. It is in memory and
 * leaves nothing behind, unless it is given a data_dir.
 */
import { listeningUrl, type Protocol } from './node/listeners.js'
import { Node } from './node/node.js'
import { settingsFrom } from './node/settings.js'
import { silence } from './platform/log.js'

/** What a broker started inside a Node program is told; everything else has the default of config/leveret.yaml. */
export interface BrokerOptions {
  /** Port for AMQP; 0 (the default here) lets the system choose a free one. */
  readonly port?: number
  /** Port for the management API; 0 lets the system choose. Without it there is none. */
  readonly managementPort?: number
  /** Address to listen on; loopback unless told otherwise. */
  readonly host?: string
  /**
   * Any setting of config/leveret.yaml by its dotted name, for example `{ heartbeat: 10 }`. With a
   * `data_dir` messages and definitions are kept there.
   */
  readonly settings?: Readonly<Record<string, unknown>>
  /**
   * Users, vhosts, permissions, policies, exchanges, queues and bindings that it is to have, as an
   * object in the form in which RabbitMQ exports them.
   */
  readonly definitions?: object
}

/** A place where a broker listens. */
export interface BrokerListener {
  readonly protocol: Protocol
  /** Of a WebSocket without credentials, which are no part of such a URL. */
  readonly url: string
  readonly host: string
  readonly port: number
}

/** A broker that runs in this process. */
export interface RunningBroker {
  /** What a client connects to, for example amqp://guest:guest@127.0.0.1:40123 */
  readonly url: string
  readonly host: string
  readonly port: number
  /** Everywhere it listens, by the settings; what stands above is the first of these. */
  readonly listeners: readonly BrokerListener[]
  /** Reads the certificates anew, for connections to come. Rejects if they are not good, and then those in use stay. */
  renewCertificates(): Promise<void>
  /** Where the management API is, for example http://127.0.0.1:40124; null without one. */
  readonly managementUrl: string | null
  /** Closes clients with 320, then the listener; resolves when no handle is left open. */
  close(): Promise<void>
}

/**
 * Starts a broker in this process. Rejects with a SettingsError that names every wrong setting,
 * with a FolderInUse or FolderRefused if it may not have its data_dir, with a DefinitionsError that
 * names everything wrong with its definitions, or with the system's error if it cannot listen.
 */
export async function startBroker(options: BrokerOptions = {}): Promise<RunningBroker> {
  const { port = 0, managementPort = null, host = '127.0.0.1', definitions } = options
  const { settings: given = {} } = options
  const { data_dir, persistence = data_dir === undefined ? 'memory' : 'file' } = given
  const settings = settingsFrom({
    'listeners.tcp.default': port,
    'listeners.tcp.ip': host,
    'management.tcp.port': managementPort,
    'management.tcp.ip': host,
    ...given,
    persistence,
  })
  const node = await Node.start(settings, silence, definitions)
  const user = [settings.default_user, settings.default_pass].map(encodeURIComponent)
  const listeners = node.listening.map(listening => ({
    ...listening,
    url: listeningUrl(listening, `${user.join(':')}@`),
  }))
  const { url, host: address, port: number } = listeners[0] ?? nowhere
  return {
    url,
    host: address,
    port: number,
    listeners,
    renewCertificates: () => node.renewCertificates(),
    managementUrl:
      node.management === null ? null : listeningUrl({ protocol: 'http', ...node.management }),
    close: () => node.stop(),
  }
}

/** What a broker that nobody can connect to has for its first listener. */
const nowhere = { url: '', host: '', port: 0 }
