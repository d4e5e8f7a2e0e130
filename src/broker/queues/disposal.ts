/** How messages leave a queue for nowhere: one at once, or all of them a few thousand in a turn. */
import { Stage, type TurnParty } from '../../platform/turn.js'
import type { QueueHost } from './host.js'
import type { Levels } from './levels.js'
import type { Queue } from './queue.js'

/** About a millisecond's work. */
const perTurn = 4096

/** Gives up a queue's hold on a message, in the log too if it is there. */
export function settle(queue: Queue, slot: number, { journal, messages }: QueueHost): void {
  if (queue.logs(slot)) journal.settle(queue, slot)
  messages.release(slot)
}

export class Disposal implements TurnParty {
  readonly #levels: Levels
  readonly #queue: Queue
  readonly #host: QueueHost
  /** It takes more than one turn. */
  #continued = false

  constructor(levels: Levels, queue: Queue, host: QueueHost) {
    this.#levels = levels
    this.#queue = queue
    this.#host = host
  }

  endTurn(): void {
    let left = perTurn
    for (let level = this.#levels.head(); level !== null; level = this.#levels.head()) {
      if (left-- === 0) {
        if (!this.#continued) this.#host.journal.leaving++
        this.#continued = true
        this.#host.turn.add(Stage.deliver, this)
        return
      }
      settle(this.#queue, level.slot, this.#host)
      level.shift()
    }
    if (this.#continued) this.#host.journal.leaving--
  }
}
