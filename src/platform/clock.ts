/** Time, as it is given to everything else: tests put a clock of their own in its place. */
import { Heap, type HeapNode } from '../structures/heap.js'

/** Longest wait that Node's timers can express; longer ones are cut and started again. */
const longestWaitMs = 2 ** 31 - 1

export interface Clock {
  /** Milliseconds since 1970; may jump. */
  wallMs(): number
  /** Milliseconds since some fixed moment; never goes back. Deadlines in memory are in this. */
  monotonicMs(): number
  /** Runs a task once after a delay of any length; returns how to cancel it. */
  after(delayMs: number, task: () => void): () => void
}

interface Timer extends HeapNode {
  readonly task: () => void
}

/** The clock of the machine. All that waits stands behind one of Node's timers: setting one of those costs microseconds. */
export class SystemClock implements Clock {
  readonly #timers = new Heap<Timer>()
  #alarm: NodeJS.Timeout | undefined
  /** When the alarm goes off. */
  #armed = Number.POSITIVE_INFINITY

  wallMs(): number {
    return Date.now()
  }

  monotonicMs(): number {
    return performance.now()
  }

  after(delayMs: number, task: () => void): () => void {
    const timer = { at: 0, place: -1, task }
    this.#timers.set(timer, performance.now() + Math.max(0, delayMs))
    this.#arm()
    return () => {
      this.#timers.remove(timer)
      // Nothing keeps the process any more.
      if (this.#timers.size === 0) this.#disarm()
    }
  }

  #arm(): void {
    const first = this.#timers.first()
    // An alarm that comes too early finds nothing due and is set again: cheaper than moving it.
    if (first === undefined || first.at >= this.#armed) return
    this.#disarm()
    this.#armed = first.at
    const wait = Math.ceil(first.at - performance.now())
    this.#alarm = setTimeout(this.#ring, Math.min(Math.max(0, wait), longestWaitMs))
  }

  #disarm(): void {
    clearTimeout(this.#alarm)
    this.#armed = Number.POSITIVE_INFINITY
  }

  readonly #ring = () => {
    this.#armed = Number.POSITIVE_INFINITY
    const now = performance.now()
    try {
      for (;;) {
        const first = this.#timers.first()
        if (first === undefined || first.at > now) break
        this.#timers.remove(first)
        first.task()
      }
    } finally {
      this.#arm()
    }
  }
}
