/**
 * A queue: what is ready, who consumes, and the rules by which messages leave. A message
 * that meets an empty queue and a consumer with credit goes straight through; everything else
 * waits in backlog.ts and is delivered at the end of the turn. Of messages in consumers' hands the
 * queue keeps only the count: the channel knows which they are, and settles or returns them.
 * Quorum queues are the same but for the rules of quorum.ts; with a log they hand nothing straight
 * through, because they give out only what is durable.
 *
 * At any moment: published = ready + unacked + left.
 */

import { Stage, type TurnParty } from '../../platform/turn.js'
import { Mark } from '../../store/message-table.js'
import type { Ranges } from '../../store/targets.js'
import type { FieldTable } from '../../wire/field-table.js'
import type { Message } from '../../wire/message.js'
import type { Arrival } from '../arrival.js'
import type { BindingGroup } from '../binding.js'
import type { Deadline } from '../deadlines.js'
import type { Exchange } from '../exchanges/exchange.js'
import type { Ruling } from '../policies/ruling.js'
import { Backlog, removalsPerTurn } from './backlog.js'
import { type Consumer, Consumers } from './consumer.js'
import { Delayed, delayMs } from './delayed.js'
import { settle } from './disposal.js'
import type { QueueDeclaration, QueueHost } from './host.js'
import { LengthLimit, limits } from './length-limit.js'
import type { Ready } from './ready.js'
import { deathIn, deliveryCount, returnedAgain, showCounts } from './return-count.js'
import type { QueueSettings } from './settings.js'

/** A connection that owns exclusive queues, which are removed when it ends. */
export interface Owner {
  /** Of the connection and its user, for whom events tell it. */
  readonly name?: string
  readonly user?: string
  owns(queue: Queue): void
  disowns(queue: Queue): void
}

/** A backlog gives out at most this much in one turn, so that others get their share. */
const deliveriesPerTurn = 2048
const bytesPerTurn = 512 * 1024

/** A message behind so many others will not be needed soon. */
const deep = 1024

/** What became of a get: there was a message, there was none, or its content must be read first. */
export const Got = { message: 0, nothing: 1, later: 2 } as const

export class Queue implements TurnParty {
  readonly name: string
  readonly number: number
  readonly durable: boolean
  readonly autoDelete: boolean
  readonly owner: Owner | null
  readonly arguments: FieldTable
  /** What policies say of it, and how it behaves by that and its arguments. */
  ruling: Ruling
  settings: QueueSettings
  readonly consumers: Consumers
  /** Bindings in which it is the destination, by their source. */
  readonly bindings = new Map<Exchange, BindingGroup>()
  /** The routing that last found this queue: it gets one copy however many bindings match. */
  routing = 0
  /** Log number of the command that declared it; 0: it is not in the log, or was before a restart. */
  definedAt = 0
  deleted = false
  /** Who was the last to hold it. */
  holder: object | null = null
  settlements: Ranges | null = null
  /** After an unclean stop nobody knows which of the messages up to this number were delivered. */
  suspectUpTo = 0

  unackedCount = 0
  /** Messages that are not ready and count for its limits all the same, and their body bytes. */
  asideCount = 0
  asideBytes = 0
  /** Messages that ever came in. */
  publishedCount = 0

  readonly #host: QueueHost
  readonly #backlog: Backlog
  readonly #quorum: boolean
  /** Null where nothing is limited. */
  #limit: LengthLimit | null = null
  #delayed: Delayed | null = null
  /** Who is called when the first message can be given out. */
  #waiters: (() => void)[] = []
  #waitsForTurn = false
  /** When it has been unused for too long; made when it first may be. */
  #lease: Deadline | null = null

  constructor(declaration: QueueDeclaration, ruling: Ruling, host: QueueHost) {
    this.name = declaration.name
    this.number = declaration.number
    this.durable = declaration.durable
    this.autoDelete = declaration.autoDelete
    this.owner = declaration.owner
    this.arguments = declaration.arguments
    this.ruling = ruling
    this.settings = ruling.settingsOf(declaration.arguments)
    this.#quorum = this.settings.type === 'quorum'
    this.consumers = new Consumers(this.settings.singleActiveConsumer, this.#quorum)
    this.#host = host
    this.#backlog = new Backlog(this, host)
    this.#follow()
  }

  /**
   * Policies say something else from now on. What is too much by a new limit goes at once, a few
   * thousand messages in a turn; the time that it may be unused begins again; a new time to live
   * is for new messages, as in RabbitMQ.
   */
  apply(ruling: Ruling): void {
    if (this.deleted) return
    this.ruling = ruling
    this.settings = ruling.settingsOf(this.arguments)
    this.#endLease()
    this.#follow()
  }

  /** Every message is persistent here, whatever its delivery mode. */
  get keepsAll(): boolean {
    return this.#quorum
  }

  /** Dead letters stay until they have arrived; with another overflow RabbitMQ does not offer that. */
  get keepsLetters(): boolean {
    const { deadLetterExchange, deadLetterStrategy, overflow } = this.settings
    return (
      this.#quorum &&
      deadLetterStrategy === 'at-least-once' &&
      overflow === 'reject-publish' &&
      deadLetterExchange !== null
    )
  }

  /** Messages that wait to be delivered, and their body bytes. */
  get readyCount(): number {
    return this.#backlog.count
  }

  get readyBytes(): number {
    return this.#backlog.bytes
  }

  /** Takes a message in, which is gone at once if the queue is. False: there is no room and it was refused (reject-publish). */
  publish(arrival: Arrival): boolean {
    if (this.deleted) return true
    if (this.#limit?.refuses(arrival)) return false
    this.publishedCount++
    if (this.#quorum) arrival.marks |= Mark.persistent
    const ttlMs = this.#ttlMs(arrival.expirationMs)
    const deadline = ttlMs < 0 ? 0 : this.#host.clock.monotonicMs() + ttlMs
    if (this.#backlog.count === 0 && !(this.#quorum && this.#host.journal.keeps && ttlMs !== 0)) {
      const consumer = this.consumers.next()
      if (consumer !== null) {
        if (consumer.noAck) {
          consumer.deliver(arrival.message, -1, false, deadline, 0)
        } else {
          this.unackedCount++
          consumer.deliver(arrival.message, this.#keep(arrival, ttlMs), false, deadline, 0)
        }
        this.consumers.turn(consumer)
        return true
      }
    }
    if (ttlMs === 0) {
      this.#host.bury(this, arrival.keep(), 'expired', false)
      return true
    }
    const slot = this.#keep(arrival, ttlMs)
    this.#backlog.push(slot, arrival.marks, arrival.message.bodySize, deadline)
    this.#wake()
    this.#dropExcess()
    return true
  }

  /**
   * A message that a consumer or a get had comes back to its place. `failed`: it was rejected, or
   * who had it is gone.
   */
  giveBack(slot: number, deadline: number, before: number, failed: boolean): void {
    this.unackedCount--
    if (this.deleted) {
      this.#settle(slot)
      return
    }
    const returns = returnedAgain(before, failed || this.#host.rules.everyReturnFails)
    const limit = this.deliveryLimit
    if (limit >= 0 && deliveryCount(returns) > limit) {
      this.#host.bury(this, slot, 'delivery_limit', true)
      return
    }
    if (this.logs(slot)) this.#host.journal.giveBack(this, slot, returns)
    const ms = this.#quorum ? delayMs(this, returns, failed) : 0
    if (ms > 0) {
      this.#delayed ??= new Delayed(this, this.#host, (...message) => this.#comeBack(...message))
      this.#delayed.add(slot, deadline, returns, ms)
      this.#dropExcess()
    } else this.#comeBack(slot, deadline, returns)
  }

  /** How often a delivery may fail; below 0: as often as it will. */
  get deliveryLimit(): number {
    return this.settings.deliveryLimit ?? (this.#quorum ? this.#host.rules.deliveryLimit : -1)
  }

  /** How long a delivery may stay unsettled; below 0: for ever. */
  get consumerTimeoutMs(): number {
    const { rules } = this.#host
    if (this.settings.consumerTimeoutMs >= 0) return this.settings.consumerTimeoutMs
    return this.#quorum || rules.classicTimesOut ? rules.consumerTimeoutMs : -1
  }

  /** A message that a consumer or a get had is done with. */
  complete(slot: number): void {
    this.unackedCount--
    this.#settle(slot)
  }

  /** A message that a consumer or a get had is not wanted. */
  discard(slot: number): void {
    this.unackedCount--
    if (this.deleted) this.#settle(slot)
    else this.#host.bury(this, slot, 'rejected', true)
  }

  /**
   * Takes the next message out for basic.get and shows it to `take`, which gets a reference to
   * the slot (-1 with `noAck`). Returns one of `Got`.
   */
  get(
    noAck: boolean,
    take: (
      message: Message,
      slot: number,
      redelivered: boolean,
      deadline: number,
      returns: number,
    ) => void,
  ): number {
    this.used()
    // However much has expired: an answer that the queue is empty must be true.
    const level = this.#backlog.next(Number.POSITIVE_INFINITY)
    if (level === null) return this.#backlog.waiting ? Got.later : Got.nothing
    const { slot, deadline, returns } = level
    const redelivered = this.#redelivered(slot, returns)
    const message = this.#backlog.take(level)
    if (returns > 0 && this.#showsCounts) showCounts(message, returns, this.#quorum)
    if (noAck) {
      take(message, -1, redelivered, deadline, returns)
      this.#settle(slot)
    } else {
      this.unackedCount++
      take(message, slot, redelivered, deadline, returns)
    }
    this.#backlog.taken(level)
    return Got.message
  }

  /** After a get that must wait: calls back once when it may be tried again. */
  whenRead(call: () => void): void {
    this.#waiters.push(call)
  }

  /** Takes in a message of an earlier start, younger than all that it has; `watchHead` follows the last. */
  restore(slot: number, deadline: number, returns: number): void {
    const reason = this.#quorum ? deathIn(returns) : null
    if (reason !== null) {
      this.#host.letters.keep(this, slot, reason)
      return
    }
    this.#backlog.restore(slot, deadline, returns)
    this.#wake()
  }

  /** Sees to it that the first message is looked at when it expires, and that letters go on their way. */
  watchHead(): void {
    this.#backlog.watchHead()
    this.#host.letters.resume(this)
  }

  /** Takes the newest ready messages from `from` on out whose publishers were told that they were refused. */
  withdraw(refused: ReadonlySet<number>, from: number): void {
    this.#backlog.withdraw(refused, from)
  }

  /** Whether a message that it holds is in the log for it. */
  logs(slot: number): boolean {
    const { journal, messages } = this.#host
    return this.number > 0 && journal.keeps && messages.persistent(slot)
  }

  /** Adds a consumer, which takes messages from the end of this turn on. */
  addConsumer(consumer: Consumer): void {
    this.consumers.add(consumer)
    this.#endLease()
  }

  /** Takes a consumer away; the last one may take the queue with it. */
  removeConsumer(consumer: Consumer): void {
    this.consumers.remove(consumer)
    if (this.readyCount > 0 && this.consumers.next() !== null) this.#schedule()
    if (this.consumers.count > 0 || this.deleted) return
    if (this.autoDelete) this.#host.queueUnused(this)
    else this.used()
  }

  /** The active consumer has settled all, and another is to take its place (single active consumer). */
  handOver(): void {
    this.consumers.handOver()
    if (this.readyCount > 0) this.#schedule()
  }

  /** A consumer can take messages (again). */
  resume(consumer: Consumer): void {
    this.consumers.resume(consumer)
    if (this.readyCount > 0) this.#schedule()
  }

  /** Deliveries come back over several turns: nobody is given younger messages until as many have let go. */
  hold(): void {
    this.consumers.hold()
  }

  letGo(): void {
    this.consumers.letGo()
    if (this.readyCount > 0) this.#schedule()
  }

  /** Throws all ready messages away and returns how many there were. */
  purge(): number {
    const { count } = this.#backlog
    this.#backlog.clear()
    return count + (this.#delayed?.clear() ?? 0) + this.#host.letters.drop(this)
  }

  /** Ends the queue: ready messages are gone, consumers hear of it, deliveries in their hands can still be settled. */
  end(): void {
    this.deleted = true
    this.#endLease()
    this.#backlog.clear()
    this.#delayed?.clear()
    this.#host.letters.drop(this)
    for (const consumer of [...this.consumers.all]) {
      this.consumers.remove(consumer)
      consumer.cancelled()
    }
  }

  /** Somebody declared it or asked it for a message: an unused queue lives on for another x-expires. */
  used(): void {
    if (this.settings.expiresMs < 0 || this.consumers.count > 0 || this.deleted) return
    const { clock, deadlines } = this.#host
    this.#lease ??= { at: 0, place: -1, due: () => this.#host.queueUnused(this) }
    deadlines.set(this.#lease, clock.monotonicMs() + this.settings.expiresMs)
  }

  #endLease(): void {
    if (this.#lease !== null) this.#host.deadlines.clear(this.#lease)
  }

  /** Somebody declared it again, which is no use of a quorum queue. */
  declaredAgain(): void {
    if (!this.#quorum) this.used()
  }

  /** Delivers what waits to whoever can take it. */
  endTurn(): void {
    this.#waitsForTurn = false
    if (this.#limit?.overfull) {
      this.#limit.overfull = false
      this.#dropExcess()
    }
    let bytes = 0
    let last: Ready | null = null
    for (let i = 0; i < deliveriesPerTurn && bytes < bytesPerTurn; i++) {
      const consumer = this.consumers.next()
      if (consumer === null) break
      const level = this.#backlog.next(removalsPerTurn)
      if (level === null) break
      last = level
      const { slot, deadline, returns } = level
      const redelivered = this.#redelivered(slot, returns)
      const message = this.#backlog.take(level)
      bytes += message.bodySize
      if (returns > 0 && this.#showsCounts) showCounts(message, returns, this.#quorum)
      if (consumer.noAck) {
        consumer.deliver(message, -1, redelivered, deadline, returns)
        this.#settle(slot)
      } else {
        this.unackedCount++
        consumer.deliver(message, slot, redelivered, deadline, returns)
      }
      this.consumers.turn(consumer)
    }
    this.#backlog.taken(last)
    if (this.readyCount > 0 && this.consumers.next() !== null) this.#schedule()
  }

  /** Does what its settings ask for from now on. */
  #follow(): void {
    if (!limits(this.settings)) this.#limit = null
    else this.#limit ??= new LengthLimit(this, this.#backlog, this.#host)
    this.used()
    this.#dropExcess()
  }

  /** Keeps a message that is being published for this queue, and notes that it is to be logged if it must be. */
  #keep(arrival: Arrival, ttlMs: number): number {
    const slot = arrival.keep(this.#backlog.count > deep)
    const { clock, journal } = this.#host
    if (this.number > 0 && journal.keeps && (arrival.marks & Mark.persistent) !== 0)
      journal.enter(this, arrival.number, ttlMs < 0 ? 0 : clock.wallMs() + ttlMs)
    return slot
  }

  /** Whether somebody may have had the message before. */
  #redelivered(slot: number, returns: number): boolean {
    return (
      returns > 0 || (this.suspectUpTo > 0 && this.#host.messages.number(slot) <= this.suspectUpTo)
    )
  }

  /** Who gets a message again sees how often it came back. */
  get #showsCounts(): boolean {
    return this.#quorum || this.settings.deliveryLimit !== null
  }

  /** A message has left for good. */
  #settle(slot: number): void {
    settle(this, slot, this.#host)
  }

  /** The first message can be given out. */
  headReady(): void {
    this.#schedule()
    const waiters = this.#waiters
    this.#waiters = []
    for (const call of waiters) call()
  }

  #comeBack(slot: number, deadline: number, returns: number): void {
    this.#backlog.giveBack(slot, deadline, returns)
    this.#wake()
    this.#dropExcess()
  }

  /** Something is ready: whoever can take it gets it at the end of the turn. */
  #wake(): void {
    if (!this.#waitsForTurn && this.consumers.next() !== null) this.#schedule()
  }

  #schedule(): void {
    if (this.#waitsForTurn || this.#backlog.waiting) return
    this.#waitsForTurn = true
    this.#host.turn.add(Stage.deliver, this)
  }

  #ttlMs(expirationMs: number): number {
    const own = this.settings.messageTtlMs
    if (own < 0) return expirationMs
    return expirationMs < 0 ? own : Math.min(own, expirationMs)
  }

  /** Whether it refuses a message with such a body. */
  isFullFor(bodySize: number): boolean {
    return !this.deleted && this.#limit !== null && this.#limit.isFullFor(bodySize)
  }

  #dropExcess(): void {
    if (this.#limit === null) return
    this.#limit.dropExcess()
    if (this.#limit.overfull) this.#schedule()
  }
}
