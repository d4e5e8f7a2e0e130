/**
 * Messages that have left their queues and wait to go to a dead letter exchange, in the order in
 * which they left. There may be millions, so they stand in columns: no object for each.
 */
import type { DeathReason } from './queues/host.js'
import type { Queue } from './queues/queue.js'
import type { Line } from './queues/read-ahead.js'

const pageLength = 4096

class Page {
  readonly queues: Queue[] = []
  readonly slots: number[] = []
  readonly reasons: DeathReason[] = []
  readonly entered: boolean[] = []
}

export class Dying implements Line {
  count = 0
  taken = 0
  #pages: Page[] = []
  #last = new Page()
  /** Place of the first one in the first page. */
  #first = 0

  push(queue: Queue, slot: number, reason: DeathReason, entered: boolean): void {
    if (this.count === 0 || this.#last.slots.length === pageLength) {
      this.#last = new Page()
      this.#pages.push(this.#last)
    }
    this.#last.queues.push(queue)
    this.#last.slots.push(slot)
    this.#last.reasons.push(reason)
    this.#last.entered.push(entered)
    this.count++
  }

  /** The slot of the first one; there must be one. */
  get slot(): number {
    return (this.#pages[0] as Page).slots[this.#first] as number
  }

  upcoming(from: number, into: Int32Array): number {
    const count = Math.max(0, Math.min(into.length, this.count - from))
    for (let i = 0; i < count; i++) {
      const at = this.#first + from + i
      const page = this.#pages[Math.floor(at / pageLength)] as Page
      into[i] = page.slots[at % pageLength] as number
    }
    return count
  }

  /** Takes the first one out and shows it to `take`; there must be one. */
  shift(take: (queue: Queue, slot: number, reason: DeathReason, entered: boolean) => void): void {
    const page = this.#pages[0] as Page
    const at = this.#first++
    this.count--
    this.taken++
    if (this.count === 0 || this.#first === pageLength) {
      this.#pages.shift()
      this.#first = 0
    }
    take(
      page.queues[at] as Queue,
      page.slots[at] as number,
      page.reasons[at] as DeathReason,
      page.entered[at] as boolean,
    )
  }
}
