/**
 * What is ready in a queue: messages by priority, oldest first, with their count and bytes. It
 * sees to it that what has expired at the head goes, and that the head's content is in memory
 * when it is to be delivered.
 */

import { Message } from '../../wire/message.js'
import type { Deadline } from '../deadlines.js'
import type { LogWaiter } from '../journal.js'
import { dropBcc } from '../sender-selected.js'
import { Disposal, settle } from './disposal.js'
import type { DeathReason, QueueHost } from './host.js'
import { Levels } from './levels.js'
import type { Queue } from './queue.js'
import { ReadAhead } from './read-ahead.js'
import type { Ready } from './ready.js'

/** Messages that expire or are thrown away in one go: about a millisecond's work. */
export const removalsPerTurn = 4096

/** The message that a queue is giving out: there is one at a time, so one view does for all. */
const view = new Message()

/** A deadline of its own: when its first message expires. */
export class Backlog implements Deadline, LogWaiter {
  at = 0
  place = -1
  /** Ready messages, and their body bytes. */
  count = 0
  bytes = 0
  /** The first message is being read, or is not yet safe. */
  waiting = false
  readonly #queue: Queue
  readonly #quorum: boolean
  readonly #host: QueueHost
  #levels: Levels
  /** It waits until one of its messages is durable: a quorum queue gives out no other. */
  #unsafe = false
  /** The journal tells what becomes durable. */
  #told = false
  /** Reads contents that are not in memory; from the first time on that one is not. */
  #readAhead: ReadAhead | null = null
  /** Some message here has had a deadline. */
  #timed = false

  constructor(queue: Queue, host: QueueHost) {
    this.#queue = queue
    this.#quorum = queue.settings.type === 'quorum'
    this.#host = host
    this.#levels = this.#newLevels()
  }

  /** A new message. */
  push(slot: number, marks: number, bodySize: number, deadline: number): void {
    this.#levels.push(slot, marks, deadline)
    this.#entered(bodySize, deadline)
  }

  /** A message that a consumer or a get had comes back to its place. */
  giveBack(slot: number, deadline: number, returns: number): void {
    this.#levels.giveBack(slot, deadline, returns)
    this.#looksAgain()
    this.#entered(this.#host.messages.bodySize(slot), deadline)
  }

  /** Takes in a message of an earlier start, younger than all that it has; `watchHead` follows the last. */
  restore(slot: number, deadline: number, returns: number): void {
    const { messages } = this.#host
    if (returns === 0) this.#levels.push(slot, messages.priority(slot), deadline)
    else this.#levels.giveBack(slot, deadline, returns)
    this.#entered(messages.bodySize(slot), 0)
    if (deadline !== 0) this.#timed = true
  }

  /** Takes the newest messages from `from` on out whose numbers are in the set. */
  withdraw(refused: ReadonlySet<number>, from: number): void {
    const { messages } = this.#host
    this.#levels.withdraw(from, slot => {
      if (!refused.has(messages.number(slot))) return false
      this.count--
      this.bytes -= messages.bodySize(slot)
      settle(this.#queue, slot, this.#host)
      return true
    })
    this.#looksAgain()
  }

  /** The log is durable up to somewhere. Returns whether it wants to hear more. */
  durable(): boolean {
    this.#told = false
    this.#looksAgain()
    return false
  }

  failed(): boolean {
    return true
  }

  /** The level of the next message, shown there; null if there is none, it waits for its content or for the log, or more than `most` has expired in front of it. */
  next(most: number): Ready | null {
    const { messages, paging } = this.#host
    for (let level = this.#live(most); ; level = this.#live(most)) {
      if (level === null) {
        if (this.#quorum && this.count > 0 && this.#head() === null) this.#waitForLog()
        return null
      }
      const { slot } = level
      if (messages.inMemory(slot)) return level
      if (!paging.isLost(slot)) {
        this.#readAhead ??= new ReadAhead(messages, paging, () => this.#contentCame())
        this.#readAhead.request(level.line)
        this.waiting = true
        return null
      }
      this.#leave(level, messages.bodySize(slot))
      paging.lose(slot, this.#queue.name)
      settle(this.#queue, slot, this.#host)
    }
  }

  /** Takes the message out that `next` showed; what it returns is valid until the table is changed. */
  take(level: Ready): Message {
    const { messages } = this.#host
    const { slot } = level
    messages.locate(slot)
    view.at(messages.bytes, messages.start, messages.end, messages.parts)
    if (messages.hasHiddenKeys(slot)) dropBcc(view)
    this.#leave(level, view.bodySize)
    return view
  }

  /** Messages of this level were taken for now: reads what comes next, and looks when it expires. */
  taken(level: Ready | null): void {
    view.clear()
    if (level !== null) this.#readAhead?.advance(level.line)
    this.watchHead()
  }

  /** Takes the first message out and buries it; there must be one. */
  dropFirst(reason: DeathReason): void {
    this.#remove(this.#levels.head() as Ready, reason)
  }

  /** Sees to it that the first message is looked at when it expires. */
  watchHead(): void {
    if (!this.#timed) return
    const level = this.#head()
    if (level === null && this.#quorum && this.count > 0) this.#waitForLog()
    if (level === null || level.deadline === 0) return
    if (this.place >= 0 && this.at <= level.deadline) return
    this.#host.deadlines.set(this, level.deadline)
  }

  /** The first message expires, or would if it were still there. */
  due(): void {
    this.#live(removalsPerTurn)
    this.watchHead()
  }

  /** Throws everything away. */
  clear(): void {
    this.#host.deadlines.clear(this)
    if (this.count === 0) return
    const disposal = new Disposal(this.#levels, this.#queue, this.#host)
    this.#levels = this.#newLevels()
    this.count = 0
    this.bytes = 0
    this.#timed = false
    this.#looksAgain()
    disposal.endTurn()
  }

  #newLevels(): Levels {
    const { messages, pages } = this.#host
    return new Levels(this.#queue.settings, messages, pages)
  }

  /** The level of the next message, once what has expired in front of it is out of the way; null if there is none, or that is more than `most`. */
  #live(most: number): Ready | null {
    let level = this.#head()
    if (!this.#timed || level === null || level.deadline === 0) return level
    const now = this.#host.clock.monotonicMs()
    for (let i = 0; level !== null && level.deadline !== 0 && level.deadline <= now; i++) {
      if (i === most) return null
      this.#remove(level, 'expired')
      level = this.#head()
    }
    return level
  }

  #contentCame(): void {
    if (!this.waiting || this.#unsafe) return
    this.waiting = false
    this.#queue.headReady()
  }

  /** The level of the next message that may be given out. */
  #head(): Ready | null {
    const { journal } = this.#host
    return this.#quorum && journal.keeps
      ? this.#levels.headUpTo(journal.durableUpTo)
      : this.#levels.head()
  }

  /** There are messages, but none is durable. */
  #waitForLog(): void {
    this.#unsafe = true
    this.waiting = true
    if (this.#told) return
    this.#told = true
    this.#host.journal.wait(this)
  }

  /** Something may be given out now. */
  #looksAgain(): void {
    if (!this.#unsafe) return
    this.#unsafe = false
    this.waiting = false
    this.#queue.headReady()
  }

  #entered(bodySize: number, deadline: number): void {
    this.count++
    this.bytes += bodySize
    if (deadline === 0) return
    this.#timed = true
    this.watchHead()
  }

  #leave(level: Ready, bodySize: number): void {
    level.shift()
    this.count--
    this.bytes -= bodySize
    if (this.#unsafe) this.#looksAgain()
  }

  #remove(level: Ready, reason: DeathReason): void {
    const slot = level.slot
    this.#leave(level, this.#host.messages.bodySize(slot))
    this.#host.bury(this.#queue, slot, reason, true)
  }
}
