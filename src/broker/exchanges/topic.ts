/** A topic exchange: the binding key is a pattern of words. */
import { TopicTrie } from '../../structures/topic-trie.js'
import type { Properties } from '../../wire/properties.js'
import type { Binding } from '../binding.js'
import { Exchange, type Found } from './exchange.js'

export class TopicExchange extends Exchange {
  readonly type = 'topic'
  readonly #trie = new TopicTrie<Binding>()

  override add(binding: Binding): void {
    this.#trie.add(binding.key, binding)
  }

  override remove(binding: Binding): void {
    this.#trie.remove(binding.key, binding)
  }

  match(keys: readonly string[], _properties: Properties, found: Found): void {
    for (const key of keys) this.#trie.match(key, binding => found(binding.destination))
  }
}
