/**
 * What users may do: for each user and vhost a pattern for every operation, and for single topic
 * exchanges patterns of routing keys besides. What a pattern says of a name is remembered with
 * it, for all connections of the user; a change puts new patterns in the place of the old.
 */
import { Pattern, PatternError } from '../../structures/pattern.js'
import { AmqpError } from '../../wire/replies.js'

/** Patterns of the names that a user may configure, write and read in a vhost. */
export interface PermissionPatterns {
  readonly configure: string
  readonly write: string
  readonly read: string
}

/** May do all there is to do. */
export const everything: PermissionPatterns = { configure: '.*', write: '.*', read: '.*' }

/** Patterns of the routing keys with which a user may publish to a topic exchange, and bind to it. */
export interface TopicPatterns {
  readonly write: string
  readonly read: string
}

export type Operation = keyof PermissionPatterns
export type TopicOperation = keyof TopicPatterns

/** Names remembered with a pattern. */
const namesKept = 1024

/** A pattern, and what it said. RabbitMQ takes an empty one for one that matches only the empty name. */
class Permit {
  readonly #pattern: Pattern
  readonly #said = new Map<string, boolean>()

  constructor(source: string) {
    this.#pattern = new Pattern(source === '' ? '^$' : source)
  }

  allows(name: string): boolean {
    let said = this.#said.get(name)
    if (said === undefined) {
      said = this.#pattern.matches(name)
      if (this.#said.size >= namesKept) this.#said.clear()
      this.#said.set(name, said)
    }
    return said
  }
}

/** Patterns by operation, ready to be asked. */
export class Grant<T extends PermissionPatterns | TopicPatterns> {
  readonly patterns: T
  readonly #permits: ReadonlyMap<string, Permit>

  /** With `expand` done to each pattern first. Refuses what is no pattern (406). */
  constructor(patterns: T, expand = (pattern: string) => pattern) {
    this.patterns = patterns
    const permits = new Map<string, Permit>()
    for (const [operation, pattern] of Object.entries(patterns))
      permits.set(operation, permitOf(operation, pattern, expand))
    this.#permits = permits
  }

  allows(operation: keyof T & string, name: string): boolean {
    return this.#permits.get(operation)?.allows(name) ?? false
  }
}

function permitOf(operation: string, pattern: string, expand: (pattern: string) => string): Permit {
  try {
    return new Permit(expand(pattern))
  } catch (error) {
    if (!(error instanceof PatternError)) throw error
    throw new AmqpError(
      'PRECONDITION_FAILED',
      `invalid regular expression '${pattern}' for ${operation}: ${error.message} at ${error.at}`,
    )
  }
}

type ByUser<V> = Map<string, Map<string, V>>

export interface Permission extends PermissionPatterns {
  readonly user: string
  readonly vhost: string
}

export interface TopicPermission extends TopicPatterns {
  readonly user: string
  readonly vhost: string
  readonly exchange: string
}

export class Permissions {
  /** By vhost, then by user. */
  readonly #grants: ByUser<Grant<PermissionPatterns>> = new Map()
  /** By vhost, then by user, then by exchange. */
  readonly #topics: ByUser<Map<string, Grant<TopicPatterns>>> = new Map()

  /** What a user may in a vhost; undefined: not even open it. */
  of(user: string, vhost: string): Grant<PermissionPatterns> | undefined {
    return this.#grants.get(vhost)?.get(user)
  }

  /** The routing keys of a topic exchange that a user may use; undefined: all of them. */
  ofTopic(user: string, vhost: string, exchange: string): Grant<TopicPatterns> | undefined {
    return this.#topics.get(vhost)?.get(user)?.get(exchange)
  }

  *all(): Iterable<Permission> {
    for (const [vhost, users] of this.#grants)
      for (const [user, { patterns }] of users) yield { user, vhost, ...patterns }
  }

  *allTopics(): Iterable<TopicPermission> {
    for (const [vhost, users] of this.#topics)
      for (const [user, exchanges] of users)
        for (const [exchange, { patterns }] of exchanges)
          yield { user, vhost, exchange, ...patterns }
  }

  /** Refuses what is no pattern (406). */
  set({ user, vhost, configure, write, read }: Permission): void {
    const grant = new Grant<PermissionPatterns>({ configure, write, read })
    into(this.#grants, vhost).set(user, grant)
  }

  /** The same; in these patterns `{username}` and `{vhost}` stand for the names themselves. */
  setTopic({ user, vhost, exchange, write, read }: TopicPermission): void {
    const names: Readonly<Record<string, string>> = { username: user, vhost }
    const expand = (pattern: string) =>
      pattern.replace(/\{(username|vhost)\}/g, (_, name: string) => quoted(names[name] as string))
    const grant = new Grant<TopicPatterns>({ write, read }, expand)
    const users = into(this.#topics, vhost)
    const exchanges = users.get(user) ?? new Map()
    users.set(user, exchanges.set(exchange, grant))
  }

  delete(user: string, vhost: string): boolean {
    return this.#grants.get(vhost)?.delete(user) ?? false
  }

  deleteTopic(user: string, vhost: string, exchange: string): boolean {
    return this.#topics.get(vhost)?.get(user)?.delete(exchange) ?? false
  }

  // What is taken out is emptied too: a snapshot of the definitions may be in the middle of it.

  deleteUser(user: string): void {
    for (const users of this.#grants.values()) users.delete(user)
    for (const users of this.#topics.values()) {
      users.get(user)?.clear()
      users.delete(user)
    }
  }

  deleteVhost(vhost: string): void {
    this.#grants.get(vhost)?.clear()
    this.#grants.delete(vhost)
    for (const exchanges of this.#topics.get(vhost)?.values() ?? []) exchanges.clear()
    this.#topics.get(vhost)?.clear()
    this.#topics.delete(vhost)
  }

  clear(): void {
    this.#grants.clear()
    this.#topics.clear()
  }
}

function into<V>(map: ByUser<V>, vhost: string): Map<string, V> {
  const users = map.get(vhost) ?? new Map<string, V>()
  map.set(vhost, users)
  return users
}

/** A pattern that matches just this text. */
function quoted(text: string): string {
  return text.replace(/[^A-Za-z0-9_]/g, character =>
    character.charCodeAt(0) < 128 ? `\\${character}` : character,
  )
}
