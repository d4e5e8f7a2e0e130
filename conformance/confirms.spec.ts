import type { Channel, ConfirmChannel } from 'amqplib'
import t from 'tap'
import { openBroker } from './support/broker.js'
import { openClient } from './support/client.js'
import { expectChannelError } from './support/errors.js'
import { consume } from './support/inbox.js'
import { call, publishExactly, tell } from './support/methods.js'
import { eventually } from './support/waiting.js'

const broker = await openBroker(t)

/** How each sequence number was settled; throws if one is settled twice. */
function confirms(channel: Channel): Map<number, 'ack' | 'nack'> {
  const settled = new Map<number, 'ack' | 'nack'>()
  let below = 0
  const settle = (kind: 'ack' | 'nack') => (fields: { deliveryTag: number; multiple: boolean }) => {
    const { deliveryTag, multiple } = fields
    const tags = multiple
      ? Array.from({ length: deliveryTag }, (_, index) => index + 1)
      : [deliveryTag]
    for (const tag of tags.filter(tag => tag > below && !(multiple && settled.has(tag)))) {
      if (settled.has(tag)) throw new Error(`${tag} is confirmed twice`)
      settled.set(tag, kind)
    }
    while (settled.has(below + 1)) below++
  }
  channel.on('ack', settle('ack'))
  channel.on('nack', settle('nack'))
  return settled
}

/** Publishes and tells whether the message was acknowledged. */
function confirmed(
  channel: ConfirmChannel,
  exchange: string,
  key: string,
  body: string,
  options = {},
): Promise<boolean> {
  return new Promise(resolve => {
    channel.publish(exchange, key, Buffer.from(body), options, error => resolve(error === null))
  })
}

t.test('every publish is acknowledged once', async t => {
  const client = await openClient(t, broker)
  const channel = await client.openConfirmChannel()
  const queue = await client.queue({ durable: true })
  const settled = confirms(channel)
  for (let index = 0; index < 500; index++) {
    channel.sendToQueue(queue, Buffer.from(`${index}`), { persistent: index % 3 === 0 })
  }
  await channel.waitForConfirms()
  t.equal(settled.size, 500)
  t.same(new Set(settled.values()), new Set(['ack']))
  t.same(await client.channel.purgeQueue(queue), { messageCount: 500 })
})

t.test('a confirmed message can be fetched on any connection (regression 40)', async t => {
  const client = await openClient(t, broker)
  const other = await openClient(t, broker)
  const channel = await client.openConfirmChannel()
  const queue = await client.queue({ durable: true })
  for (let round = 0; round < 10; round++) {
    t.ok(await confirmed(channel, '', queue, `${round}`, { persistent: round % 2 === 0 }))
    t.equal((await other.get(queue)).content.toString(), `${round}`)
  }
})

t.test('an unroutable message is acknowledged at once', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('direct')
  const channel = await client.openConfirmChannel()
  t.ok(await confirmed(channel, exchange, 'nowhere', 'x'))
})

t.test('a mandatory unroutable message is returned before it is acknowledged', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('direct')
  const channel = await client.openConfirmChannel()
  const events: string[] = []
  channel.on('return', ({ content }) => events.push(`return ${content}`))
  for (let index = 1; index <= 20; index++) {
    channel.publish(exchange, '', Buffer.from(`${index}`), { mandatory: true }, () => {
      events.push(`ack ${index}`)
    })
  }
  await channel.waitForConfirms()
  for (let index = 1; index <= 20; index++) {
    const returned = events.indexOf(`return ${index}`)
    t.ok(returned >= 0 && returned < events.indexOf(`ack ${index}`), `${index}`)
  }
})

t.test('a message to several queues is acknowledged once', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('fanout')
  for (const durable of [true, false, true]) {
    await client.channel.bindQueue(await client.queue({ durable }), exchange, '')
  }
  const channel = await client.openConfirmChannel()
  const settled = confirms(channel)
  for (let index = 0; index < 20; index++) {
    channel.publish(exchange, '', Buffer.from('x'), { persistent: true })
  }
  await channel.waitForConfirms()
  await client.channel.checkExchange(exchange)
  t.equal(settled.size, 20)
})

t.test('a full queue that rejects publishes answers with nack', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ maxLength: 2, overflow: 'reject-publish' })
  const channel = await client.openConfirmChannel()
  t.ok(await confirmed(channel, '', queue, '1'))
  t.ok(await confirmed(channel, '', queue, '2'))
  t.notOk(await confirmed(channel, '', queue, '3'))
  t.same(await client.drain(queue), ['1', '2'])
  t.ok(await confirmed(channel, '', queue, '4'))
})

t.test('one refusal makes a nack though other queues took the message', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('fanout')
  const full = await client.queue({ maxLength: 1, overflow: 'reject-publish' })
  await client.channel.bindQueue(full, exchange, '')
  const roomy = await client.boundQueue(exchange, '')
  const channel = await client.openConfirmChannel()
  t.ok(await confirmed(channel, exchange, '', '1'))
  t.notOk(await confirmed(channel, exchange, '', '2'))
  t.same(await client.drain(full), ['1'])
  t.same(await client.drain(roomy), ['1', '2'])
})

t.test('a burst of mixed acks and nacks settles every number once and rightly', async t => {
  const client = await openClient(t, broker)
  const full = await client.queue({ maxLength: 10, overflow: 'reject-publish' })
  const roomy = await client.queue()
  const channel = await client.openConfirmChannel()
  const settled = confirms(channel)
  for (let index = 0; index < 200; index++) {
    channel.sendToQueue(index % 2 === 0 ? roomy : full, Buffer.from(`${index}`))
  }
  await eventually('200 confirms', () => settled.size === 200)
  const refused = [...settled].filter(([, kind]) => kind === 'nack').map(([tag]) => tag)
  const expected = Array.from({ length: 90 }, (_, index) => 22 + 2 * index)
  t.same(
    refused.sort((a, b) => a - b),
    expected,
  )
})

t.test('publishing to a queue deleted meanwhile is acknowledged', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openConfirmChannel()
  await client.channel.deleteQueue(queue)
  t.ok(await confirmed(channel, '', queue, 'x'))
})

t.test('purging does not keep back confirms', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ durable: true })
  const channel = await client.openConfirmChannel()
  for (let index = 0; index < 100; index++) {
    channel.sendToQueue(queue, Buffer.from('x'), { persistent: true })
  }
  await client.channel.purgeQueue(queue)
  await t.resolves(channel.waitForConfirms())
})

t.test('confirms and acks to the consumer number independently', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openConfirmChannel()
  const inbox = await consume(channel, queue)
  const settled = confirms(channel)
  for (let index = 1; index <= 10; index++) channel.sendToQueue(queue, Buffer.from(`${index}`))
  const messages = await inbox.take(10)
  for (const message of messages.slice(0, 5)) channel.ack(message)
  await channel.waitForConfirms()
  t.equal(settled.size, 10)
  t.same(
    messages.map(({ fields }) => fields.deliveryTag),
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
  )
})

t.test('confirm.select can be repeated and the numbers go on', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const settled = confirms(client.channel)
  client.send(queue, 'before')
  await call(client.channel, 'confirmSelect', { nowait: false })
  client.send(queue, '1')
  client.send(queue, '2')
  await call(client.channel, 'confirmSelect', { nowait: false })
  client.send(queue, '3')
  await eventually('three confirms', () => settled.size === 3)
  t.same([...settled.keys()].sort(), [1, 2, 3])
})

t.test('confirm.select works without a reply', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const settled = confirms(client.channel)
  tell(client.channel, 'confirmSelect', { nowait: true })
  client.send(queue, '1')
  await eventually('a confirm', () => settled.size === 1)
  t.same([...settled], [[1, 'ack']])
})

t.test('what a channel error drops is never confirmed', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  await call(channel, 'confirmSelect', { nowait: false })
  const settled = confirms(channel)
  channel.sendToQueue(queue, Buffer.from('1'))
  await eventually('the first confirm', () => settled.size === 1)
  publishExactly(channel, { routingKey: queue }, { expiration: 'never' }, '2')
  publishExactly(channel, { routingKey: queue }, {}, '3')
  await expectChannelError(channel)
  t.same([...settled.keys()], [1])
  await client.untilReady(queue, 1)
})

t.test('persistent messages are confirmed while a consumer takes them', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ durable: true })
  const inbox = await consume(client.channel, queue)
  const channel = await client.openConfirmChannel()
  const settled = confirms(channel)
  for (let index = 0; index < 100; index++) {
    channel.sendToQueue(queue, Buffer.from(`${index}`), { persistent: true })
  }
  for (const message of await inbox.take(100)) client.channel.ack(message)
  await channel.waitForConfirms()
  t.equal(settled.size, 100)
})
