/**
 * What is appended between two writes: records in memory, one behind the other, until they are
 * durable. A file that failed does not take them along: they are laid out anew for the next one.
 *
 *     pieces   [ record record record ] [ record ... ] [ head of a large record ] + its parts
 *                first 4 KiB, its own      256 KiB         its own
 */
import { type ChunkPool, chunkBytes } from '../structures/chunk-pool.js'
import { isMessage, Kind, kindAt, makeVoid, numberAt, sizeAt } from './record.js'

/** A batch of a few settlements needs no whole chunk; many of them may wait for one sync. */
const firstPieceBytes = 4096

/** From here on a record has a piece of its own. */
const largeBytes = chunkBytes / 4

export interface Piece {
  readonly bytes: Buffer
  filled: number
  /** Further bytes of the last record in the piece, kept where they are. */
  parts: readonly Buffer[] | null
  readonly pooled: boolean
}

export class Batch {
  readonly pieces: Piece[] = []
  /** Somebody waits for it: it is synced at once. */
  urgent = false
  /** There is a transaction in it. */
  atomic = false
  /** It was taken out of another, because the disk is almost full. */
  relief = false
  /** Bytes of records that were not withdrawn, and how many. */
  bytes = 0
  records = 0
  /** New messages that are not withdrawn; copies and those that were moved are none. */
  own = 0
  /** Bytes of memory in use, with those withdrawn. */
  heldBytes = 0
  /** Lowest and highest number of its records, without copies; −1: it has none of its own. */
  first = -1
  last = -1
  /** Where the messages came to stand: number and offset in turn. Set when it is laid out. */
  places = new Float64Array(0)
  segment = -1
  /** Called once it is durable. */
  readonly waiting: (() => void)[] = []
  /** Where `reserve` made room. */
  buffer: Buffer = Buffer.alloc(0)
  at = 0

  readonly #pool: ChunkPool
  /** Messages that may be withdrawn, by rising number: where each stands, piece and offset; −1: nowhere. */
  #numbers = new Float64Array(64)
  #records = new Int32Array(64)
  #withdrawable = 0

  constructor(pool: ChunkPool) {
    this.#pool = pool
  }

  get empty(): boolean {
    return this.pieces.length === 0 && this.last < 0 && this.waiting.length === 0
  }

  /** Makes room for a record at `buffer[at...)`; its parts follow it. */
  reserve(size: number, parts: readonly Buffer[] | null): void {
    let piece = this.pieces.at(-1)
    if (size >= largeBytes || parts !== null) {
      piece = { bytes: Buffer.allocUnsafeSlow(size), filled: 0, parts, pooled: false }
      this.pieces.push(piece)
    } else if (piece === undefined || piece.bytes.length - piece.filled < size) {
      const small = piece === undefined && size <= firstPieceBytes
      const bytes = small ? Buffer.allocUnsafeSlow(firstPieceBytes) : this.#pool.take()
      piece = { bytes, filled: 0, parts: null, pooled: !small }
      this.pieces.push(piece)
    }
    this.buffer = piece.bytes
    this.at = piece.filled
    piece.filled += size
    let whole = size
    if (parts !== null) for (const part of parts) whole += part.length
    this.bytes += whole
    this.heldBytes += whole
    this.records++
  }

  /** The record reserved last turned out shorter. */
  shorten(bytes: number): void {
    ;(this.pieces.at(-1) as Piece).filled -= bytes
    this.bytes -= bytes
  }

  /** The record reserved last has this number, higher than those before. */
  enter(number: number): void {
    if (this.first < 0) this.first = number
    this.last = number
  }

  /** The same for a message and nothing more, which may be withdrawn. */
  enterMessage(number: number): void {
    this.enter(number)
    this.own++
    const index = this.#withdrawable++
    if (index === this.#numbers.length) {
      const numbers = new Float64Array(2 * index)
      numbers.set(this.#numbers)
      this.#numbers = numbers
      const records = new Int32Array(2 * index)
      records.set(this.#records)
      this.#records = records
    }
    this.#numbers[index] = number
    this.#records[index] = (this.pieces.length - 1) * chunkBytes + this.at
  }

  /** Takes a message out again; false: it is not here, or is more than a message. */
  withdraw(number: number): boolean {
    const index = this.#find(number)
    const record = this.#records[index] as number
    if (this.#numbers[index] !== number || record < 0) return false
    const at = record % chunkBytes
    const { bytes } = this.pieces[(record - at) / chunkBytes] as Piece
    this.#records[index] = -1
    this.own--
    this.drop(bytes, at)
    return true
  }

  /** Leaves a record out. */
  drop(bytes: Buffer, at: number): void {
    this.bytes -= sizeAt(bytes, at)
    makeVoid(bytes, at)
    this.records--
    if (this.records === 0) this.release()
  }

  /** It is a new message of this batch, not a copy. */
  isOwn(number: number): boolean {
    return this.#numbers[this.#find(number)] === number
  }

  /** Tells of each record: `bytes[at..end)` and its further parts. */
  forEach(
    tell: (bytes: Buffer, at: number, end: number, parts: readonly Buffer[] | null) => void,
  ): void {
    for (const piece of this.pieces) this.forEachIn(piece, tell)
  }

  /** The same of one piece. */
  forEachIn(
    { bytes, filled, parts }: Piece,
    tell: (bytes: Buffer, at: number, end: number, parts: readonly Buffer[] | null) => void,
  ): void {
    let at = 0
    while (at < filled) {
      const end = parts === null ? at + sizeAt(bytes, at) : filled
      if (kindAt(bytes, at) !== Kind.void) tell(bytes, at, end, parts)
      at = end
    }
  }

  /** Where a number stands among the messages, or would. */
  #find(number: number): number {
    let low = 0
    let high = this.#withdrawable
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#numbers[middle] as number) < number) low = middle + 1
      else high = middle
    }
    return Math.min(low, this.#withdrawable - 1)
  }

  /** Forgets where messages of the last layout came to stand. */
  beginPlaces(segment: number): void {
    this.segment = segment
    this.#placed = 0
    if (this.places.length < 2 * this.records) this.places = new Float64Array(2 * this.records)
  }

  #placed = 0

  place(bytes: Buffer, at: number, offset: number): void {
    if (!isMessage(kindAt(bytes, at))) return
    this.places[this.#placed++] = numberAt(bytes, at)
    this.places[this.#placed++] = offset
  }

  get placed(): number {
    return this.#placed
  }

  /** It is durable, or nothing of it is left: gives the memory back. */
  release(): void {
    for (const piece of this.pieces) if (piece.pooled) this.#pool.give(piece.bytes)
    this.pieces.length = 0
    this.heldBytes = 0
  }
}
