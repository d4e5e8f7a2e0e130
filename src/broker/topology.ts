/**
 * The exchanges, queues and bindings of a vhost, and how they hang together. What may be asked
 * for, and by whom, is the vhost's matter.
 */
import type { FieldTable } from '../wire/field-table.js'
import { type Binding, type BindingGroup, bindingIdentity } from './binding.js'
import { type ExchangeHost, type ExchangeRequest, newExchange } from './exchanges/by-type.js'
import { Exchange } from './exchanges/exchange.js'
import type { Queue } from './queues/queue.js'
import { Router } from './router.js'
import { Unbinding } from './unbinding.js'

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

/** Bindings taken out of their source at once. */
const unboundAtOnce = 256

export class Topology {
  readonly exchanges = new Map<string, Exchange>()
  readonly queues = new Map<string, Queue>()
  readonly router: Router

  readonly #host: ExchangeHost

  constructor(host: ExchangeHost) {
    this.#host = host
    this.router = new Router(host.name, this.exchanges, this.queues)
    for (const [name, type, internal] of predeclared)
      this.addExchange({ name, type, internal, durable: true, autoDelete: false, arguments: [] })
  }

  addExchange(request: ExchangeRequest): Exchange {
    const exchange = newExchange(request, this.#host)
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
    let group = source.bindings.get(destination)
    if (group === undefined) {
      group = new Map()
      source.bindings.set(destination, group)
      inboundOf(destination).set(source, group)
    }
    group.set(identity, binding)
    source.add(binding)
    source.changed()
    this.router.changed()
    return binding
  }

  /** Takes an exchange away, and its bindings. Auto-delete exchanges that lost their last one join `unused`. */
  removeExchange(exchange: Exchange, unused: Exchange[]): void {
    exchange.deleted = true
    this.exchanges.delete(exchange.name)
    for (const destination of exchange.bindings.keys()) inboundOf(destination).delete(exchange)
    exchange.bindings.clear()
    this.#unbind(exchange, unused)
    exchange.end()
    this.router.changed()
  }

  /** The same for a queue. */
  removeQueue(queue: Queue, unused: Exchange[]): void {
    this.queues.delete(queue.name)
    this.#unbind(queue, unused)
    this.router.changed()
  }

  /** The same for a single binding. */
  removeBinding(binding: Binding, unused: Exchange[]): void {
    const { source, destination, identity } = binding
    const group = source.bindings.get(destination) as BindingGroup
    group.delete(identity)
    if (group.size === 0) {
      source.bindings.delete(destination)
      inboundOf(destination).delete(source)
      if (source.autoDelete && source.bindings.size === 0) unused.push(source)
    }
    source.remove(binding)
    source.changed()
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
    const to = kind === 'queue' ? this.queues.get(destination) : this.exchanges.get(destination)
    if (to === undefined) return undefined
    return this.exchanges.get(source)?.bindings.get(to)?.get(bindingIdentity(key, table))
  }

  /** Takes all bindings away of a destination that is deleted. */
  #unbind(destination: Queue | Exchange, unused: Exchange[]): void {
    const inbound = inboundOf(destination)
    for (const [source, group] of inbound) {
      source.bindings.delete(destination)
      source.changed()
      if (source.autoDelete && source.bindings.size === 0) unused.push(source)
      if (group.size <= unboundAtOnce) for (const binding of group.values()) source.remove(binding)
      else new Unbinding(source, group.values(), this.#host.turn)
    }
    inbound.clear()
  }
}

/** The bindings in which it is the destination. */
function inboundOf(destination: Queue | Exchange): Map<Exchange, BindingGroup> {
  return destination instanceof Exchange ? destination.inbound : destination.bindings
}
