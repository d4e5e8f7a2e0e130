/**
 * Reads contents that are not in memory for whom they wait in line: those at its beginning, a
 * batch at a time, and the next batch when half of one is used up. Where the line goes on in
 * memory it stops, until its first one is not there again.
 */
import type { MessageTable } from '../../store/message-table.js'
import type { ContentWaiter, Paging } from '../../store/paging.js'

/** Messages of a batch. */
const batchLength = 256

/** Bytes after which a batch ends: less if many wait, but never less than the second. */
const batchBytes = 512 * 1024
const leastBatchBytes = 32 * 1024

/** Requests that wait for all lines together above which batches are shorter. */
const manyRequests = 1024

/** Messages one behind the other. */
export interface Line {
  /** How many have ever been taken from its beginning. */
  readonly taken: number
  /** Puts the slots from the `from`th on into `into`, as many as there are or have room; returns how many. */
  upcoming(from: number, into: Int32Array): number
}

const slots = new Int32Array(batchLength)

export class ReadAhead implements ContentWaiter {
  readonly #messages: MessageTable
  readonly #paging: Paging
  readonly #came: () => void
  /** The line that is being read; null: it goes on in memory. */
  #line: Line | null = null
  /** Of the messages that were ever in the line, those before this one are seen to. */
  #upTo = 0
  #lastBatch = 0
  /** Contents asked for that have not come. */
  #waiting = 0

  /** `came` is called for each content that came. */
  constructor(messages: MessageTable, paging: Paging, came: () => void) {
    this.#messages = messages
    this.#paging = paging
    this.#came = came
  }

  /** The first of the line is not in memory; `came` is called when it may be. */
  request(line: Line): void {
    // It may be on its way; if it is not, it is asked for when all that is has come.
    if (this.#waiting > 0) return
    this.#line = line
    this.#ask(line, 0)
  }

  /** Some of the line were taken: asks for what comes next. */
  advance(line: Line): void {
    if (this.#line === null) return
    const ahead = this.#upTo - line.taken
    if (line !== this.#line || ahead <= 0) this.#line = null
    else if (ahead <= this.#lastBatch / 2) this.#ask(line, ahead)
  }

  contentCame(): void {
    this.#waiting--
    this.#came()
  }

  #ask(line: Line, from: number): void {
    const messages = this.#messages
    const paging = this.#paging
    const share = batchBytes / Math.max(1, paging.waiting / manyRequests)
    const most = Math.max(leastBatchBytes, share)
    const count = line.upcoming(from, slots)
    const before = this.#waiting
    let bytes = 0
    let seen = 0
    for (; seen < count && bytes < most; seen++) {
      const slot = slots[seen] as number
      if (messages.inMemory(slot) || paging.isLost(slot)) continue
      bytes += messages.size(slot)
      this.#waiting++
      paging.ask(slot, this)
    }
    this.#lastBatch = seen
    this.#upTo = line.taken + from + seen
    if (this.#waiting === before) this.#line = null
  }
}
