/** Permissions over HTTP: for names of exchanges and queues, and for routing keys of topic exchanges. */
import type { Permission, TopicPermission } from '../broker/access/permissions.js'
import type { Broker } from '../broker/broker.js'
import { type Item, listed, projected } from './listing.js'
import { badRequest, notFound } from './refusal.js'
import { type Call, created, noContent, type Route, required, text } from './route.js'

export const permissionItem = (permission: Permission): Item => {
  const { user, vhost, configure, write, read } = permission
  return { user, vhost, configure, write, read }
}

export const topicPermissionItem = (permission: TopicPermission): Item => {
  const { user, vhost, exchange, write, read } = permission
  return { user, vhost, exchange, write, read }
}

export function permissionRoutes(broker: Broker): readonly Route[] {
  const { access } = broker
  return [
    {
      method: 'GET',
      path: '/permissions',
      allowed: 'administrator',
      does: 'Lists who may do what in which vhost.',
      handle: ({ query }) => listed([...access.permissions.all()].map(permissionItem), query),
    },
    {
      method: 'GET',
      path: '/permissions/:vhost/:user',
      allowed: 'administrator',
      does: 'Shows what a user may do in a vhost.',
      handle: call => projected(permissionItem(permissionOf(broker, call)), call.query),
    },
    {
      method: 'PUT',
      path: '/permissions/:vhost/:user',
      allowed: 'administrator',
      does: 'Sets what a user may do in a vhost, with a pattern for each operation.',
      handle: call => {
        const { user, vhost } = ends(broker, call)
        for (const key of ['configure', 'write', 'read']) required(call, key)
        const patterns = {
          configure: text(call, 'configure'),
          write: text(call, 'write'),
          read: text(call, 'read'),
        }
        const before = access.permissions.of(user, vhost)
        access.setPermission(user, vhost, patterns, call.visitor.name)
        return before === undefined ? created() : noContent
      },
    },
    {
      method: 'DELETE',
      path: '/permissions/:vhost/:user',
      allowed: 'administrator',
      does: 'Takes the right to use a vhost from a user.',
      handle: call => {
        const { user, vhost } = permissionOf(broker, call)
        access.removePermission(user, vhost, call.visitor.name)
        return noContent
      },
    },
    {
      method: 'GET',
      path: '/topic-permissions',
      allowed: 'administrator',
      does: 'Lists the permissions for routing keys.',
      handle: ({ query }) =>
        listed([...access.permissions.allTopics()].map(topicPermissionItem), query),
    },
    {
      method: 'GET',
      path: '/topic-permissions/:vhost/:user',
      allowed: 'administrator',
      does: 'Lists the permissions for routing keys that a user has in a vhost.',
      handle: call => {
        const found = topicPermissionsOf(broker, call)
        if (found.length === 0) throw notFound()
        return listed(found.map(topicPermissionItem), call.query)
      },
    },
    {
      method: 'PUT',
      path: '/topic-permissions/:vhost/:user',
      allowed: 'administrator',
      does: 'Sets which routing keys of a topic exchange a user may use.',
      handle: call => {
        const { user, vhost } = ends(broker, call)
        for (const key of ['exchange', 'write', 'read']) required(call, key)
        const exchange = text(call, 'exchange')
        const patterns = { write: text(call, 'write'), read: text(call, 'read') }
        const before = topicPermissionsOf(broker, call)
        access.setTopicPermission(user, vhost, exchange, patterns, call.visitor.name)
        return before.some(permission => permission.exchange === exchange) ? noContent : created()
      },
    },
    {
      method: 'DELETE',
      path: '/topic-permissions/:vhost/:user',
      allowed: 'administrator',
      does: 'Takes all permissions for routing keys of a vhost from a user.',
      handle: call => {
        const found = topicPermissionsOf(broker, call)
        if (found.length === 0) throw notFound()
        for (const { user, vhost, exchange } of found)
          access.removeTopicPermission(user, vhost, exchange, call.visitor.name)
        return noContent
      },
    },
    {
      method: 'DELETE',
      path: '/topic-permissions/:vhost/:user/:exchange',
      allowed: 'administrator',
      does: 'Takes the permission for routing keys of one exchange from a user.',
      handle: call => {
        const name = call.params.exchange ?? ''
        const found = topicPermissionsOf(broker, call).find(({ exchange }) => exchange === name)
        if (found === undefined) throw notFound()
        access.removeTopicPermission(found.user, found.vhost, name, call.visitor.name)
        return noContent
      },
    },
  ]
}

/** The user and the vhost of a path; refuses (400) if one of them is not there. */
function ends({ access }: Broker, { params }: Call): { user: string; vhost: string } {
  const { user = '', vhost = '' } = params
  if (access.users.get(user) === undefined || !access.vhosts.has(vhost))
    throw badRequest('vhost_or_user_not_found')
  return { user, vhost }
}

function permissionOf({ access }: Broker, { params }: Call): Permission {
  const { user = '', vhost = '' } = params
  const grant = access.permissions.of(user, vhost)
  if (grant === undefined) throw notFound()
  return { user, vhost, ...grant.patterns }
}

function topicPermissionsOf({ access }: Broker, { params }: Call): TopicPermission[] {
  const { user, vhost } = params
  return [...access.permissions.allTopics()].filter(
    permission => permission.user === user && permission.vhost === vhost,
  )
}
