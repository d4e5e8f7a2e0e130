/**
 * The ready messages of a queue by priority: a level for each, the highest first, made when it is
 * first used. A plain queue has one.
 */
import type { MessageTable } from '../../store/message-table.js'
import { Ready, type ReadyPages } from './ready.js'

export class Levels {
  readonly #messages: MessageTable
  readonly #pages: ReadyPages
  readonly #levels: (Ready | null)[]
  /** No level above this one has a message. */
  #top = -1

  constructor(maxPriority: number, messages: MessageTable, pages: ReadyPages) {
    this.#messages = messages
    this.#pages = pages
    this.#levels = new Array(maxPriority + 1).fill(null)
  }

  /** The level where a message of this priority is about to be put. */
  of(priority: number): Ready {
    const level = Math.min(priority, this.#levels.length - 1)
    if (level > this.#top) this.#top = level
    const found = this.#levels[level]
    if (found) return found
    const made = new Ready(this.#messages, this.#pages)
    this.#levels[level] = made
    return made
  }

  /** The level whose first message is next to go, with that message shown; null if there is none. */
  head(): Ready | null {
    for (; this.#top >= 0; this.#top--) {
      const level = this.#levels[this.#top]
      if (level?.peek()) return level
    }
    return null
  }

  /** As `Ready.withdraw`, on every level. */
  withdraw(from: number, take: (slot: number) => boolean): void {
    for (const level of this.#levels) level?.withdraw(from, take)
  }
}
