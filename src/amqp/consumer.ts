/**
 * A consumer of a channel: gives deliveries their tags, writes them, and stops taking more while
 * its prefetch window is full, the channel's shared one is, or the connection's output is not
 * being read.
 */
import { Consumer } from '../broker/queues/consumer.js'
import type { Queue } from '../broker/queues/queue.js'
import type { FieldTable } from '../wire/field-table.js'
import { writeDeliver } from '../wire/hot-methods.js'
import type { Message } from '../wire/message.js'
import type { Channel } from './channel.js'
import { type DeliverySource, Settlement } from './unacked.js'

/** Why a consumer takes nothing for the moment: bits. */
export const Hold = { prefetch: 1, channel: 2, congestion: 4 } as const

/** What basic.consume asked for. */
export interface ConsumerRequest {
  readonly tag: string
  readonly noAck: boolean
  readonly exclusive: boolean
  readonly priority: number
  /** How long it may keep a delivery; below 0: as the queue has it. */
  readonly timeoutMs: number
  readonly arguments: FieldTable
}

export class ChannelConsumer extends Consumer implements DeliverySource {
  readonly channel: Channel
  readonly queue: Queue
  readonly tag: string
  readonly noAck: boolean
  readonly exclusive: boolean
  readonly priority: number
  /** Deliveries at most outstanding; 0 for no limit. */
  readonly prefetch: number
  readonly arguments: FieldTable
  /** For each delivery; below 0: none. */
  readonly timeoutMs: number
  readonly #encodedTag: Buffer
  /** Its deliveries count towards the channel's shared window: quorum queues know none. */
  readonly shares: boolean
  #holds = 0

  constructor(channel: Channel, queue: Queue, request: ConsumerRequest, prefetch: number) {
    super()
    this.channel = channel
    this.queue = queue
    this.tag = request.tag
    this.noAck = request.noAck
    this.exclusive = request.exclusive
    this.priority = request.priority
    this.prefetch = request.noAck ? 0 : prefetch
    this.arguments = request.arguments
    if (request.noAck) this.timeoutMs = -1
    else this.timeoutMs = request.timeoutMs >= 0 ? request.timeoutMs : queue.consumerTimeoutMs
    this.shares = queue.settings.type === 'classic'
    this.#encodedTag = encodedTag(request.tag)
  }

  deliver(
    message: Message,
    slot: number,
    redelivered: boolean,
    deadline: number,
    returns: number,
  ): void {
    const { channel } = this
    const tag = ++channel.lastDeliveryTag
    try {
      if (!this.noAck) {
        channel.unacked.push(tag, slot, this, deadline, returns)
        if (++this.outstanding === this.prefetch) this.hold(Hold.prefetch)
        if (this.shares) channel.delivered()
      }
      const { firehose } = channel.vhost
      if (firehose !== null) firehose.delivered(message, this.queue.name, redelivered, channel)
      writeDeliver(
        channel.writer,
        channel.number,
        channel.frameMax,
        this.#encodedTag,
        tag,
        redelivered,
        message,
      )
    } catch (error) {
      // A fault of ours is this connection's, not that of whoever published the message.
      channel.connection.failed(error)
    }
  }

  settle(settlement: Settlement, slot: number, deadline: number, returns: number): void {
    if (this.outstanding-- === this.prefetch) this.release(Hold.prefetch)
    if (this.shares) this.channel.deliverySettled()
    settleIn(this.queue, settlement, slot, deadline, returns)
    if (this.yields) this.queue.handOver()
  }

  cancelled(): void {
    this.channel.consumerCancelled(this)
  }

  /** Takes deliveries from now on, unless something holds it. */
  start(): void {
    if (this.#holds === 0) this.queue.resume(this)
  }

  /** Takes nothing until every reason is released. */
  hold(reason: number): void {
    if (this.#holds === 0) this.queue.consumers.pause(this)
    this.#holds |= reason
  }

  release(reason: number): void {
    if (this.#holds === 0) return
    this.#holds &= ~reason
    if (this.#holds === 0) this.queue.resume(this)
  }
}

/** A consumer tag as it stands on the wire, length octet included. */
export function encodedTag(tag: string): Buffer {
  const text = Buffer.from(tag)
  return Buffer.concat([Buffer.of(text.length), text])
}

/** basic.get as the source of a delivery: it has no window. */
export class GetSource implements DeliverySource {
  readonly queue: Queue
  readonly timeoutMs: number

  constructor(queue: Queue) {
    this.queue = queue
    this.timeoutMs = queue.consumerTimeoutMs
  }

  settle(settlement: Settlement, slot: number, deadline: number, returns: number): void {
    settleIn(this.queue, settlement, slot, deadline, returns)
  }
}

function settleIn(
  queue: Queue,
  settlement: Settlement,
  slot: number,
  deadline: number,
  returns: number,
): void {
  if (settlement === Settlement.complete) queue.complete(slot)
  else if (settlement === Settlement.discard) queue.discard(slot)
  else queue.giveBack(slot, deadline, returns, settlement === Settlement.fail)
}
