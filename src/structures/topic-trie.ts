/**
 * Patterns of words separated by dots, where `*` stands for one word and `#` for any number of
 * them, zero included; finds all patterns that match a key. The trie is walked with all places
 * that the words so far can lead to at once, so no pattern, however many `#` it has, costs more
 * than its length times that of the key.
 */

class Node<T> {
  readonly words = new Map<string, Node<T>>()
  readonly values = new Set<T>()
  readonly many: boolean
  /** The walk and step that last came here. */
  visit = 0

  constructor(many: boolean) {
    this.many = many
  }

  get empty(): boolean {
    return this.words.size === 0 && this.values.size === 0
  }
}

/** The words of a key; the empty key has none, a dot alone has two empty ones. */
function split(key: string): readonly string[] {
  return key === '' ? [] : key.split('.')
}

export class TopicTrie<T> {
  readonly #root = new Node<T>(false)
  #visit = 0

  add(pattern: string, value: T): void {
    let node = this.#root
    for (const word of split(pattern)) {
      let next = node.words.get(word)
      if (next === undefined) {
        next = new Node(word === '#')
        node.words.set(word, next)
      }
      node = next
    }
    node.values.add(value)
  }

  remove(pattern: string, value: T): void {
    const path: [Node<T>, string][] = []
    let node: Node<T> | undefined = this.#root
    for (const word of split(pattern)) {
      path.push([node, word])
      node = node.words.get(word)
      if (node === undefined) return
    }
    node.values.delete(value)
    for (let i = path.length - 1; i >= 0; i--) {
      const [parent, word] = path[i] as [Node<T>, string]
      if (!(parent.words.get(word) as Node<T>).empty) break
      parent.words.delete(word)
    }
  }

  /** Calls `found` for each value of each pattern that matches. */
  match(key: string, found: (value: T) => void): void {
    let places: Node<T>[] = []
    this.#visit++
    this.#reach(this.#root, places)
    for (const word of split(key)) {
      const next: Node<T>[] = []
      this.#visit++
      for (const place of places) {
        if (place.many) this.#reach(place, next)
        const literal = place.words.get(word)
        if (literal !== undefined) this.#reach(literal, next)
        const one = place.words.get('*')
        if (one !== undefined) this.#reach(one, next)
      }
      places = next
      if (places.length === 0) return
    }
    for (const place of places) for (const value of place.values) found(value)
  }

  /** Adds a place, and the `#` behind it, which matches no word at all. */
  #reach(node: Node<T>, places: Node<T>[]): void {
    if (node.visit === this.#visit) return
    node.visit = this.#visit
    places.push(node)
    const many = node.words.get('#')
    if (many !== undefined) this.#reach(many, places)
  }
}
