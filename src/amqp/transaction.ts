/**
 * A channel in transaction mode (tx.*): publishes and settlements wait for the commit. Messages
 * are routed when they are published, and enqueued, returned and counted when it comes.
 */
import type { Arrival } from '../broker/arrival.js'
import type { Route } from '../broker/router.js'
import { Mark } from '../store/message-table.js'
import { AmqpError } from '../wire/replies.js'
import type { Channel } from './channel.js'

interface HeldPublish {
  readonly route: Route
  readonly furtherKeys: readonly string[] | null
  readonly mandatory: boolean
  readonly bytes: Buffer
  readonly parts: readonly Buffer[] | null
  readonly marks: number
  readonly expirationMs: number
}

export class Transaction {
  readonly #channel: Channel
  readonly #arrival: Arrival
  #publishes: HeldPublish[] = []

  constructor(channel: Channel, arrival: Arrival) {
    this.#channel = channel
    this.#arrival = arrival
  }

  /** Holds the message that the arrival shows. */
  publish(
    route: Route,
    arrival: Arrival,
    furtherKeys: readonly string[] | null,
    mandatory: boolean,
  ): void {
    const { bytes, start, end, parts } = arrival.whole
    const { marks, expirationMs, ownsBytes } = arrival
    this.#publishes.push({
      route,
      furtherKeys,
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
    let complete = true
    for (const held of publishes) {
      this.#arrival.message.at(held.bytes, 0, held.bytes.length, held.parts)
      this.#arrival.begin(held.marks, held.expirationMs, true)
      if ((held.marks & Mark.hiddenKeys) !== 0) this.#arrival.hideBcc()
      if (!this.#channel.publisher.send(held.route, held.furtherKeys, held.mandatory))
        complete = false
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
