/** Exchanges that send every message to any one of their destinations, whatever its key. */
import type { Random } from '../../platform/random.js'
import type { Properties } from '../../wire/properties.js'
import { AmqpError } from '../../wire/replies.js'
import type { Queue } from '../queues/queue.js'
import { Decider, Exchange, type ExchangeDeclaration, type Found } from './exchange.js'

export class RandomExchange extends Exchange {
  readonly type: string = 'x-random'
  readonly #random: Random
  /** Null: the bindings have changed since. */
  #choice: readonly (Queue | Exchange)[] | null = null

  constructor(declaration: ExchangeDeclaration, random: Random) {
    super(declaration)
    this.#random = random
  }

  override get decidedBy(): Decider {
    return Decider.message
  }

  override changed(): void {
    this.#choice = null
  }

  match(_keys: readonly string[], _properties: Properties, found: Found): void {
    this.#choice ??= this.destinations()
    const { length } = this.#choice
    if (length > 0) found(this.#choice[this.#random.below(length)] as Queue | Exchange)
  }
}

/** The same among classic queues of this node: on a single node those are all of them. */
export class LocalRandomExchange extends RandomExchange {
  override readonly type = 'x-local-random'

  override check(key: string, _arguments: unknown, destination: Queue | Exchange): void {
    if (key !== '') throw refused(`Non empty binding '${key}' key not permitted`)
    if (destination instanceof Exchange) throw refused('Destination not found')
    const { type } = destination.settings
    if (type !== 'classic')
      throw refused(`Queue type rabbit_${type}_queue not valid for this exchange type`)
  }
}

function refused(explanation: string): AmqpError {
  return new AmqpError('PRECONDITION_FAILED', explanation)
}
