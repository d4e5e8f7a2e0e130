/** Turns of the event loop that end when the test says so. */
import { Turn } from '../../src/platform/turn.js'

export class ManualTurn {
  readonly turn = new Turn(
    task => {
      this.#task = task
    },
    error => {
      throw error
    },
  )
  #task: (() => void) | null = null

  /** Ends the turn: whoever waits for it is called. */
  end(): void {
    const task = this.#task
    this.#task = null
    task?.()
  }
}
