/** Reading of segments by windows of 64 KiB: each is checked once, and the latest few are kept. */
import { readAll } from '../platform/files.js'
import { type Block, blockHeadBytes, Flag, findBlocks, windowBytes } from './block.js'
import { sizeAt } from './record.js'
import type { RecordStream } from './record-stream.js'
import { type Segment, segmentHeadBytes } from './segment.js'

/** Windows kept: two readers and cleaning, each with the one before. */
const windowsKept = 6

interface Window {
  readonly segment: Segment
  readonly index: number
  readonly bytes: Buffer
  readonly blocks: readonly Block[]
}

/** A record that was read: `bytes` from `start`. */
export interface ReadRecord {
  readonly bytes: Buffer
  readonly start: number
}

export class Windows {
  #kept: Window[] = []

  /** A record by its place; rejects if it cannot be read or is damaged. */
  async record(segment: Segment, offset: number): Promise<ReadRecord> {
    const known = this.peek(segment, offset)
    if (known !== null) return known
    let window = await this.#load(segment, Math.floor(offset / windowBytes))
    let at = window.blocks.findIndex(block => holds(block, offset))
    if (at < 0) throw damaged(segment, offset)
    let block = window.blocks[at] as Block
    const local = offset % windowBytes
    const stretches = [window.bytes.subarray(local, payloadEnd(block))]
    let filled = payloadEnd(block) - local
    while (filled < wanted(stretches, filled)) {
      const before = block
      if (++at >= window.blocks.length) {
        window = await this.#load(segment, window.index + 1)
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
    const window = this.#kept.find(kept => kept.segment === segment && kept.index === index)
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
      found.push(...(await this.#load(segment, index)).blocks)
    return found
  }

  /** Feeds the records in a run of blocks that follow each other. */
  async stream(segment: Segment, run: readonly Block[], records: RecordStream): Promise<void> {
    records.reset()
    let window: Window | null = null
    for (const [i, block] of run.entries()) {
      const index = Math.floor(block.offset / windowBytes)
      if (window?.index !== index) window = await this.#load(segment, index)
      // The rest of a record whose beginning is missing.
      const start = payloadStart(block) + (i === 0 ? block.carry : 0)
      records.feed(window.bytes, start, payloadEnd(block), window.index * windowBytes + start)
    }
  }

  /** Feeds the entries of a segment's index; false: it has none that can be read. */
  async index(segment: Segment, records: RecordStream): Promise<boolean> {
    const trailer = segment.trailer
    if (trailer === null || trailer.indexAt === 0) return false
    const blocks: Block[] = []
    const first = Math.floor(trailer.indexAt / windowBytes)
    for (let index = first; index * windowBytes < segment.size; index++)
      for (const block of (await this.#load(segment, index)).blocks)
        if ((block.flags & Flag.index) !== 0) blocks.push(block)
    const whole = blocks.every((block, i) => block.block === i && block.batch === trailer.lastBatch)
    if (!whole || ((blocks.at(-1)?.flags ?? 0) & Flag.last) === 0) return false
    records.reset()
    for (const block of blocks) {
      const window = await this.#load(segment, Math.floor(block.offset / windowBytes))
      const start = payloadStart(block)
      // The index is one record without a head, so nothing in it is carried over from elsewhere.
      records.feed(window.bytes, start, payloadEnd(block), 0)
    }
    return true
  }

  /** Forgets a segment that was removed. */
  forget(segment: Segment): void {
    this.#kept = this.#kept.filter(window => window.segment !== segment)
  }

  async #load(segment: Segment, index: number): Promise<Window> {
    if (segment.removed) throw new Error(`segment ${segment.number} was removed`)
    const bytes = Buffer.allocUnsafeSlow(windowBytes)
    const base = index * windowBytes
    const count = await readAll(segment.file, bytes, base)
    const blocks: Block[] = []
    const from = index === 0 ? segmentHeadBytes : 0
    findBlocks(bytes.subarray(0, count), base, from, segment.seed, blocks)
    const window = { segment, index, bytes, blocks }
    this.#kept = this.#kept.filter(kept => kept.segment !== segment || kept.index !== index)
    this.#kept.unshift(window)
    if (this.#kept.length > windowsKept) this.#kept.pop()
    return window
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

function damaged(segment: Segment, offset: number): Error {
  return new Error(`${segment.path} is damaged at byte ${offset}`)
}
