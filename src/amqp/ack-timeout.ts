/**
 * Deliveries that a client does not settle in time (RabbitMQ's consumer timeout). There is no timer
 * per delivery: a channel that has any such looks now and then, and notes with the time which tag
 * was its last. What is not later than a note that is old enough is overdue, never too early and
 * at most two looks too late.
 */
import type { Deadline } from '../broker/deadlines.js'
import { AmqpError } from '../wire/replies.js'
import type { Channel } from './channel.js'
import { ChannelConsumer } from './consumer.js'
import { type DeliverySource, Settlement } from './unacked.js'

/** Looks are this far apart, or half of the shortest time if that is less. */
const longestMs = 30_000
const shortestMs = 100

/** Deliveries that are taken back in one look. */
const perLook = 8192

interface Note {
  readonly at: number
  readonly tag: number
}

export class AckTimeout {
  readonly #channel: Channel
  readonly #look: Deadline
  /** The shortest and longest time that somebody here has. */
  #leastMs = Number.POSITIVE_INFINITY
  #mostMs = 0
  /** Oldest first. */
  #notes: Note[] = []
  /** Its consumer is cancelled, and not everything is taken back yet. */
  #unfinished: DeliverySource | null = null

  constructor(channel: Channel) {
    this.#channel = channel
    this.#look = { at: 0, place: -1, due: () => this.#lookAt() }
  }

  /** Somebody takes deliveries who has so much time for each. */
  watch(ms: number): void {
    this.#mostMs = Math.max(this.#mostMs, ms)
    const sooner = ms < this.#leastMs
    if (sooner) this.#leastMs = ms
    if (sooner || this.#look.place < 0) this.#arm(this.#intervalMs)
  }

  close(): void {
    this.#channel.vhost.deadlines.clear(this.#look)
  }

  get #intervalMs(): number {
    return Math.max(shortestMs, Math.min(longestMs, this.#leastMs / 2))
  }

  #arm(ms: number): void {
    const { clock, deadlines } = this.#channel.vhost
    deadlines.set(this.#look, clock.monotonicMs() + ms)
  }

  #lookAt(): void {
    const channel = this.#channel
    const { unacked } = channel
    if (!channel.open) return
    if (unacked.count === 0 && channel.consumers.size === 0) {
      this.#notes = []
      return
    }
    const now = channel.vhost.clock.monotonicMs()
    if (this.#notes[this.#notes.length - 1]?.tag !== channel.lastDeliveryTag)
      this.#notes.push({ at: now, tag: channel.lastDeliveryTag })
    while ((this.#notes[1]?.at ?? now) <= now - this.#mostMs) this.#notes.shift()
    const upTo = this.#lastBefore(now - this.#leastMs)
    let done = true
    while (channel.open && done) {
      const found = unacked.find(
        upTo,
        (source, tag) => source.timeoutMs >= 0 && tag <= this.#lastBefore(now - source.timeoutMs),
      )
      if (found === null) break
      done = this.#expire(found, this.#lastBefore(now - found.timeoutMs))
    }
    if (channel.open) this.#arm(done ? this.#intervalMs : 0)
  }

  /** The last tag that had been given by then; 0: none. */
  #lastBefore(then: number): number {
    let tag = 0
    for (const note of this.#notes) if (note.at <= then) tag = note.tag
    return tag
  }

  /**
   * What `source` had in hands up to a tag is overdue. A quorum queue takes it back, and its
   * consumer is cancelled (rabbit_fifo of 4.3); a client that would not hear of that, and one that
   * has messages of a classic queue (3.x), loses the channel. False: there is more to take back.
   */
  #expire(source: DeliverySource, upTo: number): boolean {
    const channel = this.#channel
    const { connection, consumers, number, unacked } = channel
    const { queue, timeoutMs } = source
    const quorum = queue.settings.type === 'quorum'
    const done = !quorum || unacked.release(source, upTo, Settlement.requeue, perLook)
    const finishing = this.#unfinished === source
    this.#unfinished = done ? null : source
    if (finishing) return done
    const tag = source instanceof ChannelConsumer ? source.tag : ''
    connection.log.ackTimedOut(number, tag, queue.name, timeoutMs)
    if (
      quorum &&
      source instanceof ChannelConsumer &&
      consumers.get(tag) === source &&
      connection.can('consumer_cancel_notify')
    ) {
      queue.removeConsumer(source)
      channel.consumerCancelled(source)
    } else {
      const text = `delivery acknowledgement on channel ${number} timed out. Timeout value used: ${timeoutMs} ms. This timeout value can be configured, see consumers doc guide to learn more`
      connection.workFailed(new AmqpError('PRECONDITION_FAILED', text, 0), channel)
    }
    return done
  }
}
