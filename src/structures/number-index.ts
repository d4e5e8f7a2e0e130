/**
 * From rising numbers to 32-bit values: which message a log number names. Numbers lie in pages
 * of 1,024. A page with many live numbers is one value per number, 4 KiB; one with few is a
 * sorted list of (offset, value) pairs that shrinks as numbers leave, so that one forgotten
 * message per page costs about a hundred bytes. A page with none is dropped.
 *
 *     many: values[offset]                      absent where there is none
 *     few:  values[2i] offset, values[2i + 1]   i < live, offsets rise
 *
 * `set` is fastest beyond all former numbers, `get` and `delete` near where they were last;
 * none of them allocates but when a page begins, thins out or ends.
 */

/** What `get` answers for a number that is not in; no number can have it as its value. */
export const absent = -2147483648

const pageNumbers = 1024

/** A page that is no longer filled becomes a list below so many numbers, and a list stops being one above twice as many. */
const fewNumbers = 64

/** The smallest list; V8 keeps 64 bytes of a typed array within its object. */
const leastPairs = 8

/** Arrays of dropped pages that are kept for the next ones. */
const spareArrays = 16

/** About what a page costs besides its values: two objects, an entry in the map and one in the order. */
const pageCost = 256

class Page {
  readonly number: number
  values: Int32Array
  many: boolean
  live = 0

  constructor(number: number, values: Int32Array, many: boolean) {
    this.number = number
    this.values = values
    this.many = many
  }
}

/** Stands for a page where there is none; no number is on it. */
const noValues = new Int32Array(0)
const noPage = new Page(-1, noValues, false)

export class NumberIndex {
  readonly #pages = new Map<number, Page>()
  /** The pages by number. Those without a live number are gone, and leave the order now and then. */
  #order: Page[] = []
  #gone = 0
  /** The highest page: it keeps one value per number, and stays when it is empty. */
  #newest = noPage
  /** The page that was looked into last. */
  #recent = noPage
  readonly #spare: Int32Array[] = []
  /** Numbers that are in. */
  size = 0
  /** About how much memory is used, in bytes. */
  bytes = 0

  /** Puts a number in, or changes its value; any 32-bit integer but `absent`. */
  set(number: number, value: number): void {
    const pageNumber = Math.floor(number / pageNumbers)
    const offset = number - pageNumber * pageNumbers
    let page = this.#newest
    if (page.number !== pageNumber)
      page = pageNumber > page.number ? this.#begin(pageNumber) : this.#olderPage(pageNumber)
    if (!page.many) this.#setInList(page, offset, value)
    else {
      if (page.values[offset] === absent) {
        page.live++
        this.size++
      }
      page.values[offset] = value
    }
  }

  /** The value of a number, or `absent`. */
  get(number: number): number {
    const pageNumber = Math.floor(number / pageNumbers)
    const page = this.#page(pageNumber)
    const offset = number - pageNumber * pageNumbers
    if (page.many) return page.values[offset] as number
    const at = pairAtOrAfter(page, offset)
    return at < page.live && page.values[2 * at] === offset
      ? (page.values[2 * at + 1] as number)
      : absent
  }

  /** Takes a number out; nothing happens if it is not in. */
  delete(number: number): void {
    const pageNumber = Math.floor(number / pageNumbers)
    const page = this.#page(pageNumber)
    const offset = number - pageNumber * pageNumbers
    const { values } = page
    if (page.many) {
      if (values[offset] === absent) return
      values[offset] = absent
    } else {
      const at = pairAtOrAfter(page, offset)
      if (at === page.live || values[2 * at] !== offset) return
      values.copyWithin(2 * at, 2 * at + 2, 2 * page.live)
    }
    page.live--
    this.size--
    if (page !== this.#newest) this.#thin(page)
  }

  /** The lowest number that is in and not below this one, or -1. */
  firstAtOrAfter(number: number): number {
    const pageNumber = Math.floor(number / pageNumbers)
    const found = firstInPage(this.#page(pageNumber), number - pageNumber * pageNumbers)
    if (found >= 0) return found
    for (let at = this.#placeAfter(pageNumber); at < this.#order.length; at++) {
      const page = this.#order[at] as Page
      if (page.live > 0) {
        this.#recent = page
        return firstInPage(page, 0)
      }
    }
    return -1
  }

  /** Takes all numbers out. */
  clear(): void {
    this.#pages.clear()
    this.#order = []
    this.#gone = 0
    this.#newest = noPage
    this.#recent = noPage
    this.size = 0
    this.bytes = this.#spare.length * pageNumbers * 4
  }

  #page(pageNumber: number): Page {
    const recent = this.#recent
    if (recent.number === pageNumber) return recent
    const page = this.#pages.get(pageNumber)
    if (page === undefined) return noPage
    this.#recent = page
    return page
  }

  /** A new highest page. */
  #begin(pageNumber: number): Page {
    const former = this.#newest
    const spare = this.#spare.pop()
    if (spare === undefined) this.bytes += pageNumbers * 4
    const page = new Page(pageNumber, spare ?? new Int32Array(pageNumbers).fill(absent), true)
    this.bytes += pageCost
    this.#pages.set(pageNumber, page)
    this.#order.push(page)
    this.#newest = page
    if (former !== noPage) this.#thin(former)
    return page
  }

  /** The page of numbers that come late, which begins as a list. */
  #olderPage(pageNumber: number): Page {
    const known = this.#page(pageNumber)
    if (known !== noPage) return known
    const page = new Page(pageNumber, new Int32Array(2 * leastPairs), false)
    this.bytes += pageCost + leastPairs * 8
    this.#pages.set(pageNumber, page)
    this.#order.splice(this.#placeAfter(pageNumber), 0, page)
    return page
  }

  #setInList(page: Page, offset: number, value: number): void {
    const at = pairAtOrAfter(page, offset)
    if (at < page.live && page.values[2 * at] === offset) {
      page.values[2 * at + 1] = value
      return
    }
    if (2 * page.live === page.values.length) this.#resize(page, 2 * page.live)
    page.values.copyWithin(2 * at + 2, 2 * at, 2 * page.live)
    page.values[2 * at] = offset
    page.values[2 * at + 1] = value
    page.live++
    this.size++
    if (page.live > 2 * fewNumbers) this.#unfold(page)
  }

  /** Gives a page that is no longer filled the form that suits what is left on it. */
  #thin(page: Page): void {
    if (page.live === 0) this.#drop(page)
    else if (page.many) {
      if (page.live < fewNumbers) this.#fold(page)
    } else if (page.live * 8 <= page.values.length && page.values.length > 2 * leastPairs) {
      this.#resize(page, Math.max(2 * page.live, leastPairs))
    }
  }

  #drop(page: Page): void {
    this.#pages.delete(page.number)
    if (page === this.#recent) this.#recent = noPage
    this.bytes -= pageCost
    if (page.many) this.#giveBack(page.values)
    else this.bytes -= page.values.byteLength
    page.values = noValues
    this.#gone++
    if (this.#gone > this.#pages.size + 16) {
      this.#order = this.#order.filter(page => page.live > 0 || page === this.#newest)
      this.#gone = 0
    }
  }

  /** From one value per number to a list. */
  #fold(page: Page): void {
    const values = page.values
    const list = new Int32Array(2 * page.live)
    this.bytes += list.byteLength
    let filled = 0
    for (let offset = 0; offset < pageNumbers; offset++) {
      const value = values[offset] as number
      if (value === absent) continue
      list[filled++] = offset
      list[filled++] = value
      values[offset] = absent
    }
    page.values = list
    page.many = false
    this.#giveBack(values)
  }

  /** From a list to one value per number. */
  #unfold(page: Page): void {
    const list = page.values
    const spare = this.#spare.pop()
    if (spare === undefined) this.bytes += pageNumbers * 4
    const values = spare ?? new Int32Array(pageNumbers).fill(absent)
    for (let at = 0; at < page.live; at++)
      values[list[2 * at] as number] = list[2 * at + 1] as number
    this.bytes -= list.byteLength
    page.values = values
    page.many = true
  }

  #resize(page: Page, pairs: number): void {
    const list = new Int32Array(2 * pairs)
    list.set(page.values.subarray(0, 2 * page.live))
    this.bytes += list.byteLength - page.values.byteLength
    page.values = list
  }

  /** Keeps an array, in which all is absent, for the next page. */
  #giveBack(values: Int32Array): void {
    if (this.#spare.length < spareArrays) this.#spare.push(values)
    else this.bytes -= values.byteLength
  }

  /** Where in the order the pages above this one begin. */
  #placeAfter(pageNumber: number): number {
    const order = this.#order
    let low = 0
    let high = order.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((order[middle] as Page).number <= pageNumber) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** The place in a list of the first pair whose offset is not below this one. */
function pairAtOrAfter(page: Page, offset: number): number {
  const values = page.values
  let low = 0
  let high = page.live
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((values[2 * middle] as number) < offset) low = middle + 1
    else high = middle
  }
  return low
}

/** The lowest number on a page from an offset on, or -1. */
function firstInPage(page: Page, offset: number): number {
  const { live, values } = page
  const base = page.number * pageNumbers
  if (!page.many) {
    const at = pairAtOrAfter(page, offset)
    return at < live ? base + (values[2 * at] as number) : -1
  }
  if (live > 0)
    for (let at = offset; at < pageNumbers; at++) if (values[at] !== absent) return base + at
  return -1
}
