import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  type Channel,
  type ChannelModel,
  type ConfirmChannel,
  connect,
  type GetMessage,
  type Options,
} from 'amqplib'
import type { Test } from 'tap'
import type { Broker } from './broker.js'
import { connectionInternals } from './methods.js'
import { eventually, PATIENCE } from './waiting.js'

export type ConnectOptions = Options.Connect & {
  readonly clientProperties?: Record<string, unknown>
}

/** Opens a connection with one channel; both, and all it named, are gone when `t` ends. */
export async function openClient(
  t: Test,
  broker: Broker,
  options: ConnectOptions = {},
): Promise<Client> {
  t.setTimeout(2 * PATIENCE)
  const connection = await openConnection(t, broker, options)
  const client = new Client(connection, await openChannel(connection))
  t.teardown(() => client.cleanUp(broker))
  return client
}

/** Opens a connection that is closed when `t` ends. */
export async function openConnection(
  t: Test,
  broker: Pick<Broker, 'host' | 'port'>,
  options: ConnectOptions = {},
): Promise<ChannelModel> {
  const { clientProperties, ...connectOptions } = options
  const connection = await connect(
    { hostname: broker.host, port: broker.port, ...connectOptions },
    clientProperties === undefined ? {} : { clientProperties },
  )
  connection.on('error', () => {})
  t.teardown(() => closeConnection(connection))
  return connection
}

/** Closes a connection whose socket may be gone already: amqplib would wait for ever for close-ok. */
async function closeConnection(connection: ChannelModel): Promise<void> {
  const { stream } = connectionInternals(connection)
  if (stream.destroyed) return
  const gone = once(stream, 'close')
  await Promise.race([connection.close(), gone]).catch(() => {})
}

/** Opens a channel whose errors are the test's business, not the process's. */
export async function openChannel(connection: ChannelModel): Promise<Channel> {
  const channel = await connection.createChannel()
  channel.on('error', () => {})
  return channel
}

/** A name nobody else uses. */
export function uniqueName(kind: string): string {
  return `conformance.${kind}.${randomBytes(6).toString('hex')}`
}

/** A connection with a channel, and the queues and exchanges a test declares on it. */
export class Client {
  readonly connection: ChannelModel
  readonly channel: Channel
  readonly #queues: string[] = []
  readonly #exchanges: string[] = []

  constructor(connection: ChannelModel, channel: Channel) {
    this.connection = connection
    this.channel = channel
  }

  openChannel(): Promise<Channel> {
    return openChannel(this.connection)
  }

  async openConfirmChannel(): Promise<ConfirmChannel> {
    const channel = await this.connection.createConfirmChannel()
    channel.on('error', () => {})
    return channel
  }

  /** A new queue name; a queue of that name is deleted when the test ends. */
  queueName(name: string = uniqueName('queue')): string {
    this.#queues.push(name)
    return name
  }

  /** A new exchange name; an exchange of that name is deleted when the test ends. */
  exchangeName(name: string = uniqueName('exchange')): string {
    this.#exchanges.push(name)
    return name
  }

  /** Declares a transient queue of a new name. */
  async queue(options: Options.AssertQueue = {}): Promise<string> {
    const { queue } = await this.channel.assertQueue(this.queueName(), {
      durable: false,
      ...options,
    })
    return queue
  }

  /** Declares a transient exchange of a new name. */
  async exchange(type: string, options: Options.AssertExchange = {}): Promise<string> {
    const name = this.exchangeName()
    await this.channel.assertExchange(name, type, { durable: false, ...options })
    return name
  }

  /** Declares a queue bound to the exchange. */
  async boundQueue(exchange: string, key: string, args: object = {}): Promise<string> {
    const queue = await this.queue()
    await this.channel.bindQueue(queue, exchange, key, args)
    return queue
  }

  publish(exchange: string, key: string, body: string, options: Options.Publish = {}): void {
    this.channel.publish(exchange, key, Buffer.from(body), options)
  }

  send(queue: string, body: string, options: Options.Publish = {}): void {
    this.publish('', queue, body, options)
  }

  /** The next message, which must already be there. */
  async get(queue: string): Promise<GetMessage> {
    const message = await this.channel.get(queue, { noAck: true })
    if (message === false) throw new Error(`no message in ${queue}`)
    return message
  }

  /** The next message, which may still be on its way. */
  getEventually(queue: string): Promise<GetMessage> {
    return eventually(`a message in ${queue}`, () => this.channel.get(queue, { noAck: true }))
  }

  /** The bodies of all ready messages, which are taken out. */
  async drain(queue: string): Promise<string[]> {
    const bodies: string[] = []
    for (;;) {
      const message = await this.channel.get(queue, { noAck: true })
      if (message === false) return bodies
      bodies.push(message.content.toString())
    }
  }

  /** How many messages are ready; RabbitMQ may answer before it has seen publishes sent earlier. */
  async ready(queue: string): Promise<number> {
    return (await this.channel.checkQueue(queue)).messageCount
  }

  /** How many consumers the queue has. */
  async consumers(queue: string): Promise<number> {
    return (await this.channel.checkQueue(queue)).consumerCount
  }

  /** Waits until as many messages are ready. */
  async untilReady(queue: string, count: number): Promise<void> {
    await eventually(
      `${count} messages in ${queue}`,
      async () => (await this.ready(queue)) === count,
    )
  }

  /** Whether the queue exists, asked on a channel of its own because the answer no closes it. */
  async queueExists(queue: string): Promise<boolean> {
    return this.#answers(channel => channel.checkQueue(queue))
  }

  async exchangeExists(exchange: string): Promise<boolean> {
    return this.#answers(channel => channel.checkExchange(exchange))
  }

  async #answers(question: (channel: Channel) => Promise<unknown>): Promise<boolean> {
    const channel = await this.openChannel()
    try {
      await question(channel)
    } catch (error) {
      if ((error as { code?: number }).code === 404) return false
      throw error
    }
    await channel.close()
    return true
  }

  /** Closes the connection and, on a broker that outlives the test, deletes what it named. */
  async cleanUp(broker: Broker): Promise<void> {
    await closeConnection(this.connection)
    if (!broker.real || this.#queues.length + this.#exchanges.length === 0) return
    const connection = await connect(broker.url)
    const channel = await openChannel(connection)
    for (const queue of this.#queues) await channel.deleteQueue(queue)
    for (const exchange of this.#exchanges) await channel.deleteExchange(exchange)
    await connection.close()
  }
}
