/** What the node and the cluster (of one) are, as RabbitMQ's tools ask it. Figures that Leveret has not are left out, or 0 where tools count on a number. */
import type { Broker } from '../broker/broker.js'
import { exchangeTypes } from '../broker/exchanges/by-type.js'
import type { Vhost } from '../broker/vhost.js'
import type { Listening } from './health.js'
import { type Item, listed, projected } from './listing.js'
import { notFound } from './refusal.js'
import { noContent, type Route } from './route.js'

/** What the node knows of itself. */
export interface NodeFacts {
  /** As RabbitMQ's tools name it: rabbit@host. */
  readonly name: string
  readonly clusterName: string
  /** The product and version of which the behaviour is. */
  readonly productVersion: string
  readonly version: string
  readonly platform: string
  readonly cryptoVersion: string
  readonly processId: number
  readonly processors: number
  readonly startedAtMs: number
  readonly listening: () => readonly Listening[]
  /** Bytes that the process takes, and above which publishers are blocked. */
  readonly memoryUsed: () => number
  readonly memoryLimit: number
  readonly diskFreeLimit: number
  readonly dataFolder: string
  /** Bytes free on the disk of the data folder; 0 where there is none. */
  readonly diskFree: () => Promise<number>
}

/** Clients and tools of RabbitMQ 4 ask for these before they use what they stand for. */
const featureFlags: readonly Item[] = [
  'classic_mirrored_queue_version',
  'detailed_queues_endpoint',
  'direct_exchange_routing_v2',
  'drop_unroutable_metric',
  'empty_basic_get_metric',
  'feature_flags_v2',
  'implicit_default_bindings',
  'maintenance_mode_status',
  'message_containers',
  'quorum_queue',
  'user_limits',
  'virtual_host_metadata',
].map(name => ({
  name,
  state: 'enabled',
  stability: 'required',
  provided_by: 'rabbit',
  desc: '',
  doc_url: '',
}))

function listeners({ name, listening }: NodeFacts): Item[] {
  return listening().map(({ protocol, host, port }) => ({
    node: name,
    protocol,
    ip_address: host,
    port,
    socket_opts: [],
  }))
}

function queueTotals(vhosts: readonly Vhost[]): Item {
  let [ready, unacknowledged] = [0, 0]
  for (const { queues } of vhosts)
    for (const queue of queues.values()) {
      ready += queue.readyCount
      unacknowledged += queue.unackedCount
    }
  return {
    messages: ready + unacknowledged,
    messages_ready: ready,
    messages_unacknowledged: unacknowledged,
  }
}

function objectTotals(broker: Broker, vhosts: readonly Vhost[]): Item {
  let [queues, exchanges, consumers, connections, channels] = [0, 0, 0, 0, 0]
  for (const vhost of vhosts) {
    queues += vhost.queues.size
    exchanges += vhost.exchanges.size
    for (const queue of vhost.queues.values()) consumers += queue.consumers.count
    for (const session of broker.access.sessions.inVhost(vhost.name)) {
      connections++
      channels += session.channelCount
    }
  }
  return { channels, connections, consumers, exchanges, queues }
}

export function overviewRoutes(broker: Broker, facts: NodeFacts): readonly Route[] {
  const { name: node, productVersion, version } = facts
  const types = exchangeTypes.map(name => ({
    name,
    description: `${name} exchange`,
    enabled: true,
  }))
  const get = (path: string, does: string, handle: Route['handle']): Route => ({
    method: 'GET',
    path,
    allowed: 'management',
    does,
    handle,
  })
  return [
    get('/overview', 'Shows what all of it amounts to.', ({ visitor, query }) => {
      const vhosts = visitor.vhosts()
      const overview = {
        management_version: productVersion,
        rates_mode: 'basic',
        sample_retention_policies: {
          global: [600, 3600, 28800, 86400],
          basic: [600, 3600],
          detailed: [600],
        },
        exchange_types: types,
        product_version: version,
        product_name: 'Leveret',
        rabbitmq_version: productVersion,
        cluster_name: facts.clusterName,
        cluster_tags: {},
        node_tags: {},
        erlang_version: '27.3',
        erlang_full_version: facts.platform,
        crypto_lib_version: facts.cryptoVersion,
        release_series_support_status: 'supported',
        default_queue_type: 'classic',
        is_op_policy_updating_enabled: true,
        disable_stats: false,
        enable_queue_totals: false,
        message_stats: {},
        queue_totals: queueTotals(vhosts),
        object_totals: objectTotals(broker, vhosts),
        statistics_db_event_queue: 0,
        ...(visitor.has('monitoring') && { node, listeners: listeners(facts), contexts: [] }),
      }
      return projected(overview, query)
    }),
    get('/cluster-name', 'Shows the name of the cluster.', () => ({ name: facts.clusterName })),
    get('/feature-flags', 'Lists what all nodes can do.', ({ query }) =>
      listed(featureFlags, query),
    ),
    {
      method: 'POST',
      path: '/rebalance/queues',
      allowed: 'administrator',
      does: 'Spreads leaders over the nodes, of which there is one.',
      handle: () => noContent,
    },
    get('/extensions', 'Lists what extends the user interface.', () => []),
    {
      method: 'GET',
      path: '/auth',
      allowed: 'anyone',
      does: 'Tells that there is no login by OAuth.',
      handle: () => ({
        oauth_enabled: false,
        enable_uaa: false,
        uaa_client_id: '',
        uaa_location: '',
      }),
    },
    {
      method: 'GET',
      path: '/version',
      allowed: 'anyone',
      does: 'Shows the version.',
      handle: () => productVersion,
    },
    {
      method: 'GET',
      path: '/nodes',
      allowed: 'monitoring',
      does: 'Lists the nodes, of which there is one.',
      handle: async ({ query }) => listed([await nodeItem(broker, facts, types)], query),
    },
    {
      method: 'GET',
      path: '/nodes/:name',
      allowed: 'monitoring',
      does: 'Shows the node.',
      handle: async ({ params, query }) => {
        if (params.name !== node) throw notFound()
        return projected(await nodeItem(broker, facts, types), query)
      },
    },
  ]
}

async function nodeItem(broker: Broker, facts: NodeFacts, types: readonly Item[]): Promise<Item> {
  const { alarms, access, world } = broker
  return {
    name: facts.name,
    type: 'disc',
    running: true,
    uptime: Math.round(world.clock.wallMs() - facts.startedAtMs),
    os_pid: String(facts.processId),
    processors: facts.processors,
    run_queue: 0,
    mem_used: facts.memoryUsed(),
    mem_limit: facts.memoryLimit,
    mem_alarm: alarms.has('memory'),
    disk_free: await facts.diskFree(),
    disk_free_limit: facts.diskFreeLimit,
    disk_free_alarm: alarms.has('disk') || alarms.has('log') || alarms.has('definitions'),
    sockets_used: access.sessions.all.size,
    sockets_total: 0,
    fd_used: 0,
    fd_total: 0,
    proc_used: 1,
    proc_total: 1,
    partitions: [],
    rates_mode: 'basic',
    exchange_types: types,
    auth_mechanisms: [],
    applications: [
      { name: 'leveret', description: 'Leveret', version: facts.version },
      { name: 'rabbit', description: 'what it behaves like', version: facts.productVersion },
    ],
    enabled_plugins: ['rabbitmq_management'],
    contexts: [],
    log_files: ['<stdout>'],
    config_files: [],
    db_dir: facts.dataFolder,
    net_ticktime: 60,
    cluster_links: [],
    metrics_gc_queue_length: {},
  }
}
