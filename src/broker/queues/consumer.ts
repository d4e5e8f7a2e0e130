/**
 * Who takes messages from a queue. The queue sees only this; a channel's consumer fulfils it.
 * The consumers of a queue stand in rings, one for each priority, and only while they can take a
 * message: finding the next one costs the same however many wait.
 */
import { Ring, type RingMember } from '../../structures/ring.js'
import type { Message } from '../../wire/message.js'

export abstract class Consumer implements RingMember<Consumer> {
  next: Consumer | null = null
  previous: Consumer | null = null
  /** It could take a message; `ready` while it also stands in its queue's ring. */
  willing = false
  ready = false
  abstract readonly priority: number
  /** It wants the queue for itself. */
  abstract readonly exclusive: boolean
  /** Deliveries that it has not settled. */
  outstanding = 0
  /** It is to hand over to a consumer of higher priority once it has none. */
  yields = false
  /** Deliveries need no acknowledgement. */
  abstract readonly noAck: boolean

  /**
   * Gives it a message, and one reference to its slot (-1 when none is needed because nothing is
   * to be acknowledged). `deadline` and `returns` come back with the message if it is returned.
   */
  abstract deliver(
    message: Message,
    slot: number,
    redelivered: boolean,
    deadline: number,
    returns: number,
  ): void

  /** The queue is gone, and with it the subscription. */
  abstract cancelled(): void
}

/** Priorities without a willing consumer are forgotten beyond so many. */
const levelsKept = 8

interface Level {
  readonly priority: number
  readonly ring: Ring<Consumer>
}

export class Consumers {
  /** Only one of them is given messages (single active consumer). */
  readonly #single: boolean
  /** It is the first with the highest priority, as in a quorum queue; else the first that came. */
  readonly #byPriority: boolean
  #active: Consumer | null = null
  /** All of them, in the order in which they came. */
  readonly all = new Set<Consumer>()
  /** Highest priority first. */
  readonly #levels: Level[] = []
  /** How many want none of them to get anything for the moment. */
  #holds = 0

  constructor(single: boolean, byPriority: boolean) {
    this.#single = single
    this.#byPriority = byPriority
  }

  get count(): number {
    return this.all.size
  }

  /** The one whose turn it is, or null if nobody can take a message. */
  next(): Consumer | null {
    if (this.#holds > 0) return null
    for (let i = 0; i < this.#levels.length; i++) {
      const head = (this.#levels[i] as Level).ring.head
      if (head !== null) return head
    }
    return null
  }

  /** Nobody gets anything until as many have let go. */
  hold(): void {
    this.#holds++
  }

  letGo(): void {
    this.#holds--
  }

  /** After a delivery to `consumer` the turn goes to the next one of its priority. */
  turn(consumer: Consumer): void {
    if (!consumer.ready || consumer.next === consumer) return
    this.#ring(consumer.priority).turn()
  }

  /** Whether somebody holds the queue for itself. */
  get exclusive(): boolean {
    return this.#first?.exclusive ?? false
  }

  get #first(): Consumer | null {
    for (const consumer of this.all) return consumer
    return null
  }

  /** The one that is given messages, if only one is. */
  get active(): Consumer | null {
    return this.#active
  }

  add(consumer: Consumer): void {
    this.all.add(consumer)
    if (!this.#single) return
    const active = this.#active
    if (active === null) this.#active = consumer
    else if (this.#byPriority && consumer.priority > active.priority) {
      active.yields = true
      this.#leaveRing(active)
      this.handOver()
    }
  }

  remove(consumer: Consumer): void {
    this.pause(consumer)
    this.all.delete(consumer)
    consumer.yields = false
    if (this.#single) this.#appoint(consumer)
  }

  /** The active consumer gives way to one of higher priority, once it has nothing to settle. */
  handOver(): void {
    const active = this.#active
    if (active === null || !active.yields || active.outstanding > 0) return
    active.yields = false
    this.#active = null
    // As the last of those that wait.
    this.all.delete(active)
    this.all.add(active)
    this.#appoint(null)
  }

  /** `gone` has left, or the active one has given way: another is active, or may go on. */
  #appoint(gone: Consumer | null): void {
    const active = this.#active
    if (active !== null && gone !== active) {
      if (!active.yields || this.#highest.priority > active.priority) return
      // Nobody is left to give way to.
      active.yields = false
    } else {
      this.#active = this.all.size === 0 ? null : this.#byPriority ? this.#highest : this.#first
    }
    if (this.#active?.willing) this.resume(this.#active)
  }

  /** The first of those with the highest priority. */
  get #highest(): Consumer {
    let highest = this.#first as Consumer
    for (const consumer of this.all) if (consumer.priority > highest.priority) highest = consumer
    return highest
  }

  /** It can take messages now. */
  resume(consumer: Consumer): void {
    if (consumer.ready || !this.all.has(consumer)) return
    consumer.willing = true
    if (this.#single && (consumer !== this.#active || consumer.yields)) return
    consumer.ready = true
    this.#ring(consumer.priority).join(consumer)
  }

  /** It cannot for the moment. */
  pause(consumer: Consumer): void {
    consumer.willing = false
    this.#leaveRing(consumer)
  }

  #leaveRing(consumer: Consumer): void {
    if (!consumer.ready) return
    consumer.ready = false
    const place = this.#place(consumer.priority)
    const { ring } = this.#levels[place] as Level
    ring.leave(consumer)
    if (ring.head === null && this.#levels.length > levelsKept) this.#levels.splice(place, 1)
  }

  #ring(priority: number): Ring<Consumer> {
    const place = this.#place(priority)
    const found = this.#levels[place]
    if (found?.priority === priority) return found.ring
    const ring = new Ring<Consumer>()
    this.#levels.splice(place, 0, { priority, ring })
    return ring
  }

  /** Where the level of this priority stands, or is to be put. */
  #place(priority: number): number {
    let low = 0
    let high = this.#levels.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#levels[middle] as Level).priority > priority) low = middle + 1
      else high = middle
    }
    return low
  }
}
