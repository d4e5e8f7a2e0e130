/**
 * How much may be in a queue (x-max-length, x-max-length-bytes), and what becomes of what is too
 * much: it goes at the head, a few thousand messages in a turn, or is refused where it comes.
 * What stands aside counts too.
 */
import type { Arrival } from '../arrival.js'
import { type Backlog, removalsPerTurn } from './backlog.js'
import type { QueueHost } from './host.js'
import type { Queue } from './queue.js'
import type { QueueSettings } from './settings.js'

/** Whether these settings limit anything. */
export function limits({ maxLength, maxLengthBytes }: QueueSettings): boolean {
  return maxLength >= 0 || maxLengthBytes >= 0
}

export class LengthLimit {
  /** There is more than may be, which goes in the next turns. */
  overfull = false
  readonly #queue: Queue
  readonly #backlog: Backlog
  readonly #host: QueueHost

  constructor(queue: Queue, backlog: Backlog, host: QueueHost) {
    this.#queue = queue
    this.#backlog = backlog
    this.#host = host
  }

  /** Whether the queue refuses a message with such a body. */
  isFullFor(bodySize: number): boolean {
    if (this.#dropsHead) return false
    const { maxLength, maxLengthBytes } = this.#queue.settings
    const { asideCount, asideBytes } = this.#queue
    const { count, bytes } = this.#backlog
    return (
      (maxLength >= 0 && count + asideCount + 1 > maxLength) ||
      (maxLengthBytes >= 0 && bytes + asideBytes + bodySize > maxLengthBytes)
    )
  }

  /** The same for one that is being published, which may go to the dead letter exchange. */
  refuses(arrival: Arrival): boolean {
    const full = this.isFullFor(arrival.message.bodySize)
    if (full && this.#queue.settings.overflow === 'reject-publish-dlx')
      this.#host.bury(this.#queue, arrival.keep(), 'maxlen', false)
    return full
  }

  /** Drops what is too much; sets `overfull` if that is not all. */
  dropExcess(): void {
    if (!this.#dropsHead || this.overfull) return
    const { maxLength, maxLengthBytes } = this.#queue.settings
    const { asideCount, asideBytes } = this.#queue
    const backlog = this.#backlog
    let dropped = 0
    while (
      backlog.count > 0 &&
      ((maxLength >= 0 && backlog.count + asideCount > maxLength) ||
        (maxLengthBytes >= 0 && backlog.bytes + asideBytes > maxLengthBytes))
    ) {
      if (dropped++ === removalsPerTurn) {
        this.overfull = true
        break
      }
      backlog.dropFirst('maxlen')
    }
    backlog.watchHead()
  }

  /** A quorum queue cannot dead-letter what it refuses. */
  get #dropsHead(): boolean {
    const { overflow, type } = this.#queue.settings
    return overflow === 'drop-head' || (overflow === 'reject-publish-dlx' && type === 'quorum')
  }
}
