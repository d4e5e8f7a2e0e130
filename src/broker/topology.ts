/**
 * The exchanges, queues and bindings of a vhost, and how they hang together. What may be asked
 * for, and by whom, is the vhost's matter.
 */
import type { FieldTable } from '../wire/field-table.js'
import { type Binding, bindingIdentity } from './binding.js'
import { type ExchangeRequest, newExchange } from './exchanges/by-type.js'
import { Exchange } from './exchanges/exchange.js'
import type { Queue } from './queues/queue.js'
import { Router } from './router.js'

/** The exchanges that every vhost has from its beginning. */
const predeclared: readonly (readonly [string, string, boolean])[] = [
  ['', 'direct', false],
  ['amq.direct', 'direct', false],
  ['amq.fanout', 'fanout', false],
  ['amq.topic', 'topic', false],
  ['amq.headers', 'headers', false],
  ['amq.match', 'headers', false],
  ['amq.rabbitmq.trace', 'topic', true],
]

export class Topology {
  readonly exchanges = new Map<string, Exchange>()
  readonly queues = new Map<string, Queue>()
  readonly router: Router

  constructor(vhost: string) {
    this.router = new Router(vhost, this.exchanges, this.queues)
    for (const [name, type, internal] of predeclared)
      this.addExchange({ name, type, internal, durable: true, autoDelete: false, arguments: [] })
  }

  addExchange(request: ExchangeRequest): Exchange {
    const exchange = newExchange(request)
    this.exchanges.set(exchange.name, exchange)
    this.router.changed()
    return exchange
  }

  addQueue(queue: Queue): void {
    this.queues.set(queue.name, queue)
    this.router.changed()
  }

  /** Adds a binding that is not there yet; `identity` is made by `bindingIdentity`. */
  addBinding(
    identity: string,
    source: Exchange,
    destination: Queue | Exchange,
    key: string,
    table: FieldTable,
  ): Binding {
    const binding = { identity, source, destination, key, arguments: table, definedAt: 0 }
    source.bindings.set(identity, binding)
    source.add(binding)
    inboundOf(destination).add(binding)
    this.router.changed()
    return binding
  }

  /** Takes an exchange away, and its bindings. Auto-delete exchanges that lost their last one join `unused`. */
  removeExchange(exchange: Exchange, unused: Exchange[]): void {
    exchange.deleted = true
    this.exchanges.delete(exchange.name)
    for (const binding of exchange.bindings.values()) inboundOf(binding.destination).delete(binding)
    exchange.bindings.clear()
    unbind(exchange.inbound, unused)
    exchange.inbound.clear()
    this.router.changed()
  }

  /** The same for a queue. */
  removeQueue(queue: Queue, unused: Exchange[]): void {
    this.queues.delete(queue.name)
    unbind(queue.bindings, unused)
    queue.bindings.clear()
    this.router.changed()
  }

  /** The same for a single binding. */
  removeBinding(binding: Binding, unused: Exchange[]): void {
    inboundOf(binding.destination).delete(binding)
    unbind([binding], unused)
    this.router.changed()
  }

  /** The binding of this kind, if there is one. */
  binding(
    source: string,
    kind: 'queue' | 'exchange',
    destination: string,
    key: string,
    table: FieldTable,
  ): Binding | undefined {
    const exchange = this.exchanges.get(source)
    return exchange?.bindings.get(bindingIdentity(kind, destination, key, table))
  }
}

/** Takes bindings away from their sources. */
function unbind(bindings: Iterable<Binding>, unused: Exchange[]): void {
  for (const binding of bindings) {
    const { source, identity } = binding
    source.bindings.delete(identity)
    source.remove(binding)
    if (source.autoDelete && source.bindings.size === 0) unused.push(source)
  }
}

/** The bindings in which it is the destination. */
function inboundOf(destination: Queue | Exchange): Set<Binding> {
  return destination instanceof Exchange ? destination.inbound : destination.bindings
}
