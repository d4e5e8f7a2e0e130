/**
 * A vhost: its exchanges, queues and bindings, and the way of a message from the one to the
 * others. Refusals are AmqpErrors with RabbitMQ's texts; who may do what is asked elsewhere.
 */

import type { Clock } from '../platform/clock.js'
import type { Random } from '../platform/random.js'
import type { Turn } from '../platform/turn.js'
import { Mark, type MessageTable } from '../store/message-table.js'
import { type FieldTable, lookup, typeNames } from '../wire/field-table.js'
import type { Message } from '../wire/message.js'
import { AmqpError } from '../wire/replies.js'
import { Arrival } from './arrival.js'
import { type Binding, bindingIdentity } from './binding.js'
import { DeadLetters } from './dead-letter.js'
import type { Deadlines } from './deadlines.js'
import type { Definitions } from './definitions.js'
import { compare, compareArgument } from './equivalence.js'
import { DirectExchange } from './exchanges/direct.js'
import { Exchange, type ExchangeDeclaration } from './exchanges/exchange.js'
import { FanoutExchange } from './exchanges/fanout.js'
import { HeadersExchange } from './exchanges/headers.js'
import { TopicExchange } from './exchanges/topic.js'
import { exchangeIn, queueIn, stripped } from './names.js'
import type { OrderNumbers } from './order-numbers.js'
import { type DeathReason, type Owner, Queue, type QueueHost } from './queues/queue.js'
import type { ReadyPages } from './queues/ready.js'
import { knownArguments, queueSettings } from './queues/settings.js'
import { type Route, Router, replyPrefix } from './router.js'

/** The pseudo-queue of direct reply-to. */
export const replyQueue = 'amq.rabbitmq.reply-to'

/** Who gets the replies sent to the name made for it. */
export interface ReplyTarget {
  deliver(message: Message): void
}

/** What all vhosts of a broker share. */
export interface Shared {
  readonly messages: MessageTable
  readonly numbers: OrderNumbers
  readonly pages: ReadyPages
  readonly turn: Turn
  readonly clock: Clock
  readonly random: Random
  readonly deadlines: Deadlines
  readonly definitions: Definitions
}

/** What became of a message: bits. */
export const Outcome = { unroutable: 0, routed: 1, refused: 2 } as const

const refusedOutcome = Outcome.routed | Outcome.refused

const exchangeTypes = new Map<string, new (declaration: ExchangeDeclaration) => Exchange>([
  ['direct', DirectExchange],
  ['fanout', FanoutExchange],
  ['topic', TopicExchange],
  ['headers', HeadersExchange],
])

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

/** What queue.declare asks for; `owner` is the asking connection. */
export interface QueueRequest {
  readonly name: string
  readonly durable: boolean
  readonly exclusive: boolean
  readonly autoDelete: boolean
  readonly arguments: FieldTable
  readonly owner: Owner
}

/** What exchange.declare asks for. */
export interface ExchangeRequest extends ExchangeDeclaration {
  readonly type: string
}

/** One end of a binding request. */
export type Destination =
  | { readonly kind: 'queue'; readonly name: string }
  | { readonly kind: 'exchange'; readonly name: string }

export class Vhost implements QueueHost {
  readonly name: string
  readonly exchanges = new Map<string, Exchange>()
  readonly queues = new Map<string, Queue>()
  /** Requesters that wait for replies, by the name made for each. */
  readonly replies = new Map<string, ReplyTarget>()
  readonly router: Router
  /** The message that is being published at the moment. */
  readonly arrival: Arrival
  readonly messages: MessageTable
  readonly pages: ReadyPages
  readonly turn: Turn
  readonly clock: Clock
  readonly deadlines: Deadlines
  readonly #definitions: Definitions
  readonly #random: Random
  readonly #deadLetters: DeadLetters
  readonly #deadArrival: Arrival

  constructor(name: string, shared: Shared) {
    this.name = name
    this.messages = shared.messages
    this.pages = shared.pages
    this.turn = shared.turn
    this.clock = shared.clock
    this.deadlines = shared.deadlines
    this.#definitions = shared.definitions
    this.#random = shared.random
    this.router = new Router(name, this.exchanges, this.queues)
    this.#deadLetters = new DeadLetters(this)
    this.arrival = new Arrival(shared.messages, shared.numbers)
    this.#deadArrival = new Arrival(shared.messages, shared.numbers)
    for (const [exchange, type, internal] of predeclared)
      this.#create({
        name: exchange,
        type,
        internal,
        durable: true,
        autoDelete: false,
        arguments: [],
      })
  }

  // --- messages

  /**
   * Puts a message into the queues of its route, and those of its further keys if it has any.
   * Returns bits of `Outcome`.
   */
  publish(route: Route, arrival: Arrival, furtherKeys: readonly string[] | null): number {
    if (route.repliesTo !== null) {
      this.replies.get(route.repliesTo)?.deliver(arrival.message)
      return Outcome.routed
    }
    return this.enqueue(this.router.queuesOf(route, arrival.message, furtherKeys), arrival)
  }

  /**
   * Like `publish`, for a message that was routed to `queues` earlier: in the place of one that
   * is deleted since stands the one that has its name now, if there is one.
   */
  publishRouted(route: Route, queues: readonly Queue[], arrival: Arrival): number {
    if (route.repliesTo !== null) return this.publish(route, arrival, null)
    if (!queues.some(({ deleted }) => deleted)) return this.enqueue(queues, arrival)
    const living = queues.flatMap(queue =>
      queue.deleted ? (this.queues.get(queue.name) ?? []) : queue,
    )
    return this.enqueue(living, arrival) | Outcome.routed
  }

  /** Puts a message into queues. Returns bits of `Outcome`. */
  enqueue(queues: readonly Queue[], arrival: Arrival): number {
    if (queues.length === 0) return Outcome.unroutable
    if (queues.length === 1)
      return (queues[0] as Queue).publish(arrival) ? Outcome.routed : refusedOutcome
    // A queue may drop the message at once, when others are still to get it.
    arrival.hold()
    let outcome: number = Outcome.routed
    for (let i = 0; i < queues.length; i++)
      if (!(queues[i] as Queue).publish(arrival)) outcome = refusedOutcome
    arrival.letGo()
    return outcome
  }

  /** Puts a dead letter, made from the message in `slot`, into queues. */
  enqueueDead(
    queues: readonly Queue[],
    bytes: Buffer,
    parts: readonly Buffer[] | null,
    slot: number,
  ): void {
    const arrival = this.#deadArrival
    arrival.message.at(bytes, 0, bytes.length, parts)
    const persistent = this.messages.persistent(slot) ? Mark.persistent : 0
    arrival.begin(this.messages.priority(slot) | persistent | Mark.died, -1, true)
    this.enqueue(queues, arrival)
  }

  bury(queue: Queue, slot: number, reason: DeathReason): void {
    this.#deadLetters.add(queue, slot, reason)
  }

  // --- exchanges

  /** The exchange of this name, or NOT_FOUND. */
  exchange(name: string): Exchange {
    const exchange = this.exchanges.get(name)
    if (exchange === undefined)
      throw new AmqpError('NOT_FOUND', `no ${exchangeIn(this.name, name)}`)
    return exchange
  }

  /** Declares an exchange, or finds that it exists as it is wanted. */
  declareExchange(request: ExchangeRequest): Exchange {
    typeOf(request)
    const name = stripped(request.name)
    this.#refuseDefault(name)
    const existing = this.exchanges.get(name)
    if (existing !== undefined) {
      this.#compareExchange(existing, request)
      return existing
    }
    if (name.startsWith('amq.'))
      throw new AmqpError(
        'ACCESS_REFUSED',
        `exchange name '${name}' contains reserved prefix 'amq.*'`,
      )
    const alternate = lookup(request.arguments, 'alternate-exchange')
    if (alternate !== undefined && alternate.type !== 'S')
      throw new AmqpError(
        'PRECONDITION_FAILED',
        `invalid type '${typeNames[alternate.type]}' for arg 'alternate-exchange' in ${exchangeIn(this.name, name)}`,
      )
    return this.#create({ ...request, name })
  }

  /** Deletes an exchange with its bindings; one that does not exist is fine. */
  deleteExchange(requested: string, ifUnused: boolean): void {
    const name = stripped(requested)
    this.#refuseDefault(name)
    if (name.startsWith('amq.'))
      throw new AmqpError(
        'ACCESS_REFUSED',
        `deletion of system ${exchangeIn(this.name, name)} not allowed`,
      )
    const exchange = this.exchanges.get(name)
    if (exchange === undefined) return
    if (ifUnused && exchange.bindings.size > 0)
      throw new AmqpError('PRECONDITION_FAILED', `${exchangeIn(this.name, name)} in use`)
    this.#removeExchanges([exchange])
  }

  // --- queues

  /** The queue of this name, if `connection` may use it: else NOT_FOUND or RESOURCE_LOCKED. */
  queue(name: string, connection: Owner): Queue {
    const queue = this.queues.get(stripped(name))
    if (queue === undefined) throw new AmqpError('NOT_FOUND', `no ${queueIn(this.name, name)}`)
    if (queue.owner !== null && queue.owner !== connection) throw this.#locked(queue.name)
    return queue
  }

  /** Declares a queue, or finds that it exists as it is wanted. An empty name is replaced by a new one. */
  declareQueue(request: QueueRequest): Queue {
    const name = stripped(request.name)
    if (name.startsWith('amq.'))
      throw new AmqpError('ACCESS_REFUSED', `queue name '${name}' contains reserved prefix 'amq.*'`)
    const existing = this.queues.get(name)
    if (existing !== undefined) {
      this.#compareQueue(existing, request)
      existing.used()
      return existing
    }
    const chosen = name === '' ? this.generatedName('amq.gen-') : name
    const settings = queueSettings(request.arguments, queueIn(this.name, chosen))
    // An exclusive queue ends with its connection, so there is nothing to survive a restart.
    const durable = request.durable && !request.exclusive
    const queue = new Queue(
      {
        name: chosen,
        durable,
        autoDelete: request.autoDelete,
        owner: request.exclusive ? request.owner : null,
        arguments: request.arguments,
        number: durable ? this.#definitions.takeQueueNumber() : 0,
      },
      settings,
      this,
    )
    this.queues.set(chosen, queue)
    this.router.changed()
    if (request.exclusive) request.owner.owns(queue)
    return queue
  }

  /**
   * Deletes a queue that `connection` may use; one that does not exist is fine. `deleted` hears
   * how many messages were ready, before the consumers hear that the queue is gone.
   */
  deleteQueue(
    name: string,
    connection: Owner,
    conditions: { readonly ifUnused: boolean; readonly ifEmpty: boolean },
    deleted: (messageCount: number) => void,
  ): void {
    if (!this.queues.has(stripped(name))) {
      deleted(0)
      return
    }
    const queue = this.queue(name, connection)
    if (conditions.ifUnused && queue.consumers.count > 0)
      throw new AmqpError('PRECONDITION_FAILED', `${queueIn(this.name, queue.name)} in use`)
    if (conditions.ifEmpty && queue.readyCount > 0)
      throw new AmqpError('PRECONDITION_FAILED', `${queueIn(this.name, queue.name)} not empty`)
    deleted(queue.readyCount)
    this.removeQueue(queue)
  }

  /** Removes a queue for whatever reason. */
  removeQueue(queue: Queue): void {
    if (queue.deleted) return
    queue.owner?.disowns(queue)
    this.queues.delete(queue.name)
    const unused: Exchange[] = []
    this.#unbind(queue.bindings, unused)
    queue.bindings.clear()
    this.#removeExchanges(unused)
    queue.end()
  }

  queueUnused(queue: Queue): void {
    this.removeQueue(queue)
  }

  /** A name that nobody else has: 22 characters of base64url behind the prefix. */
  generatedName(prefix: string): string {
    return prefix + this.#random.bytes(16).toString('base64url')
  }

  // --- bindings

  /** Binds a queue or an exchange to an exchange. The same binding again changes nothing. */
  bind(
    source: string,
    destination: Destination,
    key: string,
    table: FieldTable,
    connection: Owner,
  ): void {
    const from = stripped(source)
    this.#refuseDefault(from)
    this.#refusePseudoQueue(destination)
    const to = this.#destination(destination, connection)
    const exchange = this.exchange(from)
    const identity = bindingIdentity(destination.kind, to.name, key, table)
    if (exchange.bindings.has(identity)) return
    exchange.check(key, table)
    const binding = { identity, source: exchange, destination: to, key, arguments: table }
    exchange.bindings.set(identity, binding)
    exchange.add(binding)
    inboundOf(to).add(binding)
    this.router.changed()
  }

  /** Takes a binding away; one that does not exist is fine, whoever owns the queue. */
  unbind(
    source: string,
    destination: Destination,
    key: string,
    table: FieldTable,
    connection: Owner,
  ): void {
    const from = stripped(source)
    this.#refuseDefault(from)
    this.#refusePseudoQueue(destination)
    if (destination.kind === 'exchange') this.#refuseDefault(stripped(destination.name))
    const name = stripped(destination.name)
    const exchange = this.exchanges.get(from)
    const binding = exchange?.bindings.get(bindingIdentity(destination.kind, name, key, table))
    if (binding === undefined) return
    if (destination.kind === 'queue') this.queue(name, connection)
    inboundOf(binding.destination).delete(binding)
    const unused: Exchange[] = []
    this.#unbind([binding], unused)
    this.#removeExchanges(unused)
  }

  // ---

  #create(request: ExchangeRequest): Exchange {
    const Type = typeOf(request)
    const exchange = new Type(request)
    this.exchanges.set(exchange.name, exchange)
    this.router.changed()
    return exchange
  }

  /** Removes exchanges, and those that become unused by it: a chain of any length, so without recursion. */
  #removeExchanges(exchanges: Exchange[]): void {
    for (const exchange of exchanges) {
      if (exchange.deleted) continue
      exchange.deleted = true
      this.exchanges.delete(exchange.name)
      for (const binding of exchange.bindings.values())
        inboundOf(binding.destination).delete(binding)
      exchange.bindings.clear()
      this.#unbind(exchange.inbound, exchanges)
      exchange.inbound.clear()
    }
    this.router.changed()
  }

  /** Takes bindings away from their sources; auto-delete exchanges that lost their last one join `unused`. */
  #unbind(bindings: Iterable<Binding>, unused: Exchange[]): void {
    for (const binding of bindings) {
      const { source, identity } = binding
      source.bindings.delete(identity)
      source.remove(binding)
      if (source.autoDelete && source.bindings.size === 0) unused.push(source)
    }
  }

  #destination(destination: Destination, connection: Owner): Queue | Exchange {
    if (destination.kind === 'queue') return this.queue(destination.name, connection)
    const name = stripped(destination.name)
    this.#refuseDefault(name)
    return this.exchange(name)
  }

  #refuseDefault(name: string): void {
    if (name === '')
      throw new AmqpError('ACCESS_REFUSED', 'operation not permitted on the default exchange')
  }

  #refusePseudoQueue({ kind, name }: Destination): void {
    if (kind === 'queue' && (name === replyQueue || name.startsWith(replyPrefix)))
      throw new AmqpError(
        'ACCESS_REFUSED',
        'cannot bind or unbind to a volatile (direct reply-to) queue',
      )
  }

  #locked(name: string): AmqpError {
    return new AmqpError(
      'RESOURCE_LOCKED',
      `cannot obtain exclusive access to locked ${queueIn(this.name, name)}. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.`,
    )
  }

  #compareExchange(existing: Exchange, request: ExchangeRequest): void {
    const what = exchangeIn(this.name, existing.name)
    compare(what, 'type', request.type, existing.type)
    compare(what, 'durable', request.durable, existing.durable)
    compare(what, 'auto_delete', request.autoDelete, existing.autoDelete)
    compare(what, 'internal', request.internal, existing.internal)
    compareArgument(what, 'alternate-exchange', request.arguments, existing.arguments)
  }

  #compareQueue(existing: Queue, request: QueueRequest): void {
    const owned = existing.owner !== null
    if (owned !== request.exclusive || (owned && existing.owner !== request.owner))
      throw this.#locked(existing.name)
    const what = queueIn(this.name, existing.name)
    compare(what, 'durable', request.durable && !request.exclusive, existing.durable)
    compare(what, 'auto_delete', request.autoDelete, existing.autoDelete)
    for (const name of knownArguments)
      compareArgument(what, name, request.arguments, existing.arguments)
  }
}

/** The bindings in which it is the destination. */
function inboundOf(destination: Queue | Exchange): Set<Binding> {
  return destination instanceof Exchange ? destination.inbound : destination.bindings
}

/** The class of an exchange's type, or a refusal. */
function typeOf({ type }: ExchangeRequest): new (declaration: ExchangeDeclaration) => Exchange {
  const Type = exchangeTypes.get(type)
  if (Type === undefined)
    throw new AmqpError('PRECONDITION_FAILED', `unknown exchange type '${type}'`)
  return Type
}
