/**
 * A wait without sleep. A peer on this machine answers within some tens of microseconds, and to
 * fall asleep and be woken takes both sides longer than that, in processor time as well. So the
 * event loop looks for the answer again and again for a moment, doing meanwhile whatever else
 * there is to do, and only then sleeps.
 */
import { availableParallelism } from 'node:os'

/** How long an answer is looked for. */
const busyMs = 0.15

/** Each answer in time speaks for waiting, each late one against it; so many speak at most. */
const creditMax = 8

/** When none speaks for it, one answer of so many is waited for all the same: it may come in time again. */
const trialEvery = 16

export class BusyWait {
  #allowed: boolean
  #credit = creditMax
  #skipped = 0
  #looking = false
  #until = 0

  /** With one processor, waiting would keep the peer from answering. */
  constructor(processors = availableParallelism()) {
    this.#allowed = processors > 1
  }

  /** Something came, and an answer to what we say to it will come at once. */
  begin(): void {
    if (!this.#allowed) return
    if (this.#looking) {
      if (this.#credit < creditMax) this.#credit++
    } else {
      if (this.#credit === 0 && ++this.#skipped % trialEvery !== 0) return
      this.#looking = true
      setImmediate(this.#look)
    }
    this.#until = performance.now() + busyMs
  }

  /** Nothing is expected any more. */
  end(): void {
    this.#allowed = false
    this.#until = 0
  }

  readonly #look = () => {
    this.#looking = performance.now() < this.#until
    if (this.#looking) setImmediate(this.#look)
    else if (this.#credit > 0) this.#credit--
  }
}
