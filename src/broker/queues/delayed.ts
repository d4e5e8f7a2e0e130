/**
 * Messages that came back to a quorum queue and wait before they are ready again (RabbitMQ 4.3's
 * delayed retry). They are not ready, but count for its limits. After a restart they do not wait.
 */
import type { Deadline } from '../deadlines.js'
import { settle } from './disposal.js'
import type { QueueHost } from './host.js'
import type { Queue } from './queue.js'
import { deliveryCount } from './return-count.js'
import { Returned } from './returned.js'

/** Messages that become ready in one go. */
const perLook = 4096

/** How long a message of these settings waits; `failed`: its delivery did. 0: it does not. */
export function delayMs({ settings }: Queue, returns: number, failed: boolean): number {
  const { delayedRetryType: type, delayedRetryMinMs: least, delayedRetryMaxMs: most } = settings
  if (type === 'disabled' || least < 0) return 0
  if (type !== 'all' && (type === 'failed') !== failed) return 0
  return Math.min(least * Math.max(1, deliveryCount(returns)), most < 0 ? least : most)
}

interface Waiting {
  readonly at: number
  readonly slot: number
  readonly deadline: number
  readonly returns: number
}

export class Delayed {
  readonly #queue: Queue
  readonly #host: QueueHost
  readonly #release: (slot: number, deadline: number, returns: number) => void
  /** By the moment at which they are ready. */
  #waiting = new Returned()
  readonly #due: Deadline

  constructor(
    queue: Queue,
    host: QueueHost,
    release: (slot: number, deadline: number, returns: number) => void,
  ) {
    this.#queue = queue
    this.#host = host
    this.#release = release
    this.#due = { at: 0, place: -1, due: () => this.#releaseDue() }
  }

  get count(): number {
    return this.#waiting.count
  }

  /** `deadline` and `returns` are what the queue keeps of it. */
  add(slot: number, deadline: number, returns: number, ms: number): void {
    const { clock, messages } = this.#host
    this.#waiting.push(clock.monotonicMs() + ms, slot, deadline, returns)
    this.#queue.asideCount++
    this.#queue.asideBytes += messages.bodySize(slot)
    this.#arm()
  }

  /** Throws them away and returns how many they were. */
  clear(): number {
    const { count } = this.#waiting
    this.#host.deadlines.clear(this.#due)
    for (let left = count; left > 0; left--) settle(this.#queue, this.#take().slot, this.#host)
    return count
  }

  /** Those that are ready at the same moment go in the order in which they were published. */
  #releaseDue(): void {
    const { clock, messages } = this.#host
    const now = clock.monotonicMs()
    const ready: Waiting[] = []
    while (this.count > 0 && this.#waiting.number <= now && ready.length < perLook)
      ready.push(this.#take())
    ready.sort((a, b) => a.at - b.at || messages.number(a.slot) - messages.number(b.slot))
    for (const { slot, deadline, returns } of ready) this.#release(slot, deadline, returns)
    this.#arm()
  }

  #take(): Waiting {
    const { number: at, slot, deadline, returns } = this.#waiting
    this.#waiting.shift()
    this.#queue.asideCount--
    this.#queue.asideBytes -= this.#host.messages.bodySize(slot)
    return { at, slot, deadline, returns }
  }

  #arm(): void {
    const { deadlines } = this.#host
    if (this.count === 0) return
    const at = this.#waiting.number
    if (this.#due.place < 0 || this.#due.at > at) deadlines.set(this.#due, at)
  }
}
