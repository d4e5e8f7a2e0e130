/**
 * A classic queue: what is ready, who consumes, and the rules by which messages leave. A message
 * that meets an empty queue and a consumer with credit goes straight through; everything else
 * waits in ready.ts and is delivered at the end of the turn. Of messages in consumers' hands the
 * queue keeps only the count: the channel knows which they are, and settles or returns them.
 *
 * At any moment: published = ready + unacked + left.
 */

import type { Clock } from '../../platform/clock.js'
import { Stage, type Turn, type TurnParty } from '../../platform/turn.js'
import { Mark, type MessageTable } from '../../store/message-table.js'
import type { Paging } from '../../store/paging.js'
import type { Ranges } from '../../store/targets.js'
import type { FieldTable } from '../../wire/field-table.js'
import { Message } from '../../wire/message.js'
import type { Arrival } from '../arrival.js'
import type { Binding } from '../binding.js'
import type { Deadline, Deadlines } from '../deadlines.js'
import type { Journal } from '../journal.js'
import { dropBcc } from '../sender-selected.js'
import { type Consumer, Consumers } from './consumer.js'
import { Disposal, settle } from './disposal.js'
import { Levels } from './levels.js'
import { ReadAhead } from './read-ahead.js'
import type { Ready, ReadyPages } from './ready.js'
import type { QueueSettings } from './settings.js'

/** Why a message is dead-lettered, as x-death says it. */
export type DeathReason = 'rejected' | 'expired' | 'maxlen'

/** What a queue needs from the vhost it lives in. */
export interface QueueHost {
  readonly messages: MessageTable
  readonly paging: Paging
  readonly journal: Journal
  readonly pages: ReadyPages
  readonly turn: Turn
  readonly clock: Clock
  readonly deadlines: Deadlines
  /**
   * Takes over one reference to a message that leaves `queue`, or that it never took (`entered`
   * is false): to its dead letter exchange, or to nowhere.
   */
  bury(queue: Queue, slot: number, reason: DeathReason, entered: boolean): void
  /** The queue has nothing more to exist for (auto-delete, x-expires). */
  queueUnused(queue: Queue): void
}

/** A connection that owns exclusive queues, which are removed when it ends. */
export interface Owner {
  owns(queue: Queue): void
  disowns(queue: Queue): void
}

/** How a queue was declared. */
export interface QueueDeclaration {
  readonly name: string
  readonly durable: boolean
  readonly autoDelete: boolean
  /** The connection that owns an exclusive queue. */
  readonly owner: Owner | null
  readonly arguments: FieldTable
  /** Names a durable queue in the log, and no other ever; 0 for a queue that is not there. */
  readonly number: number
}

/** A backlog gives out at most this much in one turn, so that others get their share. */
const deliveriesPerTurn = 2048
const bytesPerTurn = 512 * 1024

/** A message behind so many others will not be needed soon. */
const deep = 1024

/** What became of a get: there was a message, there was none, or its content must be read first. */
export const Got = { message: 0, nothing: 1, later: 2 } as const

/** Messages that expire or are thrown away in one go: about a millisecond's work. */
const removalsPerTurn = 4096

export class Queue implements TurnParty {
  readonly name: string
  readonly number: number
  readonly durable: boolean
  readonly autoDelete: boolean
  readonly owner: Owner | null
  readonly arguments: FieldTable
  readonly settings: QueueSettings
  readonly consumers: Consumers
  /** Bindings in which it is the destination. */
  readonly bindings = new Set<Binding>()
  /** The routing that last found this queue: it gets one copy however many bindings match. */
  routing = 0
  /** Log number of the command that declared it; 0: it is not in the log, or was before a restart. */
  definedAt = 0
  deleted = false
  settlements: Ranges | null = null
  /** After an unclean stop nobody knows which of the messages up to this number were delivered. */
  suspectUpTo = 0

  readyCount = 0
  /** Body bytes of the ready messages. */
  readyBytes = 0
  unackedCount = 0
  /** Messages that ever came in. */
  publishedCount = 0

  readonly #host: QueueHost
  #levels: Levels
  readonly #view = new Message()
  readonly #limited: boolean
  /** Reads contents that are not in memory; from the first time on that one is not. */
  #readAhead: ReadAhead | null = null
  /** The first message is being read. */
  #loading = false
  /** Who is called when it was. */
  #waiters: (() => void)[] = []
  #waitsForTurn = false
  /** Some message here has had a deadline. */
  #timed = false
  readonly #expiry: Deadline
  readonly #lease: Deadline

  constructor(declaration: QueueDeclaration, settings: QueueSettings, host: QueueHost) {
    this.name = declaration.name
    this.number = declaration.number
    this.durable = declaration.durable
    this.autoDelete = declaration.autoDelete
    this.owner = declaration.owner
    this.arguments = declaration.arguments
    this.settings = settings
    this.consumers = new Consumers(settings.singleActiveConsumer)
    this.#host = host
    this.#levels = this.#newLevels()
    this.#limited = settings.maxLength >= 0 || settings.maxLengthBytes >= 0
    this.#expiry = { at: 0, place: -1, due: () => this.#expireHead() }
    this.#lease = { at: 0, place: -1, due: () => host.queueUnused(this) }
    this.used()
  }

  /** Takes a message in, which is gone at once if the queue is. False: there is no room and it was refused (reject-publish). */
  publish(arrival: Arrival): boolean {
    if (this.deleted) return true
    if (this.#limited && this.#refuses(arrival)) return false
    this.publishedCount++
    const ttlMs = this.#ttlMs(arrival.expirationMs)
    const deadline = ttlMs < 0 ? 0 : this.#host.clock.monotonicMs() + ttlMs
    if (this.readyCount === 0) {
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
    this.#levels.of(arrival.marks & 255).push(slot, deadline)
    this.#entered(arrival.message.bodySize, deadline)
    if (this.#limited) this.#dropExcess()
    return true
  }

  /** A message that a consumer or a get had comes back to its place. */
  giveBack(slot: number, deadline: number, returns: number): void {
    this.unackedCount--
    if (this.deleted) {
      this.#settle(slot)
      return
    }
    this.#levels.of(this.#host.messages.priority(slot)).giveBack(slot, deadline, returns + 1)
    if (this.logs(slot)) this.#host.journal.giveBack(this, slot, returns + 1)
    this.#entered(this.#host.messages.bodySize(slot), deadline)
    if (this.#limited) this.#dropExcess()
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
    const level = this.#readable(Number.POSITIVE_INFINITY)
    if (level === null) return this.#loading ? Got.later : Got.nothing
    const { slot, deadline, returns } = level
    const redelivered = this.#redelivered(slot, returns)
    this.#look(slot)
    this.#leave(level, this.#view.bodySize)
    if (noAck) {
      take(this.#view, -1, redelivered, deadline, returns)
      this.#settle(slot)
    } else {
      this.unackedCount++
      take(this.#view, slot, redelivered, deadline, returns)
    }
    this.#view.clear()
    this.#readAhead?.advance(level.line)
    this.watchHead()
    return Got.message
  }

  /** After a get that must wait: calls back once when it may be tried again. */
  whenRead(call: () => void): void {
    this.#waiters.push(call)
  }

  /** Takes in a message of an earlier start, younger than all that it has; `watchHead` follows the last. */
  restore(slot: number, deadline: number, returns: number): void {
    const { messages } = this.#host
    const level = this.#levels.of(messages.priority(slot))
    if (returns === 0) level.push(slot, deadline)
    else level.giveBack(slot, deadline, returns)
    this.#entered(messages.bodySize(slot), 0)
    if (deadline !== 0) this.#timed = true
  }

  /** Takes the newest ready messages from `from` on out whose publishers were told that they were refused. */
  withdraw(refused: ReadonlySet<number>, from: number): void {
    this.#levels.withdraw(from, slot => {
      if (!refused.has(this.#host.messages.number(slot))) return false
      this.readyCount--
      this.readyBytes -= this.#host.messages.bodySize(slot)
      this.#settle(slot)
      return true
    })
  }

  /** Whether a message that it holds is in the log for it. */
  logs(slot: number): boolean {
    const { journal, messages } = this.#host
    return this.number > 0 && journal.keeps && messages.persistent(slot)
  }

  /** Adds a consumer, which takes messages from the end of this turn on. */
  addConsumer(consumer: Consumer): void {
    this.consumers.add(consumer)
    this.#host.deadlines.clear(this.#lease)
  }

  /** Takes a consumer away; the last one may take the queue with it. */
  removeConsumer(consumer: Consumer): void {
    this.consumers.remove(consumer)
    if (this.readyCount > 0 && this.consumers.next() !== null) this.#schedule()
    if (this.consumers.count > 0 || this.deleted) return
    if (this.autoDelete) this.#host.queueUnused(this)
    else this.used()
  }

  /** A consumer can take messages (again). */
  resume(consumer: Consumer): void {
    this.consumers.resume(consumer)
    if (this.readyCount > 0) this.#schedule()
  }

  /** Throws all ready messages away and returns how many there were. */
  purge(): number {
    const count = this.readyCount
    this.#throwAway()
    return count
  }

  /** Ends the queue: ready messages are gone, consumers hear of it, deliveries in their hands can still be settled. */
  end(): void {
    this.deleted = true
    this.#host.deadlines.clear(this.#lease)
    this.#throwAway()
    for (const consumer of [...this.consumers.all]) {
      this.consumers.remove(consumer)
      consumer.cancelled()
    }
  }

  /** Somebody declared it or asked it for a message: an unused queue lives on for another x-expires. */
  used(): void {
    if (this.settings.expiresMs < 0 || this.consumers.count > 0 || this.deleted) return
    const { clock, deadlines } = this.#host
    deadlines.set(this.#lease, clock.monotonicMs() + this.settings.expiresMs)
  }

  /** Delivers what waits to whoever can take it. */
  endTurn(): void {
    this.#waitsForTurn = false
    let bytes = 0
    let last: Ready | null = null
    for (let i = 0; i < deliveriesPerTurn && bytes < bytesPerTurn; i++) {
      const consumer = this.consumers.next()
      if (consumer === null) break
      const level = this.#readable(removalsPerTurn)
      if (level === null) break
      last = level
      const { slot, deadline, returns } = level
      const redelivered = this.#redelivered(slot, returns)
      this.#look(slot)
      this.#leave(level, this.#view.bodySize)
      bytes += this.#view.bodySize
      if (consumer.noAck) {
        consumer.deliver(this.#view, -1, redelivered, deadline, returns)
        this.#settle(slot)
      } else {
        this.unackedCount++
        consumer.deliver(this.#view, slot, redelivered, deadline, returns)
      }
      this.consumers.turn(consumer)
    }
    this.#view.clear()
    if (last !== null) this.#readAhead?.advance(last.line)
    this.watchHead()
    if (this.readyCount > 0 && this.consumers.next() !== null) this.#schedule()
  }

  /** Keeps a message that is being published for this queue, and notes that it is to be logged if it must be. */
  #keep(arrival: Arrival, ttlMs: number): number {
    const slot = arrival.keep(this.readyCount > deep)
    const { clock, journal } = this.#host
    if (this.number > 0 && journal.keeps && (arrival.marks & Mark.persistent) !== 0)
      journal.enter(this, arrival.number, ttlMs < 0 ? 0 : clock.wallMs() + ttlMs)
    return slot
  }

  #newLevels(): Levels {
    const { messages, pages } = this.#host
    return new Levels(this.settings.maxPriority, messages, pages)
  }

  /** Whether somebody may have had the message before. */
  #redelivered(slot: number, returns: number): boolean {
    return (
      returns > 0 || (this.suspectUpTo > 0 && this.#host.messages.number(slot) <= this.suspectUpTo)
    )
  }

  /** A message has left for good. */
  #settle(slot: number): void {
    settle(this, slot, this.#host)
  }

  /** The level of the next message, once what has expired in front of it is out of the way; null if there is none, or that is more than `most`. */
  #live(most: number): Ready | null {
    let level = this.#levels.head()
    if (!this.#timed || level === null || level.deadline === 0) return level
    const now = this.#host.clock.monotonicMs()
    for (let i = 0; level !== null && level.deadline !== 0 && level.deadline <= now; i++) {
      if (i === most) return null
      this.#remove(level, 'expired')
      level = this.#levels.head()
    }
    return level
  }

  /** The same with its content in memory; null also while that is being read. */
  #readable(most: number): Ready | null {
    const { messages, paging } = this.#host
    for (let level = this.#live(most); ; level = this.#live(most)) {
      if (level === null || messages.inMemory(level.slot)) return level
      const { slot } = level
      if (!paging.isLost(slot)) {
        this.#readAhead ??= new ReadAhead(messages, paging, () => this.#contentCame())
        this.#readAhead.request(level.line)
        this.#loading = true
        return null
      }
      this.#leave(level, messages.bodySize(slot))
      paging.lose(slot, this.name)
      this.#settle(slot)
    }
  }

  /** A content that was asked for came. */
  #contentCame(): void {
    if (!this.#loading) return
    this.#loading = false
    this.#schedule()
    const waiters = this.#waiters
    this.#waiters = []
    for (const call of waiters) call()
  }

  #look(slot: number): void {
    const { messages } = this.#host
    messages.locate(slot)
    this.#view.at(messages.bytes, messages.start, messages.end, messages.parts)
    if (messages.hasHiddenKeys(slot)) dropBcc(this.#view)
  }

  /** Takes the message that is shown off the ready ones. */
  #leave(level: Ready, bodySize: number): void {
    level.shift()
    this.readyCount--
    this.readyBytes -= bodySize
  }

  #remove(level: Ready, reason: DeathReason): void {
    const slot = level.slot
    this.#leave(level, this.#host.messages.bodySize(slot))
    this.#host.bury(this, slot, reason, true)
  }

  #entered(bodySize: number, deadline: number): void {
    this.readyCount++
    this.readyBytes += bodySize
    if (deadline !== 0) {
      this.#timed = true
      this.watchHead()
    }
    if (!this.#waitsForTurn && this.consumers.next() !== null) this.#schedule()
  }

  #schedule(): void {
    if (this.#waitsForTurn || this.#loading) return
    this.#waitsForTurn = true
    this.#host.turn.add(Stage.deliver, this)
  }

  #ttlMs(expirationMs: number): number {
    const own = this.settings.messageTtlMs
    if (own < 0) return expirationMs
    return expirationMs < 0 ? own : Math.min(own, expirationMs)
  }

  /** Sees to it that the first message is looked at when it expires. */
  watchHead(): void {
    if (!this.#timed) return
    const level = this.#levels.head()
    if (level === null || level.deadline === 0) return
    if (this.#expiry.place >= 0 && this.#expiry.at <= level.deadline) return
    this.#host.deadlines.set(this.#expiry, level.deadline)
  }

  #expireHead(): void {
    this.#live(removalsPerTurn)
    this.watchHead()
  }

  /** True if the queue is full and refuses what is published. */
  #refuses(arrival: Arrival): boolean {
    const { overflow, maxLength, maxLengthBytes } = this.settings
    if (overflow === 'drop-head') return false
    const full =
      (maxLength >= 0 && this.readyCount + 1 > maxLength) ||
      (maxLengthBytes >= 0 && this.readyBytes + arrival.message.bodySize > maxLengthBytes)
    if (full && overflow === 'reject-publish-dlx')
      this.#host.bury(this, arrival.keep(), 'maxlen', false)
    return full
  }

  #dropExcess(): void {
    const { overflow, maxLength, maxLengthBytes } = this.settings
    if (overflow !== 'drop-head') return
    while (
      this.readyCount > 0 &&
      ((maxLength >= 0 && this.readyCount > maxLength) ||
        (maxLengthBytes >= 0 && this.readyBytes > maxLengthBytes))
    )
      this.#remove(this.#levels.head() as Ready, 'maxlen')
    this.watchHead()
  }

  #throwAway(): void {
    this.#host.deadlines.clear(this.#expiry)
    if (this.readyCount === 0) return
    const disposal = new Disposal(this.#levels, this, this.#host)
    this.#levels = this.#newLevels()
    this.readyCount = 0
    this.readyBytes = 0
    this.#timed = false
    disposal.endTurn()
  }
}
