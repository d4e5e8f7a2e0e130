/**
 * Gives the space of dead messages back. Only the oldest segment is ever removed: messages in it
 * that some queue still holds are appended again under their old numbers, naming only those
 * queues; once that is durable, so is everything before it, and the segment can go. A settlement
 * therefore outlives the message it settles. Counts of returns are appended again as long as the
 * message is held, wherever it stands.
 */
import type { Clock } from '../platform/clock.js'
import type { LogOwner } from './log.js'
import { Pace } from './pace.js'
import {
  isMessage,
  Kind,
  kindAt,
  MessageHead,
  numberAt,
  placeAt,
  ReturnedRecord,
  sizeAt,
} from './record.js'
import { RecordStream } from './record-stream.js'
import { limitOf, type Segment, segmentHeadBytes } from './segment.js'
import { Targets } from './targets.js'
import { isGap, judge } from './verdict.js'
import { Damaged, type ReadRecord, type Windows } from './windows.js'

/** Dead bytes may be this many times the live ones: then at most 1.7 bytes are written per byte. */
const deadPerLive = 1.5

/** On a disk that is almost full, room is worth more writing. */
const deadPerLiveWhenShort = 0.25

/** Cleaning holds the event loop for no longer than this. */
const stepMs = 1

/** Copies waiting for the disk above which cleaning waits too. */
const copiedBytesMax = 4 * 1024 * 1024

/** After a failure it waits before another attempt, each time longer. */
const retryMs = 1000
const retryMsMax = 60_000

/** So often a content that is damaged is read again; then it is given up, so that the rest can be cleaned. */
const readsOfDamaged = 3

/** What cleaning needs of the log. */
export interface CleanedLog {
  readonly segments: readonly Segment[]
  readonly owner: LogOwner
  readonly windows: Windows
  readonly clock: Clock
  readonly segmentBytes: number
  readonly dropBeforeNumber: number
  copy(
    number: number,
    targets: Targets,
    marks: number,
    bytes: Buffer,
    start: number,
    end: number,
    bodySize: number,
  ): void
  appendReturned(queue: number, number: number, count: number): void
  /** False: something may be held back on which the oldest segment depends. */
  readonly cleanable: boolean
  /** The disk is almost full. */
  readonly short: boolean
  /** Resolves when all copies, and all that is not held back, are durable. */
  written(): Promise<void>
  removeOldest(): Promise<void>
}

export class Cleaner {
  readonly #log: CleanedLog
  readonly #head = new MessageHead()
  readonly #returned = new ReturnedRecord()
  readonly #targets = new Targets()
  /** A segment is being looked through or copied. */
  working = false
  #stopped = false
  #tellStopped = () => {}
  readonly #stopping = new Promise<void>(resolve => {
    this.#tellStopped = resolve
  })
  /** Segments looked through, those removed, and messages copied out of them. */
  attempts = 0
  removed = 0
  copied = 0
  /** Attempts that failed one after the other, and when the next may be. */
  #failures = 0
  #notBefore = Number.NEGATIVE_INFINITY

  constructor(log: CleanedLog) {
    this.#log = log
  }

  /** Removes segments, if there is too much in them that is dead. */
  check(): void {
    if (this.working || this.#stopped || !this.#wanted()) return
    if (this.#failures > 0 && this.#log.clock.monotonicMs() < this.#notBefore) return
    this.working = true
    void this.#clean().finally(() => {
      this.working = false
    })
  }

  stop(): void {
    this.#stopped = true
    this.#tellStopped()
  }

  #wanted(): boolean {
    const { segments, owner, segmentBytes, short, cleanable } = this.#log
    if (segments.length < 2 || !cleanable) return false
    let bytes = 0
    // Without their indexes, which grow with what is live as well.
    for (const segment of segments) bytes += segment.end
    const live = owner.liveBytes()
    const dead = bytes - live
    if (short) return dead > deadPerLiveWhenShort * live + segmentBytes
    return dead > deadPerLive * live + 2 * segmentBytes
  }

  async #clean(): Promise<void> {
    try {
      while (!this.#stopped && this.#wanted()) {
        const segment = this.#log.segments[0] as Segment
        segment.enter()
        const emptied = await this.#empty(segment).finally(() => segment.leave())
        if (!emptied || this.#stopped) return
        await this.#log.removeOldest()
        this.removed++
        this.#failures = 0
      }
    } catch {
      // The disk is at fault; another attempt comes with a batch that is durable, but not with each.
      const pause = Math.min(retryMsMax, retryMs * 2 ** this.#failures++)
      this.#notBefore = this.#log.clock.monotonicMs() + pause
    }
  }

  /** Copies what is live out of the oldest segment. False: it cannot go. */
  async #empty(segment: Segment): Promise<boolean> {
    const { segments, windows, owner } = this.#log
    this.attempts++
    await segment.sealing
    const live: number[] = []
    const returns = new Returns()
    let kept = false
    const pace = new Pace(this.#log.clock, stepMs, resume => this.#log.clock.after(0, resume))
    const records = new RecordStream((bytes, start, offset) => {
      const kind = kindAt(bytes, start)
      const number = numberAt(bytes, start)
      if (kind === Kind.opaque && number >= this.#log.dropBeforeNumber) kept = true
      if (kind === Kind.returned) {
        this.#returned.read(bytes, start)
        if (this.#holds(this.#returned.queue, this.#returned.number)) returns.add(this.#returned)
      }
      if (!isMessage(kind) && kind !== Kind.placed) return
      const place = kind === Kind.placed ? placeAt(bytes, start) : offset
      if (owner.isHeld(number, segment.number, place)) live.push(number, place)
    })
    if (!(await windows.index(segment, records, pace))) {
      const blocks = await windows.blocks(segment)
      const limit = limitOf(segments, 0)
      const { firstBatch } = segment
      const verdict = await judge(blocks, firstBatch, segmentHeadBytes, limit, null, pace)
      for (const step of verdict.steps)
        if (!isGap(step)) await windows.stream(segment, step, records, pace)
    }
    if (kept) return false
    let copied = 0
    for (let i = 0; i < live.length; i += 2) {
      const number = live[i] as number
      const place = live[i + 1] as number
      const record = windows.peek(segment, place) ?? (await this.#record(segment, number, place))
      // A log that is being closed writes nothing more.
      if (this.#stopped) return false
      if (record === null) continue
      copied += this.#copy(segment, number, place, record)
      if (copied > copiedBytesMax) {
        await this.#written()
        copied = 0
      } else if (pace.due) await pace.pause()
    }
    if (this.#stopped) return false
    returns.forEach((queue, number, count) => {
      if (this.#holds(queue, number)) this.#log.appendReturned(queue, number, count)
    })
    await this.#written()
    return this.#log.cleanable
  }

  /** Null: it is damaged, has been so for a while, and is no message any more. */
  async #record(segment: Segment, number: number, place: number): Promise<ReadRecord | null> {
    const { windows, owner } = this.#log
    try {
      return await windows.record(segment, place)
    } catch (error) {
      if (!(error instanceof Damaged) || this.#failures < readsOfDamaged) throw error
      if (owner.isHeld(number, segment.number, place)) owner.damaged(number, error)
      return null
    }
  }

  /** Resolves when the copies are durable, or never will be because the log is closed. */
  #written(): Promise<void> {
    return Promise.race([this.#log.written(), this.#stopping])
  }

  #holds(queue: number, number: number): boolean {
    this.#targets.clear()
    this.#targets.add(queue)
    this.#log.owner.narrow(number, this.#targets)
    return this.#targets.count > 0
  }

  /** Appends a message again, if it is still held; returns its bytes. */
  #copy(segment: Segment, number: number, place: number, { bytes, start }: ReadRecord): number {
    if (numberAt(bytes, start) !== number || !isMessage(kindAt(bytes, start)))
      throw new Error(`${segment.path} holds another record at byte ${place}`)
    const { owner } = this.#log
    if (!owner.isHeld(number, segment.number, place)) return 0
    this.#head.read(bytes, start)
    const { targets, marks, content, bodySize } = this.#head
    owner.narrow(number, targets)
    if (targets.count === 0) return 0
    const end = start + sizeAt(bytes, start)
    this.#log.copy(number, targets, marks, bytes, content, end, bodySize)
    this.copied++
    return end - start
  }
}

/** The highest counts of returns, by message and queue. */
class Returns {
  readonly #counts = new Map<number, Map<number, number>>()

  add({ queue, number, count }: ReturnedRecord): void {
    let queues = this.#counts.get(number)
    if (queues === undefined) {
      queues = new Map()
      this.#counts.set(number, queues)
    }
    queues.set(queue, Math.max(count, queues.get(queue) ?? 0))
  }

  forEach(tell: (queue: number, number: number, count: number) => void): void {
    for (const [number, queues] of this.#counts)
      for (const [queue, count] of queues) tell(queue, number, count)
  }
}
