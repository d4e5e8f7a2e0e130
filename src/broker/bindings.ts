/** The bindings of a vhost as clients ask for them: made, found again, and taken away. */
import type { FieldTable } from '../wire/field-table.js'
import { AmqpError } from '../wire/replies.js'
import { type Asker, theBroker } from './access/rights.js'
import { bindingIdentity } from './binding.js'
import { bindingFields, isDurable } from './description.js'
import type { Exchange } from './exchanges/exchange.js'
import { refuseDefault, replyQueue, stripped } from './names.js'
import type { Owner, Queue } from './queues/queue.js'
import { replyPrefix } from './router.js'
import type { Topology } from './topology.js'
import type { Vhost } from './vhost.js'

/** One end of a binding request. */
export type Destination =
  | { readonly kind: 'queue'; readonly name: string }
  | { readonly kind: 'exchange'; readonly name: string }

export class Bindings {
  readonly #vhost: Vhost
  readonly #topology: Topology

  constructor(vhost: Vhost, topology: Topology) {
    this.#vhost = vhost
    this.#topology = topology
  }

  /**
   * Binds a queue or an exchange to an exchange. The same binding again changes nothing. Returns
   * the log number at which it is there for good.
   */
  bind(
    source: string,
    destination: Destination,
    key: string,
    table: FieldTable,
    connection: Owner,
    asker: Asker = theBroker,
  ): number {
    const { definitions, name: vhost } = this.#vhost
    const from = this.#checked(source, destination, key, asker)
    // Where both are missing, RabbitMQ names the source.
    const exchange = this.#vhost.exchange(from)
    const to = this.#destination(destination, connection)
    const identity = bindingIdentity(key, table)
    const existing = exchange.bindings.get(to)?.get(identity)
    if (existing !== undefined) return existing.definedAt
    exchange.check(key, table, to)
    const binding = this.#topology.addBinding(identity, exchange, to, key, table)
    if (isDurable(binding))
      binding.definedAt = definitions.append({
        command: 'bound',
        ...bindingFields(vhost, binding),
      })
    this.#vhost.topologyEvents.bindingCreated(binding, connection.user)
    if (exchange.history !== null) this.#vhost.made.replay(exchange.history, to)
    return binding.definedAt
  }

  /**
   * Takes a binding away; one that does not exist is fine, whoever owns the queue. Returns the log
   * number at which it is gone for good.
   */
  unbind(
    source: string,
    destination: Destination,
    key: string,
    table: FieldTable,
    connection: Owner,
    asker: Asker = theBroker,
  ): number {
    const { definitions, name: vhost } = this.#vhost
    const from = this.#checked(source, destination, key, asker)
    const name = stripped(destination.name)
    const binding = this.#topology.binding(from, destination.kind, name, key, table)
    if (binding === undefined) return definitions.last
    if (destination.kind === 'queue') this.#vhost.queue(name, connection)
    const before = definitions.last
    const unused: Exchange[] = []
    this.#topology.removeBinding(binding, unused)
    this.#vhost.topologyEvents.bindingDeleted(binding, connection.user)
    if (isDurable(binding))
      definitions.append({ command: 'unbound', ...bindingFields(vhost, binding) })
    this.#vhost.removeExchanges(unused)
    return definitions.since(before)
  }

  /** What is asked before anything is looked up, in RabbitMQ's order; returns the name of the source. */
  #checked(source: string, destination: Destination, key: string, asker: Asker): string {
    const from = stripped(source)
    const to = stripped(destination.name)
    asker.check('write', destination.kind, to)
    if (destination.kind === 'exchange') refuseDefault(to)
    refuseDefault(from)
    refusePseudoQueue(destination)
    asker.check('read', 'exchange', from)
    const exchange = this.#vhost.exchanges.get(from)
    if (exchange !== undefined) asker.checkTopic('read', exchange, key)
    return from
  }

  #destination({ kind, name }: Destination, connection: Owner): Queue | Exchange {
    if (kind === 'queue') return this.#vhost.queue(name, connection)
    return this.#vhost.exchange(stripped(name))
  }
}

function refusePseudoQueue({ kind, name }: Destination): void {
  if (kind === 'queue' && (name === replyQueue || name.startsWith(replyPrefix)))
    throw new AmqpError(
      'ACCESS_REFUSED',
      'cannot bind or unbind to a volatile (direct reply-to) queue',
    )
}
