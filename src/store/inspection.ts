/**
 * Looks into the files of a log that nobody has open, and changes nothing. Recovery itself runs,
 * but for two things: it reads every block, also where an index says what is there, and what it
 * would cut off or remove stays.
 */
import type { Files } from '../platform/files.js'
import { ChunkPool } from '../structures/chunk-pool.js'
import type { LogReplay, Recovery } from './log.js'
import { RecordStream } from './record-stream.js'
import { type RecordFound, RecoveryRun } from './recovery.js'
import type { Segment } from './segment.js'
import { Windows } from './windows.js'

/** One file of a log. */
export interface SegmentFacts {
  readonly number: number
  readonly bytes: number
  readonly firstBatch: number
  /** What stands at its end; of one that cannot be read recovery reads the records instead. */
  readonly index: 'good' | 'damaged' | 'none'
}

/** What was found, and what recovery would do. */
export interface Inspection extends Recovery {
  /** Those in which something counts, in order. */
  readonly segments: readonly SegmentFacts[]
  /** Those in which nothing does: recovery would remove them. */
  readonly unused: readonly SegmentFacts[]
}

/** The records go to who inspects. */
const nobody: LogReplay = { message() {}, settled() {}, returned() {}, opaque() {} }

/**
 * Reads all of the log in a folder; `found` hears of every record that counts, in order. Rejects
 * with NewerFormat if it is not for this version, and with the system's error.
 */
export async function inspectLog(
  files: Files,
  folder: string,
  found: RecordFound,
): Promise<Inspection> {
  const windows = new Windows()
  const options = { inspect: found }
  const run = new RecoveryRun(files, folder, windows, new ChunkPool(), nobody, options)
  const { segments, unused, clean, version, epoch, records, messages, lastNumber, ...rest } =
    await run.run()
  const { cutBytes, damages } = rest
  const facts = (segment: Segment) => factsOf(windows, segment)
  return {
    clean,
    version,
    epoch,
    records,
    messages,
    lastNumber,
    cutBytes,
    damages,
    segments: await each(segments, facts),
    unused: await each(unused, facts),
  }
}

async function factsOf(windows: Windows, segment: Segment): Promise<SegmentFacts> {
  const { number, firstBatch, file, trailer } = segment
  segment.size = await file.size()
  const entries = new RecordStream(() => {})
  const read = await windows.index(segment, entries).catch(() => false)
  const none = trailer === null || trailer.indexAt === 0
  windows.forget(segment)
  await file.close()
  return {
    number,
    bytes: segment.size,
    firstBatch,
    index: none ? 'none' : read ? 'good' : 'damaged',
  }
}

/** One after the other: there may be more segments than files that a process may open at once. */
async function each<From, To>(items: readonly From[], act: (item: From) => Promise<To>) {
  const results: To[] = []
  for (const item of items) results.push(await act(item))
  return results
}
