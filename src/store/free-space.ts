/**
 * Watches how much room a log's disk has left. Below the reserve nothing new is written any more;
 * what is left is for settlements and cleaning, which give room back. The disk is asked each time
 * a part of the reserve was written, and now and then, because others write there, too.
 */
import type { Clock } from '../platform/clock.js'
import type { Files } from '../platform/files.js'

/** Bytes and time after which the disk is asked again by who writes. */
const bytesBetweenMax = 16 * 1024 * 1024
const betweenMs = 10_000

/** While it is short, the disk is asked that often. */
export const shortMs = 1000

export class FreeSpace {
  /** Less than the reserve is left. */
  short = false
  readonly #files: Files
  readonly #folder: string
  readonly #clock: Clock
  readonly #reserveBytes: number
  #written = Number.POSITIVE_INFINITY
  #askedMs = 0

  constructor(files: Files, folder: string, clock: Clock, reserveBytes: number) {
    this.#files = files
    this.#folder = folder
    this.#clock = clock
    this.#reserveBytes = reserveBytes
  }

  /** So many bytes go to the disk. */
  written(bytes: number): void {
    this.#written += bytes
  }

  /** It is time to ask the disk. */
  get due(): boolean {
    if (this.#written >= Math.min(bytesBetweenMax, this.#reserveBytes / 4)) return true
    return this.#clock.monotonicMs() - this.#askedMs >= (this.short ? shortMs : betweenMs)
  }

  async ask(): Promise<void> {
    this.#asked()
    try {
      this.short = (await this.#files.freeBytes(this.#folder)) < this.#reserveBytes
    } catch {
      // A disk that does not tell may have room: a write will show it.
      this.short = false
    }
  }

  /** A write found no room, whatever the disk has told. */
  exhausted(): void {
    this.#asked()
    this.short = true
  }

  #asked(): void {
    this.#written = 0
    this.#askedMs = this.#clock.monotonicMs()
  }
}
