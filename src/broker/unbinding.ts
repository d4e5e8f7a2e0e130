/**
 * Takes the bindings of a deleted destination out of what their source looks at, some hundreds
 * in a turn: a queue may have had a hundred thousand of them. Nobody meets them meanwhile, since
 * nothing is routed to what is deleted.
 */
import { Stage, type Turn, type TurnParty } from '../platform/turn.js'
import type { Binding } from './binding.js'
import type { Exchange } from './exchanges/exchange.js'

/** About two milliseconds' work. */
const perTurn = 512

export class Unbinding implements TurnParty {
  readonly #source: Exchange
  readonly #bindings: Iterator<Binding>
  readonly #turn: Turn

  constructor(source: Exchange, bindings: Iterator<Binding>, turn: Turn) {
    this.#source = source
    this.#bindings = bindings
    this.#turn = turn
    turn.add(Stage.deliver, this)
  }

  endTurn(): void {
    for (let i = 0; i < perTurn && !this.#source.deleted; i++) {
      const next = this.#bindings.next()
      if (next.done) return
      this.#source.remove(next.value)
    }
    if (!this.#source.deleted) this.#turn.add(Stage.deliver, this)
  }
}
