/**
 * The start of a log: finds its segments, tells the owner what they say, in order, and where the
 * log ends. Segments with an index are known by it; of the others every block is checked.
 *
 * There is no checkpoint, because it would save little: of a million messages of 1 KiB, of which an
 * owner only counts, 0.35 s are needed after a clean stop and 0.6 s after a kill, when the last
 * segment has no index. What the owner does with them takes longer. Work is done in steps with
 * pauses between them.
 */
import { type Files, isBadPlace, type OpenFile, readAll } from '../platform/files.js'
import type { ChunkPool } from '../structures/chunk-pool.js'
import { Batch } from './batch.js'
import { type Block, blockHeadBytes } from './block.js'
import type { Damage, LogReplay } from './log.js'
import type { Pace } from './pace.js'
import {
  isMessage,
  Kind,
  kindAt,
  MessageHead,
  numberAt,
  placeAt,
  ReturnedRecord,
  replayRecord,
  sizeAt,
} from './record.js'
import { isNonsense, RecordStream } from './record-stream.js'
import {
  formatVersion,
  limitOf,
  readSegmentHead,
  Segment,
  type SegmentHead,
  segmentHeadBytes,
  segmentName,
  segmentOf,
} from './segment.js'
import { type Gap, isGap, judge } from './verdict.js'
import type { Windows } from './windows.js'

/** Where a log that was read goes on. */
export interface Found {
  readonly segments: Segment[]
  readonly lastSegment: number
  /** Segments in which nothing counts. */
  readonly unused: readonly Segment[]
  /** Records that are to be written again, as this batch. */
  readonly doubtful: Batch
  readonly nextBatch: number
  readonly crc: number
  readonly nextNumber: number
  readonly lastNumber: number
  readonly epoch: number
  readonly clean: boolean
  readonly version: number
  readonly records: number
  readonly messages: number
  readonly cutBytes: number
  readonly damages: readonly Damage[]
}

/** A segment and its head, which may be damaged. */
interface Opened {
  readonly segment: Segment
  readonly head: SegmentHead | null
}

/**
 * Numbers left out after an unclean stop. Some above the highest one found may have been given to
 * messages that were seen by somebody before they were lost; none of them is given again.
 */
const numbersLeftOut = 2 ** 20

const returned = new ReturnedRecord()
const head = new MessageHead()

/** A record that was found: `bytes` from `start`, valid only during the call, and its place. */
export type RecordFound = (bytes: Buffer, start: number, segment: number, offset: number) => void

export interface RunOptions {
  /** Told after each segment how many bytes of how many are read. */
  readonly progress?: (done: number, total: number) => void
  /** Hears of all records instead of the owner: every block is checked, and nothing is changed. */
  readonly inspect?: RecordFound
  /** Pauses of who must not hold the event loop. */
  readonly pace?: Pace
}

export class RecoveryRun {
  readonly #files: Files
  readonly #folder: string
  readonly #windows: Windows
  readonly #replay: LogReplay
  readonly #options: RunOptions
  readonly #damages: Damage[] = []
  /** Damage after which no new number has been seen yet. */
  #unnumbered: Damage[] = []
  #records = 0
  #messages = 0
  /** Counts of returns, told at the end: queue, number, count in turn. */
  readonly #returned: number[] = []
  #highest = 0
  #segment = 0
  /** All that are open. */
  readonly #open = new Set<OpenFile>()
  #cutBytes = 0
  #lastSegment = 0
  readonly #doubtful: Batch

  constructor(
    files: Files,
    folder: string,
    windows: Windows,
    pool: ChunkPool,
    replay: LogReplay,
    options: RunOptions = {},
  ) {
    this.#doubtful = new Batch(pool)
    this.#files = files
    this.#folder = folder
    this.#windows = windows
    this.#replay = replay
    this.#options = options
  }

  /**
   * Rejects if the format is newer, and if something cannot be opened or read: all of it may be well
   * another time. Only a place that the disk says is bad (EIO) is damage as any other.
   */
  async run(): Promise<Found> {
    try {
      return await this.#run()
    } catch (error) {
      for (const file of this.#open) await file.close().catch(() => {})
      throw error
    }
  }

  async #run(): Promise<Found> {
    const opened = await this.#openAll()
    const heads = opened.flatMap(({ head }) => (head === null ? [] : [head]))
    const unused = await this.#unused(opened)
    const segments = opened.map(({ segment }) => segment)
    // Without a head, and all of it again in a later one: its first sync has failed.
    for (const [i, { segment, head }] of opened.entries())
      if (head === null && segment.firstBatch < (limitOf(segments, i) ?? Number.POSITIVE_INFINITY))
        this.#damage(segment, 0, segmentHeadBytes, segment.firstBatch, segment.firstBatch)
    let nextBatch = segments[0]?.firstBatch ?? 1
    let crc: number | null = null
    const total = segments.reduce((bytes, { size }) => bytes + size, 0)
    let done = 0
    for (const [i, segment] of segments.entries()) {
      done += segment.size
      const limit = limitOf(segments, i)
      this.#segment = segment.number
      const known = await this.#byIndex(segment, limit)
      if (known) {
        nextBatch = (segment.trailer?.lastBatch ?? 0) + 1
        crc = segment.trailer?.lastCrc ?? null
      } else {
        const verdict = await this.#byBlocks(segment, limit, crc)
        nextBatch = verdict.nextBatch
        crc = verdict.crc
      }
      this.#options.progress?.(done, total)
    }
    this.#closeDamages(Number.POSITIVE_INFINITY)
    await this.#tellReturned()
    const numbers = segments.map(({ trailer }) => trailer?.nextNumber ?? 1)
    const next = Math.max(this.#highest + 1, ...numbers, ...heads.map(head => head.nextNumber))
    const closed = segments.at(-1)?.trailer?.closed ?? segments.length === 0
    const clean = unused.length === 0 && closed
    return {
      segments,
      lastSegment: this.#lastSegment,
      doubtful: this.#doubtful,
      nextBatch,
      crc: crc ?? 0,
      nextNumber: clean ? next : next + numbersLeftOut,
      lastNumber: next - 1,
      epoch: 1 + Math.max(0, ...heads.map(head => head.epoch)),
      unused,
      clean,
      version: heads.at(-1)?.version ?? formatVersion,
      records: this.#records,
      messages: this.#messages,
      cutBytes: this.#cutBytes,
      damages: this.#damages,
    }
  }

  async #openAll(): Promise<Opened[]> {
    const opened: Opened[] = []
    for (const name of await this.#files.list(this.#folder)) {
      const number = segmentOf(name)
      if (number < 0) continue
      this.#lastSegment = number
      const found = await this.#openOne(number)
      if (found !== null) opened.push(found)
    }
    const oldest = Math.max(0, ...opened.map(({ head }) => head?.oldest ?? 0))
    for (const { segment } of opened) if (segment.number < oldest) await this.#remove(segment)
    return opened.filter(({ segment }) => segment.number >= oldest)
  }

  /** Opens a segment. One that was never begun is removed. */
  async #openOne(number: number): Promise<Opened | null> {
    const path = `${this.#folder}/${segmentName(number)}`
    const file = await this.#files.open(path)
    this.#open.add(file)
    const bytes = Buffer.alloc(segmentHeadBytes)
    const count = await readAll(file, bytes, 0).catch(error => {
      if (!isBadPlace(error)) throw error
      return 0
    })
    const head = readSegmentHead(bytes.subarray(0, count), path)
    const segment = new Segment(number, head?.firstBatch ?? 0, file, path)
    await segment.readTrailer()
    if (head !== null) return { segment, head }
    const first = (await this.#windows.blocks(segment))[0]
    if (first === undefined) {
      if (segment.unreadableTo > 0) throw new Error(`${path} cannot be read`)
      await this.#remove(segment)
      return null
    }
    const { size, trailer } = segment
    const known = new Segment(number, first.batch, file, path)
    known.size = size
    known.trailer = trailer
    return { segment: known, head: null }
  }

  /**
   * Takes the last segments away that have no whole batch: what one of them was to replace may have
   * been durable where it stood before. The same if the head is missing and nothing says that a
   * batch was synced, and the head with it.
   */
  async #unused(opened: Opened[]): Promise<Segment[]> {
    const unused: Segment[] = []
    for (let last = opened.at(-1); last !== undefined; last = opened.at(-1)) {
      const { segment, head } = last
      if (segment.trailer !== null) break
      const blocks = await this.#windows.blocks(segment)
      const { pace } = this.#options
      const verdict = await judge(blocks, segment.firstBatch, segmentHeadBytes, null, null, pace)
      if (verdict.steps.length > 0 || segment.unreadableTo > 0) break
      if (verdict.doubtful.length > 0 && head !== null) break
      if (segment.size > segmentHeadBytes) this.#cutBytes += segment.size - segmentHeadBytes
      unused.push(segment)
      opened.pop()
    }
    return unused
  }

  async #byIndex(segment: Segment, limit: number | null): Promise<boolean> {
    const { trailer } = segment
    if (this.#options.inspect !== undefined) return false
    if (trailer === null || (limit !== null && trailer.lastBatch !== limit - 1)) return false
    const records = new RecordStream((bytes, start) => this.#record(bytes, start, 0))
    const read = await this.#windows.index(segment, records, this.#options.pace)
    if (read) segment.end = trailer.indexAt
    return read
  }

  async #byBlocks(segment: Segment, next: number | null, crc: number | null) {
    // A segment gets its trailer when all of it is synced.
    const limit = next ?? (segment.trailer === null ? null : segment.trailer.lastBatch + 1)
    const blocks = await this.#windows.blocks(segment)
    const { firstBatch } = segment
    const verdict = await judge(
      blocks,
      firstBatch,
      segmentHeadBytes,
      limit,
      crc,
      this.#options.pace,
    )
    const records = new RecordStream((bytes, start, offset) => this.#record(bytes, start, offset))
    const queues = await this.#queuesIn(segment, verdict.steps.filter(isGap))
    for (const step of verdict.steps)
      if (!isGap(step)) await this.#stream(segment, step, records)
      else {
        const { from, to, firstBatch, lastBatch } = step
        this.#damage(segment, from, to, firstBatch, lastBatch, queues.get(step))
      }
    const again = new RecordStream((bytes, start, offset) => {
      this.#record(bytes, start, offset)
      this.#keepDoubtful(bytes, start)
    })
    for (const run of verdict.doubtful) await this.#stream(segment, run, again)
    segment.end = verdict.end
    if (segment.unreadableTo > verdict.end) {
      const told = verdict.steps.some(step => isGap(step) && step.to >= verdict.end)
      if (!told)
        this.#damage(segment, verdict.end, segment.size, verdict.nextBatch, verdict.nextBatch)
    } else if (limit === null && segment.size > verdict.end) {
      this.#cutBytes += segment.size - verdict.end
      // If this fails, the next segment's head says all the same that the rest does not count.
      if (this.#options.inspect === undefined)
        await segment.file.truncate(verdict.end).catch(() => {})
    }
    segment.size = verdict.end
    return verdict
  }

  /** The queues of messages that stood in gaps, as far as the index can be read. */
  async #queuesIn(segment: Segment, gaps: readonly Gap[]): Promise<Map<Gap, number[]>> {
    const all = new Map<Gap, number[]>(gaps.map(gap => [gap, []]))
    const entries = new RecordStream((bytes, start) => {
      if (kindAt(bytes, start) !== Kind.placed) return
      const place = placeAt(bytes, start)
      head.read(bytes, start)
      for (const [{ from, to }, queues] of all)
        if (place >= from && (place < to || from === to))
          for (const queue of head.targets.queues.subarray(0, head.targets.count))
            if (!queues.includes(queue)) queues.push(queue)
    })
    if (gaps.length > 0) await this.#windows.index(segment, entries, this.#options.pace)
    return all
  }

  /** Tells the owner of the records in some blocks; what is no record is damage like any other. */
  async #stream(segment: Segment, run: readonly Block[], records: RecordStream): Promise<void> {
    try {
      await this.#windows.stream(segment, run, records, this.#options.pace)
    } catch (error) {
      if (!isBadPlace(error) && !isNonsense(error)) throw error
      const [first, last] = [run[0] as Block, run.at(-1) as Block]
      const to = last.offset + blockHeadBytes + last.length
      this.#damage(segment, first.offset, to, first.batch, last.batch)
    }
  }

  #record(bytes: Buffer, start: number, offset: number): void {
    const number = numberAt(bytes, start)
    if (number > this.#highest) {
      this.#closeDamages(number)
      this.#highest = number
    }
    this.#records++
    const kind = kindAt(bytes, start)
    if (this.#options.inspect !== undefined) {
      if (isMessage(kind)) this.#messages++
      this.#options.inspect(bytes, start, this.#segment, offset)
      return
    }
    if (kind === Kind.returned) {
      returned.read(bytes, start)
      this.#returned.push(returned.queue, returned.number, returned.count)
      return
    }
    if (isMessage(kind) || kind === Kind.placed) this.#messages++
    replayRecord(bytes, start, this.#segment, offset, this.#replay)
  }

  /** The message that came back may stand behind: cleaning has copied it there. */
  async #tellReturned(): Promise<void> {
    const { pace } = this.#options
    const told = this.#returned
    for (let i = 0; i < told.length; i += 3) {
      this.#replay.returned(told[i] as number, told[i + 1] as number, told[i + 2] as number)
      if (i % 3072 === 0 && pace?.due) await pace.pause()
    }
  }

  #keepDoubtful(bytes: Buffer, start: number): void {
    const size = sizeAt(bytes, start)
    this.#doubtful.reserve(size, null)
    bytes.copy(this.#doubtful.buffer, this.#doubtful.at, start, start + size)
  }

  #damage(
    segment: Segment,
    from: number,
    to: number,
    firstBatch: number,
    lastBatch: number,
    queues: readonly number[] = [],
  ): void {
    const place = { segment: segment.number, from, to, firstBatch, lastBatch }
    this.#unnumbered.push({ ...place, numbers: null, queues })
  }

  /** The numbers between the last one seen and this one are missing. */
  #closeDamages(number: number): void {
    const first = this.#highest + 1
    const numbers = number > first ? ([first, number - 1] as const) : null
    for (const damage of this.#unnumbered) this.#damages.push({ ...damage, numbers })
    this.#unnumbered = []
  }

  async #remove(segment: Segment): Promise<void> {
    segment.removed = true
    this.#windows.forget(segment)
    this.#open.delete(segment.file)
    await segment.file.close().catch(() => {})
    if (this.#options.inspect === undefined) await this.#files.remove(segment.path).catch(() => {})
  }
}
