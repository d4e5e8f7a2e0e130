/**
 * The input of a socket whose bytes come in buffers of their own: gives them on as other sockets do,
 * in the shared buffer, no more at a time than a share, and none while it is paused.
 */
import type { ReadBuffer, SocketOwner } from './sockets.js'

/** Where the bytes come from. */
interface Source {
  pause(): void
  resume(): void
}

export class Inflow {
  readonly #source: Source
  readonly #buffer: ReadBuffer
  #owner: SocketOwner | null = null
  /** What has come and is not given on; `#at` counts what of the first is. */
  readonly #waiting: Buffer[] = []
  #at = 0
  #paused = true
  #giving = false
  /** The source has no more. */
  #over: (() => void) | null = null

  constructor(source: Source, buffer: ReadBuffer) {
    this.#source = source
    this.#buffer = buffer
  }

  /** Says who gets the bytes, and begins. */
  attach(owner: SocketOwner): void {
    this.#owner = owner
    this.resume()
  }

  /** Bytes came; they do not change. */
  push(bytes: Buffer): void {
    if (bytes.length > 0) this.#waiting.push(bytes)
    this.#give()
  }

  /** Nothing more will come: calls `over` once everything is given on. */
  end(over: () => void): void {
    this.#over = over
    this.#give()
  }

  /** Forgets what was not given on. */
  drop(): void {
    this.#waiting.length = 0
    this.#at = 0
    this.#give()
  }

  pause(): void {
    if (this.#paused) return
    this.#paused = true
    this.#source.pause()
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#give()
    if (!this.#paused) this.#source.resume()
  }

  #give(): void {
    if (this.#giving) return
    this.#giving = true
    while (!this.#paused) {
      const bytes = this.#waiting[0]
      if (bytes === undefined) break
      const { share } = this.#buffer
      const end = Math.min(bytes.length, this.#at + share.length)
      const length = bytes.copy(share, 0, this.#at, end)
      this.#at = end
      if (end === bytes.length) {
        this.#waiting.shift()
        this.#at = 0
      }
      this.#buffer.count()
      this.#owner?.received(share, length)
    }
    this.#giving = false
    if (this.#waiting.length > 0) return
    const over = this.#over
    this.#over = null
    over?.()
  }
}
