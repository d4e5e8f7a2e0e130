import { once } from 'node:events'
import type { Message } from 'amqplib'
import t from 'tap'
import { decided } from './exceptions.js'
import { openBroker } from './support/broker.js'
import { openClient } from './support/client.js'
import { expectChannelError, expectConnectionError } from './support/errors.js'
import { consume } from './support/inbox.js'
import { channelNumber, publishExactly } from './support/methods.js'
import { HEADER, openRelay } from './support/relay.js'
import { patiently } from './support/waiting.js'

const broker = await openBroker(t)

const BY_PUBLISH = { classId: 60, methodId: 40 }

const PROPERTIES = {
  contentType: 'text/plain; charset=utf-8',
  contentEncoding: 'gzip',
  headers: { one: 1 },
  deliveryMode: 2,
  priority: 7,
  correlationId: 'correlation-ü',
  replyTo: 'reply.queue',
  expiration: '600000',
  messageId: 'message-1',
  timestamp: 1_700_000_000,
  type: 'order.created',
  userId: 'guest',
  appId: 'conformance',
  clusterId: 'cluster',
}

const HEADERS = {
  string: 'größe €',
  empty: '',
  bytes: Buffer.from([0, 255, 128, 10]),
  yes: true,
  no: false,
  nothing: null,
  byte: -128,
  short: -32_768,
  int: -2_147_483_648,
  long: -(2 ** 50),
  big: { '!': 'long', value: 9_007_199_254_740_991n },
  unsignedByte: { '!': 'unsignedbyte', value: 255 },
  unsignedShort: { '!': 'unsignedshort', value: 65_535 },
  unsignedInt: { '!': 'unsignedint', value: 4_294_967_295 },
  double: -2.718e-9,
  float: { '!': 'float', value: 0.5 },
  decimal: { '!': 'decimal', value: { places: 2, digits: 31_415 } },
  timestamp: { '!': 'timestamp', value: 1_700_000_000 },
  array: ['a', 1, true, null, [2.5, ['deep']], { in: 'array' }],
  table: { a: 1, nested: { b: [1, 2, 3], c: { d: 'deep' } }, none: {} },
  noArray: [],
}

const RECEIVED_HEADERS = {
  ...HEADERS,
  big: 9_007_199_254_740_991,
  unsignedByte: 255,
  unsignedShort: 65_535,
  unsignedInt: 4_294_967_295,
  float: 0.5,
}

t.test(
  'every property arrives as it was sent, the timestamp in seconds (regression 2)',
  async t => {
    const client = await openClient(t, broker)
    const queue = await client.queue()
    publishExactly(client.channel, { routingKey: queue }, PROPERTIES, 'body')
    const { properties, content } = await client.get(queue)
    t.same(properties, PROPERTIES)
    t.equal(content.toString(), 'body')
  },
)

t.test('headers of every type arrive as they were sent', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  client.send(queue, 'body', { headers: HEADERS })
  const { properties } = await client.get(queue)
  t.same(properties.headers, RECEIVED_HEADERS)
})

t.test('the content header is passed on byte for byte', async t => {
  const relay = await openRelay(t, broker)
  const client = await openClient(t, { ...broker, ...relay })
  const queue = await client.queue()
  const all: Record<string, unknown>[] = [
    {},
    { headers: {} },
    { headers: { z: 1, a: 2, m: { y: 1, b: 2 } }, priority: 0 },
    { ...PROPERTIES, headers: HEADERS },
    { contentType: '', type: '' },
    { timestamp: 2 ** 40 },
    { deliveryMode: 1 },
  ]
  for (const properties of all) {
    publishExactly(client.channel, { routingKey: queue }, properties, 'body')
    await client.get(queue)
  }
  const headers = (frames: { type: number; payload: Buffer }[]) =>
    frames.filter(({ type }) => type === HEADER).map(({ payload }) => payload.toString('hex'))
  t.equal(headers(relay.framesFromClient()).length, all.length)
  t.same(headers(relay.framesFromBroker()), headers(relay.framesFromClient()))
})

t.test('tables may be nested a hundred deep', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  let headers: Record<string, unknown> = { bottom: true }
  for (let depth = 0; depth < 100; depth++) headers = { down: headers }
  client.send(queue, 'body', { headers })
  t.same((await client.get(queue)).properties.headers, headers)
})

t.test('bodies of every size around the frame limit arrive whole (regression 4)', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('fanout')
  const queues = [await client.boundQueue(exchange, ''), await client.boundQueue(exchange, '')]
  const max = 131_072 - 8
  for (const size of [0, 1, 47, 48, 4095, 4096, max - 1, max, max + 1, 2 * max, 2 * max + 1]) {
    const body = Buffer.alloc(size)
    for (let at = 0; at < size; at++) body[at] = at % 251
    client.channel.publish(exchange, '', body)
    for (const queue of queues) {
      t.ok((await client.get(queue)).content.equals(body), `${size} bytes`)
    }
  }
})

t.test('a body of 8 MiB arrives whole', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const body = Buffer.alloc(8 * 1024 * 1024)
  for (let at = 0; at < body.length; at += 4) body.writeUInt32BE(at, at)
  const inbox = await consume(client.channel, queue, { noAck: true })
  client.channel.sendToQueue(queue, body)
  t.ok((await inbox.next()).content.equals(body))
})

t.test('many messages arrive in the order of their publishing', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const inbox = await consume(client.channel, queue, { noAck: true })
  const bodies = Array.from({ length: 5000 }, (_, index) => `${index}`)
  for (const body of bodies) client.send(queue, body)
  t.same(await inbox.takeBodies(bodies.length), bodies)
})

t.test('an unroutable mandatory message comes back with 312 (regression 50)', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('direct')
  const returned = once(client.channel, 'return')
  client.publish(exchange, 'nowhere', 'unroutable', {
    mandatory: true,
    headers: { a: 1 },
    messageId: 'm',
    BCC: [],
  })
  const [message] = (await patiently(returned, 'a return')) as [Message]
  t.match(message.fields, {
    replyCode: 312,
    replyText: 'NO_ROUTE',
    exchange,
    routingKey: 'nowhere',
  })
  t.equal(message.content.toString(), 'unroutable')
  t.match(message.properties, { headers: { a: 1 }, messageId: 'm' })
})

t.test('large and empty bodies come back whole', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('direct')
  const returns: Message[] = []
  client.channel.on('return', message => returns.push(message))
  const bodies = [Buffer.alloc(0), Buffer.alloc(300_000, 3), Buffer.from('x')]
  for (const body of bodies) client.channel.publish(exchange, '', body, { mandatory: true })
  await client.channel.checkExchange(exchange)
  t.equal(returns.length, 3)
  returns.forEach(({ content }, index) => {
    t.ok(content.equals(bodies[index]!))
  })
})

t.test('a routable mandatory message does not come back', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const returns: Message[] = []
  client.channel.on('return', message => returns.push(message))
  client.send(queue, 'x', { mandatory: true })
  t.same(await client.drain(queue), ['x'])
  t.same(returns, [])
})

t.test('an unroutable message that is not mandatory vanishes', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('direct')
  client.publish(exchange, 'nowhere', 'x')
  await t.resolves(client.channel.checkExchange(exchange))
})

t.test('immediate is not implemented', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ exclusive: true })
  publishExactly(client.channel, { routingKey: queue, immediate: true }, {}, 'x')
  t.same(await expectConnectionError(client.connection), {
    code: 540,
    text: 'NOT_IMPLEMENTED - immediate=true',
  })
})

t.test('an expiration that is no number of milliseconds is refused (regression 19)', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const cases = [
    ['abc', "invalid expiration 'abc': no_integer"],
    ['', "invalid expiration '': no_integer"],
    ['1.5', `invalid expiration '1.5': {leftover_string,".5"}`],
    ['-1', "invalid expiration '-1': {value_negative,-1}"],
    ['315360000001', "invalid expiration '315360000001': {value_too_large,315360000001}"],
  ] as const
  for (const [expiration, reason] of cases) {
    const channel = await client.openChannel()
    channel.sendToQueue(queue, Buffer.from('x'), { expiration })
    t.same(await expectChannelError(channel), {
      code: 406,
      text: `PRECONDITION_FAILED - ${reason}`,
      ...BY_PUBLISH,
    })
  }
  client.send(queue, 'x', { expiration: '315360000000' })
  t.same(await client.drain(queue), ['x'])
})

t.test('a user-id other than the login is refused', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  client.send(queue, 'x', { userId: 'guest' })
  t.equal((await client.get(queue)).properties.userId, 'guest')
  client.send(queue, 'x', { userId: 'bob' })
  t.same(await expectChannelError(client.channel), {
    code: 406,
    text: "PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'guest'",
    ...BY_PUBLISH,
  })
})

t.test('a delivery mode other than 2 makes a message transient', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  const refused = expectChannelError(channel).then(({ text }) => text)
  publishExactly(channel, { routingKey: queue }, { deliveryMode: 3 }, 'x')
  const arrived = client.getEventually(queue).then(({ properties }) => properties.deliveryMode)
  t.equal(
    await (broker.real ? refused : arrived),
    decided(broker, 'a delivery mode other than 2 makes a message transient'),
  )
  client.send(queue, 'end')
  await Promise.allSettled([arrived])
  await channel.close().catch(() => {})
  await Promise.allSettled([refused])
})

t.test('publishes that follow a refused one on the channel are dropped', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  channel.sendToQueue(queue, Buffer.from('before'))
  channel.sendToQueue(queue, Buffer.from('refused'), { expiration: 'never' })
  channel.sendToQueue(queue, Buffer.from('after'))
  await expectChannelError(channel)
  await client.untilReady(queue, 1)
  t.same(await client.drain(queue), ['before'])
})

t.test('a publisher and a consumer on one channel do not mix their frames', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const inbox = await consume(client.channel, queue, { noAck: true })
  const returns: Message[] = []
  client.channel.on('return', message => returns.push(message))
  for (let index = 0; index < 200; index++) {
    client.channel.sendToQueue(queue, Buffer.alloc(index * 997, index))
    client.publish('amq.direct', `nowhere ${channelNumber(client.channel)}`, `${index}`, {
      mandatory: true,
    })
  }
  const messages = await inbox.take(200)
  messages.forEach(({ content }, index) => {
    if (!content.equals(Buffer.alloc(index * 997, index))) t.fail(`message ${index}`)
  })
  await client.ready(queue)
  t.same(
    returns.map(({ content }) => content.toString()),
    Array.from({ length: 200 }, (_, index) => `${index}`),
  )
})
