/**
 * Leveret inside a Node program: a broker in this process that says nothing. It is in memory and
 * leaves nothing behind, unless it is given a data_dir.
 */
import { Node } from './node/node.js'
import { settingsFrom } from './node/settings.js'
import { silence } from './platform/log.js'

/** What a broker started inside a Node program is told; everything else has the default of config/leveret.yaml. */
export interface BrokerOptions {
  /** Port for AMQP; 0 (the default here) lets the system choose a free one. */
  readonly port?: number
  /** Address to listen on; loopback unless told otherwise. */
  readonly host?: string
  /**
   * Any setting of config/leveret.yaml by its dotted name, for example `{ heartbeat: 10 }`. With a
   * `data_dir` messages and definitions are kept there.
   */
  readonly settings?: Readonly<Record<string, unknown>>
}

/** A broker that runs in this process. */
export interface RunningBroker {
  /** What a client connects to, for example amqp://guest:guest@127.0.0.1:40123 */
  readonly url: string
  readonly host: string
  readonly port: number
  /** Closes clients with 320, then the listener; resolves when no handle is left open. */
  close(): Promise<void>
}

/**
 * Starts a broker in this process. Rejects with a SettingsError that names every wrong setting,
 * with a FolderInUse or FolderRefused if it may not have its data_dir, or with the system's error
 * if it cannot listen.
 */
export async function startBroker(options: BrokerOptions = {}): Promise<RunningBroker> {
  const { port = 0, host = '127.0.0.1', settings: given = {} } = options
  const { data_dir, persistence = data_dir === undefined ? 'memory' : 'file' } = given
  const settings = settingsFrom({
    'listeners.tcp.default': port,
    'listeners.tcp.ip': host,
    ...given,
    persistence,
  })
  const node = await Node.start(settings, silence)
  const credentials = [settings.default_user, settings.default_pass].map(encodeURIComponent)
  return {
    url: `amqp://${credentials.join(':')}@${authority(node.host)}:${node.port}`,
    host: node.host,
    port: node.port,
    close: () => node.stop(),
  }
}

/** An address as it stands in a URL; all interfaces are reached by loopback. */
function authority(address: string): string {
  if (address === '::' || address === '0.0.0.0') return '127.0.0.1'
  return address.includes(':') ? `[${address}]` : address
}
