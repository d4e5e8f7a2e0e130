/** Definitions over HTTP: all that is durable, as RabbitMQ's export has it, or one vhost's part of it. */
import type { Broker } from '../broker/broker.js'
import { DefinitionsError, importDefinitions } from '../broker/import/import.js'
import type { Vhost } from '../broker/vhost.js'
import { bindingItems } from './bindings.js'
import { exchangeItem } from './exchanges.js'
import { tableJson } from './json.js'
import type { Item } from './listing.js'
import type { NodeFacts } from './overview.js'
import { permissionItem, topicPermissionItem } from './permissions.js'
import { policyItem } from './policies.js'
import { badRequest } from './refusal.js'
import { Answer, type Body, type Call, noContent, type Route } from './route.js'
import { userItem } from './users.js'
import { vhostForChange, vhostOf } from './vhosts.js'

export function definitionRoutes(broker: Broker, facts: NodeFacts): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/definitions',
      allowed: 'administrator',
      does: 'Exports all definitions.',
      handle: call => download(call, clusterDocument(broker, facts)),
    },
    {
      method: 'GET',
      path: '/definitions/:vhost',
      allowed: 'administrator',
      does: 'Exports the definitions of a vhost, which can be imported into any other.',
      handle: call => download(call, vhostDocument(vhostOf(broker, call), facts)),
    },
    {
      method: 'POST',
      path: '/definitions',
      allowed: 'administrator',
      does: 'Adds definitions: all of a document, or nothing if anything in it is wrong.',
      malformed: 'failed_to_parse_json',
      handle: ({ body }) => add(broker, body),
    },
    {
      method: 'POST',
      path: '/definitions/:vhost',
      allowed: 'administrator',
      does: 'Adds definitions to a vhost.',
      malformed: 'failed_to_parse_json',
      handle: call => add(broker, inVhost(call.body, vhostForChange(broker, call).name)),
    },
  ]
}

function add(broker: Broker, document: unknown): unknown {
  try {
    importDefinitions(broker, [{ from: '', value: document }])
  } catch (error) {
    if (!(error instanceof DefinitionsError)) throw error
    throw badRequest(error.message)
  }
  return noContent
}

const ofVhost = ['parameters', 'policies', 'queues', 'exchanges', 'bindings']

/** A vhost's document as part of one for all vhosts. */
function inVhost(document: Body, vhost: string): Item {
  const sections = ofVhost.flatMap(section => {
    const items = document[section]
    if (!Array.isArray(items)) return items === undefined ? [] : [[section, items] as const]
    return [[section, items.map(item => ({ ...item, vhost }))] as const]
  })
  return Object.fromEntries(sections)
}

/** The document, on request as a file of some name. */
function download({ query: { download: name } }: Call, document: Item): unknown {
  if (typeof name !== 'string' || name === '') return document
  const quoted = name.replace(/[^\w. -]/g, '_')
  return new Answer(200, document, {
    'content-disposition': `attachment; filename="${quoted}"`,
  })
}

function versions({ productVersion, version }: NodeFacts): Item {
  return {
    rabbit_version: productVersion,
    rabbitmq_version: productVersion,
    product_name: 'Leveret',
    product_version: version,
  }
}

function clusterDocument(broker: Broker, facts: NodeFacts): Item {
  const { access } = broker
  const vhosts = [...access.vhosts.values()]
  return {
    ...versions(facts),
    rabbitmq_definition_format: 'cluster',
    original_cluster_name: facts.clusterName,
    users: Array.from(access.users.all.values(), userItem),
    vhosts: vhosts.map(({ name, metadata, limits }) => ({
      name,
      description: metadata.description,
      tags: metadata.tags,
      default_queue_type: metadata.defaultQueueType || 'classic',
      metadata: { description: metadata.description, tags: metadata.tags },
      limits,
    })),
    permissions: Array.from(access.permissions.all(), permissionItem),
    topic_permissions: Array.from(access.permissions.allTopics(), topicPermissionItem),
    parameters: vhosts.flatMap(parameters),
    global_parameters: [],
    policies: vhosts.flatMap(policies),
    queues: vhosts.flatMap(queues),
    exchanges: vhosts.flatMap(exchanges),
    bindings: bindings(vhosts),
  }
}

function vhostDocument(vhost: Vhost, facts: NodeFacts): Item {
  const without = (items: readonly Item[]) => items.map(({ vhost: _, ...rest }) => rest)
  return {
    ...versions(facts),
    rabbitmq_definition_format: 'single_virtual_host',
    original_vhost_name: vhost.name,
    description: vhost.metadata.description,
    metadata: { description: vhost.metadata.description, tags: vhost.metadata.tags },
    limits: vhost.limits,
    parameters: without(parameters(vhost)),
    policies: without(policies(vhost)),
    queues: without(queues(vhost)),
    exchanges: without(exchanges(vhost)),
    bindings: without(bindings([vhost])),
  }
}

/** Limits and the operator's policies are parameters of RabbitMQ. */
function parameters(vhost: Vhost): Item[] {
  const { name, limits } = vhost
  const items: Item[] = vhost.policies.all('operator_policy').map(policy => {
    const { vhost: _, name: called, ...value } = policyItem(vhost, policy)
    return { component: 'operator_policy', vhost: name, name: called, value }
  })
  if (Object.keys(limits).length > 0)
    items.push({ component: 'vhost-limits', vhost: name, name: 'limits', value: limits })
  return items
}

function policies(vhost: Vhost): Item[] {
  return vhost.policies.all('policy').map(policy => policyItem(vhost, policy))
}

function queues(vhost: Vhost): Item[] {
  return [...vhost.queues.values()]
    .filter(({ durable, owner }) => durable && owner === null)
    .map(({ name, autoDelete, arguments: table }) => ({
      name,
      vhost: vhost.name,
      durable: true,
      auto_delete: autoDelete,
      arguments: tableJson(table),
    }))
}

function exchanges(vhost: Vhost): Item[] {
  return [...vhost.exchanges.values()]
    .filter(({ name, durable }) => durable && name !== '' && !name.startsWith('amq.'))
    .map(exchange => {
      // How much is delayed now is no definition.
      const { messages_delayed: _, ...item } = exchangeItem(vhost, exchange)
      return item
    })
}

/** Bindings between durable ends. */
function bindings(vhosts: readonly Vhost[]): Item[] {
  const durable = new Set<string>()
  const named = (vhost: string, kind: string, name: string) => JSON.stringify([vhost, kind, name])
  for (const { name: vhost, queues, exchanges } of vhosts) {
    for (const { name, durable: lasts } of queues.values())
      if (lasts) durable.add(named(vhost, 'queue', name))
    for (const { name, durable: lasts } of exchanges.values())
      if (lasts) durable.add(named(vhost, 'exchange', name))
  }
  return bindingItems(vhosts).flatMap(({ properties_key: _, ...item }) => {
    const { vhost, source, destination_type: kind, destination } = item
    const from = named(String(vhost), 'exchange', String(source))
    const to = named(String(vhost), String(kind), String(destination))
    return source !== '' && durable.has(from) && durable.has(to) ? [item] : []
  })
}
