/** Quorum queues as a client sees them, on a single node. */
import t from 'tap'
import { decided } from './exceptions.js'
import { openBroker } from './support/broker.js'
import { type Client, openClient } from './support/client.js'
import { expectChannelError, expectConnectionError } from './support/errors.js'
import { consume } from './support/inbox.js'
import { call, nackTag, rejectTag } from './support/methods.js'
import { eventually } from './support/waiting.js'

const broker = await openBroker(t)

const quorum = { 'x-queue-type': 'quorum' }

async function quorumQueue(client: Client, args: object = {}): Promise<string> {
  return client.queue({ durable: true, arguments: { ...quorum, ...args } })
}

for (const [property, options] of [
  ['non-durable', { durable: false }],
  ['exclusive-owner', { durable: true, exclusive: true }],
  ['auto-delete', { durable: true, autoDelete: true }],
] as const)
  t.test(`a quorum queue cannot be ${property}`, async t => {
    const client = await openClient(t, broker)
    const queue = client.queueName()
    const declared = client.channel.assertQueue(queue, { ...options, arguments: quorum })
    t.same(await expectChannelError(client.channel, declared), {
      code: 406,
      text: `PRECONDITION_FAILED - invalid property '${property}' for queue '${queue}' in vhost '/'`,
      classId: 50,
      methodId: 10,
    })
  })

t.test('a quorum queue has no x-max-priority', async t => {
  const client = await openClient(t, broker)
  const queue = client.queueName()
  const args = { ...quorum, 'x-max-priority': 5 }
  const declared = client.channel.assertQueue(queue, { durable: true, arguments: args })
  t.match(await expectChannelError(client.channel, declared), {
    code: 406,
    text: `PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue '${queue}' in vhost '/' of queue type rabbit_quorum_queue`,
  })
})

t.test('a quorum queue is not a classic one of the same name', async t => {
  const client = await openClient(t, broker)
  const queue = await quorumQueue(client)
  await client.channel.assertQueue(queue, { durable: true, arguments: quorum })
  const declared = client.channel.assertQueue(queue, { durable: true })
  t.match(await expectChannelError(client.channel, declared), {
    code: 406,
    text: `PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue '${queue}' in vhost '/': received none but current is the value 'quorum' of type 'longstr'`,
  })
})

t.test('a quorum queue knows no global prefetch', async t => {
  const client = await openClient(t, broker)
  const queue = await quorumQueue(client)
  const { channel } = client
  await call(channel, 'basicQos', { prefetchSize: 0, prefetchCount: 5, global: true })
  const consumed = consume(channel, queue)
  t.same(await expectConnectionError(client.connection, consumed), {
    code: 540,
    text: `NOT_IMPLEMENTED - queue '${queue}' in vhost '/' does not support global qos`,
  })
})

t.test('a quorum queue with a single active consumer has no basic.get', async t => {
  const client = await openClient(t, broker)
  const queue = await quorumQueue(client, { 'x-single-active-consumer': true })
  t.same(await expectChannelError(client.channel, client.channel.get(queue)), {
    code: 405,
    text: `RESOURCE_LOCKED - cannot obtain access to locked queue '${queue}' in vhost '/'. basic.get operations are not supported by quorum queues with single active consumer`,
    classId: 60,
    methodId: 70,
  })
})

t.test('nobody has a quorum queue for itself', async t => {
  const client = await openClient(t, broker)
  const queue = await quorumQueue(client)
  const first = await consume(client.channel, queue, { exclusive: true, noAck: true })
  await consume(await client.openChannel(), queue, { noAck: true })
  t.ok(first.consumerTag)
})

t.test('a message is delivered as it was sent, and got at once', async t => {
  const client = await openClient(t, broker)
  const queue = await quorumQueue(client)
  client.send(queue, 'transient', { deliveryMode: 1, headers: { own: 'x' } })
  const { fields, properties } = await client.get(queue)
  t.equal(fields.redelivered, false)
  t.equal(properties.deliveryMode, 1)
  const title = 'a first delivery from a quorum queue carries no count'
  t.same(properties.headers, decided(broker, title))
})

t.test('what comes back goes first, in the order in which it did', async t => {
  const client = await openClient(t, broker)
  const queue = await quorumQueue(client)
  const { channel } = client
  const inbox = await consume(channel, queue)
  for (const body of ['1', '2', '3', '4']) client.send(queue, body)
  await inbox.take(4)
  await inbox.cancel()
  for (const tag of [3, 1, 4]) nackTag(channel, tag)
  await client.untilReady(queue, 3)
  t.same(await client.drain(queue), ['3', '1', '4'])
})

t.test('a message that comes back is counted, and dies of its limit', async t => {
  const client = await openClient(t, broker)
  const dead = await client.queue()
  const queue = await quorumQueue(client, {
    'x-delivery-limit': 2,
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': dead,
  })
  client.send(queue, 'poison')
  const inbox = await consume(client.channel, queue)
  const counts: unknown[] = []
  for (let delivery = 0; delivery < 3; delivery++) {
    const { fields, properties } = await inbox.next()
    t.equal(fields.redelivered, delivery > 0)
    counts.push(properties.headers?.['x-delivery-count'])
    rejectTag(client.channel, fields.deliveryTag, true)
  }
  t.same(counts.slice(1), [1, 2])
  const letter = await client.getEventually(dead)
  t.equal(letter.properties.headers?.['x-first-death-reason'], 'delivery_limit')
  t.equal(letter.properties.headers?.['x-first-death-queue'], queue)
})

t.test('a consumer whose channel ends has failed to take its messages', async t => {
  const client = await openClient(t, broker)
  const queue = await quorumQueue(client)
  const lost = await client.openChannel()
  const inbox = await consume(lost, queue)
  client.send(queue, 'again')
  await inbox.next()
  await lost.close()
  const again = await client.getEventually(queue)
  t.equal(again.fields.redelivered, true)
  t.equal(again.properties.headers?.['x-delivery-count'], 1)
})

t.test('a limit of -1 is none', { skip: broker.real && 'since 4.0' }, async t => {
  const client = await openClient(t, broker)
  const queue = await quorumQueue(client, { 'x-delivery-limit': -1 })
  client.send(queue, 'again and again')
  for (let delivery = 0; delivery < 30; delivery++) {
    const { fields } = await eventually('a message', () => client.channel.get(queue))
    rejectTag(client.channel, fields.deliveryTag, true)
  }
  await client.untilReady(queue, 1)
})

t.test('without a limit of its own it is 20', { skip: broker.real && 'since 4.0' }, async t => {
  const client = await openClient(t, broker)
  const queue = await quorumQueue(client)
  client.send(queue, 'poison')
  const inbox = await consume(client.channel, queue)
  for (let delivery = 0; delivery <= 20; delivery++) {
    const { fields } = await inbox.next()
    nackTag(client.channel, fields.deliveryTag)
  }
  t.equal(inbox.received[20]?.properties.headers?.['x-delivery-count'], 20)
  t.equal(inbox.received[20]?.properties.headers?.['x-acquired-count'], 20)
  await client.untilReady(queue, 0)
  await inbox.cancel()
  t.equal(await client.ready(queue), 0)
})

t.test('32 priorities, 4 where none is given', { skip: broker.real && 'since 4.3' }, async t => {
  const client = await openClient(t, broker)
  const queue = await quorumQueue(client)
  for (const priority of [3, undefined, 4, 5, 200, 31, 0])
    client.send(queue, `${priority}`, priority === undefined ? {} : { priority })
  t.same(await client.drain(queue), ['200', '31', '5', 'undefined', '4', '3', '0'])
})

t.test(
  'the active consumer gives way to a higher priority once it has settled all',
  {
    skip: broker.real && 'since 4.0',
  },
  async t => {
    const client = await openClient(t, broker)
    const queue = await quorumQueue(client, { 'x-single-active-consumer': true })
    const low = await consume(client.channel, queue)
    client.send(queue, '1')
    const held = await low.next()
    const high = await consume(await client.openChannel(), queue, { priority: 5, noAck: true })
    client.send(queue, '2')
    await client.untilReady(queue, 1)
    t.same([low.bodies, high.bodies], [['1'], []], 'nobody gets more in between')
    client.channel.ack(held)
    t.same(await high.takeBodies(1), ['2'])
    await high.cancel()
    client.send(queue, '3')
    t.same(await low.takeBodies(1), ['3'], 'and back again')
  },
)

t.test('declaring it again keeps no quorum queue from expiring', async t => {
  const client = await openClient(t, broker)
  const queue = await quorumQueue(client, { 'x-expires': 500 })
  await eventually('the end of the queue', async () => !(await client.queueExists(queue)))
})

t.test('x-delivery-limit on a classic queue', { skip: broker.real && 'ours' }, async t => {
  const client = await openClient(t, broker)
  const dead = await client.queue()
  const queue = await client.queue({
    arguments: {
      'x-delivery-limit': 1,
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': dead,
    },
  })
  client.send(queue, 'poison', { headers: { z: 1, a: 2 } })
  const inbox = await consume(client.channel, queue)
  nackTag(client.channel, (await inbox.next()).fields.deliveryTag)
  const again = await inbox.next()
  t.same(Object.entries(again.properties.headers ?? {}), [
    ['a', 2],
    ['x-delivery-count', 1],
    ['z', 1],
  ])
  nackTag(client.channel, again.fields.deliveryTag)
  const letter = await client.getEventually(dead)
  t.equal(letter.properties.headers?.['x-first-death-reason'], 'delivery_limit')
  t.notOk('x-delivery-count' in (letter.properties.headers ?? {}))
})

t.test(
  'a dead letter that cannot arrive stays and counts, and goes when it can',
  {
    skip: broker.real && 'it tries again after minutes',
  },
  async t => {
    const client = await openClient(t, broker)
    const exchange = client.exchangeName()
    const queue = await quorumQueue(client, {
      'x-dead-letter-strategy': 'at-least-once',
      'x-dead-letter-exchange': exchange,
      'x-overflow': 'reject-publish',
      'x-max-length': 1,
    })
    const channel = await client.openConfirmChannel()
    channel.sendToQueue(queue, Buffer.from('letter'))
    await channel.waitForConfirms()
    const { fields } = await eventually('the message', () => client.channel.get(queue))
    rejectTag(client.channel, fields.deliveryTag, false)
    await client.untilReady(queue, 0)
    channel.sendToQueue(queue, Buffer.from('refused'), {}, error =>
      t.ok(error, 'the queue is full'),
    )
    await channel.waitForConfirms().catch(() => {})
    await client.channel.assertExchange(exchange, 'fanout', { durable: false })
    const dead = await client.boundQueue(exchange, '')
    const letter = await client.getEventually(dead)
    t.equal(letter.content.toString(), 'letter')
    t.equal(letter.properties.headers?.['x-first-death-reason'], 'rejected')
    channel.sendToQueue(queue, Buffer.from('taken'))
    await channel.waitForConfirms()
    await client.untilReady(queue, 1)
  },
)

t.test(
  'a message whose delivery failed waits longer each time',
  {
    skip: broker.real && 'since 4.3',
  },
  async t => {
    const client = await openClient(t, broker)
    const queue = await quorumQueue(client, {
      'x-delayed-retry-type': 'failed',
      'x-delayed-retry-min': 150,
      'x-delayed-retry-max': 200,
    })
    const inbox = await consume(client.channel, queue)
    client.send(queue, 'again')
    const waits: number[] = []
    for (let delivery = 0; delivery < 3; delivery++) {
      const { fields } = await inbox.next()
      const since = performance.now()
      if (delivery === 2) nackTag(client.channel, fields.deliveryTag)
      else rejectTag(client.channel, fields.deliveryTag, true)
      if (delivery < 2) {
        await eventually('the next delivery', () => inbox.received.length === delivery + 2)
        waits.push(performance.now() - since)
      }
    }
    t.ok((waits[0] ?? 0) > 145 && (waits[1] ?? 0) > 195, `${waits} ms`)
    t.equal((await inbox.next()).fields.redelivered, true, 'what is only returned comes at once')
  },
)
