/**
 * Messages of one queue (or of one priority level of it) that wait to be delivered, in the order
 * in which they came. New ones stand in a chain of pages of slot numbers; ones that were
 * delivered and came back stand apart, and go first when they are older.
 */
import type { MessageTable } from '../../store/message-table.js'
import type { Line } from './read-ahead.js'
import { Returned } from './returned.js'

/** A short queue has a small page and an empty one none, so that a hundred thousand idle queues cost little. */
const smallPage = 64
const largePage = 4096

/** Pages kept for the next queue that needs one: 1 MiB of large ones, 256 KiB of small ones. */
const largeKept = 64
const smallKept = 1024

/** A page of slots; deadlines exist only where some message of the page has one. */
interface Page {
  readonly slots: Int32Array
  deadlines: Float64Array | null
}

/** Pages that no queue uses at the moment, shared by all queues of a broker. */
export class ReadyPages {
  readonly #idleLarge: Page[] = []
  readonly #idleSmall: Page[] = []
  /** Bytes of the large pages in use. */
  bytes = 0

  take(size: number): Page {
    if (size === largePage) this.bytes += 4 * size
    const idle = (size === largePage ? this.#idleLarge : this.#idleSmall).pop()
    return idle ?? { slots: new Int32Array(size), deadlines: null }
  }

  /** Gives a page of a message with a deadline room for deadlines. */
  addDeadlines(page: Page): void {
    const size = page.slots.length
    if (size === largePage) this.bytes += 8 * size
    page.deadlines = new Float64Array(size)
  }

  give(page: Page): void {
    const size = page.slots.length
    if (size === largePage) this.bytes -= (page.deadlines === null ? 4 : 12) * size
    page.deadlines = null
    if (size === smallPage) {
      if (this.#idleSmall.length < smallKept) this.#idleSmall.push(page)
    } else if (this.#idleLarge.length < largeKept) this.#idleLarge.push(page)
  }
}

export class Ready implements Line {
  /** What `peek` shows: the slot, its deadline (0: none), and how often it came back. */
  slot = -1
  deadline = 0
  returns = 0
  /** Messages that stand here. */
  count = 0
  /** Messages that were taken from the pages, the returned ones not counted. */
  taken = 0

  readonly #messages: MessageTable
  readonly #pool: ReadyPages
  #pages: Page[] = []
  /** Place of the oldest entry in the first page, and of the next one in the last. */
  #first = 0
  #next = 0
  #last: Page | null = null
  /** Entries in the pages. */
  #fresh = 0
  #returned: Returned | null = null
  #fromReturned = false

  constructor(messages: MessageTable, pool: ReadyPages) {
    this.#messages = messages
    this.#pool = pool
  }

  /** A new message, younger than all before it. `deadline` is 0 or monotonic milliseconds. */
  push(slot: number, deadline: number): void {
    let page = this.#last
    if (page === null || this.#next === page.slots.length) {
      page = this.#pool.take(this.count < smallPage ? smallPage : largePage)
      this.#pages.push(page)
      this.#last = page
      this.#next = 0
    }
    page.slots[this.#next] = slot
    if (deadline !== 0 && page.deadlines === null) this.#pool.addDeadlines(page)
    if (page.deadlines !== null) page.deadlines[this.#next] = deadline
    this.#next++
    this.#fresh++
    this.count++
  }

  /** A delivered message comes back to its place: its number, if the order is that of publishing. */
  giveBack(slot: number, deadline: number, returns: number, place: number): void {
    this.#returned ??= new Returned()
    this.#returned.push(place, slot, deadline, returns)
    this.count++
  }

  /**
   * Takes out what `take` takes of the messages with numbers from `from` on that never left,
   * newest first. The places of those between stay in order.
   */
  withdraw(from: number, take: (slot: number) => boolean): void {
    const kept: { slot: number; deadline: number }[] = []
    while (this.#fresh > 0) {
      const page = this.#pages[this.#pages.length - 1] as Page
      const at = this.#next - 1
      const slot = page.slots[at] as number
      if (this.#messages.number(slot) < from) break
      const deadline = page.deadlines === null ? 0 : (page.deadlines[at] as number)
      this.#pop(page)
      if (!take(slot)) kept.push({ slot, deadline })
    }
    for (const { slot, deadline } of kept.reverse()) this.push(slot, deadline)
  }

  /** Shows the oldest message in `slot`, `deadline` and `returns`; false if there is none. */
  peek(): boolean {
    if (this.count === 0) return false
    const returned = this.#returned
    const page = this.#pages[0]
    if (
      returned !== null &&
      returned.count > 0 &&
      (this.#fresh === 0 ||
        returned.number < this.#messages.number((page as Page).slots[this.#first] as number))
    ) {
      this.slot = returned.slot
      this.deadline = returned.deadline
      this.returns = returned.returns
      this.#fromReturned = true
      return true
    }
    const first = page as Page
    this.slot = first.slots[this.#first] as number
    this.deadline = first.deadlines === null ? 0 : (first.deadlines[this.#first] as number)
    this.returns = 0
    this.#fromReturned = false
    return true
  }

  /** Takes the newest entry off the pages, of which `page` is the last. */
  #pop(page: Page): void {
    this.#next--
    this.#fresh--
    this.count--
    const first = this.#pages.length === 1 ? this.#first : 0
    if (this.#next > first) return
    this.#pages.pop()
    this.#pool.give(page)
    this.#last = this.#pages[this.#pages.length - 1] ?? null
    if (this.#last === null) this.#first = 0
    else this.#next = this.#last.slots.length
  }

  /** The messages among which the one that `peek` showed is the first. */
  get line(): Line {
    return this.#fromReturned ? (this.#returned as Returned) : this
  }

  /** Slots of messages that never left, from the `from`th on; returns how many they are. */
  upcoming(from: number, into: Int32Array): number {
    let filled = 0
    let at = this.#first + from
    for (const page of this.#pages) {
      const end = page === this.#last ? this.#next : page.slots.length
      for (; at < end && filled < into.length; at++) into[filled++] = page.slots[at] as number
      if (filled === into.length) break
      at = Math.max(0, at - end)
    }
    return filled
  }

  /** Takes out what `peek` showed. */
  shift(): void {
    this.count--
    if (this.#fromReturned) {
      ;(this.#returned as Returned).shift()
      return
    }
    this.#first++
    this.#fresh--
    this.taken++
    const page = this.#pages[0] as Page
    if (page === this.#last) {
      if (this.#first < this.#next) return
      this.#first = 0
      this.#next = 0
      this.#last = null
      this.#pages.length = 0
      this.#pool.give(page)
    } else if (this.#first === page.slots.length) {
      this.#pages.shift()
      this.#first = 0
      this.#pool.give(page)
    }
  }
}
