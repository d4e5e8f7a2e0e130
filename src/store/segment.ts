/**
 * A segment: one file of a log, `<number>.log`, only ever appended to. Its name is on the disk
 * before anything is appended; it begins with a head, which is synced with the first batch or
 * before it:
 *
 *      0         8     12        14      16      20  24        32       40       48        56   64
 *     +---------+-----+---------+-------+-------+---+---------+--------+--------+---------+----+
 *     | magic   | crc | version | shard | epoch | 0 | segment | first  | next   | oldest  | 0  |
 *     |         |     |         |       |       |   | (u48)   | batch  | number | segment |    |
 *     +---------+-----+---------+-------+-------+---+---------+--------+--------+---------+----+
 *
 * The first 16 bytes and the length stay as they are in every version. A batch of an earlier
 * segment that is not below `first batch` does not count, once a whole batch stands here: it was
 * not durable, or might not have been, and stands here again. Segments below `oldest` have been removed, whatever the folder says.
 *
 * Behind the last batch of a segment that is full stands its index, which says all but the contents
 * (`record.ts`), in blocks with the flag `index`, and then
 *
 *      0       4     8          12      16          22  24        28        32            40
 *     +-------+-----+----------+-------+-----------+---+---------+---------+-------------+
 *     | magic | crc | index at | flags | last batch| 0 | its crc | records | next number |
 *     +-------+-----+----------+-------+-----------+---+---------+---------+-------------+
 *
 * Flags: 1 the log was closed. Index at 0: there is none, because messages are so small that it
 * would say little less than they do. An index that cannot be read is no damage: the records are
 * there.
 */
import { crc32 } from 'node:zlib'
import { isBadPlace, type OpenFile, readAll, writeAll } from '../platform/files.js'
import { BlockWriter, Flag, seedOf } from './block.js'
import { entryBytesMax, writeEntry } from './record.js'

export const segmentHeadBytes = 64
const trailerBytes = 40
export const formatVersion = 1
const headMagic = Buffer.from('leveret\n', 'latin1')
const trailerMagic = 0x5d58_4c6c
const closedFlag = 1

export interface SegmentHead {
  readonly version: number
  readonly shard: number
  readonly epoch: number
  readonly segment: number
  readonly firstBatch: number
  readonly nextNumber: number
  readonly oldest: number
}

/** What stands at the end of a segment with an index. */
export interface Trailer {
  /** 0: there is no index. */
  readonly indexAt: number
  readonly closed: boolean
  readonly lastBatch: number
  readonly lastCrc: number
  readonly records: number
  readonly nextNumber: number
}

/** The log was written by a version of the broker that is newer than this one. */
export class NewerFormat extends Error {
  constructor(path: string, version: number) {
    super(
      `${path} has log format ${version}; this version reads formats up to ${formatVersion}. ` +
        'Start the version that wrote it, or a later one.',
    )
  }
}

export function segmentName(segment: number): string {
  return `${String(segment).padStart(12, '0')}.log`
}

/** The number of a segment, from the name of its file; -1: it is no segment. */
export function segmentOf(name: string): number {
  return /^\d{12}\.log$/.test(name) ? Number.parseInt(name, 10) : -1
}

export function writeSegmentHead(head: SegmentHead): Buffer {
  const bytes = Buffer.alloc(segmentHeadBytes)
  headMagic.copy(bytes)
  bytes.writeUInt16LE(head.version, 12)
  bytes.writeUInt16LE(head.shard, 14)
  bytes.writeUInt32LE(head.epoch, 16)
  bytes.writeUIntLE(head.segment, 24, 6)
  bytes.writeUIntLE(head.firstBatch, 32, 6)
  bytes.writeDoubleLE(head.nextNumber, 40)
  bytes.writeUIntLE(head.oldest, 48, 6)
  bytes.writeUInt32LE(crc32(bytes.subarray(12)), 8)
  return bytes
}

/** The head of a segment; null: it is torn or damaged. Throws if the format is newer. */
export function readSegmentHead(bytes: Buffer, path: string): SegmentHead | null {
  if (bytes.length < segmentHeadBytes || bytes.compare(headMagic, 0, 8, 0, 8) !== 0) return null
  if (bytes.readUInt32LE(8) !== crc32(bytes.subarray(12, segmentHeadBytes))) return null
  const version = bytes.readUInt16LE(12)
  if (version > formatVersion) throw new NewerFormat(path, version)
  return {
    version,
    shard: bytes.readUInt16LE(14),
    epoch: bytes.readUInt32LE(16),
    segment: bytes.readUIntLE(24, 6),
    firstBatch: bytes.readUIntLE(32, 6),
    nextNumber: bytes.readDoubleLE(40),
    oldest: bytes.readUIntLE(48, 6),
  }
}

/** Index entries of the segment being written; given up when they would be too many to be of use. */
class IndexEntries {
  bytes = Buffer.alloc(4096)
  filled = 0
  records = 0
  givenUp = false

  add(bytes: Buffer, start: number, offset: number, limit: number): void {
    if (this.givenUp) return
    const room = this.filled + entryBytesMax(bytes, start)
    if (room > limit) {
      this.giveUp()
      return
    }
    if (room > this.bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(room, 2 * this.bytes.length))
      this.bytes.copy(larger, 0, 0, this.filled)
      this.bytes = larger
    }
    this.filled += writeEntry(this.bytes, this.filled, bytes, start, offset)
    this.records++
  }

  giveUp(): void {
    this.givenUp = true
    this.bytes = Buffer.alloc(0)
    this.filled = 0
  }
}

export class Segment {
  readonly number: number
  readonly firstBatch: number
  readonly file: OpenFile
  readonly path: string
  readonly seed: number
  /** Where the next batch goes; what is behind it does not count. */
  end = segmentHeadBytes
  /** Bytes in the file, with the index. */
  size = segmentHeadBytes
  trailer: Trailer | null = null
  /** What is to be written at its beginning, with the first batch; null: it stands there. */
  head: Buffer | null = null
  /** Its head alone was synced: it is there to say that the log was open. */
  begun = false
  /** Resolves when nobody writes to it any more. */
  sealing: Promise<void> = Promise.resolve()
  /** Where the last part of it ends that the disk could not read; 0: it has read all. */
  unreadableTo = 0
  /** It was removed; a read that comes too late finds nothing. */
  removed = false
  readonly #index = new IndexEntries()
  #readers = 0
  readonly #unread: (() => void)[] = []

  constructor(number: number, firstBatch: number, file: OpenFile, path: string) {
    this.number = number
    this.firstBatch = firstBatch
    this.file = file
    this.path = path
    this.seed = seedOf(number)
  }

  /** Somebody reads, or will: the file stays open and in place until as many have left. */
  enter(): void {
    this.#readers++
  }

  leave(): void {
    this.#readers--
    if (this.#readers === 0) for (const tell of this.#unread.splice(0)) tell()
  }

  /** Resolves when nobody reads. */
  unread(): Promise<void> {
    if (this.#readers === 0) return Promise.resolve()
    return new Promise(resolve => this.#unread.push(resolve))
  }

  /** Remembers a record for the index, which may have a quarter of the bytes of a full segment. */
  note(bytes: Buffer, start: number, offset: number, segmentBytes: number): void {
    this.#index.add(bytes, start, offset, segmentBytes / 4)
  }

  /** Writes the index; a failure leaves the segment without one, and is nobody's concern. */
  seal(lastBatch: number, lastCrc: number, nextNumber: number, closed: boolean): Promise<void> {
    this.sealing = this.#writeIndex(lastBatch, lastCrc, nextNumber, closed).catch(() => {})
    return this.sealing
  }

  /** It will have no index. */
  abandon(): void {
    this.#index.giveUp()
  }

  async #writeIndex(
    lastBatch: number,
    lastCrc: number,
    nextNumber: number,
    closed: boolean,
  ): Promise<void> {
    const { bytes, filled, records, givenUp } = this.#index
    const writer = new BlockWriter()
    writer.begin(this.end, this.seed, lastBatch, lastCrc, 1, Flag.index)
    if (!givenUp) {
      writer.record(filled)
      writer.put(bytes, 0, filled)
      writer.finish()
    }
    const indexAt = givenUp ? 0 : this.end
    const trailer = { indexAt, closed, lastBatch, lastCrc, records, nextNumber }
    const parts = [...writer.parts, this.#trailerBytes(trailer)]
    await writeAll(this.file, parts, writer.start)
    await this.file.sync()
    this.size = writer.end + trailerBytes
    this.trailer = trailer
    this.#index.giveUp()
  }

  #trailerBytes(trailer: Trailer): Buffer {
    const bytes = Buffer.alloc(trailerBytes)
    bytes.writeUInt32LE(trailerMagic, 0)
    bytes.writeUInt32LE(trailer.indexAt, 8)
    bytes.writeUInt32LE(trailer.closed ? closedFlag : 0, 12)
    bytes.writeUIntLE(trailer.lastBatch, 16, 6)
    bytes.writeUInt32LE(trailer.lastCrc, 24)
    bytes.writeUInt32LE(trailer.records, 28)
    bytes.writeDoubleLE(trailer.nextNumber, 32)
    bytes.writeUInt32LE(crc32(bytes.subarray(8), this.seed), 4)
    return bytes
  }

  /** Looks for the end of an index in a file that was found; sets `trailer` and `size`. */
  async readTrailer(): Promise<void> {
    this.size = await this.file.size()
    if (this.size < segmentHeadBytes + trailerBytes) return
    const bytes = Buffer.alloc(trailerBytes)
    const count = await readAll(this.file, bytes, this.size - trailerBytes).catch(error => {
      if (!isBadPlace(error)) throw error
      return 0
    })
    if (count < trailerBytes || bytes.readUInt32LE(0) !== trailerMagic) return
    if (bytes.readUInt32LE(4) !== crc32(bytes.subarray(8), this.seed)) return
    this.trailer = {
      indexAt: bytes.readUInt32LE(8),
      closed: (bytes.readUInt32LE(12) & closedFlag) !== 0,
      lastBatch: bytes.readUIntLE(16, 6),
      lastCrc: bytes.readUInt32LE(24),
      records: bytes.readUInt32LE(28),
      nextNumber: bytes.readDoubleLE(32),
    }
  }
}

/** The first batch of a segment that does not count, because it stands in a later one; null: all count. */
export function limitOf(segments: readonly Segment[], place: number): number | null {
  let limit: number | null = null
  for (let later = place + 1; later < segments.length; later++)
    limit = Math.min(limit ?? Number.POSITIVE_INFINITY, (segments[later] as Segment).firstBatch)
  return limit
}
