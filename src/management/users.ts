/** Users over HTTP, with how they log in, their tags and their limits. Hashes are shown to administrators, passwords to nobody. */
import type { Credentials } from '../broker/access/access.js'
import { userLimitNames } from '../broker/access/limits.js'
import { type HashAlgorithm, isHashAlgorithm } from '../broker/access/passwords.js'
import type { User } from '../broker/access/users.js'
import type { Broker } from '../broker/broker.js'
import { type Item, listed, projected } from './listing.js'
import { permissionItem, topicPermissionItem } from './permissions.js'
import { badRequest, notFound } from './refusal.js'
import { type Call, created, noContent, type Route, required, text } from './route.js'
import { limitIn, tagsIn, without } from './vhosts.js'

export function userItem({ name, passwordHash, algorithm, tags, limits }: User): Item {
  return { name, password_hash: passwordHash, hashing_algorithm: algorithm, tags, limits }
}

export function userRoutes(broker: Broker): readonly Route[] {
  const { access } = broker
  const { permissions } = access
  const all = () =>
    [...access.users.all.values()].sort((a, b) => (a.name < b.name ? -1 : 1)).map(userItem)
  return [
    {
      method: 'GET',
      path: '/whoami',
      allowed: 'management',
      does: 'Shows who is logged in.',
      handle: ({ visitor: { name, tags } }) => ({ name, tags, is_internal_user: true }),
    },
    {
      method: 'GET',
      path: '/users',
      allowed: 'administrator',
      does: 'Lists all users.',
      handle: ({ query }) => listed(all(), query),
    },
    {
      method: 'GET',
      path: '/users/without-permissions',
      allowed: 'administrator',
      does: 'Lists the users who may use no vhost.',
      handle: ({ query }) => {
        const some = new Set(Array.from(permissions.all(), ({ user }) => user))
        return listed(
          all().filter(({ name }) => !some.has(String(name))),
          query,
        )
      },
    },
    {
      method: 'POST',
      path: '/users/bulk-delete',
      allowed: 'administrator',
      does: 'Removes several users, or none if one of them is not there.',
      handle: call => {
        const names = required(call, 'users')
        if (!Array.isArray(names)) throw badRequest('users is not a list')
        const unknown = names.find(name => access.users.get(String(name)) === undefined)
        if (unknown !== undefined) throw badRequest(`no_such_user: ${unknown}`)
        for (const name of new Set(names.map(String))) access.removeUser(name, call.visitor.name)
        return noContent
      },
    },
    {
      method: 'GET',
      path: '/users/:user',
      allowed: 'administrator',
      does: 'Shows a user.',
      handle: call => projected(userItem(userOf(broker, call)), call.query),
    },
    {
      method: 'PUT',
      path: '/users/:user',
      allowed: 'administrator',
      does: 'Sets a user up, or anew.',
      handle: call => {
        const name = call.params.user ?? ''
        const before = access.users.get(name)
        const credentials = credentialsIn(call)
        if (!('tags' in call.body)) throw badRequest('tags_not_present')
        access.setUser(name, credentials, tagsIn(call.body.tags), call.visitor.name)
        return before === undefined ? created() : noContent
      },
    },
    {
      method: 'DELETE',
      path: '/users/:user',
      allowed: 'administrator',
      does: 'Removes a user, and closes its connections.',
      handle: call => {
        access.removeUser(userOf(broker, call).name, call.visitor.name)
        return noContent
      },
    },
    {
      method: 'GET',
      path: '/users/:user/permissions',
      allowed: 'administrator',
      does: 'Lists what a user may do.',
      handle: call => {
        const { name } = userOf(broker, call)
        const own = [...permissions.all()].filter(({ user }) => user === name)
        return listed(own.map(permissionItem), call.query)
      },
    },
    {
      method: 'GET',
      path: '/users/:user/topic-permissions',
      allowed: 'administrator',
      does: 'Lists the permissions for routing keys of a user.',
      handle: call => {
        const { name } = userOf(broker, call)
        const own = [...permissions.allTopics()].filter(({ user }) => user === name)
        return listed(own.map(topicPermissionItem), call.query)
      },
    },
    {
      method: 'GET',
      path: '/user-limits',
      allowed: 'administrator',
      does: 'Lists the limits of the users who have some.',
      handle: ({ query }) => listed(limitItems([...access.users.all.values()]), query),
    },
    {
      method: 'GET',
      path: '/user-limits/:user',
      allowed: 'administrator',
      does: 'Lists the limits of a user.',
      handle: call => listed(limitItems([userOf(broker, call)]), call.query),
    },
    {
      method: 'PUT',
      path: '/user-limits/:user/:name',
      allowed: 'administrator',
      does: 'Sets a limit of a user.',
      handle: call => {
        const { name, limits } = userOf(broker, call)
        const value = limitIn(call, userLimitNames)
        const all = { ...limits, [call.params.name ?? '']: value }
        access.setUserLimits(name, all, call.visitor.name)
        return noContent
      },
    },
    {
      method: 'DELETE',
      path: '/user-limits/:user/:name',
      allowed: 'administrator',
      does: 'Takes a limit of a user away.',
      handle: call => {
        const { name, limits } = userOf(broker, call)
        access.setUserLimits(name, without(limits, call.params.name ?? ''), call.visitor.name)
        return noContent
      },
    },
  ]
}

function userOf({ access }: Broker, { params }: Call): User {
  const user = access.users.get(params.user ?? '')
  if (user === undefined) throw notFound()
  return user
}

function credentialsIn(call: Call): Credentials {
  const { body } = call
  const hashed = typeof body.password_hash === 'string'
  if (typeof body.password === 'string') {
    if (hashed) throw badRequest('both_password_and_password_hash_are_provided')
    return { password: body.password }
  }
  if (!hashed) return null
  return { passwordHash: text(call, 'password_hash'), algorithm: algorithmIn(call) }
}

function algorithmIn(call: Call): HashAlgorithm {
  const name = text(call, 'hashing_algorithm', 'rabbit_password_hashing_sha256')
  if (!isHashAlgorithm(name)) throw badRequest(`unknown hashing_algorithm: ${name}`)
  return name
}

function limitItems(users: readonly User[]): Item[] {
  return users
    .filter(({ limits }) => Object.keys(limits).length > 0)
    .map(({ name, limits }) => ({ user: name, value: limits }))
}
