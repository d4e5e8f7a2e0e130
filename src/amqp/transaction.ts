/**
 * A channel in transaction mode (tx.*): publishes and settlements wait for the commit. Messages
 * are routed when they are published, and enqueued, returned and counted when it comes.
 */
import type { Queue } from '../broker/queues/queue.js'
import type { Route } from '../broker/router.js'
import { Mark } from '../store/message-table.js'
import { AmqpError } from '../wire/replies.js'
import type { Channel } from './channel.js'

interface HeldPublish {
  readonly route: Route
  readonly queues: readonly Queue[]
  readonly mandatory: boolean
  readonly bytes: Buffer
  readonly parts: readonly Buffer[] | null
  readonly marks: number
  readonly expirationMs: number
}

export class Transaction {
  readonly #channel: Channel
  #publishes: HeldPublish[] = []

  constructor(channel: Channel) {
    this.#channel = channel
  }

  /** Holds the message that the vhost's arrival shows, and that goes to `queues`. */
  publish(route: Route, queues: readonly Queue[], mandatory: boolean): void {
    const { arrival } = this.#channel.vhost
    const { bytes, start, end, parts } = arrival.whole
    const { marks, expirationMs, ownsBytes } = arrival
    this.#publishes.push({
      route,
      queues,
      mandatory,
      bytes: ownsBytes ? bytes.subarray(start, end) : Buffer.from(bytes.subarray(start, end)),
      parts,
      marks,
      expirationMs,
    })
  }

  /** Carries everything out. Refused messages (reject-publish) fail the commit, the rest stays done. */
  commit(): void {
    const publishes = this.#publishes
    this.#publishes = []
    const { vhost, publisher } = this.#channel
    const { arrival } = vhost
    let complete = true
    for (const { route, queues, mandatory, bytes, parts, marks, expirationMs } of publishes) {
      arrival.message.at(bytes, 0, bytes.length, parts)
      arrival.begin(marks, expirationMs, true)
      if ((marks & Mark.hiddenKeys) !== 0) arrival.hideBcc()
      const outcome = vhost.publishRouted(route, queues, arrival)
      if (!publisher.conclude(outcome, mandatory)) complete = false
    }
    this.#channel.unacked.commit()
    if (!complete) throw new AmqpError('PRECONDITION_FAILED', 'partial tx completion')
  }

  /** Forgets everything: the deliveries can be settled again. */
  rollback(): void {
    this.#publishes = []
    this.#channel.unacked.rollback()
  }
}
