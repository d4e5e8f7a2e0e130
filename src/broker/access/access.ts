/**
 * Users, permissions, vhosts and their limits: everything about them is changed here, in memory at
 * once and in the definitions' log, so that it survives. Changes return the log number at which
 * they are there for good (`definitions.whenDurable`); what cannot be done is refused with an
 * AmqpError. Whether who asks may ask is the asker's matter; `by` names it in events.
 *
 * What is changed counts for open connections too: permissions from their next operation on, since
 * a change makes every route stale by which publishers know that they may publish. Tags and
 * passwords count at login. Who is removed is disconnected, and so are those in a removed vhost
 * (320, as seen of RabbitMQ 3.10).
 */
import type { Logger } from '../../platform/log.js'
import { fieldTable } from '../../wire/field-table.js'
import { AmqpError } from '../../wire/replies.js'
import type { Command } from '../command.js'
import type { Definitions } from '../definitions.js'
import { type Events, internalUser } from '../events.js'
import { type Session, Sessions } from '../sessions.js'
import type { Vhost, VhostMetadata } from '../vhost.js'
import { AccessEvents } from './access-events.js'
import { checkedLimits, type Limits, limitsIn, userLimitNames, vhostLimitNames } from './limits.js'
import { checkHash, type HashAlgorithm, isHashAlgorithm, usualAlgorithm } from './passwords.js'
import {
  everything,
  type Permission,
  type PermissionPatterns,
  Permissions,
  type TopicPatterns,
  type TopicPermission,
} from './permissions.js'
import { Rights } from './rights.js'
import type { User, Users } from './users.js'

const mostTags = 32

/** How a user is to log in: with a password, with one whose hash is known, or with none at all. */
export type Credentials =
  | { readonly password: string }
  | { readonly passwordHash: string; readonly algorithm: HashAlgorithm }
  | null

export class Access {
  readonly users: Users
  readonly permissions = new Permissions()
  readonly sessions = new Sessions()
  readonly #vhosts = new Map<string, Vhost>()
  /** Users of a definitions' log that knows no permissions. */
  readonly #older = new Set<string>()
  readonly #definitions: Definitions
  readonly #events: AccessEvents
  readonly #newVhost: (name: string) => Vhost

  constructor(
    users: Users,
    definitions: Definitions,
    events: Events,
    log: Logger,
    newVhost: (name: string) => Vhost,
  ) {
    this.users = users
    this.#definitions = definitions
    this.#events = new AccessEvents(events, log)
    this.#newVhost = newVhost
  }

  // --- vhosts

  get vhosts(): ReadonlyMap<string, Vhost> {
    return this.#vhosts
  }

  /** Makes a vhost that is not there. Nobody may open it yet. */
  addVhost(name: string, by = internalUser): number {
    if (this.#vhosts.has(name)) return 0
    if (name === '') throw new AmqpError('PRECONDITION_FAILED', 'a vhost must have a name')
    this.#vhosts.set(name, this.#newVhost(name))
    this.#events.vhostAdded(name, by)
    return this.#definitions.append({ command: 'vhost.added', name })
  }

  describeVhost(name: string, metadata: VhostMetadata): number {
    this.#vhost(name).metadata = metadata
    return this.#definitions.append({ command: 'vhost.described', name, ...metadata })
  }

  /** Removes a vhost with everything in it; who is connected to it hears so. */
  removeVhost(name: string, by = internalUser): number {
    const vhost = this.#vhost(name)
    this.#close(this.sessions.inVhost(name), `vhost '${name}' is deleted`)
    this.#dropVhost(vhost)
    this.#events.vhostRemoved(name, by)
    return this.#definitions.append({ command: 'vhost.removed', name })
  }

  /** Sets all limits of a vhost. */
  setVhostLimits(name: string, limits: Limits, by = internalUser): number {
    this.#vhost(name).limits = checkedLimits(limits, vhostLimitNames)
    this.#events.vhostLimited(name, limits, by)
    return this.#definitions.append({ command: 'vhost.limited', name, limits: fieldTable(limits) })
  }

  // --- users

  /** Sets a user up, or anew; its limits and permissions stay as they are. */
  setUser(
    name: string,
    credentials: Credentials,
    tags: readonly string[],
    by = internalUser,
  ): number {
    if (name === '') throw new AmqpError('PRECONDITION_FAILED', 'a user must have a name')
    if (tags.length > mostTags)
      throw new AmqpError('PRECONDITION_FAILED', `a user may have ${mostTags} tags at most`)
    const { limits = {} } = this.users.get(name) ?? {}
    return this.#setUser({ name, ...this.#hashed(credentials), tags, limits }, by)
  }

  /** Changes how a user logs in. Who is logged in stays so. */
  setPassword(name: string, credentials: Credentials, by = internalUser): number {
    return this.#setUser({ ...this.#user(name), ...this.#hashed(credentials) }, by)
  }

  /** Sets all limits of a user. */
  setUserLimits(name: string, limits: Limits, by = internalUser): number {
    const user = this.#user(name)
    return this.#setUser({ ...user, limits: checkedLimits(limits, userLimitNames) }, by)
  }

  /** Removes a user with its permissions, and closes its connections. */
  removeUser(name: string, by = internalUser): number {
    this.#user(name)
    this.#dropUser(name)
    this.#close(this.sessions.ofUser(name), `user '${name}' is deleted`)
    this.#events.userRemoved(name, by)
    return this.#definitions.append({ command: 'user.removed', name })
  }

  // --- permissions

  /** What a user may do in a vhost from now on, as it is at the time it does it. */
  rights(user: string, vhost: string): Rights {
    return new Rights(user, vhost, this.permissions)
  }

  setPermission(
    user: string,
    vhost: string,
    patterns: PermissionPatterns,
    by = internalUser,
  ): number {
    const permission: Permission = { user, vhost, ...patterns }
    this.#user(user)
    this.#changed(this.#vhost(vhost).name, () => this.permissions.set(permission))
    this.#events.permissionSet(permission, by)
    return this.#definitions.append({ command: 'permission.set', ...permission })
  }

  /** The user may no longer open the vhost; where it has it open it may do nothing there. */
  removePermission(user: string, vhost: string, by = internalUser): number {
    let removed = false
    this.#changed(vhost, () => {
      removed = this.permissions.delete(user, vhost)
    })
    if (!removed)
      throw new AmqpError('NOT_FOUND', `no permissions of user '${user}' in vhost '${vhost}'`)
    this.#events.permissionRemoved(user, vhost, by)
    return this.#definitions.append({ command: 'permission.removed', user, vhost })
  }

  setTopicPermission(
    user: string,
    vhost: string,
    exchange: string,
    patterns: TopicPatterns,
    by = internalUser,
  ): number {
    const permission: TopicPermission = { user, vhost, exchange, ...patterns }
    this.#user(user)
    this.#changed(this.#vhost(vhost).name, () => this.permissions.setTopic(permission))
    this.#events.topicPermissionSet(permission, by)
    return this.#definitions.append({ command: 'topic-permission.set', ...permission })
  }

  /** From now on all routing keys of the exchange are allowed again. */
  removeTopicPermission(user: string, vhost: string, exchange: string, by = internalUser): number {
    this.#changed(vhost, () => this.permissions.deleteTopic(user, vhost, exchange))
    this.#events.topicPermissionRemoved(user, vhost, exchange, by)
    const command = 'topic-permission.removed'
    return this.#definitions.append({ command, user, vhost, exchange })
  }

  // --- what survives a restart

  /** Does again what a command of the log says. Permissions may come before what they are for. */
  restore(command: Command): void {
    switch (command.command) {
      case 'vhost.added':
        if (!this.#vhosts.has(command.name))
          this.#vhosts.set(command.name, this.#newVhost(command.name))
        break
      case 'vhost.described': {
        const { name, command: _, ...metadata } = command
        const vhost = this.#vhosts.get(name)
        if (vhost !== undefined) vhost.metadata = metadata
        break
      }
      case 'vhost.limited': {
        const vhost = this.#vhosts.get(command.name)
        if (vhost !== undefined) vhost.limits = limitsIn(command.limits)
        break
      }
      case 'vhost.removed': {
        const vhost = this.#vhosts.get(command.name)
        if (vhost !== undefined) this.#dropVhost(vhost)
        break
      }
      case 'user.set': {
        const { name, passwordHash, algorithm, tags, limits } = command
        if (algorithm === '') {
          this.users.set({ name, passwordHash, algorithm: usualAlgorithm, tags, limits: {} })
          this.#older.add(name)
          break
        }
        if (!isHashAlgorithm(algorithm))
          throw new Error(`the password of a user is hashed in an unknown way: '${algorithm}'`)
        this.users.set({ name, passwordHash, algorithm, tags, limits: limitsIn(limits) })
        this.#older.delete(name)
        break
      }
      case 'user.removed':
        this.#dropUser(command.name)
        break
      case 'permission.set':
        this.permissions.set(command)
        break
      case 'permission.removed':
        this.permissions.delete(command.user, command.vhost)
        break
      case 'topic-permission.set':
        this.permissions.setTopic(command)
        break
      case 'topic-permission.removed':
        this.permissions.deleteTopic(command.user, command.vhost, command.exchange)
        break
      default:
        if ('vhost' in command) this.#vhosts.get(command.vhost)?.restore(command)
    }
  }

  /** Lets users that were set up before there were permissions do what they could do then: everything. */
  grantOlder(): void {
    for (const name of this.#older) {
      this.#setUser(this.#user(name), internalUser)
      for (const vhost of this.#vhosts.keys()) this.setPermission(name, vhost, everything)
    }
    this.#older.clear()
  }

  /** Commands that make all there is. */
  *commands(): Iterable<Command> {
    for (const user of this.users.all.values()) yield userSet(user)
    for (const vhost of this.#vhosts.values()) yield* vhost.commands()
    for (const permission of this.permissions.all())
      yield { command: 'permission.set', ...permission }
    for (const permission of this.permissions.allTopics())
      yield { command: 'topic-permission.set', ...permission }
  }

  clear(): void {
    this.#older.clear()
    for (const vhost of this.#vhosts.values()) vhost.end()
    this.#vhosts.clear()
    this.users.clear()
    this.permissions.clear()
  }

  // ---

  #vhost(name: string): Vhost {
    const vhost = this.#vhosts.get(name)
    if (vhost === undefined) throw new AmqpError('NOT_FOUND', `no vhost '${name}'`)
    return vhost
  }

  #user(name: string): User {
    const user = this.users.get(name)
    if (user === undefined) throw new AmqpError('NOT_FOUND', `no user '${name}'`)
    return user
  }

  #setUser(user: User, by: string): number {
    const former = this.users.get(user.name)
    this.users.set(user)
    this.#events.userSet(user, former, by)
    return this.#definitions.append(userSet(user))
  }

  #hashed(credentials: Credentials): Pick<User, 'passwordHash' | 'algorithm'> {
    if (credentials === null) return { passwordHash: '', algorithm: usualAlgorithm }
    if ('password' in credentials)
      return {
        passwordHash: this.users.hashOf(credentials.password),
        algorithm: usualAlgorithm,
      }
    const { passwordHash, algorithm } = credentials
    if (passwordHash !== '') checkHash(passwordHash, algorithm)
    return { passwordHash, algorithm }
  }

  /** Changes permissions for a vhost: nobody is to go on by what was allowed before. */
  #changed(vhost: string, change: () => void): void {
    change()
    this.#vhosts.get(vhost)?.router.changed()
  }

  #dropUser(name: string): void {
    this.users.delete(name)
    this.permissions.deleteUser(name)
    for (const { router } of this.#vhosts.values()) router.changed()
  }

  #dropVhost(vhost: Vhost): void {
    this.#vhosts.delete(vhost.name)
    this.permissions.deleteVhost(vhost.name)
    vhost.end()
  }

  #close(sessions: Iterable<Session>, why: string): void {
    for (const session of [...sessions]) session.close(new AmqpError('CONNECTION_FORCED', why))
  }
}

function userSet({ name, passwordHash, algorithm, tags, limits }: User): Command {
  const table = fieldTable({ ...limits })
  return { command: 'user.set', name, passwordHash, algorithm, tags, limits: table }
}
