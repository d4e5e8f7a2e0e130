/** A direct exchange: the binding key equals the routing key. */
import type { Properties } from '../../wire/properties.js'
import type { Binding } from '../binding.js'
import { Exchange, type Found } from './exchange.js'

export class DirectExchange extends Exchange {
  readonly type = 'direct'
  /** Most keys have one binding, which then stands here itself. */
  readonly #byKey = new Map<string, Binding | Set<Binding>>()

  override add(binding: Binding): void {
    const same = this.#byKey.get(binding.key)
    if (same === undefined) this.#byKey.set(binding.key, binding)
    else if (same instanceof Set) same.add(binding)
    else this.#byKey.set(binding.key, new Set([same, binding]))
  }

  override remove(binding: Binding): void {
    const same = this.#byKey.get(binding.key)
    if (same instanceof Set) same.delete(binding)
    if (same === binding || (same instanceof Set && same.size === 0))
      this.#byKey.delete(binding.key)
  }

  match(keys: readonly string[], _properties: Properties, found: Found): void {
    for (const key of keys) {
      const same = this.#byKey.get(key)
      if (same instanceof Set) for (const binding of same) found(binding.destination)
      else if (same !== undefined) found(same.destination)
    }
  }
}
