/**
 * A binary heap of nodes that know their own place in it, smallest `at` first, so that a node
 * can be moved or taken out in O(log n). Used for deadlines.
 */

/** What a heap holds: when it is due, and where it stands (-1: in no heap). */
export interface HeapNode {
  at: number
  place: number
}

export class Heap<Node extends HeapNode> {
  readonly #nodes: Node[] = []

  get size(): number {
    return this.#nodes.length
  }

  /** The node with the smallest `at`, or undefined. */
  first(): Node | undefined {
    return this.#nodes[0]
  }

  /** Puts a node in, or moves it, to stand at `at`. */
  set(node: Node, at: number): void {
    if (node.place < 0) {
      node.at = at
      node.place = this.#nodes.push(node) - 1
      this.#rise(node)
    } else {
      const earlier = at < node.at
      node.at = at
      if (earlier) this.#rise(node)
      else this.#sink(node)
    }
  }

  /** Takes a node out; nothing happens if it is not in. */
  remove(node: Node): void {
    const place = node.place
    if (place < 0) return
    node.place = -1
    const last = this.#nodes.pop() as Node
    if (last === node) return
    this.#nodes[place] = last
    last.place = place
    this.#rise(last)
    this.#sink(last)
  }

  #rise(node: Node): void {
    const nodes = this.#nodes
    let place = node.place
    while (place > 0) {
      const above = (place - 1) >> 1
      const parent = nodes[above] as Node
      if (parent.at <= node.at) break
      nodes[place] = parent
      parent.place = place
      place = above
    }
    nodes[place] = node
    node.place = place
  }

  #sink(node: Node): void {
    const nodes = this.#nodes
    let place = node.place
    for (;;) {
      let below = 2 * place + 1
      if (below >= nodes.length) break
      if (below + 1 < nodes.length && (nodes[below + 1] as Node).at < (nodes[below] as Node).at)
        below++
      const child = nodes[below] as Node
      if (child.at >= node.at) break
      nodes[place] = child
      child.place = place
      place = below
    }
    nodes[place] = node
    node.place = place
  }
}
