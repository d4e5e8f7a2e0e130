/** Reads contents by their place, for messages whose content has left memory. */
import type { LogOwner } from './log.js'
import { contentAt, isMessage, kindAt, sizeAt } from './record.js'
import type { Segment } from './segment.js'
import type { ReadRecord, Windows } from './windows.js'

/** Reads at the same time: more would take the threads away that syncs need. */
const readsMax = 2

export class Reader {
  readonly #windows: Windows
  readonly #owner: LogOwner
  readonly #segment: (number: number) => Segment | undefined
  /** Where to read, and offset and tag in turn. A segment with readers stays until they are done. */
  #segments: (Segment | undefined)[] = []
  #requests: number[] = []
  #next = 0
  #reading = 0

  constructor(windows: Windows, owner: LogOwner, segment: (number: number) => Segment | undefined) {
    this.#windows = windows
    this.#owner = owner
    this.#segment = segment
  }

  read(number: number, offset: number, tag: number): void {
    const segment = this.#segment(number)
    segment?.enter()
    this.#segments.push(segment)
    this.#requests.push(offset, tag)
    if (this.#reading < readsMax) {
      this.#reading++
      void this.#work()
    }
  }

  async #work(): Promise<void> {
    // The answer never comes before `read` has returned.
    await null
    while (this.#next < this.#segments.length) {
      const segment = this.#segments[this.#next]
      const offset = this.#requests[2 * this.#next] as number
      const tag = this.#requests[2 * this.#next + 1] as number
      this.#next++
      if (this.#next === this.#segments.length) {
        this.#segments = []
        this.#requests = []
        this.#next = 0
      }
      if (segment === undefined) {
        this.#owner.unreadable(tag, new Error('there is no such segment'))
        continue
      }
      const known = this.#windows.peek(segment, offset)
      try {
        this.#answer(known ?? (await this.#windows.record(segment, offset)), tag, segment, offset)
      } catch (error) {
        this.#owner.unreadable(tag, error as Error)
      }
      segment.leave()
    }
    this.#reading--
  }

  #answer({ bytes, start }: ReadRecord, tag: number, segment: Segment, offset: number): void {
    if (isMessage(kindAt(bytes, start)))
      this.#owner.loaded(tag, bytes, contentAt(bytes, start), start + sizeAt(bytes, start))
    else this.#owner.unreadable(tag, new Error(`${segment.path} has no message at byte ${offset}`))
  }
}
