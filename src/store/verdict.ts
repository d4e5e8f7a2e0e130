/**
 * Judges the blocks found in a segment: what counts, what is damaged, what is a torn tail. A batch
 * is known to have been durable if a later one says so, or a later segment begins after it; what
 * such a batch lacks is damage. Of the others, the first that is not whole is where the log ends;
 * those before it are doubtful: they can be read, but nobody knows whether from the disk or from
 * the cache of a file whose sync has failed. They are to be written again.
 *
 * So a batch that was durable, is the last of all, and is damaged later cannot be told from one that
 * the power cut in two: it is cut off, and said to be. Only a proper stop, or a batch behind it, can
 * prove that it was whole.
 */
import { addToBatchCrc, type Block, blockHeadBytes, Flag } from './block.js'
import type { Pace } from './pace.js'

/** Bytes of a segment, from `from` to `to`, that should hold these batches and do not. */
export interface Gap {
  readonly from: number
  readonly to: number
  readonly firstBatch: number
  readonly lastBatch: number
}

export interface Verdict {
  /** In the order of the file: runs of blocks that follow each other, and gaps between them. */
  readonly steps: readonly (readonly Block[] | Gap)[]
  /** Whole batches behind these. */
  readonly doubtful: readonly (readonly Block[])[]
  /** The batch behind those that are not doubtful. */
  readonly nextBatch: number
  /** Checksum of the one before that; null: not known. */
  readonly crc: number | null
  /** Where the last batch that counts ends. */
  readonly end: number
}

export function isGap(step: readonly Block[] | Gap): step is Gap {
  return 'firstBatch' in step
}

/** Blocks after which the clock is looked at: a segment of small batches has half a million. */
const blocksPerLook = 1024

/** `limit`: the batch with which the next segment begins, null for the last segment. */
export async function judge(
  found: readonly Block[],
  firstBatch: number,
  start: number,
  limit: number | null,
  previousCrc: number | null,
  pace?: Pace,
): Promise<Verdict> {
  const blocks: Block[] = []
  let synced = limit === null ? firstBatch - 1 : limit - 1
  for (const [i, block] of found.entries()) {
    if (i % blocksPerLook === 0 && pace?.due) await pace.pause()
    const { batch, lag, flags } = block
    if ((flags & Flag.index) !== 0 || (limit !== null && batch >= limit)) continue
    blocks.push(block)
    if (limit === null) synced = Math.max(synced, batch - lag)
  }
  const steps: (readonly Block[] | Gap)[] = []
  const doubtful: Block[][] = []
  let sureCrc: number | null | undefined
  let next = firstBatch
  let crc = previousCrc
  let end = start
  let looked = 0
  for (const group of groups(blocks)) {
    looked += group.length
    if (looked >= blocksPerLook) {
      looked = 0
      if (pace?.due) await pace.pause()
    }
    const { batch, offset } = group[0] as Block
    if (batch < next) continue
    if (batch > next && next <= synced) {
      const lastBatch = Math.min(synced, batch - 1)
      steps.push({ from: end, to: offset, firstBatch: next, lastBatch })
      next = lastBatch + 1
      crc = null
    }
    const whole = isWhole(group, crc)
    if (batch > synced) {
      if (batch !== next || !whole) break
      if (doubtful.length === 0) sureCrc = crc
      doubtful.push(group)
    } else if (whole) steps.push(group)
    else steps.push(...pieces(group, end))
    crc = whole ? group.reduce((crc, block) => addToBatchCrc(crc, block.crc), 0) : null
    end = endOf(group.at(-1) as Block)
    next = batch + 1
  }
  if (next <= synced) {
    steps.push({ from: end, to: end, firstBatch: next, lastBatch: synced })
    next = synced + 1
    crc = null
  }
  const nextBatch = next - doubtful.length
  return { steps, doubtful, nextBatch, crc: sureCrc === undefined ? crc : sureCrc, end }
}

/** The blocks of each batch. */
function* groups(blocks: readonly Block[]): Iterable<Block[]> {
  let group: Block[] = []
  for (const block of blocks) {
    if (group.length > 0 && group[0]?.batch !== block.batch) {
      yield group
      group = []
    }
    group.push(block)
  }
  if (group.length > 0) yield group
}

/** All blocks of the batch are here, and it follows the batch that came before. */
function isWhole(group: readonly Block[], crc: number | null): boolean {
  return (
    ((group.at(-1) as Block).flags & Flag.last) !== 0 &&
    group.every(({ block, previous }, i) => block === i && (crc === null || previous === crc))
  )
}

/** The runs of a batch that is not whole, and the gaps between them. */
function pieces(group: readonly Block[], start: number): (readonly Block[] | Gap)[] {
  const { batch } = group[0] as Block
  const steps: (Block[] | Gap)[] = []
  let run: Block[] = []
  let expected = 0
  let end = start
  for (const block of group) {
    if (block.block !== expected) {
      if (run.length > 0) steps.push(run)
      steps.push({ from: end, to: block.offset, firstBatch: batch, lastBatch: batch })
      run = []
    }
    run.push(block)
    expected = block.block + 1
    end = endOf(block)
  }
  if (run.length > 0) steps.push(run)
  const last = group.at(-1) as Block
  if ((last.flags & Flag.last) === 0)
    steps.push({ from: end, to: end, firstBatch: batch, lastBatch: batch })
  else if (steps.length === 1)
    steps.push({ from: start, to: start, firstBatch: batch, lastBatch: batch })
  return steps
}

function endOf(block: Block): number {
  return block.offset + blockHeadBytes + block.length
}
