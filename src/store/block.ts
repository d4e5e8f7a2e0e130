/**
 * Blocks, the unit of checking. The stream of records of a batch is cut into blocks; a block never
 * crosses a boundary of 64 KiB in the file, and one begins at each boundary, so that any place in a
 * file can be checked by reading one such window, and damage is over at the next. A window's last
 * bytes are zero where no block fits. Numbers are little-endian.
 *
 *      0       4       8        10      12      14     16         20         24       30    32
 *     +-------+-------+--------+-------+-------+------+----------+----------+--------+-----+-- - -
 *     | magic | crc   | length | carry | flags | 0    | block in | crc of   | batch  | lag | payload
 *     |       |       |        |       |       |      | batch    | batch −1 | (u48)  |     |
 *     +-------+-------+--------+-------+-------+------+----------+----------+--------+-----+-- - -
 *
 * The crc covers all behind itself and begins from that of the segment's number. Carry: bytes of
 * the payload that continue a record of the block before (a large record spans several). Lag: the
 * batch that many before this one was synced when this one was written. The crc of a batch is that
 * of its blocks' crcs. Flags: 1 last block of its batch, 2 part of a segment's index.
 */
import { crc32 } from 'node:zlib'

export const windowBytes = 65_536
export const blockHeadBytes = 32
const magic = Buffer.from([0xb1, 0x4c, 0x76, 0x72])
/** In less room than this no block is begun. */
const leastRoom = 64
export const longestLag = 0xffff

export const Flag = { last: 1, index: 2 } as const

const zeros = Buffer.alloc(leastRoom)

/** Where the checksums of a segment begin. */
export function seedOf(segment: number): number {
  const bytes = Buffer.alloc(8)
  bytes.writeUIntLE(segment, 0, 6)
  return crc32(bytes)
}

/** Cuts the records of one batch into blocks, without copying them. */
export class BlockWriter {
  /** What is to be written, and where it begins and ends in the file. */
  parts: Uint8Array[] = []
  start = 0
  end = 0
  /** The checksum of the batch, once ended. */
  batchCrc = 0

  #seed = 0
  #batch = 0
  #previous = 0
  #lag = 0
  #flags = 0
  #block = 0
  #head: Buffer | null = null
  #length = 0
  #room = 0
  #firstPart = 0
  /** Bytes of the current record that were not yet put. */
  #left = 0
  /** The stretch of bytes being made longer, as long as records follow each other in memory. */
  #stretch: Buffer | null = null
  #from = 0
  #to = 0

  begin(
    at: number,
    seed: number,
    batch: number,
    previous: number,
    lag: number,
    flags: number,
  ): void {
    this.parts = []
    this.start = at
    this.end = at
    this.batchCrc = 0
    this.#seed = seed
    this.#batch = batch
    this.#previous = previous
    this.#lag = lag
    this.#flags = flags
    this.#block = 0
    this.#head = null
    this.#left = 0
    this.#room = 0
  }

  /** A record of that size follows, in one or more calls of `put`; returns its place in the file. */
  record(size: number): number {
    if (this.#head === null || this.#length === this.#room) this.#open()
    this.#left = size
    return this.end + this.#length
  }

  put(bytes: Buffer, start: number, end: number): void {
    let at = start
    while (at < end) {
      if (this.#head === null || this.#length === this.#room) this.#open()
      const count = Math.min(end - at, this.#room - this.#length)
      if (this.#stretch === bytes && this.#to === at) {
        this.#to += count
      } else {
        this.#endStretch()
        this.#stretch = bytes
        this.#from = at
        this.#to = at + count
      }
      this.#length += count
      this.#left -= count
      at += count
    }
  }

  finish(): void {
    if (this.#head === null) this.#open()
    this.#close(Flag.last)
  }

  /** Begins a block; `end` is then where its payload begins. */
  #open(): void {
    if (this.#head !== null) this.#close(0)
    const room = windowBytes - (this.end % windowBytes)
    if (room < leastRoom) {
      this.parts.push(zeros.subarray(0, room))
      this.end += room
    }
    const head = Buffer.alloc(blockHeadBytes)
    magic.copy(head)
    this.#room = windowBytes - (this.end % windowBytes) - blockHeadBytes
    head.writeUInt16LE(Math.min(this.#left, this.#room), 10)
    head.writeUInt32LE(this.#block++, 16)
    head.writeUInt32LE(this.#previous, 20)
    head.writeUIntLE(this.#batch, 24, 6)
    head.writeUInt16LE(this.#lag, 30)
    this.parts.push(head)
    this.#head = head
    this.#length = 0
    this.#firstPart = this.parts.length
    this.end += blockHeadBytes
  }

  #close(flags: number): void {
    this.#endStretch()
    const head = this.#head as Buffer
    head.writeUInt16LE(this.#length, 8)
    head.writeUInt16LE(this.#flags | flags, 12)
    let crc = crc32(head.subarray(8), this.#seed)
    for (let i = this.#firstPart; i < this.parts.length; i++)
      crc = crc32(this.parts[i] as Uint8Array, crc)
    head.writeUInt32LE(crc, 4)
    this.batchCrc = crc32(head.subarray(4, 8), this.batchCrc)
    this.end += this.#length
    this.#length = 0
    this.#head = null
  }

  #endStretch(): void {
    if (this.#stretch !== null) this.parts.push(this.#stretch.subarray(this.#from, this.#to))
    this.#stretch = null
  }
}

/** A block that was found good. */
export interface Block {
  /** Where its head stands in the file. */
  readonly offset: number
  readonly length: number
  readonly carry: number
  readonly flags: number
  readonly block: number
  readonly previous: number
  readonly batch: number
  readonly lag: number
  readonly crc: number
}

/** The crc of a batch so far, and one more of its blocks. */
export function addToBatchCrc(batchCrc: number, crc: number): number {
  word.writeUInt32LE(crc)
  return crc32(word, batchCrc)
}

const word = Buffer.alloc(4)

/** Adds the good blocks of a window, which begins at `base` in the file, to `found`. */
export function findBlocks(
  window: Buffer,
  base: number,
  from: number,
  seed: number,
  found: Block[],
): void {
  let at = from
  while (at + blockHeadBytes <= window.length) {
    const block = blockAt(window, at, base, seed)
    if (block === null) {
      at = window.indexOf(magic, at + 1)
      if (at < 0) return
    } else {
      found.push(block)
      at += blockHeadBytes + block.length
    }
  }
}

/** The block that stands at a place of a window, if a good one does. */
function blockAt(window: Buffer, at: number, base: number, seed: number): Block | null {
  if (window.compare(magic, 0, 4, at, at + 4) !== 0) return null
  const length = window.readUInt16LE(at + 8)
  const end = at + blockHeadBytes + length
  const crc = window.readUInt32LE(at + 4)
  if (end > window.length || crc32(window.subarray(at + 8, end), seed) !== crc) return null
  return {
    offset: base + at,
    length,
    carry: window.readUInt16LE(at + 10),
    flags: window.readUInt16LE(at + 12),
    block: window.readUInt32LE(at + 16),
    previous: window.readUInt32LE(at + 20),
    batch: window.readUIntLE(at + 24, 6),
    lag: window.readUInt16LE(at + 30),
    crc,
  }
}
