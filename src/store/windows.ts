/**
 * Reading of segments by windows of 64 KiB: each is checked once, and the latest few are kept. Who
 * reads one window after the other gets several with one read of the file.
 */
import { isBadPlace, readAll } from '../platform/files.js'
import { type Block, blockHeadBytes, Flag, findBlocks, windowBytes } from './block.js'
import type { Pace } from './pace.js'
import { sizeAt } from './record.js'
import { isNonsense, type RecordStream } from './record-stream.js'
import { type Segment, segmentHeadBytes } from './segment.js'

/** Windows read at once by who reads in order: half a millisecond of checking. */
const windowsAhead = 8

/** Windows kept: two readers and cleaning, each with those that were read with it. */
const windowsKept = 4 * windowsAhead

interface Window {
  readonly segment: Segment
  readonly index: number
  readonly bytes: Buffer
  readonly blocks: readonly Block[]
  /** Bytes that the segment had when it was read. */
  readonly size: number
}

/** Windows that are being read. */
interface Loading {
  readonly segment: Segment
  readonly first: number
  readonly count: number
  readonly loaded: Promise<unknown>
}

/** A record that was read: `bytes` from `start`. */
export interface ReadRecord {
  readonly bytes: Buffer
  readonly start: number
}

export class Windows {
  /** The latest first. */
  #kept: Window[] = []
  #loading: Loading[] = []

  /** A record by its place; rejects if it cannot be read or is damaged. */
  async record(segment: Segment, offset: number): Promise<ReadRecord> {
    const known = this.peek(segment, offset)
    if (known !== null) return known
    let window = await this.#window(segment, Math.floor(offset / windowBytes))
    let at = window.blocks.findIndex(block => holds(block, offset))
    if (at < 0) throw damaged(segment, offset)
    let block = window.blocks[at] as Block
    const local = offset % windowBytes
    const stretches = [window.bytes.subarray(local, payloadEnd(block))]
    let filled = payloadEnd(block) - local
    while (filled < wanted(stretches, filled)) {
      const before = block
      if (++at >= window.blocks.length) {
        window = await this.#window(segment, window.index + 1)
        at = 0
      }
      const next = window.blocks[at]
      if (next === undefined || next.batch !== before.batch || next.block !== before.block + 1)
        throw damaged(segment, offset)
      block = next
      const start = payloadStart(block)
      stretches.push(window.bytes.subarray(start, start + block.carry))
      filled += block.carry
      if (block.carry === 0) throw damaged(segment, offset)
    }
    const bytes = stretches.length === 1 ? (stretches[0] as Buffer) : Buffer.concat(stretches)
    return { bytes, start: 0 }
  }

  /** The same at once, if the record stands in one block of a window that is kept; else null. */
  peek(segment: Segment, offset: number): ReadRecord | null {
    const index = Math.floor(offset / windowBytes)
    const window = this.#find(segment, index)
    const block = window?.blocks.find(block => holds(block, offset))
    if (window === undefined || block === undefined) return null
    const start = offset % windowBytes
    const room = payloadEnd(block) - start
    if (room < 4 || sizeAt(window.bytes, start) > room) return null
    return { bytes: window.bytes, start }
  }

  /** All good blocks of a segment. */
  async blocks(segment: Segment): Promise<Block[]> {
    const found: Block[] = []
    for (let index = 0; index * windowBytes < segment.size; index++)
      try {
        found.push(...(await this.#window(segment, index)).blocks)
      } catch (error) {
        // A bad place on the disk is damage as any other, but only there.
        if (!isBadPlace(error)) throw error
        const alone = await this.#load(segment, index, 1).catch(error => {
          if (!isBadPlace(error)) throw error
          segment.unreadableTo = Math.min(segment.size, (index + 1) * windowBytes)
          return null
        })
        found.push(...(alone?.blocks ?? []))
      }
    return found
  }

  /** Feeds the records in a run of blocks that follow each other. */
  async stream(
    segment: Segment,
    run: readonly Block[],
    records: RecordStream,
    pace?: Pace,
  ): Promise<void> {
    records.reset()
    let window: Window | null = null
    for (const [i, block] of run.entries()) {
      const index = Math.floor(block.offset / windowBytes)
      if (window?.index !== index) window = await this.#window(segment, index)
      // The rest of a record whose beginning is missing.
      const start = payloadStart(block) + (i === 0 ? block.carry : 0)
      await feed(records, window, start, payloadEnd(block), pace)
    }
  }

  /** Feeds the entries of a segment's index; false: it has none that can be read. */
  async index(segment: Segment, records: RecordStream, pace?: Pace): Promise<boolean> {
    try {
      return await this.#index(segment, records, pace)
    } catch (error) {
      if (isBadPlace(error) || isNonsense(error)) return false
      throw error
    }
  }

  async #index(segment: Segment, records: RecordStream, pace?: Pace): Promise<boolean> {
    const trailer = segment.trailer
    if (trailer === null || trailer.indexAt === 0) return false
    const windows: Window[] = []
    const first = Math.floor(trailer.indexAt / windowBytes)
    for (let index = first; index * windowBytes < segment.size; index++)
      windows.push(await this.#window(segment, index))
    const blocks = windows
      .flatMap(window => window.blocks)
      .filter(({ flags }) => (flags & Flag.index) !== 0)
    const whole = blocks.every((block, i) => block.block === i && block.batch === trailer.lastBatch)
    if (!whole || ((blocks.at(-1)?.flags ?? 0) & Flag.last) === 0) return false
    records.reset()
    for (const block of blocks) {
      const window = windows[Math.floor(block.offset / windowBytes) - first] as Window
      const start = payloadStart(block)
      // The index is one record without a head, so nothing in it is carried over from elsewhere.
      await feed(records, window, start, payloadEnd(block), pace)
    }
    return true
  }

  /** Forgets a segment that was removed. */
  forget(segment: Segment): void {
    this.#kept = this.#kept.filter(window => window.segment !== segment)
  }

  #find(segment: Segment, index: number): Window | undefined {
    return this.#kept.find(kept => kept.segment === segment && kept.index === index)
  }

  /** A window that is kept, or is read: with those that follow it, if the one before it was. */
  async #window(segment: Segment, index: number): Promise<Window> {
    for (;;) {
      const kept = this.#find(segment, index)
      // What was written since then is not in it.
      const whole = Math.min(segment.size, (index + 1) * windowBytes)
      if (kept !== undefined && kept.size >= whole) return kept
      const loading = this.#loading.find(
        ({ segment: of, first, count }) =>
          of === segment && index >= first && index < first + count,
      )
      if (loading === undefined) break
      await loading.loaded
    }
    const ahead = this.#find(segment, index - 1) === undefined ? 1 : windowsAhead
    const end = Math.ceil(segment.size / windowBytes)
    return this.#load(segment, index, Math.max(1, Math.min(ahead, end - index)))
  }

  /** Reads windows, whatever is kept; returns the first. */
  async #load(segment: Segment, first: number, count: number): Promise<Window> {
    if (segment.removed) throw new Error(`segment ${segment.number} was removed`)
    const { size } = segment
    const bytes = Buffer.allocUnsafeSlow(count * windowBytes)
    const read = readAll(segment.file, bytes, first * windowBytes)
    const loading = { segment, first, count, loaded: read.catch(() => {}) }
    this.#loading.push(loading)
    let filled: number
    try {
      filled = await read
    } finally {
      this.#loading = this.#loading.filter(other => other !== loading)
    }
    const windows: Window[] = []
    for (let i = 0; i < count; i++) {
      const index = first + i
      const start = i * windowBytes
      const own = bytes.subarray(start, start + windowBytes)
      const blocks: Block[] = []
      const from = index === 0 ? segmentHeadBytes : 0
      const checked = own.subarray(0, Math.max(0, filled - start))
      findBlocks(checked, index * windowBytes, from, segment.seed, blocks)
      windows.push({ segment, index, bytes: own, blocks, size })
    }
    const others = this.#kept.filter(
      kept => kept.segment !== segment || kept.index < first || kept.index >= first + count,
    )
    this.#kept = [...windows, ...others].slice(0, windowsKept)
    return windows[0] as Window
  }
}

/** Feeds part of a window, with pauses. */
async function feed(
  records: RecordStream,
  window: Window,
  start: number,
  end: number,
  pace: Pace | undefined,
): Promise<void> {
  const base = window.index * windowBytes
  for (let at = start; at < end; ) {
    at = records.feed(window.bytes, at, end, base + at, pace)
    if (pace?.due) await pace.pause()
  }
}

const payloadStart = (block: Block) => (block.offset % windowBytes) + blockHeadBytes
const payloadEnd = (block: Block) => payloadStart(block) + block.length

function holds(block: Block, offset: number): boolean {
  const start = block.offset + blockHeadBytes
  return offset >= start && offset < start + block.length
}

/** Bytes of the record whose first stretches these are; at least enough to know it. */
function wanted(stretches: Buffer[], filled: number): number {
  if (filled < 4) return 4
  let first = stretches[0] as Buffer
  if (first.length < 4) {
    first = Buffer.concat(stretches)
    stretches.length = 0
    stretches.push(first)
  }
  return sizeAt(first, 0)
}

/** What stands there is not what was written. */
export class Damaged extends Error {}

function damaged(segment: Segment, offset: number): Error {
  return new Damaged(`${segment.path} is damaged at byte ${offset}`)
}
