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
 * That nothing durable is lost is shown by `spec/store/crashes.spec.ts`; what happens when files
 * cannot be opened, read or written by `spec/store/trouble.spec.ts`.
 */
import type { Clock } from '../platform/clock.js'
import type { Files } from '../platform/files.js'
import { Stage, type Turn, type TurnParty } from '../platform/turn.js'
import type { ChunkPool } from '../structures/chunk-pool.js'
import { Batch } from './batch.js'
import { type BatchSource, BatchWriter } from './batch-writer.js'
import { Cleaner } from './cleaner.js'
import type { Log, LogOwner, Recovery } from './log.js'
import { Pace } from './pace.js'
import { Reader } from './reader.js'
import {
  headBytes,
  Kind,
  messageHeadBytes,
  movedHeadBytes,
  returnedBytes,
  settledBytesMax,
  writeHead,
  writeMessageHead,
  writeMovedHead,
  writeReturned,
  writeSettled,
} from './record.js'
import { type Found, RecoveryRun } from './recovery.js'
import type { Segment } from './segment.js'
import type { Ranges, Targets } from './targets.js'
import { Windows } from './windows.js'

/** A segment is full from here on: small enough that cleaning one is soon done. */
const segmentBytesMax = 64 * 1024 * 1024

/** On a small disk it is full sooner, since only whole segments give their room back. */
const segmentBytesMin = 1024 * 1024
const segmentsPerDisk = 16

/** A batch is cut here: its checksums take 3 ms. */
const batchBytesMax = 8 * 1024 * 1024

/** Recovery holds the event loop for no longer than this. */
const recoveryStepMs = 4

export interface FileLogOptions {
  readonly folder: string
  readonly files: Files
  readonly clock: Clock
  readonly turn: Turn
  readonly pool: ChunkPool
  readonly segmentBytes?: number
  /**
   * With less room than this on the disk messages are not written any more, so that settlements and
   * cleaning can be. Two segments, or this if it is less.
   */
  readonly reserveBytes?: number
  /** Told during recovery, after each segment, how many bytes of how many are read. */
  readonly progress?: (done: number, total: number) => void
}

export class FileLog implements Log, TurnParty, BatchSource {
  readonly recovery: Recovery
  waitingBytes = 0
  readonly windows: Windows
  readonly clock: Clock
  readonly owner: LogOwner
  readonly segmentBytes: number
  dropBeforeNumber = 0
  readonly cleaner: Cleaner

  readonly #options: FileLogOptions
  readonly #reader: Reader
  readonly #writer: BatchWriter
  #gathering: Batch
  #inTransaction = false
  /** The highest number appended before the transaction. */
  #beforeTransaction = 0
  #waitsForTurn = false
  /** Up to this number the owner has been told of a failure. */
  #failedUpTo: number
  #durableUpTo: number
  /** The owner has been told of a failure, and not yet that all is well again. */
  #toldFailing = false
  /** The highest number appended. */
  #appendedUpTo: number
  nextNumber: number

  /**
   * Recovers a log, telling its owner what is in it, or begins one. What it has told is durable
   * when it resolves, unless the disk fails.
   */
  static async open(options: FileLogOptions, owner: LogOwner): Promise<FileLog> {
    const { files, folder, pool, progress } = options
    const windows = new Windows()
    await files.makeFolder(folder)
    const defer = (resume: () => void) => options.turn.add(Stage.read, { endTurn: resume })
    const pace = new Pace(options.clock, recoveryStepMs, defer)
    const told = progress === undefined ? { pace } : { pace, progress }
    const run = new RecoveryRun(files, folder, windows, pool, owner, told)
    const found = await run.run()
    const log = new FileLog(options, await segmentBytesFor(options), owner, windows, found)
    await log.#writer.begin(found)
    log.#writer.work()
    return log
  }

  private constructor(
    options: FileLogOptions,
    segmentBytes: number,
    owner: LogOwner,
    windows: Windows,
    found: Found,
  ) {
    this.#options = options
    this.clock = options.clock
    this.segmentBytes = segmentBytes
    this.owner = owner
    this.windows = windows
    this.recovery = {
      clean: found.clean,
      version: found.version,
      epoch: found.epoch,
      records: found.records,
      messages: found.messages,
      lastNumber: found.lastNumber,
      cutBytes: found.cutBytes,
      damages: found.damages,
    }
    this.nextNumber = found.nextNumber
    this.#appendedUpTo = found.nextNumber - 1
    this.#failedUpTo = found.nextNumber - 1
    this.#durableUpTo = found.nextNumber - 1
    this.waitingBytes = found.doubtful.bytes
    found.doubtful.urgent = true
    this.#gathering = new Batch(options.pool)
    const { folder, files, clock, pool } = options
    const reserveBytes = Math.min(options.reserveBytes ?? Infinity, 2 * segmentBytes)
    const settings = { folder, files, clock, pool, segmentBytes, reserveBytes }
    this.#writer = new BatchWriter(settings, this, windows, found)
    this.#reader = new Reader(windows, owner, number =>
      this.segments.find(segment => segment.number === number),
    )
    this.cleaner = new Cleaner(this)
  }

  takeNumber(): number {
    return this.nextNumber++
  }

  appendMessage(
    number: number,
    targets: Targets,
    marks: number,
    bytes: Buffer,
    start: number,
    end: number,
    parts: readonly Buffer[] | null,
    bodySize: number,
  ): void {
    this.#enters(number)
    this.#addMessage(number, targets, marks, bytes, start, end, parts, bodySize)
    this.#gathering.enterMessage(number)
    this.#appended(true)
  }

  appendSettled(queue: number, ranges: Ranges): number {
    const number = this.#entersNext()
    const batch = this.#gathering
    const room = settledBytesMax(ranges.count)
    batch.reserve(room, null)
    const { buffer, at } = batch
    const size = writeSettled(buffer, at, number, queue, ranges.bounds, ranges.count)
    batch.shorten(room - size)
    this.waitingBytes += size
    batch.enter(number)
    this.#appended(false)
    return number
  }

  appendReturned(queue: number, returned: number, count: number): number {
    const number = this.#entersNext()
    this.#gathering.reserve(returnedBytes, null)
    writeReturned(this.#gathering.buffer, this.#gathering.at, number, queue, returned, count)
    this.waitingBytes += returnedBytes
    this.#gathering.enter(number)
    this.#appended(false)
    return number
  }

  appendMoved(
    number: number,
    queue: number,
    old: number,
    targets: Targets,
    marks: number,
    bytes: Buffer,
    start: number,
    end: number,
    parts: readonly Buffer[] | null,
    bodySize: number,
  ): void {
    this.#enters(number)
    const head = movedHeadBytes(targets)
    const size = this.#reserve(head, end - start, parts)
    const { buffer, at } = this.#gathering
    const content = writeMovedHead(buffer, at, size, number, queue, old, targets, marks, bodySize)
    bytes.copy(buffer, content, start, end)
    this.#gathering.enter(number)
    this.#appended(false)
  }

  appendOpaque(bytes: Uint8Array): number {
    const number = this.#entersNext()
    const size = this.#reserve(headBytes, bytes.length, null)
    const { buffer, at } = this.#gathering
    writeHead(buffer, at, size, number, Kind.opaque)
    buffer.set(bytes, at + headBytes)
    this.#gathering.enter(number)
    this.#appended(true)
    return number
  }

  beginTransaction(): void {
    this.#inTransaction = true
    this.#gathering.atomic = true
    this.#beforeTransaction = this.#appendedUpTo
  }

  endTransaction(): number {
    this.#inTransaction = false
    this.#appended(true)
    return this.#appendedUpTo
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
    bodySize: number,
  ): void {
    this.#addMessage(number, targets, marks, bytes, start, end, null, bodySize)
    this.#appended(false)
  }

  async flushed(): Promise<void> {
    await this.written()
    await this.#writer.nothingHeld()
  }

  written(): Promise<void> {
    return new Promise(resolve => {
      const batch = this.#gathering
      batch.urgent = true
      batch.waiting.push(resolve)
      this.#atTurnEnd()
    })
  }

  async close(): Promise<void> {
    this.cleaner.stop()
    await this.#writer.close(this.flushed())
  }

  get segments(): readonly Segment[] {
    return this.#writer.segments
  }

  get failing(): boolean {
    return this.#toldFailing || this.#inTrouble
  }

  get #inTrouble(): boolean {
    return this.#writer.failing || this.#writer.space.short
  }

  get cleanable(): boolean {
    return this.#writer.cleanable
  }

  /** The disk is almost full. */
  get short(): boolean {
    return this.#writer.space.short
  }

  removeOldest(): Promise<void> {
    return this.#writer.removeOldest()
  }

  gathered(): Batch | null {
    const batch = this.#gathering
    if (batch.empty || this.#inTransaction) return null
    this.#gathering = new Batch(this.#options.pool)
    return batch
  }

  durable(batches: readonly Batch[]): void {
    let last = -1
    for (const batch of batches) {
      last = Math.max(last, batch.last)
      const { places, placed, segment } = batch
      for (let i = 0; i < placed; i += 2)
        this.owner.placed(places[i] as number, segment, places[i + 1] as number)
      this.waitingBytes -= batch.bytes
      batch.release()
    }
    if (last > this.#durableUpTo) {
      this.#durableUpTo = last
      this.#tellDurable()
    } else this.#tellRecovered()
    for (const batch of batches) for (const resolve of batch.waiting) resolve()
    this.cleaner.check()
  }

  failed(error: Error): void {
    const waiting = [...this.#writer.held, ...this.#writer.pending, this.#gathering]
    const first = waiting.find(batch => batch.first >= 0)?.first ?? this.nextNumber
    const from = Math.max(this.#failedUpTo + 1, first)
    // A transaction in progress fails as a whole, once it has ended.
    const upTo = this.#inTransaction ? this.#beforeTransaction : this.#appendedUpTo
    this.#failedUpTo = upTo
    if (from > upTo) return
    this.#toldFailing = true
    this.owner.failed(from, error)
  }

  held(error: Error, moreBytes: number): void {
    this.waitingBytes += moreBytes
    this.failed(error)
  }

  idle(): void {
    // The disk has room again, and nothing is left that would show it.
    this.#tellRecovered()
    this.cleaner.check()
  }

  endTurn(): void {
    this.#waitsForTurn = false
    if (this.#inTransaction) this.#atTurnEnd()
    else this.#writer.work()
  }

  #tellDurable(): void {
    this.#toldFailing &&= this.#inTrouble
    this.owner.durable(this.#durableUpTo)
  }

  #tellRecovered(): void {
    if (this.#toldFailing && !this.#inTrouble) this.#tellDurable()
  }

  #addMessage(
    number: number,
    targets: Targets,
    marks: number,
    bytes: Buffer,
    start: number,
    end: number,
    parts: readonly Buffer[] | null,
    bodySize: number,
  ): void {
    const head = messageHeadBytes(targets)
    const size = this.#reserve(head, end - start, parts)
    const { buffer, at } = this.#gathering
    const content = writeMessageHead(buffer, at, size, number, targets, marks, bodySize)
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

  /** A record is appended that has taken its number before. */
  #enters(number: number): void {
    if (number <= this.#appendedUpTo)
      throw new RangeError(`${number} is appended after ${this.#appendedUpTo}`)
    this.#appendedUpTo = number
  }

  #entersNext(): number {
    this.#appendedUpTo = this.nextNumber++
    return this.#appendedUpTo
  }

  #appended(urgent: boolean): void {
    const batch = this.#gathering
    if (urgent) batch.urgent = true
    if (batch.heldBytes >= batchBytesMax) this.#cutBatch()
    this.#atTurnEnd()
  }

  #atTurnEnd(): void {
    if (this.#waitsForTurn) return
    this.#waitsForTurn = true
    this.#options.turn.add(Stage.flush, this)
  }

  /** The batch is large enough; the next one begins. */
  #cutBatch(): void {
    const batch = this.gathered()
    if (batch !== null) this.#writer.pending.push(batch)
  }

  /** The batch with a number that is not being written yet. */
  #waitingBatch(number: number): Batch | null {
    const { first } = this.#gathering
    if (first >= 0 && number >= first) return this.#gathering
    const holds = (batch: Batch) => number >= batch.first && number <= batch.last
    return this.#writer.held.find(holds) ?? this.#writer.pending.find(holds) ?? null
  }
}

/** Where nothing else is said, a segment is a sixteenth of the room on the disk, within limits. */
async function segmentBytesFor({ segmentBytes, files, folder }: FileLogOptions): Promise<number> {
  if (segmentBytes !== undefined) return segmentBytes
  const free = await files.freeBytes(folder).catch(() => Number.POSITIVE_INFINITY)
  return Math.min(segmentBytesMax, Math.max(segmentBytesMin, Math.floor(free / segmentsPerDisk)))
}
