/**
 * Deliveries that go back to their queues over several turns. Until all are there, these queues
 * give nothing to consumers, who would else get younger messages before older ones; basic.get is
 * not held up.
 */
import type { Queue } from '../broker/queues/queue.js'
import type { Unacked } from './unacked.js'

export class Returning {
  readonly #queues: Queue[] = []

  /** Of the deliveries with tags up to this one. */
  constructor(unacked: Unacked, upTo = Number.POSITIVE_INFINITY) {
    unacked.forEachSource(upTo, ({ queue }) => {
      if (queue.holder === this) return
      queue.holder = this
      queue.hold()
      this.#queues.push(queue)
    })
  }

  /** Does the next part, which tells whether it was the last. */
  part(work: () => boolean): boolean {
    let done = true
    try {
      done = work()
    } finally {
      if (done) this.end()
    }
    return done
  }

  /** All are back. */
  end(): void {
    for (const queue of this.#queues.splice(0)) queue.letGo()
  }
}
