/** Queues over HTTP. Depths are always there and exact: autoscalers live by them. */
import type { Broker } from '../broker/broker.js'
import type { Queue } from '../broker/queues/queue.js'
import type { Vhost } from '../broker/vhost.js'
import { lookup, textOf } from '../wire/field-table.js'
import { bindingsOf, nobody } from './bindings.js'
import { tableJson, tableOf } from './json.js'
import { type Item, listed, parameter, projected, type Query } from './listing.js'
import { badRequest, notFound } from './refusal.js'
import { type Call, created, flag, noContent, type Route, required, table } from './route.js'
import { vhostForChange, vhostOf } from './vhosts.js'

/** What is said of a queue without any figures, and with those of its messages on demand. */
function plainItem(vhost: Vhost, queue: Queue, node: string): Item {
  return {
    name: queue.name,
    vhost: vhost.name,
    durable: queue.durable,
    auto_delete: queue.autoDelete,
    exclusive: queue.owner !== null,
    arguments: tableJson(queue.arguments),
    type: textOf(lookup(queue.arguments, 'x-queue-type')) || 'classic',
    node,
    state: 'running',
  }
}

function totals({ readyCount, unackedCount, asideCount }: Queue): Item {
  return {
    messages: readyCount + unackedCount + asideCount,
    messages_ready: readyCount,
    messages_unacknowledged: unackedCount,
  }
}

export function queueItem(vhost: Vhost, queue: Queue, node: string, query: Query = {}): Item {
  const plain = plainItem(vhost, queue, node)
  if (parameter(query, 'disable_stats') === 'true') {
    const wanted = parameter(query, 'enable_queue_totals') === 'true'
    return wanted ? { ...plain, ...totals(queue) } : plain
  }
  return {
    ...plain,
    ...totals(queue),
    message_bytes_ready: queue.readyBytes,
    consumers: queue.consumers.count,
    policy: queue.ruling.policy?.name ?? null,
    operator_policy: queue.ruling.operatorPolicy?.name ?? null,
    effective_policy_definition: Object.fromEntries(queue.ruling.definition),
    head_message_timestamp: null,
    garbage_collection: {},
    recoverable_slaves: null,
    ...(queue.number > 0 && { leader: node, members: [node], online: [node] }),
  }
}

function queueItems(vhosts: readonly Vhost[], node: string, query: Query): Item[] {
  return vhosts.flatMap(vhost =>
    [...vhost.queues.values()]
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map(queue => queueItem(vhost, queue, node, query)),
  )
}

export function queueRoutes(broker: Broker, node: string): readonly Route[] {
  return [
    ...['/queues', '/queues/detailed'].map(
      (path): Route => ({
        method: 'GET',
        path,
        allowed: 'management',
        does: 'Lists the queues of all vhosts that the user sees.',
        handle: ({ visitor, query }) => listed(queueItems(visitor.vhosts(), node, query), query),
      }),
    ),
    {
      method: 'GET',
      path: '/queues/:vhost',
      allowed: 'management',
      does: 'Lists the queues of a vhost.',
      handle: call => listed(queueItems([vhostOf(broker, call)], node, call.query), call.query),
    },
    {
      method: 'GET',
      path: '/queues/:vhost/:queue',
      allowed: 'management',
      does: 'Shows a queue.',
      handle: call => {
        checkRanges(call.query)
        const vhost = vhostOf(broker, call)
        const item = queueItem(vhost, queueOf(vhost, call), node, call.query)
        return projected({ ...item, incoming: [], deliveries: [] }, call.query)
      },
    },
    {
      method: 'PUT',
      path: '/queues/:vhost/:queue',
      allowed: 'management',
      does: 'Declares a queue, as the user would over AMQP.',
      handle: call => {
        const vhost = vhostForChange(broker, call)
        const name = call.params.queue ?? ''
        const wanted = call.body.node
        if (wanted !== undefined && wanted !== null && wanted !== node)
          throw badRequest(`Node ${wanted} could not be contacted`)
        const existed = vhost.queues.has(name)
        const request = {
          name,
          durable: flag(call, 'durable', true),
          exclusive: false,
          autoDelete: flag(call, 'auto_delete', false),
          arguments: tableOf(table(call, 'arguments')),
          owner: nobody,
        }
        const rights = broker.access.rights(call.visitor.name, vhost.name)
        vhost.declareQueue(request, rights)
        return existed ? noContent : created()
      },
    },
    {
      method: 'DELETE',
      path: '/queues/:vhost/:queue',
      allowed: 'management',
      does: 'Deletes a queue; with if-empty or if-unused only one that is.',
      handle: call => {
        const vhost = vhostOf(broker, call)
        const queue = queueOf(vhost, call)
        const rights = broker.access.rights(call.visitor.name, vhost.name)
        rights.check('configure', 'queue', queue.name)
        const conditions = {
          ifUnused: parameter(call.query, 'if-unused') === 'true',
          ifEmpty: parameter(call.query, 'if-empty') === 'true',
        }
        // An administrator may take the queue of any connection away.
        vhost.deleteQueue(queue.name, queue.owner ?? nobody, conditions, () => {})
        return noContent
      },
    },
    {
      method: 'GET',
      path: '/queues/:vhost/:queue/bindings',
      allowed: 'management',
      does: 'Lists the bindings of a queue.',
      handle: call => {
        const vhost = vhostOf(broker, call)
        return listed(bindingsOf(vhost, queueOf(vhost, call)), call.query)
      },
    },
    {
      method: 'DELETE',
      path: '/queues/:vhost/:queue/contents',
      allowed: 'management',
      does: 'Throws the ready messages of a queue away.',
      handle: call => {
        const vhost = vhostOf(broker, call)
        const queue = queueOf(vhost, call)
        broker.access.rights(call.visitor.name, vhost.name).check('read', 'queue', queue.name)
        queue.purge()
        return noContent
      },
    },
    {
      method: 'POST',
      path: '/queues/:vhost/:queue/actions',
      allowed: 'administrator',
      does: 'Accepts what once synchronised mirrors; there are none.',
      handle: call => {
        queueOf(vhostOf(broker, call), call)
        const action = required(call, 'action')
        if (action !== 'sync' && action !== 'cancel_sync') throw badRequest(`unknown: ${action}`)
        return noContent
      },
    },
  ]
}

/** The queue that a path names, or 404. */
export function queueOf(vhost: Vhost, { params }: Call): Queue {
  const queue = vhost.queues.get(params.queue ?? '')
  if (queue === undefined) throw notFound()
  return queue
}

const windows = ['lengths', 'msg_rates', 'data_rates', 'node_stats']

/** Refuses windows of samples that make no sense. */
function checkRanges(query: Query): void {
  for (const window of windows) {
    const age = parameter(query, `${window}_age`)
    const step = parameter(query, `${window}_incr`)
    if (age === undefined || step === undefined) continue
    const samples = Number(age) / Number(step)
    if (!(Number(age) > 0 && Number(step) > 0 && samples <= 500))
      throw badRequest(`Invalid range parameters: age ${age}, incr ${step}`)
  }
}
