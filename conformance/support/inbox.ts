import type { Channel, ConsumeMessage, Options } from 'amqplib'
import { patiently } from './waiting.js'

/** Consumes from a queue into an inbox. */
export async function consume(
  channel: Channel,
  queue: string,
  options: Options.Consume = {},
): Promise<Inbox> {
  const inbox = new Inbox(channel)
  const { consumerTag } = await channel.consume(queue, message => inbox.accept(message), options)
  inbox.consumerTag = consumerTag
  return inbox
}

/** What one consumer received, in order. */
export class Inbox {
  consumerTag = ''
  /** Whether the server cancelled the consumer. */
  cancelled = false
  /** Everything received so far, taken or not. */
  readonly received: ConsumeMessage[] = []
  readonly #channel: Channel
  #taken = 0
  #wake: () => void = () => {}
  #channelClosed = false

  constructor(channel: Channel) {
    this.#channel = channel
    channel.once('close', () => {
      this.#channelClosed = true
      this.#wake()
    })
  }

  accept(message: ConsumeMessage | null): void {
    if (message === null) this.cancelled = true
    else this.received.push(message)
    this.#wake()
  }

  /** The next message not taken yet. */
  next(): Promise<ConsumeMessage> {
    return patiently(this.#next(), `a delivery to ${this.consumerTag}`)
  }

  async #next(): Promise<ConsumeMessage> {
    await this.#until(() => this.#taken < this.received.length)
    return this.received[this.#taken++] as ConsumeMessage
  }

  /** The next messages not taken yet. */
  async take(count: number): Promise<ConsumeMessage[]> {
    const messages: ConsumeMessage[] = []
    while (messages.length < count) messages.push(await this.next())
    return messages
  }

  /** The bodies of the next messages. */
  async takeBodies(count: number): Promise<string[]> {
    return (await this.take(count)).map(({ content }) => content.toString())
  }

  /** The bodies of everything received so far. */
  get bodies(): string[] {
    return this.received.map(({ content }) => content.toString())
  }

  /** Resolves when the server has cancelled the consumer. */
  untilCancelled(): Promise<void> {
    return patiently(
      this.#until(() => this.cancelled),
      `the cancellation of ${this.consumerTag}`,
    )
  }

  cancel(): Promise<unknown> {
    return this.#channel.cancel(this.consumerTag)
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.#channelClosed) throw new Error(`the channel of ${this.consumerTag} is closed`)
      await new Promise<void>(resolve => {
        this.#wake = resolve
      })
    }
  }
}
