/** Numbers for messages in the order in which they come, one series for all queues of a broker. */
export class OrderNumbers {
  #last = 0

  /** The next number, higher than all before it. */
  take(): number {
    return ++this.#last
  }
}
