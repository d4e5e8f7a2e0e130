/** What is durable of a broker's definitions. */
export class Definitions {
  #lastQueue = 0

  /** A number for a durable queue, which no other ever has. */
  takeQueueNumber(): number {
    return ++this.#lastQueue
  }
}
