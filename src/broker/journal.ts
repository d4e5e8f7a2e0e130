/**
 * The broker's side of the log: which messages are in it, and what becomes of them. A persistent
 * message in a durable queue is logged once, with all its queues, when it has entered the last of
 * them; it is settled there queue by queue as it leaves. Everything is named by the message's
 * number, which is its place in the order of all messages too.
 *
 *     Queue.publish ─ enter ─┐                              ┌─ durable, failed ─▶ who waits (confirms, commits)
 *     Vhost.enqueue ─ append ┼─▶ Log: message, moved, … ────┤
 *     Queue.complete ─ settle┴─▶ ranges, at the turn's end  └─ placed ─▶ message table
 *
 * A message that leaves its last queue before it is being written never reaches the disk.
 * Without a log (`persistence: memory`) it only gives numbers.
 */
import { Stage, type Turn, type TurnParty } from '../platform/turn.js'
import type { Log, LogOwner, Recovery } from '../store/log.js'
import type { MessageTable } from '../store/message-table.js'
import { recordBytes } from '../store/record.js'
import { Ranges, Targets } from '../store/targets.js'
import { Holders } from '../structures/holders.js'
import { absent, NumberIndex } from '../structures/number-index.js'
import type { Arrival } from './arrival.js'
import type { Replay } from './replay.js'

/** A queue as the journal sees it. */
export interface LoggedQueue {
  /** Its number in the log, above 0. */
  readonly number: number
  readonly deleted: boolean
  /** What has left it in this turn; kept here for the journal. */
  settlements: Ranges | null
}

/** Somebody who waits until the log is durable up to some number. */
export interface LogWaiter {
  /** It is, up to `journal.durableUpTo`. Returns whether it goes on waiting. */
  durable(): boolean
  /** What was appended from `from` on cannot be promised; adds what it gives up to `refused`. Returns whether it goes on waiting. */
  failed(from: number, refused: Set<number>): boolean
}

/** Who hears of the journal's troubles, and knows when the definitions are safe. */
export interface JournalHost {
  /**
   * Calls back when everything declared so far is durable, at once if it is already: a message is
   * no safer than its queue.
   */
  whenDefined(call: () => void): void
  /** Definitions cannot be written at the moment. */
  readonly definitionsFail: boolean
  /** The disk does not take what is written, or does again. */
  logFailing(error: Error | null): void
  /** A message cannot be read any more; it will be missed where it is delivered, or after a start. */
  damaged(message: number, error: Error): void
  /** Takes messages that were refused out of the queues where they still wait, if their number is in the set. */
  withdraw(refused: ReadonlySet<number>, from: number): void
}

/** Hears of the contents that it asked the log for, by its own tags. */
export interface ContentReader {
  loaded(tag: number, bytes: Buffer, start: number, end: number): void
  unreadable(tag: number, error: Error): void
}

/** Appended and not yet durable bytes above which publishers wait. */
const waitingBytesMax = 64 * 1024 * 1024

/** What one more queue adds to a record. */
export const holderBytes = recordBytes(0, 1) - recordBytes(0, 0)

export class Journal implements LogOwner, TurnParty {
  /** All messages up to this number that will ever be durable are. */
  durableUpTo = 0
  /** Bytes of the records of all logged messages, as far as they are held. */
  heldBytes = 0
  /** Who still takes messages out of queues, over several turns: how many. */
  leaving = 0
  /** Who asks the log for contents. */
  contents: ContentReader | null = null
  readonly index = new NumberIndex()
  readonly holders = new Holders()

  readonly #messages: MessageTable
  readonly #turn: Turn
  #host: JournalHost | null = null
  #log: Log | null = null
  #replay: Replay | null = null
  /** The last number of a record, or without a log the last one taken. */
  #lastNumber = 0
  /** The message that is entering queues, and those queues; 0: none. */
  #entering = 0
  readonly #targets = new Targets()
  /** Queues with settlements, and ranges that no queue uses at the moment. */
  readonly #settling: LoggedQueue[] = []
  readonly #spareRanges: Ranges[] = []
  #waitsForTurn = false
  #waiters: LogWaiter[] = []
  /** Transactions in progress, and whether something was appended in them. */
  #transactions = 0
  #inUnit = false
  /** Who wants to begin one. */
  #beginners: (() => void)[] = []
  /** They wait until this number is durable, or has failed; 0: only until none is in progress. */
  #beginAfter = 0
  #failing = false

  constructor(messages: MessageTable, turn: Turn) {
    this.#messages = messages
    this.#turn = turn
  }

  /** Opens the log, with what is in it told to `replay`; before any message is published. */
  async open(
    log: (owner: LogOwner) => Promise<Log>,
    replay: Replay,
    host: JournalHost,
  ): Promise<Recovery> {
    this.#host = host
    this.#replay = replay
    this.#log = await log(this)
    this.#replay = null
    this.durableUpTo = this.#log.recovery.lastNumber
    return this.#log.recovery
  }

  /** Writes what is left and closes the log; rejects if the disk does not take it. */
  async close(): Promise<void> {
    this.#appendSettlements()
    await this.#log?.close()
  }

  get log(): Log | null {
    return this.#log
  }

  /** There is a log. */
  get keeps(): boolean {
    return this.#log !== null
  }

  /** More is waiting for the disk than should: publishers are to wait. */
  get congested(): boolean {
    return this.#log !== null && this.#log.waitingBytes > waitingBytesMax
  }

  /** A number for the next message: higher than all before it. */
  takeNumber(): number {
    return this.#log === null ? ++this.#lastNumber : this.#log.takeNumber()
  }

  /** The persistent message that is being published goes into a durable queue. `expiryMs`: wall clock, 0 for never. */
  enter(queue: LoggedQueue, number: number, expiryMs: number): void {
    if (number !== this.#entering) {
      this.#entering = number
      this.#targets.clear()
    }
    this.#targets.add(queue.number, expiryMs)
  }

  /** The message of the arrival has entered its queues: logs it if one of them is durable. */
  append(arrival: Arrival): void {
    if (!this.#hasEntered()) return
    const log = this.#appending()
    const number = this.#track(arrival.slot)
    const { bytes, start, end, parts, bodySize } = arrival.whole
    log.appendMessage(number, this.#targets, arrival.marks, bytes, start, end, parts, bodySize)
    arrival.loggedAs = number
  }

  /** The same for a dead letter of the message in `old`, which leaves `queue` at the same instant. */
  move(queue: LoggedQueue, old: number, arrival: Arrival): void {
    if (!this.#hasEntered()) {
      this.settle(queue, old)
      return
    }
    const oldNumber = this.#messages.number(old)
    this.#forget(queue.number, old, oldNumber)
    const log = this.#appending()
    const number = this.#track(arrival.slot)
    const { bytes, start, end, parts, bodySize } = arrival.whole
    log.appendMoved(
      number,
      queue.number,
      oldNumber,
      this.#targets,
      arrival.marks,
      bytes,
      start,
      end,
      parts,
      bodySize,
    )
    arrival.loggedAs = number
  }

  /** A logged message has left a queue for good. */
  settle(queue: LoggedQueue, slot: number): void {
    const number = this.#messages.number(slot)
    if (number === this.#entering) {
      this.#targets.remove(this.#targets.queues.indexOf(queue.number))
      return
    }
    if (this.#forget(queue.number, slot, number) && (this.#log as Log).withdraw(number)) return
    // The messages of a queue that is gone are forgotten with it.
    if (queue.deleted) return
    if (queue.settlements === null) {
      queue.settlements = this.#spareRanges.pop() ?? new Ranges()
      this.#settling.push(queue)
      this.#atTurnEnd()
    }
    queue.settlements.add(number)
  }

  /** A logged message came back to its queue, for the `count`th time. */
  giveBack(queue: LoggedQueue, slot: number, count: number): void {
    const number = this.#messages.number(slot)
    this.#lastNumber = this.#appending().appendReturned(queue.number, number, count)
  }

  /**
   * Whether a transaction may begin. If not, `call` is called when it is to be tried again: one
   * takes several turns, and if others joined it all the time, none of them would ever be durable,
   * nor anything that is published meanwhile.
   */
  mayBegin(call: () => void): boolean {
    if (this.#transactions === 0 && this.#beginAfter === 0) return true
    this.#beginners.push(call)
    return false
  }

  /** What is appended and settled until `endTransaction` is there after a crash as a whole or not at all. */
  beginTransaction(): void {
    this.#appendSettlements()
    this.#transactions++
  }

  /** Returns the number that must be durable, 0 if there is nothing to wait for. */
  endTransaction(): number {
    this.#appendSettlements()
    const awaited = this.#inUnit ? this.#lastNumber : 0
    // Several at once are one unit, which the last of them ends; nothing of it is durable before.
    if (--this.#transactions === 0 && this.#inUnit) {
      this.#inUnit = false
      ;(this.#log as Log).endTransaction()
    }
    if (this.#transactions === 0 && this.#beginners.length > 0) {
      this.#beginAfter = awaited
      if (awaited === 0) this.#begin()
    }
    return awaited
  }

  /** Tells `waiter` of everything that becomes durable or fails, until it has enough. */
  wait(waiter: LogWaiter): void {
    this.#waiters.push(waiter)
  }

  endTurn(): void {
    this.#waitsForTurn = false
    this.#appendSettlements()
  }

  // --- what the log tells and asks

  durable(upTo: number): void {
    if (this.#beginAfter > 0 && upTo >= this.#beginAfter) this.#begin()
    let defined = false
    this.#host?.whenDefined(() => {
      defined = true
      this.durableUpTo = Math.max(this.durableUpTo, upTo)
      this.#wake(waiter => waiter.durable())
    })
    if (!defined && this.#host?.definitionsFail) this.refuse()
    if (this.#failing && !(this.#log as Log).failing) {
      this.#failing = false
      this.#host?.logFailing(null)
    }
  }

  failed(from: number, error: Error): void {
    if (!this.#failing) {
      this.#failing = true
      this.#host?.logFailing(error)
    }
    this.refuse(from)
    if (from <= this.#beginAfter) this.#begin()
  }

  /** What was published from this number on cannot be promised; else all that is not safe yet. */
  refuse(from = this.durableUpTo + 1): void {
    const refused = new Set<number>()
    this.#wake(waiter => waiter.failed(from, refused))
    if (refused.size > 0) this.#host?.withdraw(refused, from)
  }

  placed(number: number, segment: number, offset: number): void {
    const slot = this.#slotOf(number)
    if (slot >= 0) this.#messages.place(slot, segment, offset)
  }

  liveBytes(): number {
    return this.heldBytes
  }

  isHeld(number: number, segment: number, offset: number): boolean {
    const slot = this.#slotOf(number)
    return (
      slot >= 0 &&
      this.#messages.segment(slot) === segment &&
      this.#messages.offset(slot) === offset
    )
  }

  narrow(number: number, targets: Targets): void {
    const value = this.index.get(number)
    if (value === absent) targets.clear()
    if (value >= 0) return
    for (let at = targets.count - 1; at >= 0; at--)
      if (!this.holders.has(~value, targets.queues[at] as number)) targets.remove(at)
  }

  damaged(number: number, error: Error): void {
    this.#host?.damaged(number, error)
  }

  message(
    number: number,
    targets: Targets,
    marks: number,
    segment: number,
    offset: number,
    size: number,
    bodySize: number,
  ): void {
    this.#replay?.message(number, targets, marks, segment, offset, size, bodySize)
  }

  settled(queue: number, first: number, last: number): void {
    this.#replay?.settled(queue, first, last)
  }

  returned(queue: number, number: number, count: number): void {
    this.#replay?.returned(queue, number, count)
  }

  opaque(): void {}

  loaded(tag: number, bytes: Buffer, start: number, end: number): void {
    this.contents?.loaded(tag, bytes, start, end)
  }

  unreadable(tag: number, error: Error): void {
    this.contents?.unreadable(tag, error)
  }

  // ---

  /** Some queue has kept the message that is being published, and still holds it. */
  #hasEntered(): boolean {
    if (this.#entering !== 0 && this.#targets.count > 0) return true
    this.#entering = 0
    return false
  }

  /** From now on the message is known, and its holders: the targets. Returns its number. */
  #track(slot: number): number {
    const number = this.#entering
    this.#entering = 0
    const { queues, count } = this.#targets
    // Most messages are in one queue, which then need not be written down.
    this.index.set(number, count === 1 ? slot : ~this.holders.add(slot, queues, count))
    this.#messages.setLogged(slot)
    this.heldBytes += recordBytes(this.#messages.size(slot), count)
    this.#lastNumber = number
    return number
  }

  /** A queue holds the message no more. Returns whether no other does either. */
  #forget(queue: number, slot: number, number: number): boolean {
    const value = this.index.get(number)
    if (value < 0 && this.holders.remove(~value, queue) > 0) {
      this.heldBytes -= holderBytes
      return false
    }
    this.index.delete(number)
    this.heldBytes -= recordBytes(this.#messages.size(slot), 1)
    return true
  }

  /** The slot of a message that some queue holds, else -1. */
  #slotOf(number: number): number {
    const value = this.index.get(number)
    if (value === absent) return -1
    return value < 0 ? this.holders.slot(~value) : value
  }

  /** The log, to which a record is about to be appended. */
  #appending(): Log {
    const log = this.#log as Log
    if (this.#transactions > 0 && !this.#inUnit) {
      this.#inUnit = true
      log.beginTransaction()
    }
    return log
  }

  #appendSettlements(): void {
    for (let i = 0; i < this.#settling.length; i++) {
      const queue = this.#settling[i] as LoggedQueue
      const ranges = queue.settlements as Ranges
      queue.settlements = null
      if (!queue.deleted) this.#lastNumber = this.#appending().appendSettled(queue.number, ranges)
      ranges.clear()
      this.#spareRanges.push(ranges)
    }
    this.#settling.length = 0
  }

  /** Whoever waits for it may try to begin a transaction. */
  #begin(): void {
    this.#beginAfter = 0
    for (const call of this.#beginners.splice(0)) call()
  }

  #atTurnEnd(): void {
    if (this.#waitsForTurn) return
    this.#waitsForTurn = true
    // Before the log writes, which it does with the connections' output.
    this.#turn.add(Stage.confirm, this)
  }

  #wake(call: (waiter: LogWaiter) => boolean): void {
    const waiters = this.#waiters
    this.#waiters = []
    for (const waiter of waiters) if (call(waiter)) this.#waiters.push(waiter)
  }
}
