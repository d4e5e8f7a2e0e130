/**
 * The topology that MassTransit makes on RabbitMQ, and what it does with it, by hand with amqplib:
 * an exchange per message type, bound to an exchange per endpoint, bound to the endpoint's queue;
 * what a consumer fails at moves to `_error`, what nobody there consumes to `_skipped`, and a fault
 * is published to an exchange of its own.
 */
import { type Channel, type ConfirmChannel, type ConsumeMessage, connect } from 'amqplib'
import t, { type Test } from 'tap'
import { openBroker } from '../support/broker.js'
import { uniqueName } from '../support/temporary.js'
import { eventually } from '../support/waiting.js'

const ORDER = 'Contracts:OrderSubmitted'
const EVENT = 'Contracts:Event'
const FAULT = 'MassTransit:Fault--Contracts:OrderSubmitted--'

/** A bus: its names have a prefix of this test, and go with it. */
class Bus {
  readonly #prefix = uniqueName('masstransit')
  readonly #exchanges = new Set<string>()
  readonly #queues = new Set<string>()
  readonly #channel: ConfirmChannel

  constructor(channel: ConfirmChannel) {
    this.#channel = channel
  }

  name(short: string): string {
    return `${this.#prefix}:${short}`
  }

  /** Message types are durable fan-outs; a derived one is bound to its base. */
  async deploy(type: string, ...bases: readonly string[]): Promise<void> {
    await this.#exchange(type)
    for (const base of bases) {
      await this.#exchange(base)
      await this.#channel.bindExchange(this.name(base), this.name(type), '')
    }
  }

  /** An exchange and a queue of one name, which hears of the message types. */
  async endpoint(queue: string, ...types: readonly string[]): Promise<void> {
    await this.#exchange(queue)
    await this.#channel.assertQueue(this.name(queue), { durable: true })
    this.#queues.add(this.name(queue))
    await this.#channel.bindQueue(this.name(queue), this.name(queue), '')
    for (const type of types) {
      await this.#exchange(type)
      await this.#channel.bindExchange(this.name(queue), this.name(type), '')
    }
  }

  async publish(exchange: string, body: string, headers: object = {}): Promise<void> {
    const options = { mandatory: true, persistent: true, messageId: uniqueName('m'), headers }
    this.#channel.publish(this.name(exchange), '', Buffer.from(body), options)
    await this.#channel.waitForConfirms()
  }

  /** Consumes as MassTransit does: ack what went well, move and ack what did not, tell of the fault. */
  async consume(
    queue: string,
    consumers: Readonly<Record<string, (body: string) => void>>,
  ): Promise<void> {
    const receive = async (message: ConsumeMessage): Promise<void> => {
      const body = message.content.toString()
      const consumer = consumers[body.split(' ', 1)[0] as string]
      if (consumer === undefined) {
        await this.#move(message, `${queue}_skipped`, { 'MT-Reason': 'dead-letter' })
      } else {
        try {
          consumer(body)
        } catch (error) {
          const { message: text } = error as Error
          await this.#move(message, `${queue}_error`, { 'MT-Fault-Message': text })
          await this.publish(FAULT, `fault: ${text}`)
        }
      }
      this.#channel.ack(message)
    }
    await this.#channel.prefetch(16)
    await this.#channel.consume(this.name(queue), message => {
      if (message !== null) receive(message).catch(error => this.#channel.emit('error', error))
    })
  }

  async #move(message: ConsumeMessage, to: string, headers: object): Promise<void> {
    const { properties } = message
    this.#channel.publish(this.name(to), '', message.content, {
      ...properties,
      mandatory: true,
      headers: { ...properties.headers, ...headers },
    })
    await this.#channel.waitForConfirms()
  }

  async #exchange(short: string): Promise<void> {
    await this.#channel.assertExchange(this.name(short), 'fanout', { durable: true })
    this.#exchanges.add(this.name(short))
  }

  /** On another channel, since a test may have had its own closed. */
  async remove(channel: Channel): Promise<void> {
    for (const queue of this.#queues) await channel.deleteQueue(queue)
    for (const exchange of this.#exchanges) await channel.deleteExchange(exchange)
  }
}

interface Opened {
  readonly bus: Bus
  readonly channel: Channel
  /** Bodies of messages that came back. */
  readonly returned: string[]
}

async function open(t: Test): Promise<Opened> {
  const broker = await openBroker(t)
  const connection = await connect(broker.url)
  const channel = await connection.createConfirmChannel()
  const returned: string[] = []
  channel.on('return', message => returned.push(message.content.toString()))
  const bus = new Bus(channel)
  t.teardown(async () => {
    await bus.remove(await connection.createChannel())
    await connection.close()
  })
  return { bus, channel, returned }
}

t.test('every endpoint gets an event once, by whatever ways it reaches it', async t => {
  const { bus, returned } = await open(t)
  await bus.deploy(ORDER, EVENT)
  await bus.endpoint('billing', ORDER)
  await bus.endpoint('audit', ORDER, EVENT)
  const seen: string[] = []
  await bus.consume('billing', { order: body => seen.push(`billing ${body}`) })
  await bus.consume('audit', { order: body => seen.push(`audit ${body}`) })
  for (const n of [1, 2, 3]) await bus.publish(ORDER, `order ${n}`)
  await eventually('six deliveries', () => seen.length >= 6)
  await bus.publish('audit', 'order straight to the endpoint')
  await eventually('the last delivery', () => seen.length >= 7)
  t.same(
    seen.filter(line => line.startsWith('billing')),
    ['billing order 1', 'billing order 2', 'billing order 3'],
  )
  t.same(seen.filter(line => line.startsWith('audit')).length, 4)
  t.same(returned, [])
})

t.test('what a consumer fails at goes to _error and a fault is published', async t => {
  const { bus, channel } = await open(t)
  await bus.deploy(ORDER)
  await bus.deploy(FAULT)
  await bus.endpoint('billing', ORDER)
  await bus.endpoint('billing_error')
  await bus.endpoint('faults', FAULT)
  const done: string[] = []
  await bus.consume('billing', {
    order: body => {
      if (body === 'order 2') throw new Error('no such customer')
      done.push(body)
    },
  })
  const faults: string[] = []
  await bus.consume('faults', { 'fault:': body => faults.push(body) })
  for (const n of [1, 2, 3]) await bus.publish(ORDER, `order ${n}`, { 'MT-Activity-Id': 'a-1' })
  await eventually('the fault', () => faults.length > 0 && done.length === 2)
  t.same(done, ['order 1', 'order 3'])
  t.same(faults, ['fault: no such customer'])
  const moved = await channel.get(bus.name('billing_error'), { noAck: true })
  if (moved === false) throw new Error('nothing in _error')
  t.equal(moved.content.toString(), 'order 2')
  t.equal(moved.properties.deliveryMode, 2)
  t.match(moved.properties.headers, {
    'MT-Activity-Id': 'a-1',
    'MT-Fault-Message': 'no such customer',
  })
})

t.test('what nobody at the endpoint consumes goes to _skipped', async t => {
  const { bus, channel } = await open(t)
  await bus.deploy(ORDER)
  await bus.endpoint('billing', ORDER)
  await bus.endpoint('billing_skipped')
  await bus.consume('billing', { order: () => {} })
  await bus.publish(ORDER, 'cancellation 1')
  const skipped = await eventually('the skipped message', () =>
    channel.get(bus.name('billing_skipped'), { noAck: true }),
  )
  t.equal(skipped.content.toString(), 'cancellation 1')
  t.match(skipped.properties.headers, { 'MT-Reason': 'dead-letter' })
  t.match(await channel.checkQueue(bus.name('billing')), { messageCount: 0, consumerCount: 1 })
})

t.test('a mandatory event that no endpoint hears of comes back', async t => {
  const { bus, returned } = await open(t)
  await bus.deploy(ORDER, EVENT)
  await bus.publish(ORDER, 'order 1')
  t.same(returned, ['order 1'])
  await bus.endpoint('audit', EVENT)
  await bus.publish(ORDER, 'order 2')
  t.same(returned, ['order 1'])
})

t.test(
  'deploying a topology again changes nothing, and a type that changed is refused',
  async t => {
    const { bus, channel } = await open(t)
    for (let n = 0; n < 3; n += 1) {
      await bus.deploy(ORDER, EVENT)
      await bus.endpoint('audit', ORDER, EVENT)
    }
    await bus.publish(ORDER, 'order 1')
    t.match(await channel.checkQueue(bus.name('audit')), { messageCount: 1 })
    channel.once('error', () => {})
    await t.rejects(channel.assertExchange(bus.name(ORDER), 'topic', { durable: true }), {
      code: 406,
      message: `inequivalent arg 'type' for exchange '${bus.name(ORDER)}'`,
    })
  },
)

t.test('answers come to a temporary queue of the bus that asked', async t => {
  const { bus, channel } = await open(t)
  await bus.endpoint('prices')
  const replies = bus.name('bus-temporary')
  const temporary = { durable: false, autoDelete: true, arguments: { 'x-expires': 60_000 } }
  await channel.assertExchange(replies, 'fanout', { durable: false, autoDelete: true })
  await channel.assertQueue(replies, temporary)
  await channel.bindQueue(replies, replies, '')
  const answers: string[] = []
  const { consumerTag } = await channel.consume(
    replies,
    message => {
      if (message !== null) answers.push(`${message.properties.correlationId} ${message.content}`)
    },
    { noAck: true },
  )
  await channel.consume(bus.name('prices'), message => {
    if (message === null) return
    const { correlationId, replyTo } = message.properties
    channel.publish(replyTo, '', Buffer.from(`${message.content}!`), { correlationId })
    channel.ack(message)
  })
  for (const correlationId of ['a', 'b']) {
    const options = { mandatory: true, correlationId, replyTo: replies }
    channel.publish(bus.name('prices'), '', Buffer.from('how much'), options)
  }
  await eventually('two answers', () => answers.length === 2)
  t.same(answers, ['a how much!', 'b how much!'])
  await channel.cancel(consumerTag)
  channel.once('error', () => {})
  await t.rejects(channel.checkQueue(replies), { code: 404 })
})
