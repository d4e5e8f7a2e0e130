/**
 * What the log tells at a start, gathered until it has told all, and then put into the queues in
 * the order of the messages' numbers. Contents stay where they are: a slot remembers the place.
 *
 * A message that the log names for one queue stands in the index with its slot, one for several
 * with its holders, as in the journal; what else is known of it waits here in columns by slot.
 */

import type { LogReplay } from '../store/log.js'
import { Mark, type MessageTable } from '../store/message-table.js'
import { recordBytes } from '../store/record.js'
import type { Targets } from '../store/targets.js'
import { absent } from '../structures/number-index.js'
import { holderBytes, type Journal } from './journal.js'
import type { Queue } from './queues/queue.js'

/** What one queue of several knows of a message. */
interface Detail {
  expiryMs: number
  returns: number
}

/** Columns grow by pages, so that a long backlog is never copied as a whole. */
const pageShift = 12
const pageLength = 1 << pageShift
const pageMask = pageLength - 1

/** What is known of messages of a single queue, by slot. */
class Page {
  /** The queue. */
  readonly holders = new Float64Array(pageLength)
  /** When they expire there: wall clock, 0 for never. */
  readonly expiries = new Float64Array(pageLength)
  /** How often they came back. */
  readonly returns = new Uint32Array(pageLength)
}

/** Messages put into queues in one step: about two milliseconds' work. */
const perStep = 4096

export class Replay implements LogReplay {
  readonly #messages: MessageTable
  readonly #journal: Journal
  /** Durable queues by number. */
  readonly #queues: ReadonlyMap<number, Queue>
  readonly #pages: Page[] = []
  /** Of messages of several queues, where there is anything to tell: by number, then queue. */
  readonly #details = new Map<number, Map<number, Detail>>()
  /** The highest number of a queue that is named, known or not. */
  lastQueue = 0

  constructor(messages: MessageTable, journal: Journal, queues: ReadonlyMap<number, Queue>) {
    this.#messages = messages
    this.#journal = journal
    this.#queues = queues
  }

  message(
    number: number,
    targets: Targets,
    marks: number,
    segment: number,
    offset: number,
    size: number,
    bodySize: number,
  ): void {
    this.#drop(number)
    const several = targets.count > 1
    for (let at = targets.count - 1; at >= 0; at--) {
      const queue = targets.queues[at] as number
      if (queue > this.lastQueue) this.lastQueue = queue
      if (!this.#queues.has(queue)) targets.remove(at)
    }
    if (targets.count === 0) return
    const slot = this.#messages.addStored(
      size,
      bodySize,
      marks | Mark.logged,
      number,
      segment,
      offset,
    )
    this.#journal.heldBytes += recordBytes(this.#messages.size(slot), targets.count)
    const { index, holders } = this.#journal
    if (several) {
      index.set(number, ~holders.add(slot, targets.queues, targets.count))
      for (let at = 0; at < targets.count; at++) {
        if (at > 0) this.#messages.retain(slot)
        const expiryMs = targets.expiries[at] as number
        if (expiryMs > 0) this.#detail(number, targets.queues[at] as number).expiryMs = expiryMs
      }
    } else {
      index.set(number, slot)
      const page = this.#page(slot)
      page.holders[slot & pageMask] = targets.queues[0] as number
      page.expiries[slot & pageMask] = targets.expiries[0] as number
      page.returns[slot & pageMask] = 0
    }
  }

  settled(queue: number, first: number, last: number): void {
    const { index, holders } = this.#journal
    for (
      let number = index.firstAtOrAfter(first);
      number >= 0 && number <= last;
      number = index.firstAtOrAfter(number + 1)
    ) {
      const value = index.get(number)
      const slot = value < 0 ? holders.slot(~value) : value
      const holds =
        value < 0 ? holders.has(~value, queue) : this.#page(slot).holders[slot & pageMask] === queue
      if (!holds) continue
      if (value >= 0 || holders.remove(~value, queue) === 0) this.#forget(number, slot)
      else this.#journal.heldBytes -= holderBytes
      this.#messages.release(slot)
    }
  }

  returned(queue: number, number: number, count: number): void {
    const { index, holders } = this.#journal
    const value = index.get(number)
    if (value === absent) return
    if (value < 0) {
      if (!holders.has(~value, queue)) return
      const detail = this.#detail(number, queue)
      detail.returns = Math.max(detail.returns, count)
      return
    }
    const page = this.#page(value)
    const at = value & pageMask
    if (page.holders[at] === queue) page.returns[at] = Math.max(page.returns[at] as number, count)
  }

  opaque(): void {}

  /**
   * Puts the next messages into their queues, from `first` on; returns the number to go on from,
   * or -1 after the last. `clockSkewMs` is what to add to a wall-clock time to have the monotonic one.
   */
  restore(first: number, clockSkewMs: number): number {
    const { index, holders } = this.#journal
    let number = index.firstAtOrAfter(first)
    for (let i = 0; i < perStep && number >= 0; i++) {
      const value = index.get(number)
      if (value >= 0) {
        const { holders, expiries, returns } = this.#page(value)
        const at = value & pageMask
        const expiryMs = expiries[at] as number
        this.#enter(holders[at] as number, value, expiryMs, returns[at] as number, clockSkewMs)
      } else {
        const slot = holders.slot(~value)
        const details = this.#details.get(number)
        for (let at = holders.count(~value) - 1; at >= 0; at--) {
          const queue = holders.queue(~value, at)
          const detail = details?.get(queue)
          this.#enter(queue, slot, detail?.expiryMs ?? 0, detail?.returns ?? 0, clockSkewMs)
        }
      }
      number = index.firstAtOrAfter(number + 1)
    }
    return number
  }

  #enter(queue: number, slot: number, expiryMs: number, returns: number, skewMs: number): void {
    // 0 would be no deadline at all. What was due long ago keeps its order, before all that is due now.
    const deadline = expiryMs === 0 ? 0 : expiryMs + skewMs || Number.MIN_VALUE
    const to = this.#queues.get(queue) as Queue
    if (!to.deleted) {
      to.restore(slot, deadline, returns)
      return
    }
    // Its lease has ended meanwhile.
    this.#journal.settle(to, slot)
    this.#messages.release(slot)
  }

  /** Forgets a message, of which a newer record has come. */
  #drop(number: number): void {
    const { index, holders } = this.#journal
    const value = index.get(number)
    if (value === absent) return
    const slot = value < 0 ? holders.slot(~value) : value
    this.#forget(number, slot)
    if (value < 0) this.#journal.heldBytes -= (holders.count(~value) - 1) * holderBytes
    if (value >= 0) {
      this.#messages.release(slot)
    } else {
      for (let left = holders.count(~value); left > 0; left--) {
        holders.remove(~value, holders.queue(~value, 0))
        this.#messages.release(slot)
      }
    }
  }

  #forget(number: number, slot: number): void {
    this.#journal.heldBytes -= recordBytes(this.#messages.size(slot), 1)
    this.#journal.index.delete(number)
    this.#details.delete(number)
  }

  #detail(number: number, queue: number): Detail {
    let details = this.#details.get(number)
    if (details === undefined) {
      details = new Map()
      this.#details.set(number, details)
    }
    let detail = details.get(queue)
    if (detail === undefined) {
      detail = { expiryMs: 0, returns: 0 }
      details.set(queue, detail)
    }
    return detail
  }

  #page(slot: number): Page {
    const found = this.#pages[slot >>> pageShift]
    if (found !== undefined) return found
    const made = new Page()
    this.#pages[slot >>> pageShift] = made
    return made
  }
}
