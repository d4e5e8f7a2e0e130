/** Long work in steps, so that it never holds the event loop for long. */
import type { Clock } from '../platform/clock.js'

export class Pace {
  readonly #clock: Clock
  readonly #stepMs: number
  readonly #defer: (resume: () => void) => void
  #since: number

  /** `defer` has the work resumed when others have had their turn. */
  constructor(clock: Clock, stepMs: number, defer: (resume: () => void) => void) {
    this.#clock = clock
    this.#stepMs = stepMs
    this.#defer = defer
    this.#since = clock.monotonicMs()
  }

  /** The step has lasted long enough. */
  get due(): boolean {
    return this.#clock.monotonicMs() - this.#since > this.#stepMs
  }

  async pause(): Promise<void> {
    await new Promise<void>(resolve => this.#defer(resolve))
    this.#since = this.#clock.monotonicMs()
  }
}
