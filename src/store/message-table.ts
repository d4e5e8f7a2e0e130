/**
 * Every message once, named by a slot number. Queues hold slot numbers; only the slot knows where
 * the content is, so that moving it changes one entry however many queues hold the message. There
 * is no object per message: a backlog of millions is invisible to the garbage collector.
 *
 * A content has a place on the disk once it is durable in the log, or written to the scratch file
 * (scratch.ts), whose segments are numbered from `scratchBase` on. From then on it may leave
 * memory, chunk by chunk, and be loaded again; its slot stays the same.
 */
import { type ChunkPool, chunkBytes } from '../structures/chunk-pool.js'
import { Message } from '../wire/message.js'
import { type Chunk, Chunks, Head, heldBytes } from './chunks.js'
import {
  highBits,
  highMask,
  Mark,
  oneReference,
  pageMask,
  Slots,
  slotWords,
  wordChunk,
  wordHigh,
  wordOffset,
  wordReferences,
  wordSize,
} from './slots.js'

export { Mark } from './slots.js'

const nothing = Buffer.alloc(0)

/** From here on a message gets memory of its own. */
export const largeBytes = chunkBytes / 4

/** Instead of what a content has besides its body, in words that have no room for it. */
const longHead = 4095

/** Segments of the scratch file have numbers from here on, those of the log below. */
export const scratchBase = 2 ** 30

/** Chunks may hold this much beyond twice their live bytes before the emptiest are copied out. */
const slackBytes = 64 * 1024 * 1024

/** Chunks copied out in one step, about half a millisecond of copying. */
const compactedPerStep = 4

/** What became of a chunk that was to leave memory. */
export const Eviction = {
  /** It is out. */
  done: 0,
  /** Something in it waits to be durable in the log. */
  pending: 1,
  /** Something in it has a place on the disk only if it is written to the scratch file. */
  transient: 2,
} as const

/** Hears of contents in the scratch file that nobody needs any more. */
export interface ScratchOwner {
  released(segment: number): void
}

export class MessageTable extends Slots {
  readonly chunks: Chunks
  /** What contents have besides their bodies, for slots whose words have no room for it. */
  readonly #longHeads = new Map<number, number>()
  readonly #cursor = new Message()
  scratch: ScratchOwner | null = null
  /** Bytes of contents that are not messages yet, being half received; who receives them counts. */
  intakeBytes = 0

  /** Where `locate` found the message: `bytes[start..end)`, and the parts of a large body. */
  bytes: Buffer = nothing
  start = 0
  end = 0
  parts: readonly Buffer[] | null = null

  constructor(pool: ChunkPool) {
    super()
    this.chunks = new Chunks(pool)
  }

  /** Bytes of contents in memory that somebody refers to, and of the chunks that hold them. */
  get liveBytes(): number {
    return this.chunks.live
  }

  get chunkBytes(): number {
    return this.chunks.bytes
  }

  /**
   * Copies a message in and returns its slot, with one reference. `number` gives its place in the
   * order of messages: an integer below 2^52, higher for later ones. `cold`: it will not be needed
   * soon.
   */
  add(
    bytes: Buffer,
    start: number,
    end: number,
    marks: number,
    number: number,
    cold = false,
  ): number {
    const size = end - start
    if (size >= largeBytes) {
      const own = Buffer.allocUnsafeSlow(size)
      bytes.copy(own, 0, start, end)
      return this.addOwn(own, null, marks, number, cold)
    }
    const slot = this.takeSlot(marks, number)
    const placed = (marks & Mark.persistent) !== 0
    this.#write(slot, bytes, start, end, cold, placed, -1, 0)
    return slot
  }

  /** Keeps a large message in the memory it already has, which nobody changes any more. */
  addOwn(
    bytes: Buffer,
    parts: readonly Buffer[] | null,
    marks: number,
    number: number,
    cold = false,
  ): number {
    const slot = this.takeSlot(marks, number)
    this.#keep(slot, bytes, parts, cold, -1, 0)
    return slot
  }

  /** A message whose content is only on the disk: `size` bytes of it, `bodySize` of them its body. */
  addStored(
    size: number,
    bodySize: number,
    marks: number,
    number: number,
    segment: number,
    offset: number,
  ): number {
    const slot = this.takeSlot(marks, number)
    this.#leave(slot, segment, offset, size, bodySize)
    return slot
  }

  /** Sets `bytes`, `start`, `end` and `parts` to where the message is in memory; valid until the table is next changed. */
  locate(slot: number): void {
    const words = this.words(slot)
    const at = (slot & pageMask) * slotWords
    const chunk = this.chunks.at(words[at + wordChunk] as number)
    this.bytes = chunk.bytes
    this.start = words[at + wordOffset] as number
    this.end = this.start + (words[at + wordSize] as number)
    this.parts = chunk.parts
  }

  /** One refers to it no more; with the last the message is gone. */
  release(slot: number): void {
    const words = this.words(slot)
    const at = (slot & pageMask) * slotWords
    const references = (words[at + wordReferences] as number) - oneReference
    words[at + wordReferences] = references
    if (references < oneReference) this.#free(slot, words, at)
  }

  /** Bytes of its content. */
  size(slot: number): number {
    const chunk = this.word(slot, wordChunk)
    if (chunk < 0 || this.chunks.at(chunk).pooled) return this.word(slot, wordSize)
    return this.chunks.at(chunk).live
  }

  /** Bytes of its body. */
  bodySize(slot: number): number {
    if (this.inMemory(slot)) {
      this.locate(slot)
      this.#cursor.at(this.bytes, this.start, this.end, null)
      return this.#cursor.bodySize
    }
    const head = this.word(slot, wordHigh) >>> highBits
    const size = this.word(slot, wordSize)
    return size - (head === longHead ? (this.#longHeads.get(slot) as number) : head)
  }

  /** Its content can be located; if not, it must be loaded before. */
  inMemory(slot: number): boolean {
    return this.word(slot, wordChunk) >= 0
  }

  /** From now on its content can be read at this place on the disk. */
  place(slot: number, segment: number, offset: number): void {
    const words = this.words(slot)
    const at = (slot & pageMask) * slotWords
    const number = words[at + wordChunk] as number
    if (number < 0) {
      this.#unscratch(-1 - number)
      words[at + wordChunk] = -1 - segment
      words[at + wordOffset] = offset
      return
    }
    const chunk = this.chunks.at(number)
    if (chunk.scratched) this.#unscratch(this.segment(slot))
    if (!chunk.placed) {
      const start = words[at + wordOffset] as number
      const size = words[at + wordSize] as number
      this.#write(slot, chunk.bytes, start, start + size, chunk.cold, true, segment, offset)
      this.#leaveChunk(chunk, start, size)
      return
    }
    if (segment >= scratchBase) chunk.scratched = true
    if (chunk.pooled) {
      const head = headOf(chunk, words[at + wordOffset] as number)
      chunk.words[head + Head.segment] = segment
      chunk.words[head + Head.offset] = offset
    } else {
      chunk.segment = segment
      chunk.offset = offset
    }
  }

  /** The segment its content was placed in, -1 for none, and where there. */
  segment(slot: number): number {
    const number = this.word(slot, wordChunk)
    if (number < 0) return -1 - number
    const chunk = this.chunks.at(number)
    return this.#segmentIn(chunk, this.word(slot, wordOffset))
  }

  offset(slot: number): number {
    const number = this.word(slot, wordChunk)
    if (number < 0) return this.word(slot, wordOffset)
    const chunk = this.chunks.at(number)
    return this.#offsetIn(chunk, this.word(slot, wordOffset))
  }

  /** Brings a content that was read from the disk back to memory: `bytes[start..end)`, which is copied. */
  load(slot: number, bytes: Buffer, start: number, end: number): void {
    const segment = this.segment(slot)
    const offset = this.offset(slot)
    const words = this.words(slot)
    const high = (slot & pageMask) * slotWords + wordHigh
    if ((words[high] as number) >>> highBits === longHead) this.#longHeads.delete(slot)
    words[high] = (words[high] as number) & highMask
    this.#cursor.at(bytes, start, end, null)
    const { inPlace, bodySize } = this.#cursor
    if (inPlace && end - start < largeBytes) {
      this.#write(slot, bytes, start, end, false, true, segment, offset)
      return
    }
    const own = Buffer.allocUnsafeSlow(end - start)
    bytes.copy(own, 0, start, end)
    // A body that stood apart does so again: the disk has no end octet for its frame.
    const head = own.length - bodySize
    if (inPlace) this.#keep(slot, own, null, false, segment, offset)
    else this.#keep(slot, own.subarray(0, head), [own.subarray(head)], false, segment, offset)
  }

  /** Takes the contents of a chunk out of memory, all or none; see `Eviction`. */
  evict(chunk: Chunk): number {
    if (!chunk.pooled) {
      const { slot, segment, offset } = chunk
      if (segment < 0) return this.logged(slot) ? Eviction.pending : Eviction.transient
      this.#leave(slot, segment, offset, chunk.live, this.bodySize(slot))
      this.chunks.release(chunk, chunk.live)
      return Eviction.done
    }
    const { words, headBytes, number, placed } = chunk
    for (let at = 0; at < chunk.filled; ) {
      const slot = words[at >> 2] as number
      const start = at + headBytes
      at += heldBytes(this.#sizeIn(slot), placed)
      if (slot >= 0 && this.#segmentIn(chunk, start) < 0)
        return this.logged(slot) ? Eviction.pending : Eviction.transient
    }
    for (let at = 0; chunk.number === number; ) {
      const slot = words[at >> 2] as number
      const start = at + headBytes
      const size = this.#sizeIn(slot)
      const held = heldBytes(size, placed)
      at += held
      if (slot < 0) continue
      this.#cursor.at(chunk.bytes, start, start + size, null)
      const { bodySize } = this.#cursor
      const segment = this.#segmentIn(chunk, start)
      this.#leave(slot, segment, this.#offsetIn(chunk, start), size, bodySize)
      this.chunks.release(chunk, held)
    }
    return Eviction.done
  }

  /**
   * The chunk has been written to a segment of the scratch file, its memory beginning at `base`:
   * places what has no other place there. Returns how many contents that were.
   */
  placeScratched(chunk: Chunk, segment: number, base: number): number {
    if (chunk.number < 0) return 0
    if (!chunk.pooled) {
      if (chunk.segment >= 0) return 0
      this.place(chunk.slot, segment, base)
      return 1
    }
    if (!chunk.placed && chunk.segment >= 0) return 0
    const { words, headBytes } = chunk
    let count = 0
    for (let at = 0; at < chunk.filled; ) {
      const head = at >> 2
      const slot = words[head] as number
      const start = at + headBytes
      at += heldBytes(this.#sizeIn(slot), chunk.placed)
      if (slot < 0 || this.#segmentIn(chunk, start) >= 0) continue
      if (chunk.placed) {
        if (this.logged(slot)) continue
        words[head + Head.segment] = segment
        words[head + Head.offset] = base + start
      }
      count++
    }
    chunk.scratched ||= count > 0
    if (!chunk.placed) {
      chunk.segment = segment
      chunk.offset = base
    }
    return count
  }

  /** True while more chunks are held than the messages in them justify. */
  get wantsCompaction(): boolean {
    return this.chunkBytes > 2 * this.liveBytes + slackBytes
  }

  /** Copies a few of the emptiest chunks out. False: there was none that is less than half full. */
  compact(): boolean {
    const sparse = this.chunks.sparse()
    for (const chunk of sparse.slice(0, compactedPerStep)) this.#copyOut(chunk)
    return sparse.length > 0
  }

  /** The place of the content at `start` of a chunk, or of what a chunk of its own holds. */
  #segmentIn(chunk: Chunk, start: number): number {
    if (!chunk.pooled || !chunk.placed) return chunk.segment
    return chunk.words[headOf(chunk, start) + Head.segment] as number
  }

  #offsetIn(chunk: Chunk, start: number): number {
    if (!chunk.pooled) return chunk.offset
    if (!chunk.placed) return chunk.offset + start
    return chunk.words[headOf(chunk, start) + Head.offset] as number
  }

  /** Copies a content into a shared chunk, into one where it has a place of its own if `placed`. */
  #write(
    slot: number,
    bytes: Buffer,
    start: number,
    end: number,
    cold: boolean,
    placed: boolean,
    segment: number,
    offset: number,
  ): void {
    const size = end - start
    const held = heldBytes(size, placed)
    const chunk = this.chunks.withRoom(size, cold, placed)
    const head = chunk.filled >> 2
    chunk.words[head + Head.slot] = slot
    if (placed) {
      chunk.words[head + Head.segment] = segment
      chunk.words[head + Head.offset] = offset
    }
    const at = chunk.filled + chunk.headBytes
    bytes.copy(chunk.bytes, at, start, end)
    this.#point(slot, chunk.number, at, size)
    chunk.filled += held
    chunk.live += held
    this.chunks.live += held
    if (segment >= scratchBase) chunk.scratched = true
  }

  /** Keeps a large content in memory of its own. */
  #keep(
    slot: number,
    bytes: Buffer,
    parts: readonly Buffer[] | null,
    cold: boolean,
    segment: number,
    offset: number,
  ): void {
    const chunk = this.chunks.own(bytes, parts, cold)
    chunk.slot = slot
    chunk.segment = segment
    chunk.offset = offset
    chunk.scratched = segment >= scratchBase
    this.#point(slot, chunk.number, 0, bytes.length)
  }

  #point(slot: number, chunk: number, offset: number, size: number): void {
    const words = this.words(slot)
    const at = (slot & pageMask) * slotWords
    words[at + wordChunk] = chunk
    words[at + wordOffset] = offset
    words[at + wordSize] = size
  }

  /** The content is only on the disk from now on. */
  #leave(slot: number, segment: number, offset: number, size: number, bodySize: number): void {
    const words = this.words(slot)
    const at = (slot & pageMask) * slotWords
    const head = Math.min(size - bodySize, longHead)
    if (head === longHead) this.#longHeads.set(slot, size - bodySize)
    words[at + wordChunk] = -1 - segment
    words[at + wordOffset] = offset
    words[at + wordSize] = size
    words[at + wordHigh] = (words[at + wordHigh] as number) | (head << highBits)
  }

  #free(slot: number, words: Int32Array, at: number): void {
    const number = words[at + wordChunk] as number
    if (number < 0) {
      this.#unscratch(-1 - number)
      if ((words[at + wordHigh] as number) >>> highBits === longHead) this.#longHeads.delete(slot)
    } else {
      const chunk = this.chunks.at(number)
      if (chunk.scratched) this.#unscratch(this.segment(slot))
      if (chunk.pooled) {
        this.#leaveChunk(chunk, words[at + wordOffset] as number, words[at + wordSize] as number)
      } else {
        this.chunks.release(chunk, chunk.live)
        this.bytes = nothing
        this.parts = null
      }
    }
    this.giveSlot(slot)
  }

  #unscratch(segment: number): void {
    if (segment >= scratchBase) this.scratch?.released(segment)
  }

  /** Moves what is live in a chunk to the chunk being filled, which frees it. */
  #copyOut(chunk: Chunk): void {
    const { words, headBytes, number, cold } = chunk
    const placed = chunk.placed || chunk.segment >= 0
    for (let at = 0; chunk.number === number; ) {
      const slot = words[at >> 2] as number
      const start = at + headBytes
      const size = this.#sizeIn(slot)
      const held = heldBytes(size, chunk.placed)
      at += held
      if (slot < 0) continue
      const segment = this.#segmentIn(chunk, start)
      const offset = this.#offsetIn(chunk, start)
      this.#write(slot, chunk.bytes, start, start + size, cold, placed, segment, offset)
      this.chunks.release(chunk, held)
    }
  }

  /** The content at `start` of a chunk goes; others perhaps stay. */
  #leaveChunk(chunk: Chunk, start: number, size: number): void {
    chunk.words[headOf(chunk, start)] = -size
    this.chunks.release(chunk, heldBytes(size, chunk.placed))
  }

  /** Bytes of the content behind a head which begins with this word. */
  #sizeIn(slot: number): number {
    return slot < 0 ? -slot : this.word(slot, wordSize)
  }
}

/** The word at which the head of the content at `start` of a chunk begins. */
function headOf(chunk: Chunk, start: number): number {
  return (start - chunk.headBytes) >> 2
}
