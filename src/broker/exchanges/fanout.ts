/** A fanout exchange: every binding matches. */
import type { FieldTable } from '../../wire/field-table.js'
import { Exchange, type Found } from './exchange.js'

export class FanoutExchange extends Exchange {
  readonly type = 'fanout'

  add(): void {}

  remove(): void {}

  match(_keys: readonly string[], _headers: FieldTable, found: Found): void {
    for (const binding of this.bindings.values()) found(binding.destination)
  }
}
