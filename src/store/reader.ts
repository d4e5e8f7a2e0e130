/** Reads contents by their place, for messages whose content has left memory. */
import type { LogOwner } from './log.js'
import { contentAt, isMessage, kindAt, sizeAt } from './record.js'
import type { Segment } from './segment.js'
import type { ReadRecord, Windows } from './windows.js'

/** Reads at the same time: more would take the threads away that syncs need. */
const readsMax = 2

/** Requests answered in one go out of memory, before others have their turn. */
const answersAtOnce = 64

export class Reader {
  readonly #windows: Windows
  readonly #owner: LogOwner
  readonly #segment: (number: number) => Segment | undefined
  /** Segment, offset and tag in turn. */
  #requests: number[] = []
  #next = 0
  #reading = 0

  constructor(windows: Windows, owner: LogOwner, segment: (number: number) => Segment | undefined) {
    this.#windows = windows
    this.#owner = owner
    this.#segment = segment
  }

  read(segment: number, offset: number, tag: number): void {
    this.#requests.push(segment, offset, tag)
    if (this.#reading < readsMax) {
      this.#reading++
      void this.#work().finally(() => this.#reading--)
    }
  }

  async #work(): Promise<void> {
    let atOnce = 0
    // The answer never comes before `read` has returned.
    await null
    while (this.#next < this.#requests.length) {
      const number = this.#requests[this.#next] as number
      const offset = this.#requests[this.#next + 1] as number
      const tag = this.#requests[this.#next + 2] as number
      this.#next += 3
      if (this.#next === this.#requests.length) {
        this.#requests = []
        this.#next = 0
      }
      const segment = this.#segment(number)
      const known = segment === undefined ? null : this.#windows.peek(segment, offset)
      if (known !== null && atOnce < answersAtOnce) {
        atOnce++
        this.#answer(known, tag, number, offset)
        continue
      }
      atOnce = 0
      try {
        if (segment === undefined) throw new Error(`there is no segment ${number}`)
        this.#answer(await this.#windows.record(segment, offset), tag, number, offset)
      } catch (error) {
        this.#owner.unreadable(tag, error as Error)
      }
    }
  }

  #answer({ bytes, start }: ReadRecord, tag: number, segment: number, offset: number): void {
    if (isMessage(kindAt(bytes, start)))
      this.#owner.loaded(tag, bytes, contentAt(bytes, start), start + sizeAt(bytes, start))
    else
      this.#owner.unreadable(tag, new Error(`no message at byte ${offset} of segment ${segment}`))
  }
}
