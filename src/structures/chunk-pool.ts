/**
 * The one allocator of byte chunks: message storage, outgoing frames and half-received bodies
 * all take their memory here. Chunks come back last-in-first-out, so that the next taker writes
 * to memory which is still in the processor's cache; cycling through cold chunks halved the
 * throughput at 1 KiB.
 */

/** Bytes of a chunk: large enough that a write carries hundreds of small messages, and no more than one turn's input. */
export const chunkBytes = 256 * 1024

/**
 * Idle chunks above this many bytes go back to the operating system; above the second when memory
 * is short. Chunks of a batch come back together: with few kept, most would be collected as
 * garbage and made again, which costs more than their memory is worth.
 */
const idleBytesMax = 64 * 1024 * 1024
const idleBytesMaxWhenShort = 24 * 1024 * 1024

export class ChunkPool {
  readonly #idle: Buffer[] = []
  /** Chunks handed out and not yet returned. */
  taken = 0
  #idleMax = idleBytesMax

  /** A chunk of `chunkBytes` with undefined content. */
  take(): Buffer {
    this.taken++
    return this.#idle.pop() ?? Buffer.allocUnsafeSlow(chunkBytes)
  }

  /** Returns a chunk; the caller keeps no reference to it. */
  give(chunk: Buffer): void {
    this.taken--
    if ((this.#idle.length + 1) * chunkBytes <= this.#idleMax) this.#idle.push(chunk)
  }

  /** Memory is short, or is not any more. */
  set short(short: boolean) {
    this.#idleMax = short ? idleBytesMaxWhenShort : idleBytesMax
    while (this.idleBytes > this.#idleMax) this.#idle.pop()
  }

  /** Counts a chunk out that somebody may still read: it goes to the garbage collector instead. */
  forget(): void {
    this.taken--
  }

  /** Bytes of the chunks in use. */
  get takenBytes(): number {
    return this.taken * chunkBytes
  }

  /** Bytes of the chunks that nobody uses. */
  get idleBytes(): number {
    return this.#idle.length * chunkBytes
  }
}
