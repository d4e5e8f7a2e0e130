/** A fanout exchange: every binding matches. */
import type { Properties } from '../../wire/properties.js'
import { Exchange, type Found } from './exchange.js'

export class FanoutExchange extends Exchange {
  readonly type = 'fanout'

  match(_keys: readonly string[], _properties: Properties, found: Found): void {
    for (const destination of this.bindings.keys()) found(destination)
  }
}
