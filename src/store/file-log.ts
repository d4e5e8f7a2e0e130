/**
 * A log in files of this machine (`log.ts` says what it promises): a folder of segments
 * (`segment.ts`), which hold batches of blocks (`block.ts`) of records (`record.ts`).
 *
 * What is appended gathers in a batch. At the end of the turn the batch goes to the file in one
 * write and one sync, while the next one gathers. A batch of settlements alone is written at once
 * and synced with the next that somebody waits for, at most `settleDelayMs` later. A batch that
 * somebody waits for is written only after the one before it was synced with it or before it.
 *
 *     append ─▶ gathering ─▶ pending ─▶ written, not synced ─▶ durable
 *                               ▲               │ a write or sync failed: the file is never
 *                               └───────────────┘ touched again, all goes to a new segment
 *
 * That nothing durable is lost is shown by `spec/store/crashes.spec.ts`.
 */
import type { Clock } from '../platform/clock.js'
import { type Files, writeAll } from '../platform/files.js'
import { Stage, type Turn, type TurnParty } from '../platform/turn.js'
import type { ChunkPool } from '../structures/chunk-pool.js'
import { Batch } from './batch.js'
import { BlockWriter, longestLag } from './block.js'
import { Cleaner } from './cleaner.js'
import type { Log, LogOwner, Recovery } from './log.js'
import { Reader } from './reader.js'
import {
  headBytes,
  Kind,
  kindAt,
  messageHeadBytes,
  movedHeadBytes,
  returnedBytes,
  settledBytesMax,
  sizeAt,
  writeHead,
  writeMessageHead,
  writeMovedHead,
  writeReturned,
  writeSettled,
} from './record.js'
import { type Found, RecoveryRun } from './recovery.js'
import { Segment, segmentHeadBytes, segmentName, writeSegmentHead } from './segment.js'
import type { Ranges, Targets } from './targets.js'
import { Windows } from './windows.js'

/** A segment is full from here on: small enough that cleaning one is soon done. */
const defaultSegmentBytes = 64 * 1024 * 1024

/** A batch is cut here: its checksums take 3 ms. */
const batchBytesMax = 8 * 1024 * 1024

/** Longest time for which a settlement waits for a sync. */
export const settleDelayMs = 200

/** Batches written and not synced: then they are. */
const unsyncedMax = 256

/** First and longest pause before another attempt after a failure. */
const retryMs = 100
const retryMsMax = 5000

export interface FileLogOptions {
  readonly folder: string
  readonly files: Files
  readonly clock: Clock
  readonly turn: Turn
  readonly pool: ChunkPool
  readonly segmentBytes?: number
}

export class FileLog implements Log, TurnParty {
  readonly recovery: Recovery
  waitingBytes = 0
  failing = false
  readonly windows: Windows
  readonly clock: Clock
  readonly owner: LogOwner
  readonly segmentBytes: number
  readonly segments: Segment[]
  dropBeforeNumber = 0
  readonly cleaner: Cleaner

  readonly #options: FileLogOptions
  readonly #files: Files
  readonly #reader: Reader
  readonly #writer = new BlockWriter()
  readonly #epoch: number
  #lastSegment: number
  /** The segment being written; null: the next batch needs a new one. */
  #current: Segment | null = null
  #gathering: Batch
  #pending: Batch[] = []
  #unsynced: Batch[] = []
  #inTransaction = false
  #nextNumber: number
  #nextBatch: number
  /** Checksum of the last batch that is laid out, and of the last that is durable. */
  #crc: number
  #syncedCrc: number
  #syncedBatch: number
  #syncDue = false
  #cancelSync: (() => void) | null = null
  #waitsForTurn = false
  #working: Promise<void> | null = null
  #failures = 0
  /** Up to this number the owner has been told of the failure. */
  #failedUpTo = 0
  #wake: (() => void) | null = null
  #closed = false
  #namesUncertain = false

  /**
   * Recovers a log, telling its owner what is in it, or begins one. What it has told is durable
   * when it resolves, unless the disk fails.
   */
  static async open(options: FileLogOptions, owner: LogOwner): Promise<FileLog> {
    const windows = new Windows()
    await options.files.makeFolder(options.folder)
    const run = new RecoveryRun(options.files, options.folder, windows, options.pool, owner)
    const found = await run.run()
    const log = new FileLog(options, owner, windows, found)
    await log.#begin(found.unused)
    log.#work()
    return log
  }

  private constructor(options: FileLogOptions, owner: LogOwner, windows: Windows, found: Found) {
    this.#options = options
    this.#files = options.files
    this.clock = options.clock
    this.segmentBytes = options.segmentBytes ?? defaultSegmentBytes
    this.owner = owner
    this.windows = windows
    this.recovery = {
      clean: found.clean,
      epoch: found.epoch,
      records: found.records,
      cutBytes: found.cutBytes,
      damages: found.damages,
    }
    this.segments = found.segments
    this.#epoch = found.epoch
    this.#lastSegment = found.lastSegment
    this.#nextNumber = found.nextNumber
    this.#failedUpTo = found.nextNumber - 1
    this.#nextBatch = found.nextBatch
    this.#syncedBatch = found.nextBatch - 1
    this.#crc = found.crc
    this.#syncedCrc = found.crc
    this.#gathering = new Batch(options.pool, found.nextNumber)
    if (found.doubtful.records > 0) {
      found.doubtful.urgent = true
      this.#pending.push(found.doubtful)
      this.waitingBytes = found.doubtful.bytes
    }
    this.#reader = new Reader(windows, owner, number =>
      this.segments.find(segment => segment.number === number),
    )
    this.cleaner = new Cleaner(this)
  }

  appendMessage(
    targets: Targets,
    marks: number,
    bytes: Buffer,
    start: number,
    end: number,
    parts: readonly Buffer[] | null,
  ): number {
    const number = this.#nextNumber++
    this.#addMessage(number, targets, marks, bytes, start, end, parts)
    this.#gathering.enter(number, true)
    return this.#appended(number, true)
  }

  appendSettled(queue: number, ranges: Ranges): number {
    const number = this.#nextNumber++
    const batch = this.#gathering
    const room = settledBytesMax(ranges.count)
    batch.reserve(room, null)
    const { buffer, at } = batch
    const size = writeSettled(buffer, at, number, queue, ranges.bounds, ranges.count)
    batch.shorten(room - size)
    this.waitingBytes += size
    batch.enter(number, false)
    return this.#appended(number, false)
  }

  appendReturned(queue: number, returned: number, count: number): number {
    const number = this.#nextNumber++
    this.#gathering.reserve(returnedBytes, null)
    writeReturned(this.#gathering.buffer, this.#gathering.at, number, queue, returned, count)
    this.waitingBytes += returnedBytes
    this.#gathering.enter(number, false)
    return this.#appended(number, false)
  }

  appendMoved(
    queue: number,
    old: number,
    targets: Targets,
    marks: number,
    bytes: Buffer,
    start: number,
    end: number,
    parts: readonly Buffer[] | null,
  ): number {
    const number = this.#nextNumber++
    const head = movedHeadBytes(targets)
    const size = this.#reserve(head, end - start, parts)
    const { buffer, at } = this.#gathering
    const content = writeMovedHead(buffer, at, size, number, queue, old, targets, marks)
    bytes.copy(buffer, content, start, end)
    this.#gathering.enter(number, false)
    this.#gathering.messages++
    return this.#appended(number, false)
  }

  appendOpaque(bytes: Uint8Array): number {
    const number = this.#nextNumber++
    const size = this.#reserve(headBytes, bytes.length, null)
    const { buffer, at } = this.#gathering
    writeHead(buffer, at, size, number, Kind.opaque)
    buffer.set(bytes, at + headBytes)
    this.#gathering.enter(number, false)
    return this.#appended(number, true)
  }

  beginTransaction(): void {
    this.#inTransaction = true
  }

  endTransaction(): number {
    this.#inTransaction = false
    this.#gathering.urgent = true
    return this.#appended(this.#nextNumber - 1, true)
  }

  withdraw(number: number): boolean {
    const batch = this.#waitingBatch(number)
    if (batch === null) return false
    const before = batch.bytes
    const withdrawn = batch.withdraw(number)
    this.waitingBytes -= before - batch.bytes
    return withdrawn
  }

  read(segment: number, offset: number, tag: number): void {
    this.#reader.read(segment, offset, tag)
  }

  dropBefore(number: number): void {
    this.dropBeforeNumber = number
    this.cleaner.check()
  }

  /** Cleaning appends a message again. */
  copy(
    number: number,
    targets: Targets,
    marks: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    this.#addMessage(number, targets, marks, bytes, start, end, null)
    this.#gathering.messages++
    this.#appended(number, false)
    for (let i = 0; i < targets.count; i++) {
      const returns = targets.returns[i] as number
      if (returns > 0) this.appendReturned(targets.queues[i] as number, number, returns)
    }
  }

  flushed(): Promise<void> {
    return new Promise(resolve => {
      const batch = this.#gathering
      batch.urgent = true
      batch.waiting.push(resolve)
      this.#atTurnEnd()
    })
  }

  async close(): Promise<void> {
    this.cleaner.stop()
    const done = this.flushed()
    this.#work()
    try {
      await Promise.race([done, this.#nextFailure()])
      this.#closed = true
      await this.#working
      await this.#current?.seal(this.#nextBatch - 1, this.#crc, this.#nextNumber, true)
    } finally {
      this.#closed = true
      this.#cancelSync?.()
      this.#wake?.()
      for (const segment of this.segments) {
        await segment.sealing
        await segment.file.close().catch(() => {})
      }
    }
  }

  endTurn(): void {
    this.#waitsForTurn = false
    if (this.#inTransaction) this.#atTurnEnd()
    else this.#work()
  }

  /** Deletes the oldest segment, of which nothing is needed any more. */
  async removeOldest(): Promise<void> {
    // A name that comes back after a crash must not find its settlements gone: until that is
    // excluded, by a synced folder or by the head of a newer segment, no further one is removed.
    if (this.#namesUncertain) await this.#files.syncFolder(this.#options.folder)
    this.#namesUncertain = true
    const segment = this.segments.shift() as Segment
    segment.removed = true
    this.windows.forget(segment)
    await segment.file.close().catch(() => {})
    await this.#files.remove(segment.path)
    await this.#files.syncFolder(this.#options.folder)
    this.#namesUncertain = false
  }

  async #begin(unused: readonly Segment[]): Promise<void> {
    const { damages } = this.recovery
    const empty = this.segments.filter(
      ({ number, end }) =>
        end === segmentHeadBytes && !damages.some(({ segment }) => segment === number),
    )
    const doubtful = this.#pending[0]
    try {
      await this.#roll()
    } catch {
      // A full or broken disk: the next attempt will tell.
      return
    }
    for (const segment of [...empty, ...unused]) await this.#discard(segment)
    if (doubtful !== undefined) {
      const durable = new Promise<void>(resolve => doubtful.waiting.push(resolve))
      this.#work()
      await Promise.race([durable, this.#nextFailure().catch(() => {})])
    }
    this.cleaner.check()
  }

  /** Deletes a segment in which nothing counts. */
  async #discard(segment: Segment): Promise<void> {
    const at = this.segments.indexOf(segment)
    if (at >= 0) this.segments.splice(at, 1)
    segment.removed = true
    await segment.file.close().catch(() => {})
    await this.#files.remove(segment.path).catch(() => {})
  }

  #addMessage(
    number: number,
    targets: Targets,
    marks: number,
    bytes: Buffer,
    start: number,
    end: number,
    parts: readonly Buffer[] | null,
  ): void {
    const head = messageHeadBytes(targets)
    const size = this.#reserve(head, end - start, parts)
    const { buffer, at } = this.#gathering
    const content = writeMessageHead(buffer, at, size, number, targets, marks)
    bytes.copy(buffer, content, start, end)
  }

  /** Makes room in the batch; returns the size of the whole record. */
  #reserve(head: number, content: number, parts: readonly Buffer[] | null): number {
    let size = head + content
    this.#gathering.reserve(size, parts)
    if (parts !== null) for (const part of parts) size += part.length
    this.waitingBytes += size
    return size
  }

  #appended(number: number, urgent: boolean): number {
    const batch = this.#gathering
    if (urgent) batch.urgent = true
    if (batch.bytes >= batchBytesMax) this.#cutBatch()
    this.#atTurnEnd()
    return number
  }

  #atTurnEnd(): void {
    if (this.#waitsForTurn) return
    this.#waitsForTurn = true
    this.#options.turn.add(Stage.flush, this)
  }

  #cutBatch(): void {
    if (this.#gathering.empty || this.#inTransaction) return
    this.#pending.push(this.#gathering)
    this.#gathering = new Batch(this.#options.pool, this.#nextNumber)
  }

  /** The batch with a number that is not being written yet. */
  #waitingBatch(number: number): Batch | null {
    if (number >= this.#gathering.first) return this.#gathering
    for (const batch of this.#pending)
      if (number >= batch.first && number <= batch.last) return batch
    return null
  }

  /** Writes and syncs until nothing is left to do. */
  #work(): void {
    if (this.#working !== null || this.#closed) return
    this.#working = this.#writeAll().finally(() => {
      this.#working = null
      this.cleaner.check()
    })
  }

  async #writeAll(): Promise<void> {
    while (!this.#closed) {
      try {
        if (this.#pending.length === 0) this.#cutBatch()
        const batch = this.#pending.shift()
        if (batch !== undefined) await this.#write(batch)
        else if (!this.#syncDue) return
        if (this.#syncDue) await this.#sync()
      } catch (error) {
        this.#fail(error as Error)
        if (this.#failures > 1) await this.#pause()
      }
    }
  }

  async #write(batch: Batch): Promise<void> {
    this.#unsynced.push(batch)
    if (batch.records > 0) {
      if (this.#current === null || this.#current.end >= this.segmentBytes) await this.#roll(batch)
      const segment = this.#current as unknown as Segment
      this.#layOut(batch, segment)
      const { parts, start, end } = this.#writer
      await writeAll(segment.file, parts, start)
      segment.end = end
      segment.size = end
    }
    if (batch.urgent || this.#unsynced.length >= unsyncedMax) this.#syncDue = true
    else
      this.#cancelSync ??= this.clock.after(settleDelayMs, () => {
        this.#syncDue = true
        this.#work()
      })
  }

  /** Cuts a batch into blocks at the end of a segment. */
  #layOut(batch: Batch, segment: Segment): void {
    const writer = this.#writer
    const number = this.#nextBatch++
    const lag = Math.min(longestLag, number - this.#syncedBatch)
    writer.begin(segment.end, segment.seed, number, this.#crc, lag, 0)
    batch.beginPlaces(segment.number)
    for (const { bytes, filled, parts } of batch.pieces) {
      let at = 0
      while (at < filled) {
        const size = sizeAt(bytes, at)
        const end = parts === null ? at + size : filled
        if (kindAt(bytes, at) !== Kind.void) {
          const offset = writer.record(size)
          writer.put(bytes, at, end)
          if (parts !== null) for (const part of parts) writer.put(part, 0, part.length)
          batch.place(bytes, at, offset)
          segment.note(bytes, at, offset, this.segmentBytes)
        }
        at = end
      }
    }
    writer.finish()
    this.#crc = writer.batchCrc
  }

  async #sync(): Promise<void> {
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
    for (const batch of batches) this.#durable(batch)
    const last = (batches.at(-1) as Batch).last
    if (last >= 0) this.owner.durable(last)
    for (const batch of batches) for (const resolve of batch.waiting) resolve()
    this.cleaner.check()
  }

  #durable(batch: Batch): void {
    const { places, placed, segment } = batch
    for (let i = 0; i < placed; i += 2)
      this.owner.placed(places[i] as number, segment, places[i + 1] as number)
    this.waitingBytes -= batch.bytes
    batch.release()
  }

  /** Begins a segment. Everything in the one before is synced first. */
  async #roll(next?: Batch): Promise<void> {
    const full = this.#current
    const earlier = next === undefined ? [] : this.#unsynced.slice(0, -1)
    if (earlier.length > 0 && full !== null) {
      this.#unsynced = earlier
      try {
        await this.#sync()
      } finally {
        if (next !== undefined) this.#unsynced.push(next)
      }
    }
    this.#current = null
    const number = ++this.#lastSegment
    const path = `${this.#options.folder}/${segmentName(number)}`
    const file = await this.#files.create(path)
    const head = writeSegmentHead({
      shard: 0,
      epoch: this.#epoch,
      segment: number,
      firstBatch: this.#nextBatch,
      nextNumber: this.#nextNumber,
      oldest: this.segments[0]?.number ?? number,
    })
    try {
      await writeAll(file, [head], 0)
      await file.sync()
      await this.#files.syncFolder(this.#options.folder)
    } catch (error) {
      await file.close().catch(() => {})
      await this.#files.remove(path).catch(() => {})
      throw error
    }
    const segment = new Segment(number, this.#nextBatch, file, path)
    this.segments.push(segment)
    this.#current = segment
    this.#namesUncertain = false
    void full?.seal(this.#nextBatch - 1, this.#crc, this.#nextNumber, false)
  }

  /** Nothing that is not durable counts as written; it goes to another segment. */
  #fail(error: Error): void {
    this.#failures++
    this.failing = true
    const failed = this.#current
    failed?.abandon()
    this.#current = null
    // Attempts on a full disk must not fill it further.
    if (failed?.end === segmentHeadBytes) void this.#discard(failed)
    this.#cutBatch()
    this.#pending = [...this.#unsynced, ...this.#pending]
    this.#unsynced = []
    this.#syncDue = false
    this.#cancelSync?.()
    this.#cancelSync = null
    this.#nextBatch = this.#syncedBatch + 1
    this.#crc = this.#syncedCrc
    const from = Math.max(this.#failedUpTo + 1, this.#pending[0]?.first ?? this.#nextNumber)
    if (from < this.#nextNumber) this.owner.failed(from, error)
    this.#failedUpTo = this.#nextNumber - 1
    for (const tell of this.#failureWaits.splice(0)) tell(error)
  }

  readonly #failureWaits: ((error: Error) => void)[] = []

  #nextFailure(): Promise<never> {
    return new Promise((_, reject) => this.#failureWaits.push(reject))
  }

  #pause(): Promise<void> {
    const pauseMs = Math.min(retryMsMax, retryMs * 2 ** (this.#failures - 2))
    return new Promise(resolve => {
      this.#wake = resolve
      this.clock.after(pauseMs, () => this.#wake?.())
    })
  }
}
