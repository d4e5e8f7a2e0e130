/**
 * An x-modulus-hash exchange: the hash of the routing key, modulo the number of destinations, which
 * are sorted by name. Binding keys are ignored. One destination more or less moves most messages.
 */
import { mix } from '../../structures/hash.js'
import type { Properties } from '../../wire/properties.js'
import type { Queue } from '../queues/queue.js'
import { hashTexts } from './consistent-hash.js'
import { Exchange, type Found } from './exchange.js'

export class ModulusHashExchange extends Exchange {
  readonly type = 'x-modulus-hash'
  /** Null: the bindings have changed since. */
  #sorted: readonly (Queue | Exchange)[] | null = null

  override changed(): void {
    this.#sorted = null
  }

  match(keys: readonly string[], _properties: Properties, found: Found): void {
    this.#sorted ??= this.destinations().sort((a, b) => (a.name < b.name ? -1 : 1))
    const destination = this.#sorted[mix(hashTexts(keys)) % this.#sorted.length]
    if (destination !== undefined) found(destination)
  }
}
