import { once } from 'node:events'
import type { Message } from 'amqplib'
import t from 'tap'
import { decided } from './exceptions.js'
import { openBroker } from './support/broker.js'
import { openClient, uniqueName } from './support/client.js'
import { expectChannelError } from './support/errors.js'
import { eventually, patiently } from './support/waiting.js'

const broker = await openBroker(t)

t.test('CC keys route too and are delivered', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const second = await client.queue()
  const third = await client.queue()
  client.send(queue, 'x', { CC: [second, third], headers: { own: 1 } })
  for (const name of [queue, second, third]) {
    const { fields, properties } = await client.get(name)
    t.equal(fields.routingKey, queue, 'never a CC key')
    t.same(properties.headers, { own: 1, CC: [second, third] })
  }
})

t.test('BCC keys route too and are removed (regression 27)', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const copied = await client.queue()
  const hidden = await client.queue()
  client.send(queue, 'x', { CC: [copied], BCC: [hidden], headers: { own: 1 } })
  for (const name of [queue, copied, hidden]) {
    t.same((await client.get(name)).properties.headers, { own: 1, CC: [copied] })
  }
})

t.test('BCC is removed from what is returned (regression 27)', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('direct')
  const returned = once(client.channel, 'return')
  const options = { mandatory: true, CC: ['cc'], BCC: ['bcc'], headers: { own: 1 } }
  client.publish(exchange, 'key', 'x', options)
  const [message] = (await patiently(returned, 'a return')) as [Message]
  t.same(message.properties.headers, { own: 1, CC: ['cc'] })
  t.match(message.fields, { replyCode: 312, exchange, routingKey: 'key' })
})

t.test('a message that only a CC key routes is not returned', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const returns: unknown[] = []
  client.channel.on('return', message => returns.push(message))
  client.send(uniqueName('none'), 'x', { mandatory: true, CC: [queue] })
  t.same(await client.drain(queue), ['x'])
  t.same(returns, [])
})

t.test('a queue gets one copy however many keys name it', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  client.send(queue, 'once', { CC: [queue, queue], BCC: [queue] })
  t.same(await client.drain(queue), ['once'])
})

t.test('direct and topic exchanges look at every key', async t => {
  const client = await openClient(t, broker)
  const direct = await client.exchange('direct')
  const topic = await client.exchange('topic')
  const red = await client.boundQueue(direct, 'red')
  const blue = await client.boundQueue(direct, 'blue')
  const order = await client.boundQueue(topic, 'order.*')
  const logs = await client.boundQueue(topic, 'log.#')
  client.publish(direct, 'none', 'x', { CC: ['red'], BCC: ['blue'] })
  client.publish(topic, 'none', 'y', { CC: ['order.new'], BCC: ['log.a.b'] })
  t.same([await client.drain(red), await client.drain(blue)], [['x'], ['x']])
  t.same([await client.drain(order), await client.drain(logs)], [['y'], ['y']])
})

t.test('exchanges further down see every key as well', async t => {
  const client = await openClient(t, broker)
  const source = await client.exchange('fanout')
  const target = await client.exchange('direct')
  await client.channel.bindExchange(target, source, '')
  const copied = await client.boundQueue(target, 'copied')
  const hidden = await client.boundQueue(target, 'hidden')
  client.publish(source, 'key', 'x', { CC: ['copied'], BCC: ['hidden'] })
  t.same([await client.drain(copied), await client.drain(hidden)], [['x'], ['x']])
})

t.test('three hundred keys are no problem', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('direct')
  const queue = await client.boundQueue(exchange, 'key 299')
  const CC = Array.from({ length: 300 }, (_, index) => `key ${index}`)
  client.publish(exchange, 'none', 'x', { CC })
  t.same((await client.get(queue)).properties.headers, { CC })
})

t.test('a CC or BCC that is no array is refused', async t => {
  const client = await openClient(t, broker)
  for (const header of ['CC', 'BCC']) {
    const channel = await client.openChannel()
    channel.publish('amq.direct', 'k', Buffer.from('x'), { headers: { [header]: 'no array' } })
    t.same(await expectChannelError(channel), {
      code: 406,
      text: `PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,"${header}",longstr}`,
      classId: 60,
      methodId: 40,
    })
  }
})

t.test('keys that are no strings are ignored', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const headers = { CC: [1, true, null, { a: 1 }, queue] }
  client.send(uniqueName('none'), 'x', { headers })
  t.same((await client.get(queue)).properties.headers, headers)
})

t.test('the names of the headers are in capitals', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const other = await client.queue()
  client.send(queue, 'x', { headers: { cc: [other], Bcc: [other] } })
  t.same(await client.drain(queue), ['x'])
  t.same(await client.drain(other), [])
})

t.test(
  'a dead letter is routed by all its keys, and its history names all but BCC (regression 27)',
  async t => {
    const client = await openClient(t, broker)
    const exchange = await client.exchange('direct')
    const queue = await client.queue({ deadLetterExchange: exchange })
    const byKey = await client.boundQueue(exchange, queue)
    const byCC = await client.boundQueue(exchange, 'copied')
    const byBCC = await client.boundQueue(exchange, 'hidden')
    client.send(queue, 'x', { CC: ['copied'], BCC: ['hidden'] })
    const message = await client.channel.get(queue)
    if (message !== false) client.channel.reject(message, false)
    for (const dead of [byKey, byCC]) {
      const { properties } = await client.getEventually(dead)
      const { CC, ...headers } = properties.headers ?? {}
      t.same(headers['x-death']?.[0]?.['routing-keys'], [queue, 'copied'])
      t.same(CC, ['copied'])
      t.notOk('BCC' in headers)
    }
    t.same(await client.drain(byBCC), ['x'])
  },
)

t.test('with a dead-letter routing key only that one counts', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('direct')
  const queue = await client.queue({ deadLetterExchange: exchange, deadLetterRoutingKey: 'dead' })
  const dead = await client.boundQueue(exchange, 'dead')
  const other = await client.boundQueue(exchange, 'copied')
  client.send(queue, 'x', { CC: ['copied'] })
  const message = await client.channel.get(queue)
  if (message !== false) client.channel.reject(message, false)
  const { CC = 'removed' } = (await client.getEventually(dead)).properties.headers ?? {}
  t.same(CC, decided(broker, 'with a dead-letter routing key only that one counts'))
  t.same(await client.drain(other), [])
})

t.test('a requester may be among the further keys, and a reply may have some', async t => {
  const client = await openClient(t, broker)
  const { channel } = client
  const pseudo = 'amq.rabbitmq.reply-to'
  const queue = await client.queue()
  const replies: string[] = []
  await channel.consume(pseudo, message => replies.push(`${message?.content}`), { noAck: true })
  client.send(queue, 'request', { replyTo: pseudo })
  const { properties } = await client.getEventually(queue)
  client.send(properties.replyTo, 'reply', { CC: [queue] })
  client.send(queue, 'copy', { CC: [properties.replyTo] })
  await client.untilReady(queue, 2)
  await eventually('both replies', () => replies.length === 2)
  t.same(replies, ['reply', 'copy'])
  t.same(await client.drain(queue), ['reply', 'copy'])
})
