/**
 * The deliveries of a channel that are not settled, in the order of their tags: which message it
 * was and who took it. Pages of numbers, no object per delivery. A settled delivery leaves a gap,
 * which goes when everything before it is settled too.
 */

/** What a client says of a delivery: done, back to the queue, or not wanted. */
export const Settlement = { complete: 1, requeue: 2, discard: 3 } as const
export type Settlement = (typeof Settlement)[keyof typeof Settlement]

/** Who took a delivery out of a queue: a consumer, or basic.get. */
export interface DeliverySource {
  /** The delivery is settled. `deadline` and `returns` are what the queue gave with it. */
  settle(settlement: Settlement, slot: number, deadline: number, returns: number): void
}

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
}

export class Unacked {
  #pages: Page[] = []
  #spare: Page | null = null
  /** Entries are numbered from the first page on: `[#first, #end)`. */
  #first = 0
  #end = 0
  /** Deliveries not settled. */
  count = 0

  /** A delivery went out; tags only ever rise. */
  push(tag: number, slot: number, source: DeliverySource, deadline: number, returns: number): void {
    const place = this.#end & (pageEntries - 1)
    if (place === 0 && this.#end === this.#pages.length * pageEntries) {
      this.#pages.push(this.#spare ?? new Page())
      this.#spare = null
    }
    const page = this.#pages[this.#pages.length - 1] as Page
    page.tags[place] = tag
    page.slots[place] = slot
    page.returns[place] = returns
    page.sources[place] = source
    if (deadline !== 0) page.deadlines ??= new Float64Array(pageEntries)
    if (page.deadlines !== null) page.deadlines[place] = deadline
    if (page.held !== null) page.held[place] = 0
    this.#end++
    this.count++
  }

  /**
   * Settles the delivery with this tag, or with `multiple` all up to it; tag 0 then means all.
   * False: no such delivery is outstanding, and nothing has been done.
   */
  settle(tag: number, multiple: boolean, settlement: Settlement): boolean {
    const last = this.#last(tag, multiple)
    if (last < -1) return false
    for (let entry = multiple ? this.#first : last; entry <= last; entry++)
      this.#settle(entry, settlement)
    this.#trim()
    return true
  }

  /** Like `settle`, but only notes what `commit` is to do. */
  hold(tag: number, multiple: boolean, settlement: Settlement): boolean {
    const last = this.#last(tag, multiple)
    if (last < -1) return false
    for (let entry = multiple ? this.#first : last; entry <= last; entry++)
      if (this.#outstanding(entry)) {
        const page = this.#page(entry)
        page.held ??= new Uint8Array(pageEntries)
        page.held[entry & (pageEntries - 1)] = settlement
      }
    return true
  }

  /** Does what was held. */
  commit(): void {
    for (let entry = this.#first; entry < this.#end; entry++) {
      const page = this.#page(entry)
      const settlement = page.held?.[entry & (pageEntries - 1)] ?? 0
      if (settlement === 0) continue
      ;(page.held as Uint8Array)[entry & (pageEntries - 1)] = 0
      this.#settle(entry, settlement as Settlement)
    }
    this.#trim()
  }

  /** Forgets what was held. */
  rollback(): void {
    for (const page of this.#pages) page.held = null
  }

  /** Returns up to `most` deliveries to their queues, oldest first, those with a held settlement too unless they are to be kept. False: there are more. */
  giveBack(most: number, keepHeld: boolean): boolean {
    let left = most
    for (let entry = this.#first; entry < this.#end; entry++) {
      if (keepHeld ? !this.#outstanding(entry) : !this.#unsettled(entry)) continue
      if (left-- === 0) {
        this.#trim()
        return false
      }
      this.#settle(entry, Settlement.requeue)
    }
    this.#trim()
    return true
  }

  /** The entry up to which a settlement goes: -1 for none at all, -2 if the tag is not outstanding. */
  #last(tag: number, multiple: boolean): number {
    if (tag === 0 && multiple) return this.#end - 1
    const entry = this.#find(tag)
    return entry >= 0 && this.#outstanding(entry) ? entry : -2
  }

  #page(entry: number): Page {
    return this.#pages[entry >>> 8] as Page
  }

  #tag(entry: number): number {
    return this.#page(entry).tags[entry & (pageEntries - 1)] as number
  }

  #unsettled(entry: number): boolean {
    return this.#page(entry).slots[entry & (pageEntries - 1)] !== settled
  }

  /** Unsettled, and not to be settled by the transaction either. */
  #outstanding(entry: number): boolean {
    const held = this.#page(entry).held
    return this.#unsettled(entry) && (held === null || held[entry & (pageEntries - 1)] === 0)
  }

  #find(tag: number): number {
    if (this.#first === this.#end) return -1
    let low = this.#first
    let high = this.#end - 1
    // Without deliveries that need no acknowledgement in between, tags follow each other.
    const guess = low + tag - this.#tag(low)
    if (guess >= low && guess <= high && this.#tag(guess) === tag) return guess
    while (low <= high) {
      const middle = (low + high) >> 1
      const found = this.#tag(middle)
      if (found === tag) return middle
      if (found < tag) low = middle + 1
      else high = middle - 1
    }
    return -1
  }

  #settle(entry: number, settlement: Settlement): void {
    const page = this.#page(entry)
    const place = entry & (pageEntries - 1)
    const slot = page.slots[place] as number
    if (
      slot === settled ||
      (page.held !== null && page.held[place] !== 0 && settlement !== Settlement.requeue)
    )
      return
    page.slots[place] = settled
    const source = page.sources[place] as DeliverySource
    page.sources[place] = null
    this.count--
    const deadline = page.deadlines === null ? 0 : (page.deadlines[place] as number)
    source.settle(settlement, slot, deadline, page.returns[place] as number)
  }

  /** Lets go of the gaps in front. */
  #trim(): void {
    while (this.#first < this.#end && !this.#unsettled(this.#first)) {
      this.#first++
      if (this.#first < pageEntries && this.#first < this.#end) continue
      const page = this.#pages.shift() as Page
      page.deadlines = null
      page.held = null
      this.#spare = page
      this.#end -= pageEntries
      this.#first -= pageEntries
      if (this.#pages.length === 0) {
        this.#first = 0
        this.#end = 0
      }
    }
  }
}
