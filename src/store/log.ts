/**
 * What a log is. The broker appends to it and hears later what is durable; it names messages by
 * sequence numbers and knows neither files nor replicas. `file-log.ts` keeps a log on this
 * machine's disk; the cluster's keeps it on several.
 *
 * Promised:
 * - An append copies the bytes (only `parts` are kept as they are) and never waits.
 * - A message is named by its number for as long as it lives; no other ever has it. The owner takes
 *   it with `takeNumber` when the message comes to be, which it need not append. The other records
 *   take their numbers as they are appended. What is appended has rising numbers, with gaps.
 * - `durable(n)`: everything up to n survives any crash. It comes once per batch, in order.
 * - `failed(n, error)`: what was appended from n on is not durable. It stays in the log's memory and
 *   is tried again until it is durable or withdrawn; so it may still come to be there.
 * - What is appended in one transaction is there after a crash as a whole or not at all.
 * - Replay is in the order of appending. A later message record of a number replaces the earlier
 *   one; a settlement acts only on what lies before it. Counts of returns are told behind all else;
 *   the highest counts.
 *
 * Not promised:
 * - That what is not durable is gone after a crash, or that a settlement is there before `durable`
 *   has passed it.
 * - That a settlement may be appended before its message: the owner settles what it has appended.
 * - That a settlement or return is durable at once: at most `settleDelayMs` later.
 */
import type { Ranges, Targets } from './targets.js'

/** What the log tells and asks its owner, also during recovery. None of it may throw. */
export interface LogOwner extends LogReplay {
  /** Everything up to this number survives a crash. Told again when no failure goes on any more. */
  durable(upTo: number): void
  /** What was appended from this number on is not durable, and why. */
  failed(from: number, error: Error): void
  /** A message is durable, and its content can be read at this place; a later call replaces it. */
  placed(number: number, segment: number, offset: number): void
  /** Bytes of the records of logged messages that some queue still holds (`recordBytes`). */
  liveBytes(): number
  /** Some queue holds the message, and its content was last said to be at this place. */
  isHeld(number: number, segment: number, offset: number): boolean
  /** Takes out of `targets` the queues which do not hold the message; all, if it is not known. */
  narrow(number: number, targets: Targets): void
  /** A message that some queue still holds is damaged on the disk, and will not be there after a start. */
  damaged(number: number, error: Error): void
  /** Content asked for by `read`: `bytes[start..end)`, valid only during the call. */
  loaded(tag: number, bytes: Buffer, start: number, end: number): void
  /** Content asked for by `read` cannot be had. */
  unreadable(tag: number, error: Error): void
}

/** What recovery finds, record by record. */
export interface LogReplay {
  /** A message with so many bytes of content; `targets` is valid only during the call. */
  message(
    number: number,
    targets: Targets,
    marks: number,
    segment: number,
    offset: number,
    size: number,
    bodySize: number,
  ): void
  /** A queue no longer holds the messages from `first` to `last`. */
  settled(queue: number, first: number, last: number): void
  /** A message, if the queue still holds it, has come back there at least that many times. */
  returned(queue: number, number: number, count: number): void
  /** A record that the log does not look into: `bytes[start..end)`, valid only during the call. */
  opaque(number: number, bytes: Buffer, start: number, end: number): void
}

/** Something that was durable and cannot be read any more. */
export interface Damage {
  readonly segment: number
  /** Where in the file; `from` equals `to` when it is not known. */
  readonly from: number
  readonly to: number
  /** Batches concerned. */
  readonly firstBatch: number
  readonly lastBatch: number
  /** Numbers among which those lost are (last: Infinity if none follows). Null: none is missing. */
  readonly numbers: readonly [first: number, last: number] | null
  /** Queues of the messages that stood there, as far as the segment's index tells. */
  readonly queues: readonly number[]
}

/** What a log has found when it was opened. */
export interface Recovery {
  /** The log was closed properly the last time, so counts and flags are exact. */
  readonly clean: boolean
  /** Version of the format in which the newest part of it was written. */
  readonly version: number
  /** Counts starts. */
  readonly epoch: number
  readonly records: number
  /** Of those, messages; one that cleaning has copied may count twice. */
  readonly messages: number
  /** The highest number found; those taken from now on are above it. 0: there is none. */
  readonly lastNumber: number
  /** Bytes of a torn tail that were cut off. */
  readonly cutBytes: number
  readonly damages: readonly Damage[]
}

/** Where messages and commands are kept. Only `close` and `flushed` are not for the hot path. */
export interface Log {
  readonly recovery: Recovery
  /** Bytes accepted and not yet durable. */
  readonly waitingBytes: number
  /** The last attempt to make something durable failed. */
  readonly failing: boolean
  /** The number of a message that is appended later, or never. */
  takeNumber(): number
  /**
   * A message in the queues of `targets`: `bytes[start..end)`, then `parts`, which nobody changes
   * any more. `bodySize` is told again by recovery, which does not read contents. Throws if
   * something with a higher number was appended before.
   */
  appendMessage(
    number: number,
    targets: Targets,
    marks: number,
    bytes: Buffer,
    start: number,
    end: number,
    parts: readonly Buffer[] | null,
    bodySize: number,
  ): void
  /** A queue no longer holds these messages. */
  appendSettled(queue: number, ranges: Ranges): number
  /** A message came back to its queue, for the `count`th time. */
  appendReturned(queue: number, number: number, count: number): number
  /** The message `old` leaves a queue and enters others as `number`, at the same instant. */
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
  ): void
  /** Anything else: a command of the definitions. */
  appendOpaque(bytes: Uint8Array): number
  /** What is appended from here to `endTransaction` is one unit; returns the number of its last part. */
  beginTransaction(): void
  endTransaction(): number
  /**
   * No queue holds the message any more. True: it was not yet being written and never will be, and
   * needs no settlement. False: it must be settled.
   */
  withdraw(number: number): boolean
  /** Asks for the content of a message; `loaded` or `unreadable` answers with the tag. */
  read(segment: number, offset: number, tag: number): void
  /** Opaque records before this number are not needed any more. */
  dropBefore(number: number): void
  /** Resolves when everything appended so far is durable. */
  flushed(): Promise<void>
  /** Makes everything durable and ends; rejects if that fails. */
  close(): Promise<void>
}
