/** Events of exchanges, queues and bindings, with the facts that RabbitMQ tells. */
import type { Binding } from './binding.js'
import { type Events, type Facts, internalUser, printedFields } from './events.js'
import { Exchange } from './exchanges/exchange.js'
import type { Queue } from './queues/queue.js'

export class TopologyEvents {
  readonly #events: Events
  readonly #vhost: string

  constructor(events: Events, vhost: string) {
    this.#events = events
    this.#vhost = vhost
  }

  exchangeCreated(exchange: Exchange, user = internalUser): void {
    this.#events.emit('exchange.created', () => ({
      name: exchange.name,
      vhost: this.#vhost,
      type: exchange.type,
      durable: exchange.durable,
      auto_delete: exchange.autoDelete,
      internal: exchange.internal,
      arguments: printedFields(exchange.arguments),
      policy: '',
      user_who_performed_action: user,
    }))
  }

  /** Call it while its bindings are still there: they go with it. */
  exchangeDeleted(exchange: Exchange, user = internalUser): void {
    if (!this.#events.heard) return
    for (const binding of exchange.allBindings()) this.bindingDeleted(binding)
    this.#inboundDeleted(exchange)
    this.#events.emit('exchange.deleted', () => this.#named(exchange.name, user))
  }

  queueCreated(queue: Queue, user = internalUser): void {
    this.#events.emit('queue.created', () => ({
      name: queue.name,
      vhost: this.#vhost,
      durable: queue.durable,
      auto_delete: queue.autoDelete,
      arguments: printedFields(queue.arguments),
      owner_pid: queue.owner?.name ?? '',
      exclusive: queue.owner !== null,
      user_who_performed_action: user,
    }))
  }

  /** Call it while its bindings are still there: they go with it. */
  queueDeleted(queue: Queue, user = internalUser): void {
    if (!this.#events.heard) return
    this.#inboundDeleted(queue)
    this.#events.emit('queue.deleted', () => this.#named(queue.name, user))
  }

  bindingCreated(binding: Binding, user = internalUser): void {
    this.#events.emit('binding.created', () => this.#binding(binding, user))
  }

  bindingDeleted(binding: Binding, user = internalUser): void {
    this.#events.emit('binding.deleted', () => this.#binding(binding, user))
  }

  #inboundDeleted(destination: Queue | Exchange): void {
    const inbound = destination instanceof Exchange ? destination.inbound : destination.bindings
    for (const group of inbound.values())
      for (const binding of group.values()) this.bindingDeleted(binding)
  }

  #named(name: string, user: string): Facts {
    return { name, vhost: this.#vhost, user_who_performed_action: user }
  }

  #binding({ source, destination, key, arguments: table }: Binding, user: string): Facts {
    return {
      source_name: source.name,
      source_kind: 'exchange',
      destination_name: destination.name,
      destination_kind: destination instanceof Exchange ? 'exchange' : 'queue',
      routing_key: key,
      arguments: printedFields(table),
      vhost: this.#vhost,
      user_who_performed_action: user,
    }
  }
}
