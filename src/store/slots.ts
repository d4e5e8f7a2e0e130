/**
 * Slots of messages: what is known of each without its content. A slot is 24 bytes; they stand in
 * pages of 4,096 that come and go one at a time: no doubling, no copying, and a backlog that is
 * gone gives its memory back. While the content is in memory (chunks.ts), and while it is only on
 * the disk, the words mean
 *
 *        word 0        word 1     word 2   word 3                    words 4-5
 *     +-------------+----------+--------+-------------------------+-----------------------------+
 *     | chunk       | offset   | size   | references·8192 + marks | number (52 bits), 0         |
 *     | −1 − segment| offset   | size   |                         | number (52 bits), size−body |
 *     +-------------+----------+--------+-------------------------+-----------------------------+
 *
 * The last 12 bits are what a content has besides its body, 4,095 if that is as much or more. Of a
 * large message, size in memory is that of `bytes` without its parts. A free slot holds the next
 * free one of its page in word 0, and references 0.
 */
export const pageShift = 12
const pageSlots = 1 << pageShift
export const pageMask = pageSlots - 1
export const slotWords = 6
const pageBytes = pageSlots * slotWords * 4

export const wordChunk = 0
export const wordOffset = 1
export const wordSize = 2
export const wordReferences = 3
const wordLow = 4
export const wordHigh = 5

export const oneReference = 8192

/** Of word 5: the high part of the number, above which stands what a content has besides its body. */
export const highMask = 0xfffff
export const highBits = 20
const wordValues = 0x100000000

/**
 * Marks of a message: its priority (0 to 255) plus any of these. `died`: the broker dead-lettered
 * it. `hiddenKeys`: it still has its BCC header, which nobody but a dead letter exchange may see.
 * `logged`: it is in the log, so that each of its queues must be told to the log when it leaves.
 * `prioritised`: its publisher gave it the priority; without one that is 0.
 */
export const Mark = {
  persistent: 256,
  died: 512,
  hiddenKeys: 1024,
  logged: 2048,
  prioritised: 4096,
} as const

class Page {
  readonly words = new Int32Array(pageSlots * slotWords)
  free = -1
  used = 0
  /** Stands in the list of pages that have free slots. */
  listed = true

  constructor() {
    for (let slot = pageSlots - 1; slot >= 0; slot--) {
      this.words[slot * slotWords] = this.free
      this.free = slot
    }
  }
}

export class Slots {
  /** Messages held. */
  count = 0
  /** Bytes of the pages of slots. */
  slotBytes = 0
  readonly #pages: (Page | undefined)[] = []
  /** Pages with free slots; the last is used first. */
  readonly #pagesWithRoom: number[] = []
  readonly #emptyPageNumbers: number[] = []
  /** The page that was emptied last, kept for the next message that needs one; -1: none is kept. */
  #sparePage = -1

  /** One more queue or delivery refers to the message. */
  retain(slot: number): void {
    const words = this.words(slot)
    const at = (slot & pageMask) * slotWords + wordReferences
    words[at] = (words[at] as number) + oneReference
  }

  /** How many queues and deliveries refer to it. */
  references(slot: number): number {
    return Math.floor(this.word(slot, wordReferences) / oneReference)
  }

  /** There is a message in this slot. */
  holds(slot: number): boolean {
    return this.wordIfAny(slot, wordReferences) >= oneReference
  }

  /** The number it was given: its place in the order of messages. */
  number(slot: number): number {
    const words = this.words(slot)
    const at = (slot & pageMask) * slotWords
    const high = (words[at + wordHigh] as number) & highMask
    return high * wordValues + ((words[at + wordLow] as number) >>> 0)
  }

  /** Its priority, with the mark of one that was given. */
  priority(slot: number): number {
    return this.word(slot, wordReferences) & (255 | Mark.prioritised)
  }

  persistent(slot: number): boolean {
    return (this.word(slot, wordReferences) & Mark.persistent) !== 0
  }

  /** True for a message that the broker dead-lettered, whose record of deaths it can trust. */
  diedBefore(slot: number): boolean {
    return (this.word(slot, wordReferences) & Mark.died) !== 0
  }

  hasHiddenKeys(slot: number): boolean {
    return (this.word(slot, wordReferences) & Mark.hiddenKeys) !== 0
  }

  /** It is in the log. */
  logged(slot: number): boolean {
    return (this.word(slot, wordReferences) & Mark.logged) !== 0
  }

  setLogged(slot: number): void {
    const words = this.words(slot)
    const at = (slot & pageMask) * slotWords + wordReferences
    words[at] = (words[at] as number) | Mark.logged
  }

  /** The page of words in which a slot stands. */
  protected words(slot: number): Int32Array {
    return (this.#pages[slot >>> pageShift] as Page).words
  }

  protected word(slot: number, word: number): number {
    return this.words(slot)[(slot & pageMask) * slotWords + word] as number
  }

  /** The same for a number that is perhaps no slot; 0 if the page is gone. */
  protected wordIfAny(slot: number, word: number): number {
    const page = this.#pages[slot >>> pageShift]
    return page === undefined ? 0 : (page.words[(slot & pageMask) * slotWords + word] as number)
  }

  /** A slot with one reference; where its content is must be set. */
  protected takeSlot(marks: number, number: number): number {
    const last = this.#pagesWithRoom.length - 1
    const pageNumber = last < 0 ? this.#newPage() : (this.#pagesWithRoom[last] as number)
    const page = this.#pages[pageNumber] as Page
    const { words, free } = page
    const at = free * slotWords
    page.free = words[at] as number
    page.used++
    if (page.free < 0) {
      page.listed = false
      this.#pagesWithRoom.pop()
    }
    words[at + wordReferences] = oneReference + marks
    words[at + wordLow] = number | 0
    words[at + wordHigh] = number / wordValues
    this.count++
    return pageNumber * pageSlots + free
  }

  protected giveSlot(slot: number): void {
    const number = slot >>> pageShift
    const page = this.#pages[number] as Page
    const at = (slot & pageMask) * slotWords
    page.words[at + wordReferences] = 0
    page.words[at] = page.free
    page.free = slot & pageMask
    page.used--
    this.count--
    if (!page.listed) {
      page.listed = true
      this.#pagesWithRoom.push(number)
    }
    if (page.used === 0) this.#keepOneEmpty(number)
  }

  #newPage(): number {
    const number = this.#emptyPageNumbers.pop() ?? this.#pages.length
    this.slotBytes += pageBytes
    this.#pages[number] = new Page()
    this.#pagesWithRoom.push(number)
    return number
  }

  /** A page became empty: gives the memory of the one that was empty before it back. */
  #keepOneEmpty(number: number): void {
    const spare = this.#sparePage
    this.#sparePage = number
    if (spare < 0 || spare === number || this.#pages[spare]?.used !== 0) return
    this.#pagesWithRoom.splice(this.#pagesWithRoom.indexOf(spare), 1)
    this.#pages[spare] = undefined
    this.#emptyPageNumbers.push(spare)
    this.slotBytes -= pageBytes
  }
}
