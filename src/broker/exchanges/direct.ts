/** A direct exchange: the binding key equals the routing key. */
import type { FieldTable } from '../../wire/field-table.js'
import type { Binding } from '../binding.js'
import { Exchange, type Found } from './exchange.js'

export class DirectExchange extends Exchange {
  readonly type = 'direct'
  readonly #byKey = new Map<string, Set<Binding>>()

  add(binding: Binding): void {
    const same = this.#byKey.get(binding.key)
    if (same === undefined) this.#byKey.set(binding.key, new Set([binding]))
    else same.add(binding)
  }

  remove(binding: Binding): void {
    const same = this.#byKey.get(binding.key)
    same?.delete(binding)
    if (same?.size === 0) this.#byKey.delete(binding.key)
  }

  match(keys: readonly string[], _headers: FieldTable, found: Found): void {
    for (const key of keys)
      for (const binding of this.#byKey.get(key) ?? []) found(binding.destination)
  }
}
