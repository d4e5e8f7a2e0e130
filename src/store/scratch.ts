/**
 * The scratch file: contents of transient messages which had to leave memory. It is many files of
 * about 16 MiB, each filled once from its beginning with whole chunks (chunks.ts) and removed when
 * nobody needs anything in it. Nothing is synced, and what a process before left is removed at the
 * start: none of it survives, which nobody was promised.
 *
 * There is one write or read at a time, so that a sync of the log always finds a free thread.
 */
import { join } from 'node:path'
import { type Files, type OpenFile, readAll, writeAll } from '../platform/files.js'
import { scratchBase } from './message-table.js'

/** A segment that has so many bytes gets no more. */
const defaultSegmentBytes = 16 * 1024 * 1024

/** Bytes read at a time: what is asked for next mostly stands behind. */
const windowBytes = 256 * 1024

/** Hears of contents that were asked for. */
export interface ScratchReader {
  /** `bytes[start..end)`, valid only during the call. */
  loaded(tag: number, bytes: Buffer, start: number, end: number): void
  unreadable(tag: number, error: Error): void
}

export interface ScratchSize {
  readonly segmentBytes?: number
  /** Room on the disk that is left to others: the log must go on when it is nearly full. */
  readonly reserveBytes?: number
}

interface Segment {
  readonly number: number
  readonly path: string
  readonly file: OpenFile
  end: number
  /** Contents that somebody needs, and writes and reads under way. */
  users: number
}

export class Scratch {
  readonly #files: Files
  readonly #folder: string
  readonly #reader: ScratchReader
  readonly #segmentBytes: number
  readonly #reserveBytes: number
  readonly #segments = new Map<number, Segment>()
  #current: Segment | null = null
  #count = 0
  /** The last write or read that was begun. */
  #lane: Promise<unknown> = Promise.resolve()
  /** The part of a segment that was read last. */
  #window = Buffer.alloc(0)
  #windowSegment = -1
  #windowStart = 0
  /** Bytes on the disk. */
  bytes = 0

  private constructor(files: Files, folder: string, reader: ScratchReader, size: ScratchSize) {
    this.#segmentBytes = size.segmentBytes ?? defaultSegmentBytes
    this.#reserveBytes = size.reserveBytes ?? 0
    this.#files = files
    this.#folder = folder
    this.#reader = reader
  }

  /** Opens it in a folder of its own, which is made and emptied. */
  static async open(
    files: Files,
    folder: string,
    reader: ScratchReader,
    size: ScratchSize,
  ): Promise<Scratch> {
    await files.makeFolder(folder)
    for (const name of await files.list(folder)) await files.remove(join(folder, name))
    return new Scratch(files, folder, reader, size)
  }

  /**
   * Writes a stretch of bytes; then `place` is told where it begins, and tells how many contents in
   * it somebody needs there. Rejects if it cannot be written.
   */
  write(
    parts: readonly Uint8Array[],
    bytes: number,
    place: (segment: number, base: number) => number,
  ): Promise<void> {
    return this.#inTurn(async () => {
      await this.#checkRoom(bytes)
      const segment = await this.#segmentWithRoom()
      const base = segment.end
      segment.users++
      try {
        await writeAll(segment.file, parts, base)
        segment.end += bytes
        this.bytes += bytes
        segment.users += place(segment.number, base)
      } catch (error) {
        this.#current = null
        throw error
      } finally {
        this.#leave(segment)
      }
    })
  }

  /** Somebody needs a content in this segment no more. */
  released(number: number): void {
    this.#leave(this.#segments.get(number) as Segment)
  }

  /** Asks for a content; the reader gets it later with the tag. */
  read(number: number, offset: number, size: number, tag: number): void {
    const segment = this.#segments.get(number)
    if (segment !== undefined) segment.users++
    void this.#inTurn(async () => {
      try {
        if (segment === undefined) throw new Error(`there is no scratch segment ${number}`)
        const start = await this.#windowWith(segment, offset, size)
        this.#reader.loaded(tag, this.#window, start, start + size)
      } catch (error) {
        this.#reader.unreadable(tag, error as Error)
      }
      if (segment !== undefined) this.#leave(segment)
    })
  }

  /** Removes everything. */
  async close(): Promise<void> {
    await this.#lane
    for (const segment of this.#segments.values()) await this.#remove(segment)
    await this.#lane
  }

  /** Does this when all that was begun before is done. */
  #inTurn(task: () => Promise<void>): Promise<void> {
    const done = this.#lane.then(task)
    this.#lane = done.catch(() => {})
    return done
  }

  async #checkRoom(bytes: number): Promise<void> {
    // A disk that does not tell may have room: the write will show it.
    const free = await this.#files.freeBytes(this.#folder).catch(() => Number.POSITIVE_INFINITY)
    if (free - bytes < this.#reserveBytes) throw new Error('the disk is almost full')
  }

  async #segmentWithRoom(): Promise<Segment> {
    const before = this.#current
    if (before !== null && before.end < this.#segmentBytes) return before
    const number = scratchBase + this.#count++
    const path = join(this.#folder, `${this.#count}`)
    const file = await this.#files.create(path)
    const segment = { number, path, file, end: 0, users: 0 }
    this.#segments.set(number, segment)
    this.#current = segment
    if (before?.users === 0) void this.#remove(before)
    return segment
  }

  #leave(segment: Segment): void {
    if (--segment.users === 0 && segment !== this.#current) void this.#remove(segment)
  }

  /** Where in the window a content stands, once it is there. */
  async #windowWith(segment: Segment, offset: number, size: number): Promise<number> {
    const start = offset - this.#windowStart
    if (segment.number === this.#windowSegment && start >= 0 && start + size <= this.#window.length)
      return start
    const into = Buffer.allocUnsafe(Math.max(size, Math.min(windowBytes, segment.end - offset)))
    this.#windowSegment = -1
    const count = await readAll(segment.file, into, offset)
    if (count < size) throw new Error(`${segment.path} ends before byte ${offset + size}`)
    this.#window = into.subarray(0, count)
    this.#windowSegment = segment.number
    this.#windowStart = offset
    return 0
  }

  async #remove(segment: Segment): Promise<void> {
    if (!this.#segments.delete(segment.number)) return
    this.bytes -= segment.end
    if (this.#windowSegment === segment.number) this.#windowSegment = -1
    await this.#inTurn(async () => {
      await segment.file.close()
      await this.#files.remove(segment.path)
    }).catch(() => {
      // It is removed at the next start.
    })
  }
}
