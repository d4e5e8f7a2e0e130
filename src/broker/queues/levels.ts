/**
 * The ready messages of a queue by priority: a level for each, the highest first, made when it is
 * first used. A plain queue has one. In a quorum queue those that came back stand above all, in
 * the order in which they did.
 */
import type { MessageTable } from '../../store/message-table.js'
import { highestPriority, quorumPriority } from './quorum.js'
import { Ready, type ReadyPages } from './ready.js'
import type { QueueSettings } from './settings.js'

export class Levels {
  readonly #messages: MessageTable
  readonly #pages: ReadyPages
  readonly #quorum: boolean
  readonly #levels: (Ready | null)[]
  /** No level above this one has a message. */
  #top = -1
  /** Messages that ever came back to a quorum queue. */
  #returned = 0

  constructor({ type, maxPriority }: QueueSettings, messages: MessageTable, pages: ReadyPages) {
    this.#messages = messages
    this.#pages = pages
    this.#quorum = type === 'quorum'
    this.#levels = new Array(this.#quorum ? highestPriority + 2 : maxPriority + 1).fill(null)
  }

  /** Puts a new message with these marks in, younger than all before it. */
  push(slot: number, marks: number, deadline: number): void {
    this.#of(this.#place(marks)).push(slot, deadline)
  }

  /** Puts a message back that was taken. */
  giveBack(slot: number, deadline: number, returns: number): void {
    const messages = this.#messages
    if (this.#quorum)
      this.#of(highestPriority + 1).giveBack(slot, deadline, returns, ++this.#returned)
    else
      this.#of(this.#place(messages.priority(slot))).giveBack(
        slot,
        deadline,
        returns,
        messages.number(slot),
      )
  }

  /** The level whose first message is next to go, with that message shown; null if there is none. */
  head(): Ready | null {
    for (; this.#top >= 0; this.#top--) {
      const level = this.#levels[this.#top]
      if (level?.peek()) return level
    }
    return null
  }

  /** The same among messages with numbers up to this one; those that came back all count. */
  headUpTo(number: number): Ready | null {
    for (let place = this.#top; place >= 0; place--) {
      const level = this.#levels[place]
      if (!level?.peek()) continue
      if (place > highestPriority || this.#messages.number(level.slot) <= number) return level
    }
    return null
  }

  /** As `Ready.withdraw`, on every level. */
  withdraw(from: number, take: (slot: number) => boolean): void {
    for (const level of this.#levels) level?.withdraw(from, take)
  }

  #place(marks: number): number {
    return this.#quorum ? quorumPriority(marks) : Math.min(marks & 255, this.#levels.length - 1)
  }

  /** The level at which a message is about to be put. */
  #of(level: number): Ready {
    if (level > this.#top) this.#top = level
    const found = this.#levels[level]
    if (found) return found
    const made = new Ready(this.#messages, this.#pages)
    this.#levels[level] = made
    return made
  }
}
