// Which messages have come: finds duplicates and breaks of order in each stream of each queue, and
// so, with the number published, losses.

export class Ledger {
  unique = 0
  duplicates = 0
  disordered = 0
  #next: Uint32Array
  /** Sequence numbers that were passed over, per stream; empty when all is well. */
  #missing = new Map<number, Set<number>>()

  constructor(streams: number) {
    this.#next = new Uint32Array(streams)
  }

  /** Enters a message of a stream. */
  mark(stream: number, sequence: number): void {
    const next = this.#next[stream] as number
    if (sequence === next) {
      this.#next[stream] = next + 1
      this.unique++
    } else {
      this.#unexpected(stream, sequence, next)
    }
  }

  #unexpected(stream: number, sequence: number, next: number): void {
    const missing = this.#missing.get(stream) ?? new Set()
    this.#missing.set(stream, missing)
    if (sequence > next) {
      for (let passed = next; passed < sequence; passed++) missing.add(passed)
      this.#next[stream] = sequence + 1
      this.unique++
    } else if (missing.delete(sequence)) {
      this.unique++
      this.disordered++
    } else {
      this.duplicates++
    }
  }

  /** Messages that later ones of their stream have overtaken and that never came. */
  get passedOver(): number {
    let passedOver = 0
    for (const missing of this.#missing.values()) passedOver += missing.size
    return passedOver
  }
}
