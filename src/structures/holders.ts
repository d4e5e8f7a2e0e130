/**
 * Which queues hold a message that went to more than one of them. An entry is named by an id and
 * costs no object: it is a run of 4, 8, 16, ... words in a page, one for its head and the rest
 * for queue numbers.
 *
 *       word 0                word 1 ...
 *     +----------+----------+---------------+---------------+----
 *     | slot     | count    | queue number  | queue number  | ...
 *     | (int32)  | (int32)  | (float64)     |               |
 *     +----------+----------+---------------+---------------+----
 *
 * A page of 4,096 words has entries of one length; an entry longer than that has a page to
 * itself. An id is the page's number times 1,024 plus the entry's place in it. A free entry has
 * the count 0 and the next free one of its page as its slot.
 */

const pageWords = 4096
/** The words of the shortest entry, as a power of two. */
const leastShift = 2
const placeShift = 10
const placeMask = (1 << placeShift) - 1
/** With this many pages, ids still fit in 31 bits and leave the highest one unused. */
const pagesMax = (1 << 21) - 1

class Page {
  readonly words: Float64Array
  readonly heads: Int32Array
  /** The words of an entry, as a power of two. */
  readonly shift: number
  free = -1
  used = 0
  /** Stands in the list of pages that have free entries. */
  listed = true

  constructor(shift: number) {
    const words = Math.max(pageWords, 1 << shift)
    const bytes = new ArrayBuffer(words * 8)
    this.words = new Float64Array(bytes)
    this.heads = new Int32Array(bytes)
    this.shift = shift
    for (let place = (words >> shift) - 1; place >= 0; place--) {
      this.heads[(place << shift) * 2] = this.free
      this.free = place
    }
  }
}

export class Holders {
  readonly #pages: (Page | undefined)[] = []
  readonly #freePageNumbers: number[] = []
  /** Numbers of the pages with free entries, by the entries' length; the last is used first. */
  readonly #pagesWithRoom: number[][] = []
  /** Entries that are in. */
  size = 0
  /** Memory used, in bytes. */
  bytes = 0

  /** Enters the first `count` of these queues, at least one and none twice, as the holders of a slot; returns the entry's id. */
  add(slot: number, queues: Float64Array, count: number): number {
    const shift = Math.max(leastShift, 32 - Math.clz32(count))
    const number = this.#pageWithRoom(shift)
    const page = this.#pages[number] as Page
    const place = page.free
    const at = place << shift
    page.free = page.heads[2 * at] as number
    page.used++
    page.heads[2 * at] = slot
    page.heads[2 * at + 1] = count
    for (let i = 0; i < count; i++) page.words[at + 1 + i] = queues[i] as number
    if (page.free < 0) this.#unlist(page)
    this.size++
    return (number << placeShift) | place
  }

  /** The slot of the message. */
  slot(id: number): number {
    const page = this.#pages[id >> placeShift] as Page
    return page.heads[((id & placeMask) << page.shift) * 2] as number
  }

  /** How many queues hold the message. */
  count(id: number): number {
    const page = this.#pages[id >> placeShift] as Page
    return page.heads[((id & placeMask) << page.shift) * 2 + 1] as number
  }

  /** One of the queues, i < `count`; in no order, and it changes with `remove`. */
  queue(id: number, i: number): number {
    const page = this.#pages[id >> placeShift] as Page
    return page.words[((id & placeMask) << page.shift) + 1 + i] as number
  }

  has(id: number, queue: number): boolean {
    const page = this.#pages[id >> placeShift] as Page
    return find(page, (id & placeMask) << page.shift, queue) > 0
  }

  /** Takes a queue out, if it is in; returns how many remain. With the last the entry is gone. */
  remove(id: number, queue: number): number {
    const number = id >> placeShift
    const page = this.#pages[number] as Page
    const at = (id & placeMask) << page.shift
    const count = page.heads[2 * at + 1] as number
    const found = find(page, at, queue)
    if (found === 0) return count
    page.words[found] = page.words[at + count] as number
    page.heads[2 * at + 1] = count - 1
    if (count === 1) this.#free(number, page, id & placeMask)
    return count - 1
  }

  #free(number: number, page: Page, place: number): void {
    page.heads[(place << page.shift) * 2] = page.free
    page.free = place
    page.used--
    this.size--
    const withRoom = this.#pagesWithRoom[page.shift] as number[]
    if (!page.listed) {
      page.listed = true
      withRoom.push(number)
    }
    // One empty page is kept, so that a lone entry which comes and goes makes none.
    if (page.used === 0 && withRoom.length > 1) this.#drop(number, page, withRoom)
  }

  #drop(number: number, page: Page, withRoom: number[]): void {
    withRoom.splice(withRoom.indexOf(number), 1)
    this.#pages[number] = undefined
    this.#freePageNumbers.push(number)
    this.bytes -= page.words.byteLength
  }

  #pageWithRoom(shift: number): number {
    this.#pagesWithRoom[shift] ??= []
    const withRoom = this.#pagesWithRoom[shift]
    const last = withRoom.length - 1
    if (last >= 0) return withRoom[last] as number
    const number = this.#freePageNumbers.pop() ?? this.#pages.length
    if (number >= pagesMax) throw new RangeError('too many messages stand in several queues')
    const page = new Page(shift)
    this.#pages[number] = page
    this.bytes += page.words.byteLength
    withRoom.push(number)
    return number
  }

  /** A page that is full is the one used last. */
  #unlist(page: Page): void {
    page.listed = false
    ;(this.#pagesWithRoom[page.shift] as number[]).pop()
  }
}

/** Where among an entry's words a queue stands; 0: nowhere. */
function find(page: Page, at: number, queue: number): number {
  const { words } = page
  for (let i = at + (page.heads[2 * at + 1] as number); i > at; i--)
    if (words[i] === queue) return i
  return 0
}
