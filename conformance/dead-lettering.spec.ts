import type { GetMessage, Options } from 'amqplib'
import t from 'tap'
import { decided } from './exceptions.js'
import { openBroker } from './support/broker.js'
import { type Client, openClient, uniqueName } from './support/client.js'
import { consume } from './support/inbox.js'
import { nackTag, publishExactly } from './support/methods.js'
import { elapse, eventually } from './support/waiting.js'

const broker = await openBroker(t)

interface Death {
  readonly count: number
  readonly reason: string
  readonly queue: string
  readonly exchange: string
  readonly time: { readonly '!': 'timestamp'; readonly value: number }
  readonly 'routing-keys': readonly string[]
  readonly 'original-expiration'?: string
}

const deaths = (message: GetMessage): Death[] =>
  (message.properties.headers?.['x-death'] ?? []) as Death[]

/** Which queue killed it, why and how often; newest first. */
const summary = (message: GetMessage) =>
  deaths(message).map(({ queue, reason, count }) => [queue, reason, count])

/** A queue, the exchange its dead letters go to, and the queue that collects them. */
async function cemetery(client: Client, options: Options.AssertQueue = {}) {
  const exchange = await client.exchange('fanout')
  const dead = await client.boundQueue(exchange, '')
  const queue = await client.queue({ deadLetterExchange: exchange, ...options })
  return { exchange, dead, queue }
}

/** Takes the next message and refuses it. */
async function reject(client: Client, queue: string): Promise<GetMessage> {
  const message = await eventually(`a message in ${queue}`, () => client.channel.get(queue))
  client.channel.reject(message, false)
  return message
}

t.test('a rejected message becomes a dead letter with its history', async t => {
  const client = await openClient(t, broker)
  const { exchange, dead, queue } = await cemetery(client)
  const source = await client.exchange('direct')
  await client.channel.bindQueue(queue, source, 'order')
  const before = Math.floor(Date.now() / 1000) - 2
  client.publish(source, 'order', 'body', { headers: { own: 1 }, messageId: 'm', priority: 3 })
  await reject(client, queue)

  const message = await client.getEventually(dead)
  t.equal(message.content.toString(), 'body')
  t.match(message.fields, { exchange, routingKey: 'order', redelivered: false })
  t.match(message.properties, { messageId: 'm', priority: 3 })
  const [death] = deaths(message)
  t.ok(death!.time.value >= before && death!.time.value <= before + 600, 'in seconds')
  t.same(deaths(message), [
    {
      count: 1,
      reason: 'rejected',
      queue,
      time: death!.time,
      exchange: source,
      'routing-keys': ['order'],
    },
  ])
  t.match(message.properties.headers, {
    own: 1,
    'x-first-death-reason': 'rejected',
    'x-first-death-queue': queue,
    'x-first-death-exchange': source,
  })
})

t.test('nack without requeue makes dead letters of all it covers, in order', async t => {
  const client = await openClient(t, broker)
  const { dead, queue } = await cemetery(client)
  const { channel } = client
  for (const body of ['1', '2', '3', '4']) client.send(queue, body)
  for (let count = 0; count < 4; count++) await channel.get(queue)
  nackTag(channel, 3, { multiple: true, requeue: false })
  await client.untilReady(dead, 3)
  t.same(await client.drain(dead), ['1', '2', '3'])
})

t.test('a message its queue lets expire has no original expiration', async t => {
  const client = await openClient(t, broker)
  const { dead, queue } = await cemetery(client, { messageTtl: 50 })
  client.send(queue, 'x')
  const message = await client.getEventually(dead)
  t.same(summary(message), [[queue, 'expired', 1]])
  t.notOk('original-expiration' in deaths(message)[0]!)
})

t.test('a message that expires by itself loses its expiration to its history', async t => {
  const client = await openClient(t, broker)
  const { dead, queue } = await cemetery(client)
  client.send(queue, 'x', { expiration: 50 })
  const message = await client.getEventually(dead)
  t.equal(message.properties.expiration, undefined)
  t.equal(deaths(message)[0]?.reason, 'expired')
  t.equal(deaths(message)[0]?.['original-expiration'], '50')
})

t.test('a rejected message with an expiration loses it too', async t => {
  const client = await openClient(t, broker)
  const { dead, queue } = await cemetery(client)
  client.send(queue, 'x', { expiration: 3_600_000 })
  await reject(client, queue)
  const message = await client.getEventually(dead)
  t.equal(message.properties.expiration, undefined)
  t.equal(deaths(message)[0]?.['original-expiration'], '3600000')
})

t.test('a message pushed out of a full queue dies of maxlen', async t => {
  const client = await openClient(t, broker)
  const { dead, queue } = await cemetery(client, { maxLength: 1 })
  client.send(queue, '1')
  client.send(queue, '2')
  client.send(queue, '3')
  for (const body of ['1', '2']) {
    const message = await client.getEventually(dead)
    t.equal(message.content.toString(), body)
    t.same(summary(message), [[queue, 'maxlen', 1]])
  }
  t.same(await client.drain(queue), ['3'])
})

t.test('purged, deleted and auto-acknowledged messages are no dead letters', async t => {
  const client = await openClient(t, broker)
  const { dead, queue } = await cemetery(client)
  client.send(queue, 'purged')
  await client.channel.purgeQueue(queue)
  client.send(queue, 'got')
  await client.get(queue)
  client.send(queue, 'deleted')
  await client.channel.deleteQueue(queue)
  await elapse(50)
  t.equal(await client.ready(dead), 0)
})

t.test('requeued messages and those of a closed channel are no dead letters', async t => {
  const client = await openClient(t, broker)
  const { dead, queue } = await cemetery(client)
  client.send(queue, 'x')
  await client.untilReady(queue, 1)
  const channel = await client.openChannel()
  await channel.get(queue)
  nackTag(channel, 1, { requeue: true })
  await channel.get(queue)
  await channel.close()
  await client.untilReady(queue, 1)
  t.equal(await client.ready(dead), 0)
})

t.test('the routing key of the queue replaces that of the message', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('direct')
  const dead = await client.boundQueue(exchange, 'failed')
  const queue = await client.queue({ deadLetterExchange: exchange, deadLetterRoutingKey: 'failed' })
  client.send(queue, 'x')
  await reject(client, queue)
  const message = await client.getEventually(dead)
  t.equal(message.fields.routingKey, 'failed')
  t.same(deaths(message)[0]?.['routing-keys'], [queue])
})

t.test('without one the message is routed by its own', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('topic')
  const dead = await client.boundQueue(exchange, '#.created')
  const queue = await client.queue({ deadLetterExchange: exchange })
  await client.channel.bindQueue(queue, 'amq.topic', `${queue}.created`)
  client.publish('amq.topic', `${queue}.created`, 'x')
  await reject(client, queue)
  client.send(queue, 'unroutable')
  await reject(client, queue)
  t.equal((await client.getEventually(dead)).content.toString(), 'x')
  t.same(await client.drain(dead), [])
})

t.test('the default exchange can be the dead-letter exchange', async t => {
  const client = await openClient(t, broker)
  const dead = await client.queue()
  const queue = await client.queue({ deadLetterExchange: '', deadLetterRoutingKey: dead })
  client.send(queue, 'x')
  await reject(client, queue)
  t.match((await client.getEventually(dead)).fields, { exchange: '', routingKey: dead })
})

t.test('the dead-letter exchange may come later, or never', async t => {
  const client = await openClient(t, broker)
  const name = client.exchangeName()
  const queue = await client.queue({ deadLetterExchange: name })
  client.send(queue, 'lost')
  await reject(client, queue)
  t.equal(await client.ready(queue), 0)
  await client.channel.assertExchange(name, 'fanout', { durable: false })
  const dead = await client.boundQueue(name, '')
  client.send(queue, 'found')
  await reject(client, queue)
  t.equal((await client.getEventually(dead)).content.toString(), 'found')
})

t.test('a message without headers, and one of 300 kB, die well', async t => {
  const client = await openClient(t, broker)
  const { dead, queue } = await cemetery(client)
  publishExactly(client.channel, { routingKey: queue }, {}, Buffer.alloc(300_000, 5))
  await reject(client, queue)
  const message = await client.getEventually(dead)
  t.ok(message.content.equals(Buffer.alloc(300_000, 5)))
  t.same(summary(message), [[queue, 'rejected', 1]])
})

t.test('properties and headers of every kind survive death (regression 22)', async t => {
  const client = await openClient(t, broker)
  const { dead, queue } = await cemetery(client)
  const properties = {
    contentType: 'text/plain',
    contentEncoding: 'utf-8',
    deliveryMode: 2,
    priority: 9,
    correlationId: 'c',
    replyTo: 'r',
    messageId: 'm',
    timestamp: 1_700_000_000,
    type: 't',
    userId: 'guest',
    appId: 'a',
    clusterId: 'l',
  }
  const headers = {
    array: [1, 'two', { three: 3 }],
    bytes: Buffer.from([0, 200]),
    decimal: { '!': 'decimal', value: { places: 1, digits: 15 } },
    flag: false,
    nothing: null,
    timestamp: { '!': 'timestamp', value: 1_600_000_000 },
    unicode: 'ü',
  }
  publishExactly(client.channel, { routingKey: queue }, { ...properties, headers }, 'x')
  await reject(client, queue)
  const message = await client.getEventually(dead)
  t.match(message.properties, properties)
  t.match(message.properties.headers, headers)
})

t.test('a retry loop counts each station, newest first (regression 22)', async t => {
  const client = await openClient(t, broker)
  const work = client.queueName()
  const wait = await client.queue({
    messageTtl: 20,
    deadLetterExchange: '',
    deadLetterRoutingKey: work,
  })
  await client.channel.assertQueue(work, {
    durable: false,
    deadLetterExchange: '',
    deadLetterRoutingKey: wait,
  })
  client.send(work, 'x')
  let first: GetMessage | undefined
  for (let round = 0; round < 5; round++) {
    const message = await reject(client, work)
    const expected = [
      [wait, 'expired', round],
      [work, 'rejected', round],
    ]
    t.same(summary(message), round === 0 ? [] : expected)
    if (round === 1) first = message
    if (round > 1) {
      t.same(
        deaths(message).map(({ time }) => time),
        deaths(first!).map(({ time }) => time),
        'the time is that of the first',
      )
      t.match(message.properties.headers, {
        'x-first-death-reason': 'rejected',
        'x-first-death-queue': work,
        'x-first-death-exchange': '',
      })
    }
  }
})

t.test('each reason of one queue has its own entry', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('direct')
  const queue = await client.queue({ deadLetterExchange: exchange, deadLetterRoutingKey: 'k' })
  await client.channel.bindQueue(queue, exchange, 'k')
  const channel = client.channel
  client.send(queue, 'x')
  await reject(client, queue)
  await reject(client, queue)
  const message = await eventually('the message again', () => channel.get(queue))
  t.same(summary(message), [[queue, 'rejected', 2]])
  t.same(deaths(message)[0]?.['routing-keys'], [queue], 'those of the first time')
  t.match(message.fields, { exchange, routingKey: 'k', redelivered: false })
})

t.test('the last death is told beside the first', async t => {
  const client = await openClient(t, broker)
  const dead = await client.queue()
  const second = await client.queue({ deadLetterExchange: '', deadLetterRoutingKey: dead })
  const letters = await client.exchange('fanout')
  await client.channel.bindQueue(second, letters, '')
  const first = await client.queue({ deadLetterExchange: letters, messageTtl: 20 })
  client.send(first, 'x')
  await reject(client, second)
  const message = await client.getEventually(dead)
  t.same(summary(message), [
    [second, 'rejected', 1],
    [first, 'expired', 1],
  ])
  const names: Record<string, string> = { [second]: 'second', [letters]: 'dead letters' }
  const last = Object.entries(message.properties.headers ?? {})
    .filter(([key]) => key.startsWith('x-last-death'))
    .map(([key, value]) => [key, names[value] ?? value])
  t.same(Object.fromEntries(last), decided(broker, 'the last death is told beside the first'))
  t.match(message.properties.headers, {
    'x-first-death-reason': 'expired',
    'x-first-death-queue': first,
    'x-first-death-exchange': '',
  })
})

t.test('an x-death header made up by a client is overwritten at the first death', async t => {
  const client = await openClient(t, broker)
  const { dead, queue } = await cemetery(client)
  const entry = { exchange: '', 'routing-keys': ['k'], time: { '!': 'timestamp', value: 1 } }
  const long = (value: number) => ({ '!': 'long', value })
  client.send(queue, 'x', {
    headers: {
      'x-death': [
        { ...entry, queue: 'elsewhere', reason: 'expired', count: long(4) },
        { ...entry, queue, reason: 'rejected', count: long(6) },
      ],
    },
  })
  await reject(client, queue)
  const message = await client.getEventually(dead)
  t.same(
    deaths(message).map(({ count }) => count),
    decided(broker, 'an x-death header made up by a client is overwritten at the first death'),
  )
  t.match(deaths(message)[0], { queue, reason: 'rejected' })
})

t.test('an x-death header that is no history does no harm', async t => {
  const client = await openClient(t, broker)
  const { dead, queue } = await cemetery(client)
  client.send(queue, 'x', { headers: { 'x-death': 'nonsense' } })
  await reject(client, queue)
  t.same(summary(await client.getEventually(dead)), [[queue, 'rejected', 1]])
})

t.test('messages that only expire in a circle die at its end (regression 23)', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('direct')
  const watcher = await client.boundQueue(exchange, 'second')
  const first = await client.queue({
    messageTtl: 20,
    deadLetterExchange: exchange,
    deadLetterRoutingKey: 'second',
  })
  const second = await client.queue({
    messageTtl: 20,
    deadLetterExchange: exchange,
    deadLetterRoutingKey: 'first',
  })
  await client.channel.bindQueue(first, exchange, 'first')
  await client.channel.bindQueue(second, exchange, 'second')
  const outside = await client.boundQueue(exchange, 'first')
  client.send(first, 'x')
  const message = await client.getEventually(outside)
  t.same(summary(message), [
    [second, 'expired', 1],
    [first, 'expired', 1],
  ])
  await elapse(100)
  t.same(await client.drain(watcher), ['x'], 'it came by once')
  t.same([await client.ready(first), await client.ready(second)], [0, 0])
})

t.test('a rejection in the circle keeps it going', async t => {
  const client = await openClient(t, broker)
  const queue = client.queueName()
  await client.channel.assertQueue(queue, {
    durable: false,
    deadLetterExchange: '',
    deadLetterRoutingKey: queue,
  })
  client.send(queue, 'x')
  for (let round = 0; round < 20; round++) {
    const message = await reject(client, queue)
    t.same(summary(message), round === 0 ? [] : [[queue, 'rejected', round]])
  }
})

t.test('a queue that is its own dead-letter target drops what expires', async t => {
  const client = await openClient(t, broker)
  const queue = client.queueName()
  await client.channel.assertQueue(queue, {
    durable: false,
    messageTtl: 20,
    deadLetterExchange: '',
    deadLetterRoutingKey: queue,
  })
  client.send(queue, 'x')
  await client.untilReady(queue, 0)
  await elapse(50)
  t.equal(await client.ready(queue), 0)
})

t.test('dead letters of a fanout reach every queue once', async t => {
  const client = await openClient(t, broker)
  const { exchange, dead, queue } = await cemetery(client)
  const other = await client.boundQueue(exchange, '')
  client.send(queue, 'x')
  await reject(client, queue)
  t.equal((await client.getEventually(dead)).content.toString(), 'x')
  t.equal((await client.getEventually(other)).content.toString(), 'x')
})

t.test('a dead letter nobody takes is dropped', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({
    deadLetterExchange: '',
    deadLetterRoutingKey: uniqueName('none'),
  })
  client.send(queue, 'x')
  await reject(client, queue)
  await client.untilReady(queue, 0)
  client.send(queue, 'y')
  t.same(await client.drain(queue), ['y'])
})

t.test('dead letters of a burst keep their order', async t => {
  const client = await openClient(t, broker)
  const { dead, queue } = await cemetery(client, { messageTtl: 50 })
  const inbox = await consume(client.channel, dead, { noAck: true })
  const bodies = Array.from({ length: 500 }, (_, index) => `${index}`)
  for (const body of bodies) client.send(queue, body)
  t.same(await inbox.takeBodies(500), bodies)
})

t.test('a dead letter expires again by the TTL of its new queue only', async t => {
  const client = await openClient(t, broker)
  const { dead, queue } = await cemetery(client)
  client.send(queue, 'x', { expiration: 30 })
  const message = await eventually('the dead letter', () => client.channel.get(dead))
  await elapse(60)
  client.channel.nack(message)
  t.equal((await client.getEventually(dead)).content.toString(), 'x')
})
