/**
 * A vhost: its exchanges, queues and bindings, and the way of a message from the one to the
 * others. Refusals are AmqpErrors with RabbitMQ's texts. Who asks for something is asked at the
 * point where RabbitMQ does, so that of two reasons to refuse it is the same one.
 */

import type { Clock } from '../platform/clock.js'
import type { Random } from '../platform/random.js'
import type { Turn } from '../platform/turn.js'
import { Mark, type MessageTable } from '../store/message-table.js'
import type { Paging } from '../store/paging.js'
import { type FieldTable, fieldValue, lookup, typeNames } from '../wire/field-table.js'
import { AmqpError } from '../wire/replies.js'
import { type Limits, limitOf } from './access/limits.js'
import { type Asker, theBroker } from './access/rights.js'
import { Arrival } from './arrival.js'
import { Bindings } from './bindings.js'
import type { Command } from './command.js'
import { DeadLetters } from './dead-letter.js'
import type { Deadlines } from './deadlines.js'
import type { Definitions } from './definitions.js'
import { exchangeDeclared, isLogged, queueDeclared, vhostCommands } from './description.js'
import { compareExchange, compareQueue } from './equivalence.js'
import type { Events } from './events.js'
import { checkExchangeType, type ExchangeRequest } from './exchanges/by-type.js'
import { DelayedMessages } from './exchanges/delayed-messages.js'
import type { Exchange } from './exchanges/exchange.js'
import { Firehose } from './firehose.js'
import type { Journal } from './journal.js'
import { MadeMessages } from './made-messages.js'
import {
  exchangeIn,
  namePrefixIn,
  queueIn,
  refuseDefault,
  stripped,
  withoutNamePrefix,
} from './names.js'
import { OwnMessages } from './own-messages.js'
import { Policies } from './policies/policies.js'
import { Ruling } from './policies/ruling.js'
import { checkArguments, queueTypeOf } from './queues/arguments.js'
import type { DeathReason, LetterKeeper, QueueHost, QueueRules } from './queues/host.js'
import { type Owner, Queue } from './queues/queue.js'
import { checkType, refuseConditions } from './queues/quorum.js'
import type { ReadyPages } from './queues/ready.js'
import { Requesters } from './requesters.js'
import { restore } from './restore.js'
import type { Route, Router } from './router.js'
import { Topology } from './topology.js'
import { TopologyEvents } from './topology-events.js'

/** What all vhosts of a broker share. */
export interface Shared {
  readonly messages: MessageTable
  readonly paging: Paging
  readonly journal: Journal
  readonly pages: ReadyPages
  readonly turn: Turn
  readonly clock: Clock
  readonly random: Random
  readonly deadlines: Deadlines
  readonly definitions: Definitions
  readonly events: Events
  readonly rules: QueueRules
}

/** What operators say of a vhost. */
export interface VhostMetadata {
  readonly description: string
  readonly tags: readonly string[]
  /** The type of durable queues whose declaration names none; empty: classic. */
  readonly defaultQueueType: string
}

const noMetadata: VhostMetadata = { description: '', tags: [], defaultQueueType: '' }
const noLimits: Limits = {}

/** What became of a message: bits. */
export const Outcome = { unroutable: 0, routed: 1, refused: 2 } as const

const refusedOutcome = Outcome.routed | Outcome.refused

/** What queue.declare asks for; `owner` is the asking connection. */
export interface QueueRequest {
  readonly name: string
  readonly durable: boolean
  readonly exclusive: boolean
  readonly autoDelete: boolean
  readonly arguments: FieldTable
  readonly owner: Owner
}

export class Vhost implements QueueHost {
  readonly name: string
  readonly exchanges: ReadonlyMap<string, Exchange>
  readonly queues: ReadonlyMap<string, Queue>
  /** Requesters that wait for replies, by the name made for each. */
  readonly replies = new Requesters()
  readonly router: Router
  readonly bindings: Bindings
  readonly policies: Policies
  metadata = noMetadata
  limits = noLimits
  /** Hears of every message; null: it is off. */
  firehose: Firehose | null = null
  /** The message that is being published at the moment. */
  readonly arrival: Arrival
  readonly made: MadeMessages
  readonly messages: MessageTable
  readonly paging: Paging
  readonly journal: Journal
  readonly pages: ReadyPages
  readonly turn: Turn
  readonly clock: Clock
  readonly deadlines: Deadlines
  readonly definitions: Definitions
  readonly events: Events
  readonly topologyEvents: TopologyEvents
  readonly ownMessages: OwnMessages
  readonly rules: QueueRules
  readonly letters: LetterKeeper
  readonly #topology: Topology
  readonly random: Random
  readonly #deadLetters: DeadLetters

  constructor(name: string, shared: Shared) {
    this.name = name
    this.messages = shared.messages
    this.paging = shared.paging
    this.journal = shared.journal
    this.pages = shared.pages
    this.turn = shared.turn
    this.clock = shared.clock
    this.deadlines = shared.deadlines
    this.definitions = shared.definitions
    this.events = shared.events
    this.topologyEvents = new TopologyEvents(shared.events, name)
    this.random = shared.random
    this.#topology = new Topology(this)
    this.rules = shared.rules
    this.exchanges = this.#topology.exchanges
    this.queues = this.#topology.queues
    this.router = this.#topology.router
    this.bindings = new Bindings(this, this.#topology)
    this.policies = new Policies(this)
    this.#deadLetters = new DeadLetters(this)
    this.letters = this.#deadLetters.held
    this.ownMessages = new OwnMessages(this)
    this.arrival = new Arrival(shared.messages, shared.journal)
    this.made = new MadeMessages(this)
  }

  /** Turns the firehose on or off. */
  trace(on: boolean): void {
    const { nodeName } = this.events
    this.firehose = on
      ? (this.firehose ?? new Firehose(this.name, nodeName, this.ownMessages))
      : null
  }

  // --- messages

  /**
   * Puts a message into the queues of its route, and those of its further keys if it has any.
   * Returns bits of `Outcome`.
   */
  publish(route: Route, arrival: Arrival, furtherKeys: readonly string[] | null): number {
    if (route.special || furtherKeys !== null)
      return this.#publishSpecial(route, arrival, furtherKeys)
    const outcome = this.enqueue(route.queues, arrival)
    this.journal.append(arrival)
    return outcome
  }

  #publishSpecial(route: Route, arrival: Arrival, furtherKeys: readonly string[] | null): number {
    const replied = this.replies.reply(route, arrival.message, furtherKeys)
    const queues = this.router.queuesOf(route, arrival.message, furtherKeys)
    const outcome = this.enqueue(queues, arrival)
    this.journal.append(arrival)
    if (replied) return outcome | Outcome.routed
    return outcome === Outcome.routed && areDelayed(queues) ? Outcome.unroutable : outcome
  }

  /**
   * Like `publish`, for a message that was routed to `queues` earlier: in the place of one that
   * is deleted since stands the one that has its name now, if there is one.
   */
  publishRouted(
    route: Route,
    queues: readonly Queue[],
    arrival: Arrival,
    furtherKeys: readonly string[] | null,
  ): number {
    const replied = this.replies.reply(route, arrival.message, furtherKeys)
    const gone = queues.some(({ deleted }) => deleted)
    const living = gone
      ? queues.flatMap(queue => (queue.deleted ? (this.queues.get(queue.name) ?? []) : queue))
      : queues
    const outcome = this.enqueue(living, arrival)
    this.journal.append(arrival)
    if (gone || replied) return outcome | Outcome.routed
    return outcome === Outcome.routed && areDelayed(living) ? Outcome.unroutable : outcome
  }

  /** Puts a message into queues. Returns bits of `Outcome`. */
  enqueue(queues: readonly Queue[], arrival: Arrival): number {
    if (queues.length === 0) return Outcome.unroutable
    if (queues.length === 1)
      return (queues[0] as Queue).publish(arrival) ? Outcome.routed : refusedOutcome
    // A queue may drop the message at once, when others are still to get it.
    arrival.hold()
    let outcome: number = Outcome.routed
    // Before any of them keeps it: who is told to the log when it leaves is marked on the message.
    for (let i = 0; i < queues.length; i++)
      if ((queues[i] as Queue).keepsAll) arrival.marks |= Mark.persistent
    for (let i = 0; i < queues.length; i++)
      if (!(queues[i] as Queue).publish(arrival)) outcome = refusedOutcome
    arrival.letGo()
    return outcome
  }

  bury(queue: Queue, slot: number, reason: DeathReason, entered: boolean): void {
    this.#deadLetters.add(queue, slot, reason, entered)
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
  declareExchange(request: ExchangeRequest, asker: Asker = theBroker): Exchange {
    checkExchangeType(request.type)
    const name = stripped(request.name)
    refuseDefault(name)
    asker.check('configure', 'exchange', name)
    const existing = this.exchanges.get(name)
    if (existing !== undefined) {
      compareExchange(exchangeIn(this.name, name), existing, request)
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
    if (alternate !== undefined) {
      asker.check('read', 'exchange', name)
      asker.check('write', 'exchange', alternate.value.toString())
    }
    const exchange = this.#topology.addExchange({ ...request, name })
    this.policies.ruleExchange(exchange)
    if (isLogged(exchange))
      exchange.definedAt = this.definitions.append(exchangeDeclared(this.name, exchange))
    this.topologyEvents.exchangeCreated(exchange, asker.user)
    return exchange
  }

  /** An exchange of the broker's own, to which nobody publishes. */
  addSystemExchange(name: string, type: string): Exchange {
    const flags = { durable: true, autoDelete: false, internal: true }
    return (
      this.exchanges.get(name) ??
      this.#topology.addExchange({ name, type, ...flags, arguments: [] })
    )
  }

  /**
   * Deletes an exchange with its bindings; one that does not exist is fine. Returns the log number
   * at which it is gone for good.
   */
  deleteExchange(requested: string, ifUnused: boolean, asker: Asker = theBroker): number {
    const name = stripped(requested)
    refuseDefault(name)
    if (name.startsWith('amq.'))
      throw new AmqpError(
        'ACCESS_REFUSED',
        `deletion of system ${exchangeIn(this.name, name)} not allowed`,
      )
    asker.check('configure', 'exchange', name)
    const exchange = this.exchanges.get(name)
    if (exchange === undefined) return this.definitions.last
    if (ifUnused && exchange.bindings.size > 0)
      throw new AmqpError('PRECONDITION_FAILED', `${exchangeIn(this.name, name)} in use`)
    const before = this.definitions.last
    this.removeExchanges([exchange], asker.user)
    return this.definitions.since(before)
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
  declareQueue(asked: QueueRequest, asker: Asker = theBroker): Queue {
    const request = this.#withDefaultType(asked)
    const name = stripped(request.name)
    if (name.startsWith('amq.'))
      throw new AmqpError('ACCESS_REFUSED', `queue name '${name}' contains reserved prefix 'amq.*'`)
    const table = request.arguments
    const chosen = name === '' ? this.generatedName(`${namePrefixIn(table)}-`) : name
    asker.check('configure', 'queue', chosen)
    const existing = this.queues.get(name)
    if (existing !== undefined) {
      this.#compareQueue(existing, request)
      existing.declaredAgain()
      return existing
    }
    // What the broker itself declares, such as an import, is not counted (nor is it in RabbitMQ).
    const limit = limitOf(this.limits, 'max-queues')
    if (asker !== theBroker && this.queues.size >= limit)
      throw new AmqpError(
        'PRECONDITION_FAILED',
        `cannot declare queue '${chosen}': queue limit in vhost '${this.name}' (${limit}) is reached`,
      )
    const deadLetterExchange = lookup(request.arguments, 'x-dead-letter-exchange')
    if (deadLetterExchange?.type === 'S') {
      asker.check('read', 'queue', chosen)
      asker.check('write', 'exchange', deadLetterExchange.value.toString())
    }
    checkArguments(request.arguments, queueIn(this.name, chosen))
    checkType(queueTypeOf(request.arguments), request, queueIn(this.name, chosen))
    // An exclusive queue ends with its connection, so there is nothing to survive a restart.
    const durable = request.durable && !request.exclusive
    const queue = new Queue(
      {
        name: chosen,
        durable,
        autoDelete: request.autoDelete,
        owner: request.exclusive ? request.owner : null,
        arguments: name === '' ? withoutNamePrefix(table) : table,
        number: durable ? this.definitions.takeQueueNumber() : 0,
      },
      this.policies.rulingOfQueue(chosen, queueTypeOf(request.arguments)),
      this,
    )
    this.#topology.addQueue(queue)
    if (durable) queue.definedAt = this.definitions.append(queueDeclared(this.name, queue))
    if (request.exclusive) request.owner.owns(queue)
    this.topologyEvents.queueCreated(queue, request.owner.user)
    return queue
  }

  /**
   * Deletes a queue that `connection` may use; one that does not exist is fine. `deleted` hears
   * how many messages were ready, before the consumers hear that the queue is gone, and the log
   * number at which it is gone for good.
   */
  deleteQueue(
    name: string,
    connection: Owner,
    conditions: { readonly ifUnused: boolean; readonly ifEmpty: boolean },
    deleted: (messageCount: number, goneAt: number) => void,
    asker: Asker = theBroker,
  ): void {
    asker.check('configure', 'queue', stripped(name))
    if (!this.queues.has(stripped(name))) {
      deleted(0, this.definitions.last)
      return
    }
    const queue = this.queue(name, connection)
    if (queue.settings.type === 'quorum')
      refuseConditions(conditions, queueIn(this.name, queue.name))
    if (conditions.ifUnused && queue.consumers.count > 0)
      throw new AmqpError('PRECONDITION_FAILED', `${queueIn(this.name, queue.name)} in use`)
    if (conditions.ifEmpty && queue.readyCount > 0)
      throw new AmqpError('PRECONDITION_FAILED', `${queueIn(this.name, queue.name)} not empty`)
    this.removeQueue(queue, goneAt => deleted(queue.readyCount, goneAt), connection.user)
  }

  /** Removes a queue for whatever reason; `removed` hears of it before its consumers do. */
  removeQueue(queue: Queue, removed: (goneAt: number) => void = () => {}, user?: string): void {
    if (queue.deleted) return
    queue.owner?.disowns(queue)
    const { definitions, name: vhost } = this
    const before = definitions.last
    const { name, number } = queue
    const unused: Exchange[] = []
    this.topologyEvents.queueDeleted(queue, user)
    this.#topology.removeQueue(queue, unused)
    if (queue.durable) definitions.append({ command: 'queue.deleted', vhost, name, number })
    this.removeExchanges(unused)
    removed(definitions.since(before))
    queue.end()
  }

  queueUnused(queue: Queue): void {
    this.removeQueue(queue)
  }

  /** A name that nobody else has: 22 characters of base64url behind the prefix. */
  generatedName(prefix: string): string {
    return prefix + this.random.bytes(16).toString('base64url')
  }

  // --- what survives a restart

  /** Whatever has messages in the log, or may have some. */
  *loggedQueues(): Iterable<Queue> {
    for (const queue of this.queues.values()) if (queue.number > 0) yield queue
    for (const { delayed } of this.exchanges.values())
      if (delayed !== null && delayed.number > 0) yield delayed
  }

  /** Commands that make all of it that is durable. */
  *commands(): Iterable<Command> {
    yield* vhostCommands(this, this.#topology)
    yield* this.policies.commands()
  }

  /** Does again what a command of the log says; what is done or cannot be done is passed over. */
  restore(command: Command): void {
    if (command.command === 'policy.set' || command.command === 'policy.removed')
      this.policies.restore(command)
    else restore(this.#topology, command, made => new Queue(made, Ruling.none, this))
  }

  /** Ends and forgets what is here without a word to the log. */
  end(): void {
    this.events.detach(this)
    for (const exchange of this.exchanges.values()) this.#topology.removeExchange(exchange, [])
    for (const queue of this.queues.values()) {
      queue.owner?.disowns(queue)
      this.#topology.removeQueue(queue, [])
      queue.end()
    }
    this.policies.clear()
    this.metadata = noMetadata
    this.limits = noLimits
  }

  // ---

  /** Removes exchanges, and those that become unused by it: a chain of any length, so without recursion. */
  removeExchanges(exchanges: Exchange[], user?: string): void {
    for (const exchange of exchanges) {
      if (exchange.deleted) continue
      const { name } = exchange
      this.topologyEvents.exchangeDeleted(exchange, user)
      this.#topology.removeExchange(exchange, exchanges)
      if (isLogged(exchange))
        this.definitions.append({ command: 'exchange.deleted', vhost: this.name, name })
    }
  }

  #locked(name: string): AmqpError {
    return new AmqpError(
      'RESOURCE_LOCKED',
      `cannot obtain exclusive access to locked ${queueIn(this.name, name)}. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.`,
    )
  }

  /**
   * A declaration with the vhost's default type in it, if it names none and may have it: other
   * types than classic are not for queues that end with somebody (rule of rabbit_amqqueue).
   */
  #withDefaultType(request: QueueRequest): QueueRequest {
    const { defaultQueueType: type } = this.metadata
    if (type === '' || type === 'classic' || !request.durable) return request
    if (request.exclusive || request.autoDelete) return request
    if (lookup(request.arguments, 'x-queue-type') !== undefined) return request
    const field = { key: 'x-queue-type', value: fieldValue(type) }
    return { ...request, arguments: [...request.arguments, field] }
  }

  #compareQueue(existing: Queue, request: QueueRequest): void {
    const owned = existing.owner !== null
    if (owned !== request.exclusive || (owned && existing.owner !== request.owner))
      throw this.#locked(existing.name)
    const durable = request.durable && !request.exclusive
    compareQueue(queueIn(this.name, existing.name), existing, { ...request, durable })
  }
}

/** All of these hold their messages back: for whoever asks, such a message was not routed. */
function areDelayed(queues: readonly Queue[]): boolean {
  return queues.every(queue => queue instanceof DelayedMessages)
}
