/**
 * A channel in transaction mode (tx.*): publishes and settlements wait for the commit. Messages
 * are routed when they are published, and enqueued, returned and counted when it comes.
 */
import type { LogWaiter } from '../broker/journal.js'
import type { Queue } from '../broker/queues/queue.js'
import type { Route } from '../broker/router.js'
import { Mark } from '../store/message-table.js'
import { AmqpError } from '../wire/replies.js'
import type { Channel } from './channel.js'
import { Returning } from './returning.js'

/** A publish costs about so many settlements; one to many queues costs more, so the time is looked at too. */
const publishCost = 4
const publishMs = 2

interface HeldPublish {
  readonly route: Route
  readonly queues: readonly Queue[]
  readonly mandatory: boolean
  readonly furtherKeys: readonly string[] | null
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

  /** Publishes that wait for the commit. */
  get waiting(): number {
    return this.#publishes.length
  }

  /** Holds the message that the vhost's arrival shows, and that goes to `queues`. */
  publish(
    route: Route,
    queues: readonly Queue[],
    mandatory: boolean,
    furtherKeys: readonly string[] | null,
  ): void {
    const { arrival } = this.#channel.vhost
    const { bytes, start, end, parts } = arrival.whole
    const { marks, expirationMs, ownsBytes } = arrival
    this.#publishes.push({
      route,
      queues,
      mandatory,
      furtherKeys,
      bytes: ownsBytes ? bytes.subarray(start, end) : Buffer.from(bytes.subarray(start, end)),
      parts,
      marks,
      expirationMs,
    })
  }

  /** Carries everything out and then answers. Refused messages (reject-publish) fail the commit, the rest stays done. */
  commit(answer: () => void): void {
    const publishes = this.#publishes
    this.#publishes = []
    const { unacked, vhost } = this.#channel
    const { clock, journal } = vhost
    let at = 0
    let complete = true
    let awaited = 0
    let returning: Returning | null = null
    const logged: number[] = []
    const work = (most: number) => {
      const deadline = clock.monotonicMs() + publishMs
      for (const end = at + most / publishCost; at < publishes.length; at++) {
        if (at >= end || clock.monotonicMs() > deadline) return false
        if (!this.#publish(publishes[at] as HeldPublish)) complete = false
        const { loggedAs } = vhost.arrival
        if (loggedAs > 0) logged.push(loggedAs)
      }
      const done = unacked.commit(most)
      if (!done) returning ??= new Returning(unacked)
      return done
    }
    let begun = false
    this.#channel.carryOut(
      most => {
        if (!begun) {
          if (!journal.mayBegin(() => this.#channel.goOn())) return null
          journal.beginTransaction()
          begun = true
        }
        let done = true
        try {
          done = work(most)
        } finally {
          if (done) {
            awaited = journal.endTransaction()
            returning?.end()
          }
        }
        return done
      },
      () => {
        if (!complete) throw partial()
        if (awaited <= journal.durableUpTo) answer()
        else journal.wait(new Commit(this.#channel, awaited, logged, answer))
      },
    )
  }

  /** Forgets everything: the deliveries can be settled again. */
  rollback(): void {
    this.#publishes = []
    this.#channel.unacked.rollback()
  }

  /** False: it was refused. */
  #publish({
    route,
    queues,
    mandatory,
    furtherKeys,
    bytes,
    parts,
    marks,
    expirationMs,
  }: HeldPublish): boolean {
    const { vhost, publisher, open } = this.#channel
    const { arrival } = vhost
    arrival.message.at(bytes, 0, bytes.length, parts)
    arrival.begin(marks, expirationMs, true)
    if ((marks & Mark.hiddenKeys) !== 0) arrival.hideBcc()
    const outcome = vhost.publishRouted(route, queues, arrival, furtherKeys)
    return publisher.conclude(outcome, mandatory && open)
  }
}

/** A commit that waits for the log; meanwhile its connection is not read from. */
class Commit implements LogWaiter {
  readonly #channel: Channel
  readonly #awaited: number
  readonly #logged: readonly number[]
  readonly #answer: () => void

  constructor(channel: Channel, awaited: number, logged: readonly number[], answer: () => void) {
    this.#channel = channel
    this.#awaited = awaited
    this.#logged = logged
    this.#answer = answer
    channel.connection.work(true)
  }

  durable(): boolean {
    const { vhost, connection, open } = this.#channel
    if (vhost.journal.durableUpTo < this.#awaited) return true
    if (open) this.#answer()
    connection.work(false)
    return false
  }

  failed(from: number, refused: Set<number>): boolean {
    if (this.#awaited < from) return true
    for (const number of this.#logged) if (number >= from) refused.add(number)
    const { connection, open } = this.#channel
    if (open) connection.workFailed(partial(), this.#channel)
    connection.work(false)
    return false
  }
}

/** RabbitMQ's answer to a commit of which not everything was done. */
function partial(): AmqpError {
  return new AmqpError('PRECONDITION_FAILED', 'partial tx completion')
}
