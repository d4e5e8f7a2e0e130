/** The management API of a node: its settings, and what the node tells of itself there. */
import { availableParallelism, hostname } from 'node:os'
import type { Broker } from '../broker/broker.js'
import type { Listening } from '../management/health.js'
import { ManagementServer } from '../management/server.js'
import { diskFreeLimit } from './disk-monitor.js'
import { memoryLimit } from './memory-monitor.js'
import type { Settings } from './settings-table.js'
import { version } from './version.js'

export interface Management {
  readonly server: ManagementServer
  readonly host: string
  readonly port: number
}

/** The name of this node wherever it is told: that which RabbitMQ's tools expect, unless it is set. */
export function nodeName(settings: Settings): string {
  return settings.nodename || `rabbit@${hostname().split('.', 1)[0]}`
}

/** Opens the management API, or null if the settings want none; rejects with the system's error. */
export async function openManagement(
  broker: Broker,
  settings: Settings,
  listening: () => readonly Listening[],
): Promise<Management | null> {
  const port = settings['management.tcp.port']
  if (port === null) return null
  const { storage, world } = broker
  const facts = {
    name: nodeName(settings),
    clusterName: settings.cluster_name || `leveret@${hostname()}`,
    productVersion: settings['product.version'],
    version,
    platform: `Node.js ${process.versions.node}`,
    cryptoVersion: `OpenSSL ${process.versions.openssl}`,
    processId: process.pid,
    processors: availableParallelism(),
    startedAtMs: world.clock.wallMs(),
    listening: (): readonly Listening[] => {
      const { host, port } = opened
      return [...listening(), { protocol: 'http', host, port }]
    },
    memoryUsed: () => process.memoryUsage.rss(),
    memoryLimit: memoryLimit(settings),
    diskFreeLimit: diskFreeLimit(settings),
    dataFolder: storage?.folder ?? '',
    diskFree: async () => (await storage?.files.freeBytes(storage.folder).catch(() => 0)) ?? 0,
  }
  const server = new ManagementServer(broker, facts)
  const address = await server.open(port, settings['management.tcp.ip'])
  const opened = { server, host: address.address, port: address.port }
  return opened
}
