/** What changes about users, permissions and vhosts: told as events by RabbitMQ's names, and to the log in its phrases. */
import { isDeepStrictEqual } from 'node:util'
import { type Logger, shown } from '../../platform/log.js'
import type { EventKey, Events, Facts } from '../events.js'
import type { Limits } from './limits.js'
import type { Permission, TopicPermission } from './permissions.js'
import type { User } from './users.js'

export class AccessEvents {
  readonly #events: Events
  readonly #log: Logger

  constructor(events: Events, log: Logger) {
    this.#events = events
    this.#log = log
  }

  /** `former` is the user as it was, if it was there. */
  userSet(user: User, former: User | undefined, by: string): void {
    const { name, passwordHash, tags, limits } = user
    if (former === undefined) {
      this.#line(`Created user '${name}'`, by)
      this.#emit('user.created', { name }, by)
    } else if (passwordHash !== former.passwordHash) {
      this.#line(`Successfully changed password for user '${name}'`, by)
      this.#emit(
        passwordHash === '' ? 'user.password.cleared' : 'user.password.changed',
        { name },
        by,
      )
    }
    if (!isDeepStrictEqual(tags, former?.tags ?? [])) {
      this.#line(`Successfully set user tags for user '${name}' to [${tags.join(',')}]`, by)
      this.#emit('user.tags.set', { name, tags: [...tags] }, by)
    }
    if (isDeepStrictEqual(limits, former?.limits ?? {})) return
    const facts = { ...limits, username: name, name: 'limits' }
    this.#emit(isEmpty(limits) ? 'user.limits.cleared' : 'user.limits.set', facts, by)
  }

  userRemoved(name: string, by: string): void {
    this.#line(`Deleted user '${name}'`, by)
    this.#emit('user.deleted', { name }, by)
  }

  vhostAdded(name: string, by: string): void {
    this.#line(`Adding vhost '${name}'`, by)
    this.#emit('vhost.created', { name }, by)
  }

  vhostRemoved(name: string, by: string): void {
    this.#line(`Deleting vhost '${name}'`, by)
    this.#emit('vhost.deleted', { name }, by)
  }

  /** The limits of a vhost are a parameter too. */
  vhostLimited(vhost: string, limits: Limits, by: string): void {
    const parameter = { component: 'vhost-limits', name: 'limits', vhost }
    if (isEmpty(limits)) {
      this.#emit('parameter.cleared', parameter, by)
      this.#emit('vhost.limits.cleared', { name: 'limits' }, by)
    } else {
      this.#emit('parameter.set', { ...parameter, value: limits }, by)
      this.#emit('vhost.limits.set', { ...limits, name: 'limits' }, by)
    }
  }

  permissionSet({ user, vhost, configure, write, read }: Permission, by: string): void {
    const patterns = `'${configure}', '${write}', '${read}'`
    this.#line(
      `Successfully set permissions for user '${user}' in virtual host '${vhost}' to ${patterns}`,
      by,
    )
    this.#emit('permission.created', { user, vhost, configure, write, read }, by)
  }

  permissionRemoved(user: string, vhost: string, by: string): void {
    this.#line(`Successfully cleared permissions for user '${user}' in virtual host '${vhost}'`, by)
    this.#emit('permission.deleted', { user, vhost }, by)
  }

  topicPermissionSet({ user, vhost, exchange, write, read }: TopicPermission, by: string): void {
    this.#line(
      `Successfully set topic permissions on exchange '${exchange}' for user '${user}' in virtual host '${vhost}' to '${write}', '${read}'`,
      by,
    )
    this.#emit('topic.permission.created', { user, vhost, exchange, write, read }, by)
  }

  topicPermissionRemoved(user: string, vhost: string, exchange: string, by: string): void {
    this.#line(
      `Successfully cleared topic permissions on exchange '${exchange}' for user '${user}' in virtual host '${vhost}'`,
      by,
    )
    this.#emit('topic.permission.deleted', { user, vhost, exchange }, by)
  }

  /** Names may be anything that anybody made up. */
  #line(text: string, by: string): void {
    this.#log.info({ by: shown(by) }, shown(text))
  }

  #emit(key: EventKey, facts: Facts, by: string): void {
    this.#events.emit(key, () => ({ ...facts, user_who_performed_action: by }))
  }
}

function isEmpty(limits: Limits): boolean {
  return Object.keys(limits).length === 0
}
