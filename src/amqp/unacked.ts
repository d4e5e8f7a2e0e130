/**
 * The deliveries of a channel that are not settled, in the order of their tags: which message it
 * was and who took it. Pages of numbers, no object per delivery. A settled delivery leaves a gap,
 * which goes with its page when everything on it is settled, wherever the page stands.
 */

import type { Queue } from '../broker/queues/queue.js'

/**
 * What becomes of a delivery: it is done, goes back to its queue, or is not wanted. `fail`: it goes
 * back because it was rejected, or because who had it is gone; quorum queues count these apart.
 */
export const Settlement = { complete: 1, requeue: 2, discard: 3, fail: 4 } as const
export type Settlement = (typeof Settlement)[keyof typeof Settlement]

/** Who took a delivery out of a queue: a consumer, or basic.get. */
export interface DeliverySource {
  readonly queue: Queue
  /** How long it may keep a delivery; below 0: as long as it likes. */
  readonly timeoutMs: number
  /** The delivery is settled. `deadline` and `returns` are what the queue gave with it. */
  settle(settlement: Settlement, slot: number, deadline: number, returns: number): void
}

/** Stands in the place of who had a delivery that the queue took back: settling it does nothing. */
const released: Omit<DeliverySource, 'queue'> = { timeoutMs: -1, settle: () => {} }

const pageEntries = 256

/** The slot of a delivery that is settled. */
const settled = -1

class Page {
  readonly tags = new Float64Array(pageEntries)
  readonly slots = new Int32Array(pageEntries)
  readonly returns = new Uint32Array(pageEntries)
  readonly sources: (DeliverySource | null)[] = new Array(pageEntries).fill(null)
  /** Only where some message has a deadline. */
  deadlines: Float64Array | null = null
  /** Settlements that wait for tx.commit; only in transactions. */
  held: Uint8Array | null = null
  /** Its entries are `[0, end)`, and all before `first` are settled. */
  first = 0
  end = 0
  /** Entries not settled. */
  live = 0

  tag(place: number): number {
    return this.tags[place] as number
  }

  unsettled(place: number): boolean {
    return this.slots[place] !== settled
  }

  /** Unsettled, and not to be settled by the transaction either. */
  outstanding(place: number): boolean {
    return this.unsettled(place) && (this.held === null || this.held[place] === 0)
  }

  /** The place of a tag, -1 if it is not here. */
  find(tag: number): number {
    // Without deliveries that need no acknowledgement in between, tags follow each other.
    const guess = tag - this.tag(0)
    if (guess < 0) return -1
    if (guess < this.end && this.tags[guess] === tag) return guess
    let low = 0
    let high = this.end - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      const found = this.tag(middle)
      if (found === tag) return middle
      if (found < tag) low = middle + 1
      else high = middle - 1
    }
    return -1
  }

  hold(place: number, settlement: Settlement): void {
    this.held ??= new Uint8Array(pageEntries)
    this.held[place] = settlement
  }

  /** Settles an entry that is not settled. */
  settle(place: number, settlement: Settlement): void {
    const slot = this.slots[place] as number
    const source = this.sources[place] as DeliverySource
    const deadline = this.deadlines === null ? 0 : (this.deadlines[place] as number)
    this.slots[place] = settled
    this.sources[place] = null
    this.live--
    while (this.first < this.end && this.slots[this.first] === settled) this.first++
    source.settle(settlement, slot, deadline, this.returns[place] as number)
  }

  /** As `settle`, but the client may still settle the entry, which then does nothing. */
  release(place: number, settlement: Settlement): void {
    const source = this.sources[place] as DeliverySource
    const deadline = this.deadlines === null ? 0 : (this.deadlines[place] as number)
    this.sources[place] = released as DeliverySource
    source.settle(settlement, this.slots[place] as number, deadline, this.returns[place] as number)
  }

  /** Empty, to be filled again. */
  clear(): void {
    this.first = 0
    this.end = 0
    // After every tag that there is.
    this.tags[0] = Number.POSITIVE_INFINITY
  }
}

export class Unacked {
  /** The last one is being filled; on every other one something is unsettled. */
  readonly #pages: Page[] = []
  #spare: Page | null = null
  /** Deliveries not settled. */
  count = 0

  /** A delivery went out; tags only ever rise. */
  push(tag: number, slot: number, source: DeliverySource, deadline: number, returns: number): void {
    const last = this.#pages[this.#pages.length - 1]
    const page = last === undefined || last.end === pageEntries ? this.#addPage() : last
    const place = page.end++
    page.tags[place] = tag
    page.slots[place] = slot
    page.returns[place] = returns
    page.sources[place] = source
    if (deadline !== 0) page.deadlines ??= new Float64Array(pageEntries)
    if (page.deadlines !== null) page.deadlines[place] = deadline
    if (page.held !== null) page.held[place] = 0
    page.live++
    this.count++
  }

  /** Whether the delivery with this tag can be settled. */
  has(tag: number): boolean {
    const page = this.#pages[this.#pageOf(tag)]
    const place = page === undefined ? -1 : page.find(tag)
    return page !== undefined && place >= 0 && page.outstanding(place)
  }

  /** Shows the sources of the deliveries with tags up to this one; one of several may come more than once. */
  forEachSource(upTo: number, show: (source: DeliverySource) => void): void {
    let last: DeliverySource | null = null
    for (const page of this.#pages)
      for (let place = page.first; place < page.end; place++) {
        if (page.tag(place) > upTo) return
        const source = page.sources[place] as DeliverySource | null
        if (source === null || source === last) continue
        show(source)
        last = source
      }
  }

  /** Settles the delivery with this tag. False: it is not outstanding. */
  settle(tag: number, settlement: Settlement): boolean {
    const index = this.#pageOf(tag)
    const page = this.#pages[index]
    const place = page === undefined ? -1 : page.find(tag)
    if (page === undefined || place < 0 || !page.outstanding(place)) return false
    this.count--
    page.settle(place, settlement)
    if (page.live === 0) this.#free(index)
    return true
  }

  /** Settles up to `most` of the deliveries with tags up to this one, oldest first. False: there are more. */
  settleUpTo(tag: number, settlement: Settlement, most: number): boolean {
    return this.#settleUpTo(tag, settlement, most, false)
  }

  /** Notes what `commit` is to do with the delivery of this tag. False: it is not outstanding. */
  hold(tag: number, settlement: Settlement): boolean {
    const page = this.#pages[this.#pageOf(tag)]
    const place = page === undefined ? -1 : page.find(tag)
    if (page === undefined || place < 0 || !page.outstanding(place)) return false
    page.hold(place, settlement)
    return true
  }

  /** The same for all with tags up to this one. */
  holdUpTo(tag: number, settlement: Settlement): void {
    for (const page of this.#pages)
      for (let place = page.first; place < page.end; place++) {
        if (page.tag(place) > tag) return
        if (page.outstanding(place)) page.hold(place, settlement)
      }
  }

  /** Does up to `most` of what was held. False: there is more. */
  commit(most: number): boolean {
    let left = most
    for (let index = 0; index < this.#pages.length; index++) {
      const page = this.#pages[index] as Page
      const { held } = page
      if (held === null) continue
      for (let place = page.first; place < page.end; place++) {
        const settlement = held[place] as Settlement | 0
        if (settlement === 0 || !page.unsettled(place)) continue
        if (left-- === 0) return false
        this.count--
        page.settle(place, settlement)
      }
      page.held = null
      if (page.live === 0 && this.#free(index)) index--
    }
    return true
  }

  /** Forgets what was held. */
  rollback(): void {
    for (const page of this.#pages) page.held = null
  }

  /** Returns up to `most` deliveries to their queues, oldest first, whatever is held of them. False: there are more. */
  giveBack(most: number): boolean {
    return this.#settleUpTo(Number.POSITIVE_INFINITY, Settlement.fail, most, true)
  }

  /** The source of the first delivery up to a tag for which `test` holds. */
  find(
    upTo: number,
    test: (source: DeliverySource, tag: number) => boolean,
  ): DeliverySource | null {
    for (const page of this.#pages)
      for (let place = page.first; place < page.end; place++) {
        if (page.tag(place) > upTo) return null
        const source = page.sources[place] as DeliverySource
        if (page.unsettled(place) && test(source, page.tag(place))) return source
      }
    return null
  }

  /**
   * Settles up to `most` of the deliveries of a source with tags up to this one, which the client
   * does not know of: for it they stay outstanding. False: there are more.
   */
  release(source: DeliverySource, upTo: number, settlement: Settlement, most: number): boolean {
    let left = most
    for (const page of this.#pages)
      for (let place = page.first; place < page.end; place++) {
        if (page.tag(place) > upTo) return true
        if (!page.unsettled(place) || page.sources[place] !== source) continue
        if (left-- === 0) return false
        page.release(place, settlement)
      }
    return true
  }

  #settleUpTo(tag: number, settlement: Settlement, most: number, heldToo: boolean): boolean {
    let left = most
    for (let index = 0; index < this.#pages.length; index++) {
      const page = this.#pages[index] as Page
      for (let place = page.first; place < page.end; place++) {
        if (page.tag(place) > tag) return true
        if (heldToo ? !page.unsettled(place) : !page.outstanding(place)) continue
        if (left-- === 0) return false
        this.count--
        page.settle(place, settlement)
      }
      if (page.live === 0 && this.#free(index)) index--
    }
    return true
  }

  /** Which page has a tag, if any has. */
  #pageOf(tag: number): number {
    const pages = this.#pages
    if (pages.length < 2 || tag < (pages[1] as Page).tag(0)) return 0
    let low = 1
    let high = pages.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((pages[middle] as Page).tag(0) <= tag) low = middle
      else high = middle - 1
    }
    return low
  }

  #addPage(): Page {
    const page = this.#spare ?? new Page()
    this.#spare = null
    this.#pages.push(page)
    return page
  }

  /** Lets go of a page with nothing unsettled; false: it is the last, and stays. */
  #free(index: number): boolean {
    const page = this.#pages[index] as Page
    page.clear()
    if (index === this.#pages.length - 1) return false
    page.deadlines = null
    page.held = null
    this.#spare = page
    if (index === 0) this.#pages.shift()
    else this.#pages.splice(index, 1)
    return true
  }
}
