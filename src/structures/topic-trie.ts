/**
 * Patterns of words separated by dots, where `*` stands for one word and `#` for any number of
 * them, zero included; finds all patterns that match a key. The trie is walked with all places
 * that the words so far can lead to at once, so no pattern, however many `#` it has, costs more
 * than its length times that of the key.
 *
 * Most nodes have one word behind them or one value, and none of the wild ones: they carry no maps
 * for what they do not have. A hundred thousand patterns are then few enough cache lines apart
 * that a key costs about as much as among a thousand.
 */

class Node<T> {
  /** What follows, by word. */
  words: Map<string, Node<T>> | null = null
  /** What follows `*` and `#`. */
  one: Node<T> | null = null
  many: Node<T> | null = null
  /** The node stands behind a `#`. */
  readonly isMany: boolean
  /** Values of the pattern that ends here. */
  value: T | null = null
  moreValues: Set<T> | null = null
  /** The walk and step that last came here. */
  visit = 0

  constructor(isMany: boolean) {
    this.isMany = isMany
  }

  get empty(): boolean {
    const { words, one, many, value } = this
    return words === null && one === null && many === null && value === null
  }

  next(word: string): Node<T> | null {
    if (word === '*') return this.one
    if (word === '#') return this.many
    return this.words?.get(word) ?? null
  }

  add(word: string): Node<T> {
    const node = new Node<T>(word === '#')
    if (word === '*') this.one = node
    else if (word === '#') this.many = node
    else {
      this.words ??= new Map()
      this.words.set(word, node)
    }
    return node
  }

  drop(word: string): void {
    if (word === '*') this.one = null
    else if (word === '#') this.many = null
    else {
      this.words?.delete(word)
      if (this.words?.size === 0) this.words = null
    }
  }

  addValue(value: T): void {
    if (this.value === null) this.value = value
    else if (this.value !== value) {
      this.moreValues ??= new Set()
      this.moreValues.add(value)
    }
  }

  removeValue(value: T): void {
    const { moreValues } = this
    if (this.value !== value) {
      moreValues?.delete(value)
    } else if (moreValues === null) {
      this.value = null
    } else {
      const [first] = moreValues
      this.value = first as T
      moreValues.delete(first as T)
    }
    if (moreValues?.size === 0) this.moreValues = null
  }
}

/** The words of a key; the empty key has none, a dot alone has two empty ones. */
function split(key: string): readonly string[] {
  return key === '' ? [] : key.split('.')
}

/** Values are anything but null. */
export class TopicTrie<T> {
  readonly #root = new Node<T>(false)
  #visit = 0

  add(pattern: string, value: T): void {
    let node = this.#root
    for (const word of split(pattern)) node = node.next(word) ?? node.add(word)
    node.addValue(value)
  }

  remove(pattern: string, value: T): void {
    const words = split(pattern)
    const path: Node<T>[] = [this.#root]
    for (const word of words) {
      const next = (path.at(-1) as Node<T>).next(word)
      if (next === null) return
      path.push(next)
    }
    ;(path.at(-1) as Node<T>).removeValue(value)
    for (let i = words.length; i > 0 && (path[i] as Node<T>).empty; i--)
      (path[i - 1] as Node<T>).drop(words[i - 1] as string)
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
        if (place.isMany) this.#reach(place, next)
        const literal = place.words?.get(word)
        if (literal !== undefined) this.#reach(literal, next)
        if (place.one !== null) this.#reach(place.one, next)
      }
      places = next
      if (places.length === 0) return
    }
    for (const { value, moreValues } of places) {
      if (value === null) continue
      found(value)
      if (moreValues !== null) for (const more of moreValues) found(more)
    }
  }

  /** Adds a place, and the `#` behind it, which matches no word at all. */
  #reach(node: Node<T>, places: Node<T>[]): void {
    if (node.visit === this.#visit) return
    node.visit = this.#visit
    places.push(node)
    if (node.many !== null) this.#reach(node.many, places)
  }
}
