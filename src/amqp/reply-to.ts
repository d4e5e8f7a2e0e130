/**
 * Direct reply-to: a channel consumes from the pseudo-queue `amq.rabbitmq.reply-to`, its requests
 * carry a name that is made for it, and what is published to that name goes straight to it. There
 * is no queue: a reply to somebody who has gone is dropped.
 */
import type { ReplyTarget } from '../broker/requesters.js'
import { writeDeliver } from '../wire/hot-methods.js'
import type { Message } from '../wire/message.js'
import type { Channel } from './channel.js'
import { encodedTag } from './consumer.js'

/** Replies are dropped while this much waits for a requester that does not read. */
const unsentMax = 64 * 1024 * 1024

export class ReplyConsumer implements ReplyTarget {
  readonly tag: string
  /** What stands in the requests instead of the pseudo-queue. */
  readonly address: string
  readonly #channel: Channel
  readonly #encodedTag: Buffer

  constructor(channel: Channel, tag: string, address: string) {
    this.#channel = channel
    this.tag = tag
    this.address = address
    this.#encodedTag = encodedTag(tag)
  }

  deliver(message: Message): void {
    const { writer, number, frameMax } = this.#channel
    if (writer.unsentBytes > unsentMax) return
    const tag = ++this.#channel.lastDeliveryTag
    writeDeliver(writer, number, frameMax, this.#encodedTag, tag, false, message)
  }
}
