/**
 * Everything in a broker that is due at some moment (expiring messages, unused queues) stands in
 * one heap behind one timer. Moments are monotonic milliseconds: a step of the wall clock changes
 * nothing. Work on many that are due together is done in shares, between which others have the loop.
 */
import type { Clock } from '../platform/clock.js'
import { Heap, type HeapNode } from '../structures/heap.js'

/** A share ends with the deadline that makes it take so long. */
const shareMs = 3

/** Something that becomes due; `place` is the heap's. */
export interface Deadline extends HeapNode {
  due(): void
}

export class Deadlines {
  readonly #clock: Clock
  readonly #heap = new Heap<Deadline>()
  readonly #failed: (error: unknown) => void
  #cancel: (() => void) | null = null
  /** What the timer is set to. */
  #armed = Number.POSITIVE_INFINITY
  /** Set while deadlines are carried out: one that is set again meanwhile waits for the next timer. */
  #notBefore = Number.NEGATIVE_INFINITY

  /** `failed` hears of a deadline whose work threw. */
  constructor(clock: Clock, failed: (error: unknown) => void) {
    this.#clock = clock
    this.#failed = failed
  }

  /** Makes a deadline due at `at`, replacing what it was before. */
  set(deadline: Deadline, at: number): void {
    this.#heap.set(deadline, Math.max(at, this.#notBefore))
    this.#arm()
  }

  clear(deadline: Deadline): void {
    this.#heap.remove(deadline)
  }

  close(): void {
    this.#cancel?.()
    this.#cancel = null
    this.#armed = Number.NEGATIVE_INFINITY
  }

  #arm(): void {
    const first = this.#heap.first()
    // A timer that fires too early finds nothing due and is set again: cheaper than moving it.
    if (first === undefined || first.at >= this.#armed) return
    this.#cancel?.()
    this.#armed = first.at
    this.#cancel = this.#clock.after(first.at - this.#clock.monotonicMs(), this.#fire)
  }

  readonly #fire = () => {
    this.#armed = Number.POSITIVE_INFINITY
    this.#cancel = null
    const now = this.#clock.monotonicMs()
    this.#notBefore = now + 1
    for (;;) {
      const first = this.#heap.first()
      if (first === undefined || first.at > now) break
      this.#heap.remove(first)
      try {
        first.due()
      } catch (error) {
        this.#failed(error)
      }
      if (this.#clock.monotonicMs() - now >= shareMs) break
    }
    this.#notBefore = Number.NEGATIVE_INFINITY
    this.#arm()
  }
}
