/**
 * The memory in which contents of messages stand: chunks of the pool, filled one behind the
 * other, and memory of its own for each large message. In a chunk each content stands behind a
 * head, by which it is found from the chunk's side; contents begin at multiples of four bytes:
 *
 *     +-------+---------+--------+--- - - -
 *     | slot  | segment | offset | content
 *     +-------+---------+--------+--- - - -
 *
 * Behind a head nothing says how long the content is: its slot knows. So when a content goes and
 * the chunk stays, its size, negated, takes the place of the slot. Segment and offset are the
 * place of the content on the disk; segment -1: it has none. Contents that the log will not keep
 * stand in other chunks, whose heads end behind the slot, for they go to the disk a whole chunk at
 * a time: their places follow from that of the chunk.
 *
 * Chunks are hot or cold. What is needed soon is put into hot ones, what joins a long backlog into
 * cold ones, so that it can leave memory without taking along what is needed. Each kind stands in
 * a list in the order of filling.
 */
import { type ChunkPool, chunkBytes } from '../structures/chunk-pool.js'

export const Head = { slot: 0, segment: 1, offset: 2 } as const

/** Bytes of a head, with and without a place of its own. */
const longHeadBytes = 12
const shortHeadBytes = 4

/** Bytes of a chunk that a content of this size takes, its head included. */
export const heldBytes = (size: number, placed: boolean) =>
  (placed ? longHeadBytes : shortHeadBytes) + ((size + 3) & ~3)

const kindOf = (cold: boolean, placed: boolean) => (cold ? 2 : 0) + (placed ? 1 : 0)

const noWords = new Int32Array(0)

export class Chunk {
  readonly bytes: Buffer
  /** The same memory in words, for the heads; nothing for memory of a large message. */
  readonly words: Int32Array
  /** The body of a large message; null for a chunk that many messages share. */
  readonly parts: readonly Buffer[] | null
  readonly pooled: boolean
  readonly cold: boolean
  /** Each content in it has a place of its own. */
  readonly placed: boolean
  readonly headBytes: number
  /** Bytes written so far, and of those the ones still referred to. */
  filled = 0
  live = 0
  /** Some content in it has its place in the scratch file, which is to be told when it goes. */
  scratched = false
  /** It is being written to the scratch file. */
  writing = false
  /** Where it stands among the chunks; -1 once it is dropped. */
  number = -1
  /** Of a large message: what else stands in the head. */
  slot = -1
  /** Of one whose contents have no places of their own: where its memory was written to. */
  segment = -1
  offset = 0
  older: Chunk | null = null
  newer: Chunk | null = null

  constructor(
    bytes: Buffer,
    parts: readonly Buffer[] | null,
    pooled: boolean,
    cold: boolean,
    placed: boolean,
  ) {
    this.bytes = bytes
    this.words = pooled ? new Int32Array(bytes.buffer, bytes.byteOffset, chunkBytes / 4) : noWords
    this.parts = parts
    this.pooled = pooled
    this.cold = cold
    this.placed = placed
    this.headBytes = placed ? longHeadBytes : shortHeadBytes
  }

  /** It is empty and filled from its beginning again. */
  restart(): void {
    this.filled = 0
    this.scratched = false
  }
}

/** Chunks in the order in which their filling began. */
export class ChunkList {
  oldest: Chunk | null = null
  newest: Chunk | null = null

  add(chunk: Chunk): void {
    chunk.older = this.newest
    if (this.newest === null) this.oldest = chunk
    else this.newest.newer = chunk
    this.newest = chunk
  }

  remove(chunk: Chunk): void {
    if (chunk.older === null) this.oldest = chunk.newer
    else chunk.older.newer = chunk.newer
    if (chunk.newer === null) this.newest = chunk.older
    else chunk.newer.older = chunk.older
    chunk.older = null
    chunk.newer = null
  }
}

export class Chunks {
  readonly pool: ChunkPool
  readonly #chunks: (Chunk | undefined)[] = []
  readonly #freeNumbers: number[] = []
  readonly hot = new ChunkList()
  readonly cold = new ChunkList()
  /** The one of each kind to which more is to be written. */
  readonly #filling: (Chunk | null)[] = [null, null, null, null]
  /** Bytes of all chunks; `ownBytes` of those which are not the pool's. */
  bytes = 0
  ownBytes = 0
  /** Bytes which somebody refers to. */
  live = 0
  /** When there are more `bytes` than this, `exceeded` is called for each further chunk. */
  share = Number.POSITIVE_INFINITY
  exceeded: () => void = () => {}

  constructor(pool: ChunkPool) {
    this.pool = pool
  }

  at(number: number): Chunk {
    return this.#chunks[number] as Chunk
  }

  /** More is to be written to it. */
  filling(chunk: Chunk): boolean {
    return chunk === this.#filling[kindOf(chunk.cold, chunk.placed)]
  }

  /** The chunk in which a content of `size` bytes has room at `filled`, its head included. */
  withRoom(size: number, cold: boolean, placed: boolean): Chunk {
    const kind = kindOf(cold, placed)
    const filling = this.#filling[kind] as Chunk | null
    if (filling !== null) {
      if (chunkBytes - filling.filled >= heldBytes(size, placed)) return filling
      if (filling.live === 0) {
        filling.restart()
        return filling
      }
    }
    const chunk = new Chunk(this.pool.take(), null, true, cold, placed)
    this.#filling[kind] = chunk
    this.#enter(chunk, chunkBytes)
    return chunk
  }

  /** Memory of its own for a large message. */
  own(bytes: Buffer, parts: readonly Buffer[] | null, cold: boolean): Chunk {
    const chunk = new Chunk(bytes, parts, false, cold, true)
    let held = bytes.length
    if (parts !== null) for (const part of parts) held += part.length
    chunk.live = held
    this.live += held
    this.ownBytes += held
    this.#enter(chunk, held)
    return chunk
  }

  /** So many bytes of a chunk are no longer referred to; one without any is dropped. */
  release(chunk: Chunk, held: number): void {
    this.live -= held
    chunk.live -= held
    if (chunk.live > 0) return
    if (this.filling(chunk)) chunk.restart()
    else this.#drop(chunk, held)
  }

  /** Chunks that many messages share and that are less than half full, the emptiest first. */
  sparse(): Chunk[] {
    const sparse: Chunk[] = []
    for (const list of [this.hot, this.cold])
      for (let chunk = list.oldest; chunk !== null; chunk = chunk.newer)
        if (chunk.pooled && chunk.live * 2 < chunk.filled && !this.filling(chunk))
          sparse.push(chunk)
    return sparse.sort((a, b) => a.live - b.live)
  }

  #enter(chunk: Chunk, bytes: number): void {
    chunk.number = this.#freeNumbers.pop() ?? this.#chunks.length
    this.#chunks[chunk.number] = chunk
    const list = chunk.cold ? this.cold : this.hot
    list.add(chunk)
    this.bytes += bytes
    if (this.bytes > this.share) this.exceeded()
  }

  #drop(chunk: Chunk, held: number): void {
    this.#chunks[chunk.number] = undefined
    this.#freeNumbers.push(chunk.number)
    chunk.number = -1
    const list = chunk.cold ? this.cold : this.hot
    list.remove(chunk)
    if (chunk.pooled) {
      this.bytes -= chunkBytes
      this.pool.give(chunk.bytes)
    } else {
      this.bytes -= held
      this.ownBytes -= held
    }
  }
}
