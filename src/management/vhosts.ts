/** Vhosts over HTTP: what they are, who may use them, how much they may hold. */
import { type Limits, vhostLimitNames } from '../broker/access/limits.js'
import { everything } from '../broker/access/permissions.js'
import type { Broker } from '../broker/broker.js'
import type { Vhost } from '../broker/vhost.js'
import { type Item, listed, projected } from './listing.js'
import { permissionItem, topicPermissionItem } from './permissions.js'
import { badRequest, notFound } from './refusal.js'
import { type Call, created, flag, noContent, type Route, required, text } from './route.js'

/** The vhost that a path names, for who may ask for what is in it: else 404, as if it were not there. */
export function vhostOf(broker: Broker, { params, visitor }: Call): Vhost {
  const vhost = broker.access.vhosts.get(params.vhost ?? '')
  if (vhost === undefined || !visitor.reaches(vhost)) throw notFound()
  return vhost
}

/** The same where something is to be made in it: RabbitMQ has other words for that. */
export function vhostForChange(broker: Broker, { params, visitor }: Call): Vhost {
  const vhost = broker.access.vhosts.get(params.vhost ?? '')
  if (vhost === undefined || !visitor.reaches(vhost)) throw notFound('vhost_not_found')
  return vhost
}

export function vhostItem({ name, metadata, queues, firehose }: Vhost, node: string): Item {
  let [ready, unacknowledged] = [0, 0]
  for (const queue of queues.values()) {
    ready += queue.readyCount
    unacknowledged += queue.unackedCount
  }
  const { description, tags } = metadata
  const type = metadata.defaultQueueType || 'classic'
  return {
    name,
    description,
    tags,
    default_queue_type: type,
    metadata: { description, tags, default_queue_type: type },
    tracing: firehose !== null,
    protected_from_deletion: false,
    cluster_state: { [node]: 'running' },
    messages: ready + unacknowledged,
    messages_ready: ready,
    messages_unacknowledged: unacknowledged,
  }
}

export function vhostRoutes(broker: Broker, node: string): readonly Route[] {
  const { access } = broker
  return [
    {
      method: 'GET',
      path: '/vhosts',
      allowed: 'management',
      does: 'Lists the vhosts that the user sees.',
      handle: ({ visitor, query }) =>
        listed(
          visitor.vhosts().map(vhost => vhostItem(vhost, node)),
          query,
        ),
    },
    {
      method: 'GET',
      path: '/vhosts/:vhost',
      allowed: 'management',
      does: 'Shows a vhost.',
      handle: call => projected(vhostItem(vhostOf(broker, call), node), call.query),
    },
    {
      method: 'PUT',
      path: '/vhosts/:vhost',
      allowed: 'administrator',
      does: 'Makes a vhost, or changes its description, tags and default queue type.',
      handle: call => {
        const { body, params, visitor } = call
        const name = params.vhost ?? ''
        const before = access.vhosts.get(name)
        // All of the body is read before anything comes of it.
        const type = text(call, 'default_queue_type', text(call, 'defaultqueuetype', ''))
        const metadata = {
          description: text(call, 'description', before?.metadata.description ?? ''),
          tags: 'tags' in body ? tagsIn(body.tags) : (before?.metadata.tags ?? []),
          defaultQueueType: type || before?.metadata.defaultQueueType || '',
        }
        const traced = 'tracing' in body ? flag(call, 'tracing', false) : null
        if (before === undefined) {
          access.addVhost(name, visitor.name)
          // As RabbitMQ's API does: who made it may use it.
          access.setPermission(visitor.name, name, everything, visitor.name)
        }
        access.describeVhost(name, metadata)
        if (traced !== null) access.vhosts.get(name)?.trace(traced)
        return before === undefined ? created() : noContent
      },
    },
    {
      method: 'DELETE',
      path: '/vhosts/:vhost',
      allowed: 'administrator',
      does: 'Removes a vhost with everything in it.',
      handle: call => {
        access.removeVhost(vhostOf(broker, call).name, call.visitor.name)
        return noContent
      },
    },
    {
      method: 'GET',
      path: '/vhosts/:vhost/permissions',
      allowed: 'administrator',
      does: 'Lists who may do what in a vhost.',
      handle: call => {
        const { name } = vhostOf(broker, call)
        const all = [...access.permissions.all()].filter(({ vhost }) => vhost === name)
        return listed(all.map(permissionItem), call.query)
      },
    },
    {
      method: 'GET',
      path: '/vhosts/:vhost/topic-permissions',
      allowed: 'administrator',
      does: 'Lists the permissions for routing keys in a vhost.',
      handle: call => {
        const { name } = vhostOf(broker, call)
        const all = [...access.permissions.allTopics()].filter(({ vhost }) => vhost === name)
        return listed(all.map(topicPermissionItem), call.query)
      },
    },
    {
      method: 'GET',
      path: '/vhost-limits',
      allowed: 'management',
      does: 'Lists the limits of the vhosts that have some.',
      handle: ({ visitor, query }) => listed(limitItems(visitor.vhosts()), query),
    },
    {
      method: 'GET',
      path: '/vhost-limits/:vhost',
      allowed: 'management',
      does: 'Lists the limits of a vhost.',
      handle: call => listed(limitItems([vhostOf(broker, call)]), call.query),
    },
    {
      method: 'PUT',
      path: '/vhost-limits/:vhost/:name',
      allowed: 'administrator',
      does: 'Sets a limit of a vhost.',
      handle: call => {
        const vhost = vhostForChange(broker, call)
        const value = limitIn(call, vhostLimitNames)
        const limits = { ...vhost.limits, [call.params.name ?? '']: value }
        access.setVhostLimits(vhost.name, limits, call.visitor.name)
        return noContent
      },
    },
    {
      method: 'DELETE',
      path: '/vhost-limits/:vhost/:name',
      allowed: 'administrator',
      does: 'Takes a limit of a vhost away.',
      handle: call => {
        const vhost = vhostOf(broker, call)
        const limits = without(vhost.limits, call.params.name ?? '')
        access.setVhostLimits(vhost.name, limits, call.visitor.name)
        return noContent
      },
    },
  ]
}

function limitItems(vhosts: readonly Vhost[]): Item[] {
  return vhosts
    .filter(({ limits }) => Object.keys(limits).length > 0)
    .map(({ name, limits }) => ({ vhost: name, value: limits }))
}

/** The value of a limit in a request; refuses (400) one whose name is not known. */
export function limitIn(call: Call, known: readonly string[]): number {
  const { name = '' } = call.params
  const value = required(call, 'value')
  const number = typeof value === 'string' && /^-?\d+$/.test(value) ? Number(value) : value
  if (!known.includes(name))
    throw badRequest(
      `Validation failed\n\nUnrecognised terms [{<<"${name}">>,${value}}] in limits\n`,
    )
  if (typeof number === 'number' && Number.isSafeInteger(number)) return number
  const shown = typeof value === 'string' ? `<<"${value}">>` : String(value)
  throw badRequest(`Validation failed\n\n${name} should be a number, actually was ${shown}\n`)
}

/** Limits without one of them, which need not be there. */
export function without(limits: Limits, name: string): Limits {
  return Object.fromEntries(Object.entries(limits).filter(([key]) => key !== name))
}

/** Tags as they come: a list, or a text with commas. */
export function tagsIn(value: unknown): string[] {
  if (typeof value === 'string')
    return value
      .split(',')
      .map(tag => tag.trim())
      .filter(tag => tag !== '')
  if (Array.isArray(value) && value.every(tag => typeof tag === 'string')) return value
  throw badRequest('tags are neither a list of texts nor a text')
}
