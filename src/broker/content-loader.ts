/** Brings the contents of recovered messages back to memory, all of them, before clients come. */
import type { Log } from '../store/log.js'
import type { MessageTable } from '../store/message-table.js'
import { absent } from '../structures/number-index.js'
import type { ContentReader, Journal } from './journal.js'

/** Requests under way at a time. */
const window = 1024

export class ContentLoader implements ContentReader {
  readonly #messages: MessageTable
  #waiting = 0
  #wake: () => void = () => {}
  unreadableCount = 0

  constructor(messages: MessageTable) {
    this.#messages = messages
  }

  async load(journal: Journal, log: Log): Promise<void> {
    const { index, holders } = journal
    for (let n = index.firstAtOrAfter(0); n >= 0; n = index.firstAtOrAfter(n + 1)) {
      const value = index.get(n)
      if (value === absent) continue
      const slot = value < 0 ? holders.slot(~value) : value
      this.#waiting++
      log.read(this.#messages.segment(slot), this.#messages.offset(slot), slot)
      if (this.#waiting === window) await this.#drained()
    }
    if (this.#waiting > 0) await this.#drained()
  }

  loaded(tag: number, bytes: Buffer, start: number, end: number): void {
    this.#messages.load(tag, bytes, start, end)
    this.#done()
  }

  unreadable(): void {
    this.unreadableCount++
    this.#done()
  }

  #done(): void {
    if (--this.#waiting === 0) this.#wake()
  }

  #drained(): Promise<void> {
    return new Promise(resolve => {
      this.#wake = resolve
    })
  }
}
