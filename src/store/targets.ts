/** Arguments of the log, used again for every call so that none of them is an object per message. */

/** The queues of a message, and what differs between them. */
export class Targets {
  count = 0
  queues = new Float64Array(8)
  /** Wall-clock milliseconds; 0: never. */
  expiries = new Float64Array(8)

  clear(): void {
    this.count = 0
  }

  add(queue: number, expiryMs = 0): void {
    const at = this.count++
    if (at === this.queues.length) {
      this.queues = twice(this.queues)
      this.expiries = twice(this.expiries)
    }
    this.queues[at] = queue
    this.expiries[at] = expiryMs
  }

  /** Takes one out; the last one comes in its place. */
  remove(at: number): void {
    const last = --this.count
    this.queues[at] = this.queues[last] as number
    this.expiries[at] = this.expiries[last] as number
  }
}

/** Numbers of messages, as pairs of first and last. */
export class Ranges {
  count = 0
  bounds = new Float64Array(16)

  clear(): void {
    this.count = 0
  }

  /** Adds a number; one that follows the last range makes it longer. */
  add(number: number): void {
    const last = 2 * this.count - 1
    if (this.count > 0 && this.bounds[last] === number - 1) this.bounds[last] = number
    else this.addRange(number, number)
  }

  addRange(first: number, last: number): void {
    const at = 2 * this.count++
    if (at === this.bounds.length) this.bounds = twice(this.bounds)
    this.bounds[at] = first
    this.bounds[at + 1] = last
  }
}

function twice(numbers: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(2 * numbers.length)
  larger.set(numbers)
  return larger
}
