/** Puts records together again from the payloads of blocks. */
import type { Pace } from './pace.js'
import { headBytes, sizeAt } from './record.js'

/** Records after which the clock is looked at: a definition takes ten microseconds or more. */
const recordsPerLook = 16

/** What stands in a good block makes no sense as a record. */
export class NoRecord extends Error {
  constructor(offset: number) {
    super(`what stands at byte ${offset} is no record`)
  }
}

/** What was read is no record: also where a number in it points to nowhere. */
export function isNonsense(error: unknown): boolean {
  return (
    error instanceof NoRecord ||
    (error instanceof RangeError &&
      String((error as NodeJS.ErrnoException).code).startsWith('ERR_'))
  )
}

export class RecordStream {
  /** Hears of each record: `bytes` from `start`, valid only during the call, and its place in the file. */
  readonly #found: (bytes: Buffer, start: number, offset: number) => void
  #partial = Buffer.alloc(0)
  #filled = 0
  #offset = 0

  constructor(found: (bytes: Buffer, start: number, offset: number) => void) {
    this.#found = found
  }

  /** Forgets a record whose rest is missing. */
  reset(): void {
    this.#filled = 0
  }

  /**
   * The payload of the next block: `bytes[start..end)`, which stands at `offset` in the file. With a
   * `pace` it stops when a pause is due, and returns from where it is to be fed again; else `end`.
   */
  feed(bytes: Buffer, start: number, end: number, offset: number, pace?: Pace): number {
    let at = start
    while (this.#filled > 0 && at < end) at = this.#complete(bytes, at, end)
    for (let records = 1; at < end; records++) {
      if (end - at >= 4 && sizeAt(bytes, at) < headBytes) throw new NoRecord(offset + at - start)
      if (end - at < 4 || at + sizeAt(bytes, at) > end) {
        this.#offset = offset + at - start
        this.#keep(bytes, at, end)
        return end
      }
      this.#found(bytes, at, offset + at - start)
      at += sizeAt(bytes, at)
      if (records % recordsPerLook === 0 && pace?.due) return at
    }
    return end
  }

  /** Goes on with a record that was begun; returns where it stopped. */
  #complete(bytes: Buffer, start: number, end: number): number {
    const wanted = this.#filled < 4 ? 4 : sizeAt(this.#partial, 0)
    const at = Math.min(end, start + wanted - this.#filled)
    this.#keep(bytes, start, at)
    const size = this.#filled < 4 ? headBytes : sizeAt(this.#partial, 0)
    if (size < headBytes) throw new NoRecord(this.#offset)
    if (this.#filled === size) {
      this.#filled = 0
      this.#found(this.#partial, 0, this.#offset)
    }
    return at
  }

  #keep(bytes: Buffer, start: number, end: number): void {
    const filled = this.#filled + end - start
    if (filled > this.#partial.length) {
      const known = this.#filled >= 4 ? sizeAt(this.#partial, 0) : 0
      const larger = Buffer.allocUnsafeSlow(Math.max(filled, Math.min(known, 2 * filled), 1024))
      this.#partial.copy(larger, 0, 0, this.#filled)
      this.#partial = larger
    }
    bytes.copy(this.#partial, this.#filled, start, end)
    this.#filled = filled
  }
}
