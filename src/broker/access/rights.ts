/** What one user may do in one vhost, asked before it does it; the refusals have RabbitMQ's texts (403). */
import { AmqpError } from '../../wire/replies.js'
import type { Operation, Permissions, TopicOperation } from './permissions.js'

/** What has a name that permissions are about. */
export type ResourceKind = 'exchange' | 'queue'

/** An exchange, as far as permissions go. */
export interface TopicSource {
  readonly name: string
  readonly type: string
}

/** Who asks for something: everything that is to be allowed goes through here. */
export interface Asker {
  /** The name of who asks; undefined: the broker itself. */
  readonly user?: string
  /** Refuses an operation on an exchange or a queue, whether or not there is one of that name. */
  check(operation: Operation, kind: ResourceKind, name: string): void
  /** Refuses a routing key or a binding key of a topic exchange. */
  checkTopic(operation: TopicOperation, exchange: TopicSource, key: string): void
}

/** The broker itself, which asks nobody. */
export const theBroker: Asker = { check: () => {}, checkTopic: () => {} }

export class Rights implements Asker {
  readonly user: string
  readonly #vhost: string
  readonly #permissions: Permissions

  constructor(user: string, vhost: string, permissions: Permissions) {
    this.user = user
    this.#vhost = vhost
    this.#permissions = permissions
  }

  check(operation: Operation, kind: ResourceKind, name: string): void {
    const called = kind === 'exchange' && name === '' ? 'amq.default' : name
    const grant = this.#permissions.of(this.user, this.#vhost)
    if (grant?.allows(operation, called)) return
    throw this.#refusal(operation, `${kind} '${called}'`)
  }

  checkTopic(operation: TopicOperation, exchange: TopicSource, key: string): void {
    if (exchange.type !== 'topic') return
    const grant = this.#permissions.ofTopic(this.user, this.#vhost, exchange.name)
    if (grant === undefined || grant.allows(operation, key)) return
    throw this.#refusal(operation, `topic '${key}' in exchange '${exchange.name}'`)
  }

  #refusal(operation: string, what: string): AmqpError {
    return new AmqpError(
      'ACCESS_REFUSED',
      `${operation} access to ${what} in vhost '${this.#vhost}' refused for user '${this.user}'`,
    )
  }
}
