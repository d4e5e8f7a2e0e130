/**
 * Brings batches to the disk, one after the other: lays them out in blocks at the end of the
 * newest segment, writes, syncs, begins segments, and starts over with a new one when the disk
 * has failed.
 */
import type { Clock } from '../platform/clock.js'
import { type Files, type OpenFile, writeAll } from '../platform/files.js'
import type { ChunkPool } from '../structures/chunk-pool.js'
import { Batch } from './batch.js'
import { BlockWriter, longestLag } from './block.js'
import { FreeSpace, shortMs } from './free-space.js'
import { Pace } from './pace.js'
import { Kind, kindAt, sizeAt } from './record.js'
import type { Found } from './recovery.js'
import { relieve } from './relief.js'
import {
  formatVersion,
  Segment,
  segmentHeadBytes,
  segmentName,
  writeSegmentHead,
} from './segment.js'
import type { Windows } from './windows.js'

/** Longest time for which a settlement waits for a sync. */
export const settleDelayMs = 200

/** Batches written and not synced: then they are. */
const unsyncedMax = 256

/** Checksums of a batch hold the event loop for no longer than this. */
const layOutMs = 4

/** First and longest pause before another attempt after a failure. */
const retryMs = 100
const retryMsMax = 5000

/** What a write ends with when nothing more fits on the disk, or into this user's share of it. */
const noRoom: readonly (string | undefined)[] = ['ENOSPC', 'EDQUOT']

const almostFull = new Error('the disk is almost full')

/** Where batches come from, and who hears what became of them. */
export interface BatchSource {
  readonly nextNumber: number
  /** What has gathered; null: nothing, or nothing that may be written yet. */
  gathered(): Batch | null
  durable(batches: readonly Batch[]): void
  /** Nothing that is not durable is in a file any more; it is tried again. */
  failed(error: Error): void
  /** New messages are held back; so many more bytes wait, because some are in two batches. */
  held(error: Error, moreBytes: number): void
  /** Nothing is left to write. */
  idle(): void
}

/** Where a writer works. */
export interface WriterSettings {
  readonly folder: string
  readonly files: Files
  readonly clock: Clock
  readonly pool: ChunkPool
  readonly segmentBytes: number
  readonly reserveBytes: number
}

/** A file without content whose name is on the disk. */
interface NewFile {
  readonly number: number
  readonly path: string
  readonly file: OpenFile
}

export class BatchWriter {
  /** Oldest first. */
  readonly segments: Segment[]
  /** Batches that are not in a file. */
  readonly pending: Batch[] = []
  /** Batches held back because the disk is almost full; they come before the pending ones. */
  readonly held: Batch[] = []
  failing = false
  /**
   * False: a transaction was held back and is not durable yet. It settles messages, and has copies
   * with it, of which the oldest segment may be all that is on the disk.
   */
  cleanable = true
  readonly space: FreeSpace

  readonly #source: BatchSource
  readonly #windows: Windows
  readonly #files: Files
  readonly #folder: string
  readonly #clock: Clock
  readonly #pool: ChunkPool
  readonly #segmentBytes: number
  readonly #writer = new BlockWriter()
  readonly #epoch: number
  #lastSegment: number
  /** The segment being written; null: the next batch needs a new one. */
  #current: Segment | null = null
  /** Batches in its file that were not synced. */
  #unsynced: Batch[] = []
  #nextBatch: number
  #syncedBatch: number
  /** Checksum of the last batch laid out, and of the last that was synced. */
  #crc: number
  #syncedCrc: number
  #syncDue = false
  #cancelSync: (() => void) | null = null
  #cancelAsk: (() => void) | null = null
  #working: Promise<void> | null = null
  #failures = 0
  readonly #heldWaits: (() => void)[] = []
  readonly #failureWaits: ((error: Error) => void)[] = []
  #wake: (() => void) | null = null
  #closed = false
  /** The path of a removed segment whose name may still be there, or come back after a crash. */
  #leaving: string | null = null
  /** The file of the next segment, made ahead so that nobody waits for its name; null: not yet. */
  #prepared: Promise<NewFile | null> | null = null

  constructor(settings: WriterSettings, source: BatchSource, windows: Windows, found: Found) {
    this.#files = settings.files
    this.#folder = settings.folder
    this.#clock = settings.clock
    this.#pool = settings.pool
    this.#segmentBytes = settings.segmentBytes
    const { files, folder, clock, reserveBytes } = settings
    this.space = new FreeSpace(files, folder, clock, reserveBytes)
    this.#source = source
    this.#windows = windows
    this.segments = found.segments
    this.#epoch = found.epoch
    this.#lastSegment = found.lastSegment
    this.#nextBatch = found.nextBatch
    this.#syncedBatch = found.nextBatch - 1
    this.#crc = found.crc
    this.#syncedCrc = found.crc
    if (found.doubtful.records > 0) this.pending.push(found.doubtful)
  }

  /** Ends when what is waiting is durable, and seals the last segment; rejects if it cannot. */
  async close(done: Promise<void>): Promise<void> {
    this.work()
    try {
      if (this.space.short && this.held.length > 0) throw almostFull
      await Promise.race([done, this.nextFailure()])
      this.#closed = true
      await this.#working
      await this.#current?.seal(this.#nextBatch - 1, this.#crc, this.#source.nextNumber, true)
    } finally {
      this.#closed = true
      this.#cancelSync?.()
      this.#cancelAsk?.()
      this.#wake?.()
      await this.#working
      for (const segment of this.segments) {
        await segment.sealing
        await segment.unread()
        await segment.file.close().catch(() => {})
      }
      const prepared = await this.#prepared
      await prepared?.file.close().catch(() => {})
      if (prepared != null) await this.#files.remove(prepared.path).catch(() => {})
    }
  }

  /** Deletes the oldest segment, of which nothing is needed any more. */
  async removeOldest(): Promise<void> {
    // A name that comes back after a crash, or never went, must not find its settlements gone:
    // until a synced folder excludes that, no further one is removed.
    if (this.#leaving !== null) await this.#removeFile(this.#leaving)
    const segment = this.segments.shift() as Segment
    await segment.unread()
    segment.removed = true
    this.#leaving = segment.path
    this.#windows.forget(segment)
    await segment.file.close().catch(() => {})
    await this.#removeFile(segment.path)
  }

  async #removeFile(path: string): Promise<void> {
    await this.#files.remove(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
    })
    await this.#files.syncFolder(this.#folder)
    this.#leaving = null
  }

  /** Begins a segment, deletes those that are of no use, and writes what is doubtful again. */
  async begin({ damages, unused }: Found): Promise<void> {
    const empty = this.segments.filter(
      ({ number, end }) =>
        end === segmentHeadBytes && !damages.some(({ segment }) => segment === number),
    )
    const doubtful = this.pending[0]
    try {
      // Its head says at once that the log is open: if nothing is ever written, it was not closed.
      const segment = await this.#roll()
      await this.#writeHead(segment)
    } catch {
      // A full or broken disk: the next attempt will tell.
      if (this.#current !== null) await this.#discard(this.#current)
      this.#current = null
      return
    }
    for (const segment of [...empty, ...unused]) await this.#discard(segment)
    if (doubtful !== undefined) {
      const durable = new Promise<void>(resolve => doubtful.waiting.push(resolve))
      this.work()
      await Promise.race([durable, this.nextFailure().catch(() => {})])
    }
  }

  /** Deletes a segment in which nothing counts. */
  async #discard(segment: Segment): Promise<void> {
    const at = this.segments.indexOf(segment)
    if (at >= 0) this.segments.splice(at, 1)
    segment.removed = true
    await segment.file.close().catch(() => {})
    await this.#files.remove(segment.path).catch(() => {})
  }

  /** Writes and syncs until nothing is left to do. */
  work(): void {
    if (this.#working !== null || this.#closed) return
    this.#working = this.#writeAll().finally(() => {
      this.#working = null
      this.#source.idle()
    })
  }

  async #writeAll(): Promise<void> {
    while (!this.#closed) {
      try {
        if (this.space.due) await this.space.ask()
        const batch = this.#next()
        if (batch !== null) await this.#write(batch)
        else if (!this.#syncDue) {
          if (this.space.short) this.#askLater()
          return
        }
        if (this.#syncDue) await this.#sync()
      } catch (error) {
        this.#fail(error as Error)
        if (this.#failures > 1) await this.#pause()
      }
    }
  }

  /** What is to be written next; on a disk that is almost full, only what gives room back. */
  #next(): Batch | null {
    const { held, pending } = this
    const [first] = pending
    const earliest = held[0]
    if (!this.space.short) {
      if (earliest === undefined) return pending.shift() ?? this.#source.gathered()
      const before = first !== undefined && (first.relief || first.first < earliest.first)
      return (before ? pending : held).shift() as Batch
    }
    // Of what was withdrawn there is nothing to write.
    if (earliest?.records === 0 && pending.length === 0) return held.shift() as Batch
    const batch = pending.shift() ?? this.#source.gathered()
    if (batch === null || batch.relief || (batch.own === 0 && earliest === undefined)) return batch
    const relief = new Batch(this.#pool)
    const bytes = batch.bytes
    relieve(batch, earliest?.first ?? Number.POSITIVE_INFINITY, relief)
    this.#hold(batch)
    this.#source.held(almostFull, batch.bytes + relief.bytes - bytes)
    for (const tell of this.#failureWaits.splice(0)) tell(almostFull)
    return relief
  }

  /**
   * Batches are held in the order of their numbers; one of which nothing is left adds to another.
   * Nobody waits for such a one: who did waits for what was taken out of it (`relieve`).
   */
  #hold(batch: Batch): void {
    const { held } = this
    if (batch.atomic) this.cleanable = false
    let at = held.length
    while (at > 0 && (held[at - 1] as Batch).first > batch.first) at--
    const before = held[at - 1]
    if (batch.records === 0) {
      if (before !== undefined) before.last = Math.max(before.last, batch.last)
    } else if (before?.records === 0) {
      // All its messages were withdrawn; in time there would be very many such.
      batch.first = before.first
      batch.waiting.push(...before.waiting)
      held[at - 1] = batch
    } else held.splice(at, 0, batch)
  }

  /** Resolves when nothing that was held back is not durable. */
  async nothingHeld(): Promise<void> {
    if (this.held.length + this.pending.length > 0)
      await new Promise<void>(resolve => this.#heldWaits.push(resolve))
  }

  #askLater(): void {
    this.#cancelAsk ??= this.#clock.after(shortMs, () => {
      this.#cancelAsk = null
      this.work()
    })
  }

  async #write(batch: Batch): Promise<void> {
    this.#unsynced.push(batch)
    if (batch.records > 0) {
      const full = this.#current === null || this.#current.end >= this.#segmentBytes
      const segment = full ? await this.#roll(batch) : (this.#current as Segment)
      await this.#layOut(batch, segment)
      const { parts, start, end } = this.#writer
      if (segment.head === null) await writeAll(segment.file, parts, start)
      else await writeAll(segment.file, [segment.head, ...parts], 0)
      segment.head = null
      segment.end = end
      segment.size = end
    } else if (this.failing && this.#current === null) {
      // All that failed was withdrawn: only a sync shows that the disk works again.
      await this.#writeHead(await this.#roll(batch))
    }
    if (batch.urgent || this.#unsynced.length >= unsyncedMax) this.#syncDue = true
    else
      this.#cancelSync ??= this.#clock.after(settleDelayMs, () => {
        this.#syncDue = true
        this.work()
      })
  }

  /** Cuts a batch into blocks at the end of a segment; a very large one with pauses. */
  async #layOut(batch: Batch, segment: Segment): Promise<void> {
    const writer = this.#writer
    const number = this.#nextBatch++
    const lag = Math.min(longestLag, number - this.#syncedBatch)
    writer.begin(segment.end, segment.seed, number, this.#crc, lag, 0)
    batch.beginPlaces(segment.number)
    const pace = new Pace(this.#clock, layOutMs, resume => this.#clock.after(0, resume))
    const put = (bytes: Buffer, at: number, end: number) => {
      const offset = writer.record(sizeAt(bytes, at))
      writer.put(bytes, at, end)
      batch.place(bytes, at, offset)
      segment.note(bytes, at, offset, this.#segmentBytes)
    }
    for (const piece of batch.pieces) {
      batch.forEachIn(piece, put)
      if (pace.due) await pace.pause()
      if (piece.parts === null || kindAt(piece.bytes, 0) === Kind.void) continue
      for (const part of piece.parts) {
        writer.put(part, 0, part.length)
        if (pace.due) await pace.pause()
      }
    }
    writer.finish()
    this.#crc = writer.batchCrc
    this.space.written(writer.end - writer.start)
  }

  /** Syncs what is written; `all`: no batch is in hand beside it. */
  async #sync(all = true): Promise<void> {
    this.#syncDue = false
    this.#cancelSync?.()
    this.#cancelSync = null
    const batches = this.#unsynced
    if (batches.some(batch => batch.records > 0)) await (this.#current as Segment).file.sync()
    this.#unsynced = []
    this.#syncedBatch = this.#nextBatch - 1
    this.#syncedCrc = this.#crc
    this.#failures = 0
    this.failing = false
    // Only now, so that the sync somebody waits for has the disk to itself.
    this.#prepared ??= this.#newFile().catch(() => null)
    this.#source.durable(batches)
    if (!all || this.held.length + this.pending.length > 0) return
    this.cleanable = true
    for (const resolve of this.#heldWaits.splice(0)) resolve()
  }

  /** Begins a segment. Everything in the one before is synced first. */
  async #roll(next?: Batch): Promise<Segment> {
    const full = this.#current
    const earlier = next === undefined ? [] : this.#unsynced.slice(0, -1)
    if (earlier.length > 0 && full !== null) {
      this.#unsynced = earlier
      try {
        await this.#sync(false)
      } finally {
        if (next !== undefined) this.#unsynced.push(next)
      }
    }
    this.#current = null
    void full?.seal(this.#nextBatch - 1, this.#crc, this.#source.nextNumber, false)
    const { number, path, file } = (await this.#prepared) ?? (await this.#newFile())
    this.#prepared = null
    const segment = new Segment(number, this.#nextBatch, file, path)
    segment.head = writeSegmentHead({
      version: formatVersion,
      shard: 0,
      epoch: this.#epoch,
      segment: number,
      firstBatch: this.#nextBatch,
      nextNumber: this.#source.nextNumber,
      oldest: this.segments[0]?.number ?? number,
    })
    this.segments.push(segment)
    this.#current = segment
    return segment
  }

  async #newFile(): Promise<NewFile> {
    const number = ++this.#lastSegment
    const path = `${this.#folder}/${segmentName(number)}`
    const file = await this.#files.create(path)
    try {
      await this.#files.syncFolder(this.#folder)
    } catch (error) {
      await file.close().catch(() => {})
      await this.#files.remove(path).catch(() => {})
      throw error
    }
    return { number, path, file }
  }

  async #writeHead(segment: Segment): Promise<void> {
    await writeAll(segment.file, [segment.head as Buffer], 0)
    await segment.file.sync()
    segment.head = null
    segment.begun = true
  }

  /** Nothing that is not durable counts as written; it goes to another segment. */
  #fail(error: Error): void {
    if (noRoom.includes((error as NodeJS.ErrnoException).code)) this.space.exhausted()
    this.#failures++
    this.failing = true
    const failed = this.#current
    failed?.abandon()
    this.#current = null
    // Attempts in vain must not fill the disk: this one holds nothing that is durable.
    if (failed !== null && failed.firstBatch > this.#syncedBatch && !failed.begun)
      void this.#discard(failed)
    this.pending.unshift(...this.#unsynced)
    this.#unsynced = []
    this.#syncDue = false
    this.#cancelSync?.()
    this.#cancelSync = null
    this.#nextBatch = this.#syncedBatch + 1
    this.#crc = this.#syncedCrc
    this.#source.failed(error)
    for (const tell of this.#failureWaits.splice(0)) tell(error)
  }

  /** Rejects when something fails. */
  nextFailure(): Promise<never> {
    return new Promise((_, reject) => this.#failureWaits.push(reject))
  }

  #pause(): Promise<void> {
    const pauseMs = Math.min(retryMsMax, retryMs * 2 ** (this.#failures - 2))
    return new Promise(resolve => {
      const cancel = this.#clock.after(pauseMs, resolve)
      this.#wake = () => {
        cancel()
        resolve()
      }
    })
  }
}
