/**
 * The in-memory store: every message once, as bytes in a chunk, named by a slot number. Queues
 * hold slot numbers; only the slot knows where the bytes are, so that moving them changes one
 * entry however many queues hold the message. There is no object per message: a backlog of
 * millions is invisible to the garbage collector. A slot is 24 bytes in a page of 4,096:
 *
 *       word 0     word 1     word 2     word 3                     words 4-5
 *     +----------+----------+----------+---------------------------+-----------------+
 *     | chunk    | offset   | size     | references·4096 + marks   | number (float64)|
 *     +----------+----------+----------+---------------------------+-----------------+
 *
 * A free slot holds the next free one of its page in word 0 and references 0. In a chunk, each
 * message stands behind 8 bytes with its slot and its size, by which an almost empty chunk is
 * copied out. A large message (a quarter of a chunk or more) has a chunk of its own.
 */
import { type ChunkPool, chunkBytes } from '../structures/chunk-pool.js'

const nothing = Buffer.alloc(0)

const pageSlots = 4096
const pageShift = 12
const pageMask = pageSlots - 1
const slotWords = 6
const pageBytes = pageSlots * slotWords * 4

const wordChunk = 0
const wordOffset = 1
const wordSize = 2
const wordReferences = 3

const oneReference = 4096
const priorityMask = 255

/**
 * Marks of a message: its priority (0 to 255) plus any of these. `died`: the broker dead-lettered
 * it. `hiddenKeys`: it still has its BCC header, which nobody but a dead letter exchange may see.
 * `logged`: it is in the log, so that each of its queues must be told to the log when it leaves.
 */
export const Mark = { persistent: 256, died: 512, hiddenKeys: 1024, logged: 2048 } as const

/** In front of each message in a chunk: slot and size. */
const recordHead = 8

/** From here on a message gets memory of its own. */
export const largeBytes = chunkBytes / 4

/** Chunks may hold this much beyond twice their live bytes before the emptiest are copied out. */
const slackBytes = 64 * 1024 * 1024

/** Chunks copied out in one step, about half a millisecond of copying. */
const compactedPerStep = 4

class Page {
  readonly words: Int32Array
  readonly numbers: Float64Array
  free = -1
  used = 0
  /** Stands in the list of pages that have free slots. */
  listed = false

  constructor() {
    const bytes = new ArrayBuffer(pageBytes)
    this.words = new Int32Array(bytes)
    this.numbers = new Float64Array(bytes)
    for (let slot = pageSlots - 1; slot >= 0; slot--) {
      this.words[slot * slotWords] = this.free
      this.free = slot
    }
  }
}

class Chunk {
  readonly bytes: Buffer
  /** The body of a large message; null for a chunk that many messages share. */
  readonly parts: readonly Buffer[] | null
  readonly pooled: boolean
  /** Bytes written so far, and of those the ones still referred to. */
  filled = 0
  live = 0

  constructor(bytes: Buffer, parts: readonly Buffer[] | null, pooled: boolean) {
    this.bytes = bytes
    this.parts = parts
    this.pooled = pooled
  }
}

export class MessageTable {
  readonly #pool: ChunkPool
  readonly #pages: (Page | undefined)[] = []
  /** Pages with free slots; the last is used first. */
  readonly #pagesWithRoom: number[] = []
  readonly #emptyPageNumbers: number[] = []
  /** The page that was emptied last, kept for the next message that needs one; -1: none is kept. */
  #sparePage = -1
  readonly #chunks: (Chunk | undefined)[] = []
  readonly #freeChunkNumbers: number[] = []
  #filling = -1
  /** Bytes of messages that somebody refers to, and of the chunks that hold them. */
  liveBytes = 0
  chunkBytes = 0
  /** Bytes of the pages of slots. */
  slotBytes = 0
  /** Messages held. */
  count = 0

  /** Where `locate` found the message: `bytes[start..end)`, and the parts of a large body. */
  bytes: Buffer = nothing
  start = 0
  end = 0
  parts: readonly Buffer[] | null = null

  constructor(pool: ChunkPool) {
    this.#pool = pool
  }

  /**
   * Copies a message in and returns its slot, with one reference. `number` gives its place in the
   * order of messages: a safe integer, higher for later ones.
   */
  add(bytes: Buffer, start: number, end: number, marks: number, number: number): number {
    const size = end - start
    if (size >= largeBytes) {
      const own = Buffer.allocUnsafeSlow(size)
      bytes.copy(own, 0, start, end)
      return this.addOwn(own, null, marks, number)
    }
    const place = this.#chunkWithRoom(size + recordHead)
    const chunk = this.#chunks[place] as Chunk
    const slot = this.#takeSlot()
    const at = chunk.filled + recordHead
    chunk.bytes.writeInt32LE(slot, chunk.filled)
    chunk.bytes.writeInt32LE(size, chunk.filled + 4)
    bytes.copy(chunk.bytes, at, start, end)
    chunk.filled = at + size
    this.#enter(slot, place, at, size, size + recordHead, marks, number)
    return slot
  }

  /** Keeps a large message in the memory it already has, which nobody changes any more. */
  addOwn(bytes: Buffer, parts: readonly Buffer[] | null, marks: number, number: number): number {
    const place = this.#newChunk(new Chunk(bytes, parts, false))
    const slot = this.#takeSlot()
    let held = bytes.length
    if (parts !== null) for (const part of parts) held += part.length
    this.chunkBytes += held
    this.#enter(slot, place, 0, bytes.length, held, marks, number)
    return slot
  }

  /** Sets `bytes`, `start`, `end` and `parts` to where the message is; valid until the table is next changed. */
  locate(slot: number): void {
    const words = (this.#pages[slot >>> pageShift] as Page).words
    const at = (slot & pageMask) * slotWords
    const chunk = this.#chunks[words[at + wordChunk] as number] as Chunk
    this.bytes = chunk.bytes
    this.start = words[at + wordOffset] as number
    this.end = this.start + (words[at + wordSize] as number)
    this.parts = chunk.parts
  }

  /** One more queue or delivery refers to the message. */
  retain(slot: number): void {
    const words = (this.#pages[slot >>> pageShift] as Page).words
    const at = (slot & pageMask) * slotWords + wordReferences
    words[at] = (words[at] as number) + oneReference
  }

  /** One refers to it no more; with the last the message is gone. */
  release(slot: number): void {
    const words = (this.#pages[slot >>> pageShift] as Page).words
    const at = (slot & pageMask) * slotWords
    const references = (words[at + wordReferences] as number) - oneReference
    words[at + wordReferences] = references
    if (references < oneReference) this.#free(slot, words, at)
  }

  /** How many queues and deliveries refer to it. */
  references(slot: number): number {
    return Math.floor(this.#marked(slot) / oneReference)
  }

  /** Bytes of its content. */
  size(slot: number): number {
    const words = (this.#pages[slot >>> pageShift] as Page).words
    const at = (slot & pageMask) * slotWords
    const chunk = this.#chunks[words[at + wordChunk] as number] as Chunk
    return chunk.pooled ? (words[at + wordSize] as number) : chunk.live
  }

  /** The number it was given: its place in the order of messages. */
  number(slot: number): number {
    return (this.#pages[slot >>> pageShift] as Page).numbers[(slot & pageMask) * 3 + 2] as number
  }

  priority(slot: number): number {
    return this.#marked(slot) & priorityMask
  }

  persistent(slot: number): boolean {
    return (this.#marked(slot) & Mark.persistent) !== 0
  }

  /** True for a message that the broker dead-lettered, whose record of deaths it can trust. */
  diedBefore(slot: number): boolean {
    return (this.#marked(slot) & Mark.died) !== 0
  }

  hasHiddenKeys(slot: number): boolean {
    return (this.#marked(slot) & Mark.hiddenKeys) !== 0
  }

  /** It is in the log. */
  logged(slot: number): boolean {
    return (this.#marked(slot) & Mark.logged) !== 0
  }

  setLogged(slot: number): void {
    const words = (this.#pages[slot >>> pageShift] as Page).words
    const at = (slot & pageMask) * slotWords + wordReferences
    words[at] = (words[at] as number) | Mark.logged
  }

  /** True while more chunks are held than the messages in them justify. */
  get wantsCompaction(): boolean {
    return this.chunkBytes > 2 * this.liveBytes + slackBytes
  }

  /** Copies a few of the emptiest chunks out. False: there was none that is less than half full. */
  compact(): boolean {
    const sparse: number[] = []
    for (let number = 0; number < this.#chunks.length; number++) {
      const chunk = this.#chunks[number]
      if (chunk?.pooled && number !== this.#filling && chunk.live * 2 < chunk.filled)
        sparse.push(number)
    }
    const live = (number: number) => (this.#chunks[number] as Chunk).live
    sparse.sort((a, b) => live(a) - live(b))
    for (const number of sparse.slice(0, compactedPerStep)) this.#copyOut(number)
    return sparse.length > 0
  }

  #marked(slot: number): number {
    const page = this.#pages[slot >>> pageShift] as Page
    return page.words[(slot & pageMask) * slotWords + wordReferences] as number
  }

  #enter(
    slot: number,
    chunk: number,
    offset: number,
    size: number,
    held: number,
    marks: number,
    number: number,
  ): void {
    const page = this.#pages[slot >>> pageShift] as Page
    const words = page.words
    const at = (slot & pageMask) * slotWords
    words[at + wordChunk] = chunk
    words[at + wordOffset] = offset
    words[at + wordSize] = size
    words[at + wordReferences] = oneReference + marks
    page.numbers[(slot & pageMask) * 3 + 2] = number
    ;(this.#chunks[chunk] as Chunk).live += held
    this.liveBytes += held
    this.count++
  }

  #free(slot: number, words: Int32Array, at: number): void {
    const number = words[at + wordChunk] as number
    const chunk = this.#chunks[number] as Chunk
    const held = chunk.pooled ? (words[at + wordSize] as number) + recordHead : chunk.live
    this.count--
    this.liveBytes -= held
    chunk.live -= held
    if (chunk.live === 0) {
      if (number === this.#filling) chunk.filled = 0
      else this.#dropChunk(number, chunk, held)
    }
    const page = this.#pages[slot >>> pageShift] as Page
    words[at + wordReferences] = 0
    words[at] = page.free
    page.free = slot & pageMask
    page.used--
    if (!page.listed) {
      page.listed = true
      this.#pagesWithRoom.push(slot >>> pageShift)
    }
    if (page.used === 0) this.#keepOneEmpty(slot >>> pageShift)
  }

  #takeSlot(): number {
    const last = this.#pagesWithRoom.length - 1
    const number = last < 0 ? this.#newPage() : (this.#pagesWithRoom[last] as number)
    const page = this.#pages[number] as Page
    const free = page.free
    page.free = page.words[free * slotWords] as number
    page.used++
    if (page.free < 0) {
      page.listed = false
      this.#pagesWithRoom.pop()
    }
    return number * pageSlots + free
  }

  #newPage(): number {
    const number = this.#emptyPageNumbers.pop() ?? this.#pages.length
    const page = new Page()
    page.listed = true
    this.slotBytes += pageBytes
    this.#pages[number] = page
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

  #chunkWithRoom(bytes: number): number {
    if (this.#filling >= 0) {
      const chunk = this.#chunks[this.#filling] as Chunk
      if (chunkBytes - chunk.filled >= bytes) return this.#filling
      if (chunk.live === 0) {
        chunk.filled = 0
        return this.#filling
      }
    }
    this.#filling = this.#newChunk(new Chunk(this.#pool.take(), null, true))
    this.chunkBytes += chunkBytes
    return this.#filling
  }

  #newChunk(chunk: Chunk): number {
    const number = this.#freeChunkNumbers.pop() ?? this.#chunks.length
    this.#chunks[number] = chunk
    return number
  }

  #dropChunk(number: number, chunk: Chunk, held: number): void {
    this.#chunks[number] = undefined
    this.#freeChunkNumbers.push(number)
    if (chunk.pooled) {
      this.chunkBytes -= chunkBytes
      this.#pool.give(chunk.bytes)
    } else {
      this.chunkBytes -= held
      this.bytes = nothing
      this.parts = null
    }
  }

  /** Moves what is live in a chunk to the chunk being filled, which frees it. */
  #copyOut(number: number): void {
    const chunk = this.#chunks[number] as Chunk
    let at = 0
    while (at < chunk.filled) {
      const slot = chunk.bytes.readInt32LE(at)
      const size = chunk.bytes.readInt32LE(at + 4)
      if (this.#standsAt(slot, number, at + recordHead)) {
        const held = size + recordHead
        const to = this.#chunkWithRoom(held)
        const target = this.#chunks[to] as Chunk
        chunk.bytes.copy(target.bytes, target.filled, at, at + held)
        const words = (this.#pages[slot >>> pageShift] as Page).words
        words[(slot & pageMask) * slotWords + wordChunk] = to
        words[(slot & pageMask) * slotWords + wordOffset] = target.filled + recordHead
        target.filled += held
        target.live += held
        chunk.live -= held
      }
      at += recordHead + size
    }
    this.#dropChunk(number, chunk, 0)
  }

  #standsAt(slot: number, chunk: number, offset: number): boolean {
    const page = this.#pages[slot >>> pageShift]
    if (page === undefined) return false
    const at = (slot & pageMask) * slotWords
    return (
      (page.words[at + wordReferences] as number) >= oneReference &&
      page.words[at + wordChunk] === chunk &&
      page.words[at + wordOffset] === offset
    )
  }
}
