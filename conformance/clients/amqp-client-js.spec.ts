import { AMQPClient, AMQPError, type AMQPMessage, AMQPSession } from '@cloudamqp/amqp-client'
import t from 'tap'
import { openBroker } from '../support/broker.js'
import { openTcpProxy } from '../support/tcp-proxy.js'
import { temporaryQueue, uniqueName } from '../support/temporary.js'
import { eventually } from '../support/waiting.js'

t.test('properties and headers come back as they were published', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'amqp-client-js')
  const connection = await new AMQPClient(broker.url).connect()
  const channel = await connection.channel()
  await channel.confirmSelect()
  await channel.queueDeclare(queue, { durable: true })
  const properties = {
    contentType: 'text/plain',
    contentEncoding: 'utf-8',
    deliveryMode: 2,
    priority: 3,
    correlationId: 'c-1',
    replyTo: 'r-1',
    expiration: '60000',
    messageId: 'm-1',
    timestamp: new Date(1_700_000_000_000),
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
      when: new Date(1_700_000_000_000),
      list: ['a', 1, { deep: 'table' }],
    },
  }
  t.equal(await channel.basicPublish('', queue, 'žluťoučký', properties), 1, 'the confirm')
  const message = await channel.basicGet(queue, { noAck: false })
  t.match(message?.properties, properties)
  t.equal(message?.bodyString(), 'žluťoučký')
  t.equal(message?.redelivered, false)
  t.equal(message?.messageCount, 0)
  await message?.ack()
  t.equal(await channel.basicGet(queue), null, 'the queue is empty')
  await connection.close()
})

t.test('bodies around the frame size pass in both directions', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'amqp-client-js')
  for (const frameMax of [8192, 131_072]) {
    const connection = await new AMQPClient(`${broker.url}?frameMax=${frameMax}`).connect()
    t.equal(connection.frameMax, frameMax)
    const channel = await connection.channel()
    await channel.confirmSelect()
    await channel.queueDeclare(queue, { durable: true })
    for (const more of [-8192, -8191, -9, -8, -7, 0, 1, 8192, 200_000]) {
      const body = Buffer.alloc(Math.max(frameMax + more, 0), 'leveret')
      await channel.basicPublish('', queue, body)
      const message = await channel.basicGet(queue, { noAck: true })
      t.ok(body.equals(message?.body ?? Buffer.alloc(0)), `${body.length} bytes`)
    }
    await connection.close()
  }
})

t.test('confirms come in order, each number once', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'amqp-client-js')
  const connection = await new AMQPClient(broker.url).connect()
  const channel = await connection.channel()
  await channel.confirmSelect()
  await channel.queueDeclare(queue, { durable: true })
  const confirms: number[] = []
  const publishes = Array.from({ length: 500 }, async (_, n) => {
    const number = await channel.basicPublish('', queue, String(n), { deliveryMode: 1 + (n % 2) })
    confirms.push(number)
  })
  await Promise.all(publishes)
  t.same(
    confirms.toSorted((a, b) => a - b),
    Array.from({ length: 500 }, (_, n) => n + 1),
  )
  const { messageCount } = await channel.queueDeclare(queue, { passive: true })
  t.equal(messageCount, 500)
  await connection.close()
})

t.test('a mandatory message without a queue is returned before its confirm', async t => {
  const broker = await openBroker(t)
  const connection = await new AMQPClient(broker.url).connect()
  const channel = await connection.channel()
  await channel.confirmSelect()
  const returned: AMQPMessage[] = []
  channel.onReturn = message => {
    returned.push(message)
  }
  const key = uniqueName('nowhere')
  const headers = { a: 1 }
  await channel.basicPublish('amq.direct', key, 'lost', { messageId: 'back', headers }, true)
  t.equal(returned.length, 1)
  t.match(returned[0], {
    replyCode: 312,
    replyText: 'NO_ROUTE',
    exchange: 'amq.direct',
    routingKey: key,
    properties: { messageId: 'back', headers },
  })
  t.equal(returned[0]?.bodyString(), 'lost')
  await connection.close()
})

t.test('a message that a full queue rejects is nacked', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'amqp-client-js')
  const connection = await new AMQPClient(broker.url).connect()
  const channel = await connection.channel()
  await channel.confirmSelect()
  const limits = { 'x-max-length': 1, 'x-overflow': 'reject-publish' }
  await channel.queueDeclare(queue, { durable: true }, limits)
  await channel.basicPublish('', queue, 'fits')
  await t.rejects(channel.basicPublish('', queue, 'does not'), /rejected/i)
  await connection.close()
})

t.test('an error closes the channel and leaves the connection open', async t => {
  const broker = await openBroker(t)
  const connection = await new AMQPClient(broker.url).connect()
  const channel = await connection.channel()
  channel.onerror = () => {}
  const name = uniqueName('nowhere')
  await t.rejects(channel.queueDeclare(name, { passive: true }), {
    message: new RegExp(`NOT_FOUND - no queue '${name}' in vhost '/'`),
  })
  t.equal(channel.closed, true)
  const another = await connection.channel()
  const { name: generated } = await another.queueDeclare('', { exclusive: true })
  t.match(generated, /^amq\.gen-/)
  await connection.close()
})

t.test('prefetch limits what is delivered unacknowledged', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'amqp-client-js')
  const connection = await new AMQPClient(broker.url).connect()
  const channel = await connection.channel()
  await channel.confirmSelect()
  await channel.queueDeclare(queue, { durable: true })
  for (const body of ['1', '2', '3', '4', '5']) await channel.basicPublish('', queue, body)
  await channel.prefetch(2)
  const received: AMQPMessage[] = []
  const consumer = await channel.basicConsume(queue, { noAck: false }, message => {
    received.push(message)
  })
  await eventually('two deliveries', () => received.length >= 2)
  const ready = async () => (await channel.queueDeclare(queue, { passive: true })).messageCount
  t.equal(await ready(), 3)
  await received[0]?.ack()
  await eventually('the third delivery', () => received.length >= 3)
  t.equal(await ready(), 2)
  await received[2]?.ack(true)
  await eventually('the last delivery', () => received.length >= 5)
  t.same(
    received.map(message => message.bodyString()),
    ['1', '2', '3', '4', '5'],
  )
  await consumer.cancel()
  await connection.close()
})

t.test('a requeued message comes again as redelivered, a rejected one does not', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'amqp-client-js')
  const connection = await new AMQPClient(broker.url).connect()
  const channel = await connection.channel()
  await channel.confirmSelect()
  await channel.queueDeclare(queue, { durable: true })
  for (const body of ['again', 'drop', 'nack']) await channel.basicPublish('', queue, body)
  await channel.prefetch(1)
  const seen: string[] = []
  await channel.basicConsume(queue, { noAck: false }, async message => {
    const body = message.bodyString()
    seen.push(`${body}${message.redelivered ? ' redelivered' : ''}`)
    if (message.redelivered) await message.ack()
    else if (body === 'drop') await message.reject(false)
    else if (body === 'nack') await message.nack(true)
    else await message.reject(true)
  })
  await eventually('five deliveries', () => seen.length >= 5)
  t.same(seen, ['again', 'again redelivered', 'drop', 'nack', 'nack redelivered'])
  await connection.close()
  const witness = await new AMQPClient(broker.url).connect()
  const { messageCount } = await (await witness.channel()).queueDeclare(queue, { passive: true })
  t.equal(messageCount, 0)
  await witness.close()
})

t.test('a consumer whose queue is deleted is told', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'amqp-client-js')
  const connection = await new AMQPClient(broker.url).connect()
  const channel = await connection.channel()
  await channel.queueDeclare(queue, { durable: true })
  const consumer = await channel.basicConsume(queue, { noAck: true }, () => {})
  const told = t.rejects(consumer.wait(), /cancelled by the server/)
  await channel.queueDelete(queue)
  await told
  await connection.close()
})

t.test('a transaction publishes all or nothing', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'amqp-client-js')
  const connection = await new AMQPClient(broker.url).connect()
  const channel = await connection.channel()
  await channel.queueDeclare(queue, { durable: true })
  const count = async () => (await channel.queueDeclare(queue, { passive: true })).messageCount
  await channel.txSelect()
  await channel.basicPublish('', queue, 'no')
  await channel.txRollback()
  await channel.basicPublish('', queue, 'yes')
  t.equal(await count(), 0)
  await channel.txCommit()
  t.equal(await count(), 1)
  const message = await channel.basicGet(queue, { noAck: true })
  t.equal(message?.bodyString(), 'yes')
  await connection.close()
})

t.test('closing is answered', async t => {
  const broker = await openBroker(t)
  const proxy = await openTcpProxy(t, broker)
  const connection = await new AMQPClient(proxy.url).connect()
  const channel = await connection.channel()
  await channel.queueDeclare('', { exclusive: true })
  await channel.close()
  await connection.close('that is all', 200)
  t.match(await proxy.parting(), { serverSaidCloseOk: true })
})

t.test('a wrong password is refused with a reason', async t => {
  const broker = await openBroker(t)
  const url = new URL(broker.url)
  url.password = 'wrong'
  const refused = new AMQPClient(url.href).connect()
  await t.rejects(refused, AMQPError)
  await t.rejects(refused, /ACCESS_REFUSED/)
})

t.test('a cut connection is noticed', async t => {
  const broker = await openBroker(t)
  const proxy = await openTcpProxy(t, broker)
  const client = new AMQPClient(proxy.url)
  const noticed = new Promise<AMQPError>(resolve => {
    client.onerror = resolve
  })
  await client.connect()
  proxy.sever()
  t.type(await noticed, AMQPError)
  await eventually('the client is closed', () => client.closed)
})

t.test(
  'a session opens a cut connection again, and what was unacknowledged comes again',
  async t => {
    const broker = await openBroker(t)
    const queue = temporaryQueue(t, broker, 'amqp-client-js')
    const proxy = await openTcpProxy(t, broker)
    let connected = 0
    const session = await AMQPSession.connect(proxy.url, {
      reconnectInterval: 50,
      maxReconnectInterval: 200,
      onconnect() {
        connected += 1
      },
    })
    const tasks = await session.queue(queue, { durable: true })
    await tasks.publish('first', { confirm: true })
    const seen: [string | null, boolean][] = []
    await tasks.subscribe({ noAck: false, prefetch: 1, manualAck: true }, async message => {
      seen.push([message.bodyString(), message.redelivered])
      if (seen.length > 1) await message.ack()
    })
    await eventually('the first delivery', () => seen.length === 1)
    proxy.sever()
    await eventually('the second delivery', () => seen.length === 2)
    await eventually('the session', () => connected === 2)
    await tasks.publish('after', { confirm: true })
    await eventually('the third delivery', () => seen.length === 3)
    t.same(seen, [
      ['first', false],
      ['first', true],
      ['after', false],
    ])
    await session.stop()
    t.match(await proxy.parting(), { serverSaidCloseOk: true })
  },
)

t.test('requests are answered through direct reply-to', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'amqp-client-js')
  const session = await AMQPSession.connect(broker.url)
  await session.queue(queue, { durable: true })
  const server = await session.rpcServer(queue, message => `${message.bodyString()}!`)
  const client = await session.rpcClient()
  const answers = await Promise.all(['one', 'two'].map(word => client.call(queue, word)))
  t.same(
    answers.map(answer => answer.bodyString()),
    ['one!', 'two!'],
  )
  await client.close()
  await server.close()
  await session.stop()
})
