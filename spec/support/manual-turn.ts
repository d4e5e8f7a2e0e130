/** Turns of the event loop that end when the test says so. */
import { Turn } from '../../src/platform/turn.js'

/** Turns after which work that makes new work is taken for endless. */
const turnsMax = 100_000

export class ManualTurn {
  readonly turn: Turn
  #deferred: (() => void)[] = []
  readonly #failures: unknown[] = []

  constructor() {
    this.turn = new Turn(
      task => this.#deferred.push(task),
      error => this.#failures.push(error),
    )
  }

  /** Something waits for the end of the turn. */
  get waiting(): boolean {
    return this.#deferred.length > 0
  }

  /** Ends the turn; throws what a party has thrown. */
  end(): void {
    const tasks = this.#deferred
    this.#deferred = []
    for (const task of tasks) task()
    if (this.#failures.length > 0) throw this.#failures.shift()
  }

  /** Ends turns until nothing waits any more; returns how many there were. */
  endAll(): number {
    let turns = 0
    for (; this.waiting; turns++) {
      if (turns === turnsMax) throw new Error('the turns never end')
      this.end()
    }
    return turns
  }
}
