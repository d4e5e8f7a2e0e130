import {
  type AsyncMessage,
  Connection,
  ConsumerStatus,
  type ReturnedMessage,
} from 'rabbitmq-client'
import t, { type Test } from 'tap'
import { openBroker } from '../support/broker.js'
import { openTcpProxy } from '../support/tcp-proxy.js'
import { temporaryQueue, uniqueName } from '../support/temporary.js'
import { eventually } from '../support/waiting.js'

/** A connection that never outlives its test, and what it reported as errors. */
function open(t: Test, url: string): { connection: Connection; errors: { code?: string }[] } {
  const connection = new Connection({ url, retryLow: 50, retryHigh: 200 })
  const errors: { code?: string }[] = []
  connection.on('error', error => errors.push(error))
  t.teardown(() => connection.unsafeDestroy())
  return { connection, errors }
}

t.test('properties and headers come back as they were published', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'rabbitmq-client')
  const { connection } = open(t, broker.url)
  const channel = await connection.acquire()
  await channel.queueDeclare({ queue, durable: true })
  await channel.confirmSelect()
  const properties = {
    contentType: 'application/octet-stream',
    contentEncoding: 'identity',
    durable: true,
    priority: 3,
    correlationId: 'c-1',
    replyTo: 'r-1',
    expiration: '60000',
    messageId: 'm-1',
    timestamp: 1_700_000_000,
    type: 'kind',
    userId: 'guest',
    appId: 'leveret',
    headers: {
      text: 'ž',
      yes: true,
      no: false,
      small: -5,
      large: 2 ** 40,
      float: 1.5,
      nothing: null,
      list: ['a', 1, { deep: 'table' }],
    },
  }
  await channel.basicPublish({ routingKey: queue, ...properties }, Buffer.from('žluťoučký'))
  const message = await channel.basicGet({ queue })
  t.match(message, { ...properties, exchange: '', routingKey: queue, redelivered: false })
  t.same(message?.body, Buffer.from('žluťoučký'))
  t.equal(message?.messageCount, 0)
  channel.basicAck({ deliveryTag: message?.deliveryTag ?? 0 })
  t.equal(await channel.basicGet({ queue }), undefined, 'the queue is empty')
  await channel.close()
  await connection.close()
})

t.test('bodies around the frame size pass in both directions', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'rabbitmq-client')
  const { connection, errors } = open(t, broker.url)
  const channel = await connection.acquire()
  await channel.queueDeclare({ queue })
  await channel.confirmSelect()
  for (const bytes of [0, 1, 8183, 8184, 8185, 8191, 8192, 8193, 16_384, 100_000]) {
    const body = Buffer.alloc(bytes, 'leveret')
    await channel.basicPublish({ routingKey: queue }, body)
    const message = await channel.basicGet({ queue, noAck: true })
    t.ok(body.equals(message?.body), `${bytes} bytes`)
  }
  t.same(errors, [])
  await channel.close()
  await connection.close()
})

t.test('a mandatory message without a queue is returned before its confirm', async t => {
  const broker = await openBroker(t)
  const { connection } = open(t, broker.url)
  const returned: ReturnedMessage[] = []
  const publisher = connection.createPublisher({ confirm: true })
  publisher.on('basic.return', message => returned.push(message))
  const routingKey = uniqueName('nowhere')
  await publisher.send({ routingKey, mandatory: true, messageId: 'back' }, 'lost')
  await new Promise(setImmediate) // the client reports a return one turn after reading it
  t.match(returned, [
    {
      replyCode: 312,
      replyText: 'NO_ROUTE',
      exchange: '',
      routingKey,
      messageId: 'back',
      body: 'lost',
    },
  ])
  await publisher.send({ routingKey }, 'dropped without a word')
  await new Promise(setImmediate)
  t.equal(returned.length, 1)
  await publisher.close()
  await connection.close()
})

t.test('a message that a full queue rejects is nacked', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'rabbitmq-client')
  const { connection } = open(t, broker.url)
  const publisher = connection.createPublisher({
    confirm: true,
    queues: [{ queue, arguments: { 'x-max-length': 1, 'x-overflow': 'reject-publish' } }],
  })
  await publisher.send(queue, 'fits')
  await t.rejects(publisher.send(queue, 'does not'), { code: 'NACK' })
  await publisher.close()
  await connection.close()
})

t.test('publishing to a missing exchange is blamed on the publish', async t => {
  const broker = await openBroker(t)
  const { connection } = open(t, broker.url)
  const channel = await connection.acquire()
  await channel.confirmSelect()
  await t.rejects(channel.basicPublish({ exchange: uniqueName('nowhere') }, 'x'), {
    code: 'NOT_FOUND',
  })
  t.equal(channel.active, false)
  await connection.close()
})

t.test('a refused declaration is blamed on the declaration', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'rabbitmq-client')
  const { connection } = open(t, broker.url)
  await connection.queueDeclare({ queue, durable: true })
  await t.rejects(connection.queueDeclare({ queue, durable: false }), {
    code: 'PRECONDITION_FAILED',
  })
  await t.rejects(connection.queueDeclare({ queue: uniqueName('nowhere'), passive: true }), {
    code: 'NOT_FOUND',
  })
  await connection.close()
})

t.test('prefetch limits what is delivered unacknowledged', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'rabbitmq-client')
  const { connection } = open(t, broker.url)
  const channel = await connection.acquire()
  await channel.queueDeclare({ queue })
  await channel.confirmSelect()
  for (const body of ['1', '2', '3', '4', '5']) await channel.basicPublish(queue, body)
  await channel.basicQos({ prefetchCount: 2 })
  const received: AsyncMessage[] = []
  const { consumerTag } = await channel.basicConsume({ queue }, message => received.push(message))
  await eventually('two deliveries', () => received.length >= 2)
  const ready = async () => (await channel.queueDeclare({ queue, passive: true })).messageCount
  t.equal(await ready(), 3)
  channel.basicAck({ deliveryTag: received[0]?.deliveryTag ?? 0 })
  await eventually('the third delivery', () => received.length >= 3)
  t.equal(await ready(), 2)
  channel.basicAck({ deliveryTag: received[2]?.deliveryTag ?? 0, multiple: true })
  await eventually('the last delivery', () => received.length >= 5)
  t.same(
    received.map(message => message.body),
    ['1', '2', '3', '4', '5'],
  )
  await channel.basicCancel({ consumerTag })
  await channel.close()
  await connection.close()
})

t.test('a requeued message comes again as redelivered, a dropped one does not', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'rabbitmq-client')
  const { connection } = open(t, broker.url)
  const publisher = connection.createPublisher({ confirm: true, queues: [{ queue }] })
  const seen: string[] = []
  for (const body of ['again', 'drop', 'throw']) await publisher.send(queue, body)
  const consumer = connection.createConsumer(
    { queue, qos: { prefetchCount: 1 }, concurrency: 1 },
    message => {
      seen.push(`${message.body}${message.redelivered ? ' redelivered' : ''}`)
      if (message.redelivered) return ConsumerStatus.ACK
      if (message.body === 'drop') return ConsumerStatus.DROP
      if (message.body === 'throw') throw new Error('on purpose')
      return ConsumerStatus.REQUEUE
    },
  )
  consumer.on('error', () => {})
  await eventually('five deliveries', () => seen.length >= 5)
  await consumer.close()
  t.same(seen, ['again', 'again redelivered', 'drop', 'throw', 'throw redelivered'])
  t.equal((await connection.queueDeclare({ queue, passive: true })).messageCount, 0)
  await publisher.close()
  await connection.close()
})

t.test('a consumer whose queue is deleted is told, and starts again', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'rabbitmq-client')
  const { connection } = open(t, broker.url)
  const consumer = connection.createConsumer({ queue, queueOptions: { queue } }, () => {})
  const errors: { code?: string }[] = []
  let starts = 0
  consumer.on('error', error => errors.push(error))
  consumer.on('ready', () => {
    starts += 1
  })
  await eventually('the consumer', () => starts === 1)
  await connection.queueDelete({ queue })
  await eventually('the consumer again', () => starts === 2)
  t.match(errors, [{ code: 'CANCEL_FORCED' }])
  await consumer.close()
  await connection.close()
})

t.test('requests are answered through direct reply-to', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'rabbitmq-client')
  const { connection } = open(t, broker.url)
  const server = connection.createConsumer({ queue, queueOptions: { queue } }, (message, reply) =>
    reply(`${message.body}!`),
  )
  await new Promise<void>(resolve => server.once('ready', resolve))
  const client = connection.createRPCClient({ confirm: true })
  const answers = await Promise.all(['one', 'two', 'three'].map(word => client.send(queue, word)))
  t.same(
    answers.map(answer => answer.body),
    ['one!', 'two!', 'three!'],
  )
  await client.close()
  await server.close()
  await connection.close()
})

t.test('a cut connection is opened again and what was unacknowledged comes again', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'rabbitmq-client')
  const proxy = await openTcpProxy(t, broker)
  const { connection } = open(t, proxy.url)
  let connected = 0
  connection.on('connection', () => {
    connected += 1
  })
  const publisher = connection.createPublisher({
    confirm: true,
    maxAttempts: 5,
    queues: [{ queue }],
  })
  await publisher.send(queue, 'first')
  const seen: [string, boolean][] = []
  let release = () => {}
  const held = new Promise<void>(resolve => {
    release = resolve
  })
  const consumer = connection.createConsumer({ queue }, async message => {
    seen.push([message.body, message.redelivered])
    if (!message.redelivered && message.body === 'first') await held
  })
  consumer.on('error', () => {})
  await eventually('the first delivery', () => seen.length === 1)
  proxy.sever()
  await eventually('the new connection', () => connected === 2)
  release()
  await eventually('the second delivery', () => seen.length === 2)
  t.same(seen, [
    ['first', false],
    ['first', true],
  ])
  t.equal(connected, 2)
  await publisher.send(queue, 'after')
  await eventually('the third delivery', () => seen.length === 3)
  t.same(seen[2], ['after', false])
  await consumer.close()
  await publisher.close()
  await connection.close()
  t.match(await proxy.parting(), { serverSaidCloseOk: true })
})

t.test('closing is answered, with channels and messages still open', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'rabbitmq-client')
  const proxy = await openTcpProxy(t, broker)
  const { connection, errors } = open(t, proxy.url)
  const channel = await connection.acquire()
  await channel.queueDeclare({ queue })
  for (let n = 0; n < 100; n += 1) await channel.basicPublish(queue, String(n))
  await Promise.all([channel.close(), connection.close()])
  t.same(errors, [])
  t.match(await proxy.parting(), { serverSaidCloseOk: true })
  const { connection: witness } = open(t, broker.url)
  const { messageCount } = await witness.queueDeclare({ queue, passive: true })
  t.equal(messageCount, 100, 'all that was published before the close has arrived')
  await witness.close()
})

t.test('a wrong password is refused with a reason', async t => {
  const broker = await openBroker(t)
  const url = new URL(broker.url)
  url.password = 'wrong'
  const { connection, errors } = open(t, url.href)
  await eventually('an error', () => errors.length > 0)
  t.match(errors[0], { code: 'ACCESS_REFUSED' })
  await connection.close()
})
