/** A topic exchange: the binding key is a pattern of words. */
import { TopicTrie } from '../../structures/topic-trie.js'
import type { FieldTable } from '../../wire/field-table.js'
import type { Binding } from '../binding.js'
import { Exchange, type Found } from './exchange.js'

export class TopicExchange extends Exchange {
  readonly type = 'topic'
  readonly #trie = new TopicTrie<Binding>()

  add(binding: Binding): void {
    this.#trie.add(binding.key, binding)
  }

  remove(binding: Binding): void {
    this.#trie.remove(binding.key, binding)
  }

  match(keys: readonly string[], _headers: FieldTable, found: Found): void {
    for (const key of keys) this.#trie.match(key, binding => found(binding.destination))
  }
}
