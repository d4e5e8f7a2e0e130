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
  /** Only the first of them is given messages (single active consumer). */
  readonly #single: boolean
  /** All of them, in the order in which they came. */
  readonly all = new Set<Consumer>()
  /** Highest priority first. */
  readonly #levels: Level[] = []

  constructor(single: boolean) {
    this.#single = single
  }

  get count(): number {
    return this.all.size
  }

  /** The one whose turn it is, or null if nobody can take a message. */
  next(): Consumer | null {
    for (let i = 0; i < this.#levels.length; i++) {
      const head = (this.#levels[i] as Level).ring.head
      if (head !== null) return head
    }
    return null
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

  get #first(): Consumer | undefined {
    for (const consumer of this.all) return consumer
    return undefined
  }

  add(consumer: Consumer): void {
    this.all.add(consumer)
  }

  remove(consumer: Consumer): void {
    this.pause(consumer)
    this.all.delete(consumer)
    if (!this.#single) return
    const next = this.#first
    if (next?.willing) this.resume(next)
  }

  /** It can take messages now. */
  resume(consumer: Consumer): void {
    if (consumer.ready || !this.all.has(consumer)) return
    consumer.willing = true
    if (this.#single && consumer !== this.#first) return
    consumer.ready = true
    this.#ring(consumer.priority).join(consumer)
  }

  /** It cannot for the moment. */
  pause(consumer: Consumer): void {
    consumer.willing = false
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
