/** Whether a connection or a channel of a user may be opened; the refusals have RabbitMQ's texts (530), in its order. */
import { AmqpError } from '../../wire/replies.js'
import type { Vhost } from '../vhost.js'
import type { Access } from './access.js'
import { limitOf } from './limits.js'

/** The vhost that a user opens, unless it may not. */
export function admitConnection(access: Access, user: string, vhostName: string): Vhost {
  const { permissions, sessions, users, vhosts } = access
  const vhost = vhosts.get(vhostName)
  if (vhost === undefined) throw new AmqpError('NOT_ALLOWED', `vhost ${vhostName} not found`)
  const refused = `access to vhost '${vhostName}' refused for user '${user}'`
  const inVhost = limitOf(vhost.limits, 'max-connections')
  if (sessions.inVhost(vhostName).size >= inVhost)
    throw new AmqpError('NOT_ALLOWED', `${refused}: connection limit (${inVhost}) is reached`)
  const ofUser = limitOf(users.get(user)?.limits ?? {}, 'max-connections')
  if (sessions.ofUser(user).size >= ofUser)
    throw new AmqpError(
      'NOT_ALLOWED',
      `connection refused for user '${user}': user connection limit (${ofUser}) is reached`,
    )
  if (permissions.of(user, vhostName) === undefined) throw new AmqpError('NOT_ALLOWED', refused)
  return vhost
}

/** Refuses one more channel to a user who has as many as it may. */
export function admitChannel({ sessions, users }: Access, user: string): void {
  const limit = limitOf(users.get(user)?.limits ?? {}, 'max-channels')
  if (limit !== Number.POSITIVE_INFINITY && sessions.channelsOfUser(user) >= limit)
    throw new AmqpError(
      'NOT_ALLOWED',
      `number of channels opened for user '${user}' has reached the maximum allowed user limit of ${limit}`,
    )
}
