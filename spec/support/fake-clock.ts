/** A clock that stands still until it is told to go on; its wall time can be set apart from the monotonic one. */
import type { Clock } from '../../src/platform/clock.js'

interface Timer {
  readonly due: number
  readonly task: () => void
}

/** Tasks at one moment above which something sets itself again and again without time passing. */
const tasksAtOnce = 1_000_000

export class FakeClock implements Clock {
  #monotonicMs = 5000
  #wallMs = Date.UTC(2026, 10, 22)
  readonly #timers = new Set<Timer>()

  wallMs(): number {
    return this.#wallMs
  }

  monotonicMs(): number {
    return this.#monotonicMs
  }

  after(delayMs: number, task: () => void): () => void {
    const timer = { due: this.#monotonicMs + Math.max(0, delayMs), task }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  /** Timers that are set. */
  get pending(): number {
    return this.#timers.size
  }

  /** Lets time pass, and runs what becomes due, each at its moment. */
  advance(ms: number): void {
    const until = this.#monotonicMs + ms
    for (let tasks = 0; ; tasks++) {
      const next = this.#first()
      if (next === null || next.due > until) break
      if (tasks === tasksAtOnce) throw new Error('a task sets itself again without time passing')
      this.#pass(next.due)
      this.#timers.delete(next)
      next.task()
    }
    this.#pass(until)
  }

  /** Time passes while nothing runs: what has become due meanwhile runs late, and once. */
  stall(ms: number): void {
    this.#pass(this.#monotonicMs + ms)
    this.advance(0)
  }

  /** Somebody sets the machine's time. */
  stepWall(ms: number): void {
    this.#wallMs += ms
  }

  #first(): Timer | null {
    let first: Timer | null = null
    for (const timer of this.#timers) if (first === null || timer.due < first.due) first = timer
    return first
  }

  #pass(until: number): void {
    if (until <= this.#monotonicMs) return
    this.#wallMs += until - this.#monotonicMs
    this.#monotonicMs = until
  }
}
