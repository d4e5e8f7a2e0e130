/**
 * Numbers by the moment when they are due, of like moments the lower number first: a binary heap
 * in columns, without an object for each entry, since there may be millions. The columns are
 * pages, so that growing copies nothing.
 *
 *     entry   at (when)    number (whose)    slot (where)
 *     bytes      8              8               4
 */

const pageShift = 12
const pageLength = 1 << pageShift
const pageMask = pageLength - 1

class Page {
  readonly ats = new Float64Array(pageLength)
  readonly numbers = new Float64Array(pageLength)
  readonly slots = new Int32Array(pageLength)
}

/** Bytes of one page of entries. */
const pageBytes = 20 * pageLength

export class DueHeap {
  count = 0
  readonly #pages: Page[] = []

  get bytes(): number {
    return this.#pages.length * pageBytes
  }

  /** When the first one is due; Infinity if there is none. */
  get firstAt(): number {
    return this.count === 0 ? Number.POSITIVE_INFINITY : this.at(0)
  }

  /** What stands at a place; the first one due stands at 0, the others after it in no order. */
  at(place: number): number {
    return (this.#pages[place >>> pageShift] as Page).ats[place & pageMask] as number
  }

  number(place: number): number {
    return (this.#pages[place >>> pageShift] as Page).numbers[place & pageMask] as number
  }

  slot(place: number): number {
    return (this.#pages[place >>> pageShift] as Page).slots[place & pageMask] as number
  }

  push(at: number, number: number, slot: number): void {
    const place = this.count++
    if (place >>> pageShift === this.#pages.length) this.#pages.push(new Page())
    this.#rise(place, at, number, slot)
  }

  /** Takes out what stands at a place. */
  remove(place: number): void {
    const last = --this.count
    const at = this.at(last)
    const number = this.number(last)
    const slot = this.slot(last)
    // One page more than needed stays, lest it come and go all the time.
    if (this.#pages.length > (last >>> pageShift) + 2) this.#pages.pop()
    if (place === last) return
    if (place > 0 && this.#before(at, number, (place - 1) >> 1)) this.#rise(place, at, number, slot)
    else this.#sink(place, at, number, slot)
  }

  /** The places of the first `count` that are due, in order. */
  first(count: number): number[] {
    const found: number[] = []
    // Places of what may come next: the children of what was found.
    const next = new DueHeap()
    for (let place = 0; found.length < count; ) {
      if (this.count > 0 && found.length === 0) found.push(place)
      for (let child = 2 * place + 1; child <= 2 * place + 2 && child < this.count; child++)
        next.push(this.at(child), this.number(child), child)
      if (next.count === 0 || found.length === count) break
      place = next.slot(0)
      next.remove(0)
      found.push(place)
    }
    return found
  }

  #before(at: number, number: number, place: number): boolean {
    const other = this.at(place)
    return at < other || (at === other && number < this.number(place))
  }

  #put(place: number, at: number, number: number, slot: number): void {
    const page = this.#pages[place >>> pageShift] as Page
    page.ats[place & pageMask] = at
    page.numbers[place & pageMask] = number
    page.slots[place & pageMask] = slot
  }

  #move(from: number, to: number): void {
    this.#put(to, this.at(from), this.number(from), this.slot(from))
  }

  #rise(from: number, at: number, number: number, slot: number): void {
    let place = from
    while (place > 0) {
      const above = (place - 1) >> 1
      if (!this.#before(at, number, above)) break
      this.#move(above, place)
      place = above
    }
    this.#put(place, at, number, slot)
  }

  #sink(from: number, at: number, number: number, slot: number): void {
    let place = from
    for (;;) {
      let below = 2 * place + 1
      if (below >= this.count) break
      const right = below + 1
      if (right < this.count && this.#before(this.at(right), this.number(right), below))
        below = right
      if (this.#before(at, number, below)) break
      this.#move(below, place)
      place = below
    }
    this.#put(place, at, number, slot)
  }
}
