/**
 * The messages that an x-delayed-message exchange holds back: a queue that no client sees, in
 * which they stand by the time when they are due. It has a number in the log like any durable
 * queue, and the due time stands where others have the expiry, as wall-clock time: so persistent
 * messages survive a restart, are confirmed when they are durable, and leave for the queues that
 * they are routed to in one record. In a running broker due times are monotonic.
 *
 * 20 bytes for each beside what every message costs.
 */
import { Stage } from '../../platform/turn.js'
import { Mark } from '../../store/message-table.js'
import { DueHeap } from '../../structures/due-heap.js'
import { buildMessage, Message } from '../../wire/message.js'
import { decodeProperties, withHeaders } from '../../wire/properties.js'
import type { Arrival } from '../arrival.js'
import type { Deadline } from '../deadlines.js'
import { delayOf, withoutDelay } from '../delay-header.js'
import type { MadeMessages } from '../made-messages.js'
import { Ruling } from '../policies/ruling.js'
import { settle } from '../queues/disposal.js'
import type { QueueHost } from '../queues/host.js'
import { Queue } from '../queues/queue.js'
import { type Line, ReadAhead } from '../queues/read-ahead.js'
import type { Exchange } from './exchange.js'

/** What it needs from its vhost. */
export interface DelayHost extends QueueHost {
  readonly made: MadeMessages
}

/** A delayed message, as it is listed. */
export interface DelayedMessage {
  /** Names it as long as it is delayed. */
  readonly number: number
  /** Until it is due; negative if it should have gone. */
  readonly dueInMs: number
  readonly bodyBytes: number
  readonly persistent: boolean
  /** Null while its content is not in memory. */
  readonly routingKey: string | null
}

/** Time for releases in one turn, looked at after so many. */
const releaseMs = 3
const releasesPerLook = 32

/** Messages thrown away in one turn: about a millisecond's work. */
const thrownPerTurn = 4096

export class DelayedMessages extends Queue implements Line {
  /** Messages that were ever taken from the beginning. */
  taken = 0
  readonly #exchange: Exchange
  readonly #host: DelayHost
  readonly #heap = new DueHeap()
  readonly #due: Deadline
  readonly #readAhead: ReadAhead
  readonly #view = new Message()
  #waitsForTurn = false
  /** The first message is being read. */
  #loading = false
  /** Something is due and has not gone: a stop waits for it. */
  #leaving = false
  /** Why a message was lost in this turn. */
  #failure: unknown = null

  constructor(exchange: Exchange, number: number, host: DelayHost) {
    const { name, durable } = exchange
    const declaration = { name, durable, number, autoDelete: false, owner: null, arguments: [] }
    super(declaration, Ruling.none, host)
    this.#exchange = exchange
    this.#host = host
    this.#due = { at: 0, place: -1, due: () => this.#schedule() }
    this.#readAhead = new ReadAhead(host.messages, host.paging, () => this.#contentCame())
  }

  override get readyCount(): number {
    return this.#heap.count
  }

  /** The next ones that are due, `from` of them passed over. */
  list(from: number, count: number): DelayedMessage[] {
    const { clock, messages } = this.#host
    const now = clock.monotonicMs()
    return this.#heap
      .first(from + count)
      .slice(from)
      .map(place => {
        const slot = this.#heap.slot(place)
        return {
          number: this.#heap.number(place),
          dueInMs: this.#heap.at(place) - now,
          bodyBytes: messages.bodySize(slot),
          persistent: messages.persistent(slot),
          routingKey: messages.inMemory(slot) ? this.#look(slot).routingKey : null,
        }
      })
  }

  /** Throws a message away before it is due. False: it is not here (any more). */
  cancel(number: number): boolean {
    for (let place = 0; place < this.#heap.count; place++)
      if (this.#heap.number(place) === number) {
        this.#throwAway(place)
        return true
      }
    return false
  }

  override publish(arrival: Arrival): boolean {
    if (this.deleted) return true
    this.publishedCount++
    const { clock, journal } = this.#host
    const { bytes, propertiesStart, propertiesEnd } = arrival.message
    const { headers = [] } = decodeProperties(bytes, propertiesStart, propertiesEnd)
    const delayMs = delayOf(headers)
    const slot = arrival.keep(true)
    if (this.number > 0 && journal.keeps && (arrival.marks & Mark.persistent) !== 0)
      journal.enter(this, arrival.number, clock.wallMs() + delayMs)
    this.#insert(slot, clock.monotonicMs() + delayMs)
    this.watchHead()
    return true
  }

  override restore(slot: number, deadline: number): void {
    this.#insert(slot, deadline)
  }

  override watchHead(): void {
    const { firstAt } = this.#heap
    if (firstAt === Number.POSITIVE_INFINITY) this.#host.deadlines.clear(this.#due)
    else if (this.#due.place < 0 || this.#due.at !== firstAt)
      this.#host.deadlines.set(this.#due, firstAt)
  }

  override withdraw(refused: ReadonlySet<number>): void {
    const heap = this.#heap
    let left = 0
    for (let place = 0; place < heap.count; place++) if (refused.has(heap.number(place))) left++
    // What takes a place may have been looked at, or not: so once more if any is missing.
    while (left > 0)
      for (let place = heap.count - 1; place >= 0; place--)
        if (place < heap.count && refused.has(heap.number(place))) {
          this.#throwAway(place)
          left--
        }
  }

  override end(): void {
    this.deleted = true
    this.#host.deadlines.clear(this.#due)
    this.#schedule()
  }

  /** Lets go what is due; throws everything away when the exchange is gone. */
  override endTurn(): void {
    this.#waitsForTurn = false
    if (this.deleted) {
      for (let left = thrownPerTurn; left > 0 && this.#heap.count > 0; left--)
        this.#throwAway(this.#heap.count - 1)
      this.#leaves(this.#heap.count > 0)
      if (this.#heap.count > 0) this.#schedule()
      return
    }
    const { clock } = this.#host
    const now = clock.monotonicMs()
    let late = false
    for (let i = 1; !late && !this.#loading && this.#heap.firstAt <= now; i++) {
      this.#releaseFirst()
      late = i % releasesPerLook === 0 && clock.monotonicMs() > now + releaseMs
    }
    this.#view.clear()
    this.#readAhead.advance(this)
    const more = this.#heap.firstAt <= now
    this.#leaves(more)
    if (!more) this.watchHead()
    else if (!this.#loading) this.#schedule()
    const failure = this.#failure
    this.#failure = null
    if (failure !== null) throw failure
  }

  upcoming(from: number, into: Int32Array): number {
    const places = this.#heap.first(from + into.length).slice(from)
    for (let i = 0; i < places.length; i++) into[i] = this.#heap.slot(places[i] as number)
    return places.length
  }

  #insert(slot: number, at: number): void {
    const { messages, pages } = this.#host
    pages.bytes -= this.#heap.bytes
    this.#heap.push(at, messages.number(slot), slot)
    pages.bytes += this.#heap.bytes
  }

  #remove(place: number): void {
    const { pages } = this.#host
    pages.bytes -= this.#heap.bytes
    this.#heap.remove(place)
    pages.bytes += this.#heap.bytes
  }

  /** Sends the first message on, if its content is there. */
  #releaseFirst(): void {
    const { messages, paging } = this.#host
    const slot = this.#heap.slot(0)
    if (!messages.inMemory(slot)) {
      if (paging.isLost(slot)) {
        paging.lose(slot, this.name)
        this.#throwAway(0)
      } else {
        this.#loading = true
        this.#readAhead.request(this)
      }
      return
    }
    this.#remove(0)
    this.taken++
    try {
      this.#release(slot)
    } catch (error) {
      if (this.logs(slot)) this.#host.journal.settle(this, slot)
      this.#failure ??= error
    }
    messages.release(slot)
  }

  #release(slot: number): void {
    const view = this.#look(slot)
    const octets = Buffer.from(view.bytes.subarray(view.propertiesStart, view.propertiesEnd))
    const { headers = [] } = decodeProperties(octets, 0, octets.length)
    const changed = withHeaders(octets, withoutDelay(headers))
    const { exchange, routingKey } = view
    const made = buildMessage(Buffer.from(exchange), Buffer.from(routingKey), changed, view)
    this.#host.made.route(made, this.#exchange, slot, this.logs(slot) ? this : null)
  }

  #look(slot: number): Message {
    const { messages } = this.#host
    messages.locate(slot)
    this.#view.at(messages.bytes, messages.start, messages.end, messages.parts)
    return this.#view
  }

  #throwAway(place: number): void {
    const slot = this.#heap.slot(place)
    this.#remove(place)
    settle(this, slot, this.#host)
    if (!this.deleted) this.watchHead()
  }

  #schedule(): void {
    this.#leaves(this.#heap.count > 0)
    if (this.#waitsForTurn) return
    this.#waitsForTurn = true
    this.#host.turn.add(Stage.deliver, this)
  }

  #contentCame(): void {
    if (!this.#loading) return
    this.#loading = false
    this.#schedule()
  }

  #leaves(leaving: boolean): void {
    if (leaving === this.#leaving) return
    this.#leaving = leaving
    this.#host.journal.leaving += leaving ? 1 : -1
  }
}
