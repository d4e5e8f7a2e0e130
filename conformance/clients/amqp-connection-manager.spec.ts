import { type AmqpConnectionManager, type ChannelWrapper, connect } from 'amqp-connection-manager'
import type { Channel, ConsumeMessage, Message } from 'amqplib'
import t, { type Test } from 'tap'
import { openBroker } from '../support/broker.js'
import { openTcpProxy } from '../support/tcp-proxy.js'
import { temporaryQueue, uniqueName } from '../support/temporary.js'
import { eventually } from '../support/waiting.js'

/** A manager that never outlives its test and connects again at once. */
function open(t: Test, url: string): AmqpConnectionManager {
  const manager = connect([url], { reconnectTimeInSeconds: 0.05 })
  t.teardown(() => manager.close())
  return manager
}

/** A confirm channel that declares the queue each time it is opened. */
async function openChannel(
  manager: AmqpConnectionManager,
  queue?: string,
): Promise<ChannelWrapper> {
  const channel = manager.createChannel(
    queue === undefined
      ? {}
      : { setup: (channel: Channel) => channel.assertQueue(queue, { durable: true }) },
  )
  await channel.waitForConnect()
  return channel
}

t.test('what was published is confirmed and can be got', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'connection-manager')
  const manager = open(t, broker.url)
  const channel = await openChannel(manager, queue)
  const properties = { persistent: true, messageId: 'm-1', headers: { number: 1, list: ['a'] } }
  t.equal(await channel.sendToQueue(queue, 'body', properties), true)
  const message = await channel.get(queue)
  if (message === false) throw new Error('the queue is empty')
  t.equal(message.content.toString(), 'body')
  t.match(message.properties, {
    deliveryMode: 2,
    messageId: 'm-1',
    headers: { number: 1, list: ['a'] },
  })
  channel.ack(message)
  t.equal(await channel.get(queue), false)
  t.match(await channel.checkQueue(queue), { queue, messageCount: 0, consumerCount: 0 })
  await manager.close()
})

t.test('a mandatory message without a queue is returned before its confirm', async t => {
  const broker = await openBroker(t)
  const manager = open(t, broker.url)
  const returned: Message[] = []
  const channel = manager.createChannel({
    setup: async (channel: Channel) => {
      channel.on('return', (message: Message) => returned.push(message))
    },
  })
  const key = uniqueName('nowhere')
  await channel.publish('amq.topic', key, 'lost', { mandatory: true, messageId: 'back' })
  t.match(returned, [
    {
      fields: { replyCode: 312, replyText: 'NO_ROUTE', exchange: 'amq.topic', routingKey: key },
      properties: { messageId: 'back' },
    },
  ])
  t.equal(returned[0]?.content.toString(), 'lost')
  await manager.close()
})

t.test('a message that a full queue rejects is nacked', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'connection-manager')
  const manager = open(t, broker.url)
  const channel = await openChannel(manager)
  await channel.assertQueue(queue, {
    arguments: { 'x-max-length': 1, 'x-overflow': 'reject-publish' },
  })
  await channel.sendToQueue(queue, 'fits')
  await t.rejects(channel.sendToQueue(queue, 'does not'), /nacked/)
  await manager.close()
})

t.test('prefetch limits what is delivered unacknowledged', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'connection-manager')
  const manager = open(t, broker.url)
  const channel = await openChannel(manager, queue)
  for (const body of ['1', '2', '3', '4', '5']) await channel.sendToQueue(queue, body)
  const received: ConsumeMessage[] = []
  await channel.consume(queue, message => received.push(message), { prefetch: 2 })
  await eventually('two deliveries', () => received.length >= 2)
  t.match(await channel.checkQueue(queue), { messageCount: 3, consumerCount: 1 })
  channel.ack(received[0]!)
  await eventually('the third delivery', () => received.length >= 3)
  t.match(await channel.checkQueue(queue), { messageCount: 2 })
  channel.ack(received[2]!, true)
  await eventually('the last delivery', () => received.length >= 5)
  t.same(
    received.map(message => message.content.toString()),
    ['1', '2', '3', '4', '5'],
  )
  channel.ackAll()
  await channel.cancelAll()
  t.match(await channel.checkQueue(queue), { messageCount: 0, consumerCount: 0 })
  await manager.close()
})

t.test('a requeued message comes again as redelivered, a rejected one does not', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'connection-manager')
  const manager = open(t, broker.url)
  const channel = await openChannel(manager, queue)
  for (const body of ['again', 'drop', 'last']) await channel.sendToQueue(queue, body)
  const seen: string[] = []
  await channel.consume(
    queue,
    message => {
      const body = message.content.toString()
      seen.push(`${body}${message.fields.redelivered ? ' redelivered' : ''}`)
      if (body === 'drop') channel.nack(message, false, false)
      else if (body === 'again' && !message.fields.redelivered) channel.nack(message, false, true)
      else channel.ack(message)
    },
    { prefetch: 1 },
  )
  await eventually('four deliveries', () => seen.length >= 4)
  await channel.cancelAll()
  t.same(seen, ['again', 'again redelivered', 'drop', 'last'])
  t.match(await channel.checkQueue(queue), { messageCount: 0 })
  await manager.close()
})

t.test('a cut connection is opened again, consumers and all', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'connection-manager')
  const proxy = await openTcpProxy(t, broker)
  const manager = open(t, proxy.url)
  let connected = 0
  manager.on('connect', () => {
    connected += 1
  })
  const channel = await openChannel(manager, queue)
  const seen: [string, boolean][] = []
  await channel.sendToQueue(queue, 'first')
  await channel.consume(queue, message => {
    seen.push([message.content.toString(), message.fields.redelivered])
    if (seen.length > 1) channel.ack(message)
  })
  await eventually('the first delivery', () => seen.length === 1)
  proxy.sever()
  await eventually('the second delivery', () => seen.length === 2)
  t.equal(connected, 2)
  await channel.sendToQueue(queue, 'after')
  await eventually('the third delivery', () => seen.length === 3)
  t.same(seen, [
    ['first', false],
    ['first', true],
    ['after', false],
  ])
  await manager.close()
  t.match(await proxy.parting(), { serverSaidCloseOk: true })
})

t.test('what is published while the broker is away is confirmed when it is back', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'connection-manager')
  const proxy = await openTcpProxy(t, broker)
  const manager = open(t, proxy.url)
  const channel = await openChannel(manager, queue)
  let failures = 0
  manager.on('connectFailed', () => {
    failures += 1
  })
  proxy.down = true
  proxy.sever()
  await eventually('the loss is noticed', () => !manager.isConnected())
  const publishes = ['1', '2', '3'].map(body => channel.sendToQueue(queue, body))
  await eventually('two attempts have failed', () => failures >= 2)
  proxy.down = false
  await Promise.all(publishes)
  t.match(await channel.checkQueue(queue), { messageCount: 3 })
  await manager.close()
})

t.test('a channel that the broker closed takes nothing else with it', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'connection-manager')
  const manager = open(t, broker.url)
  const bystander = await openChannel(manager, queue)
  const channel = manager.createChannel({ confirm: false })
  await channel.waitForConnect()
  channel.on('error', () => {})
  manager.connection?.on('error', () => {})
  await t.rejects(channel.checkQueue(uniqueName('nowhere')), { code: 404 })
  t.equal(await bystander.sendToQueue(queue, 'still here'), true)
  t.equal(manager.isConnected(), true)
  await manager.close()
})

t.test('a wrong password is refused with a reason', async t => {
  const broker = await openBroker(t)
  const url = new URL(broker.url)
  url.password = 'wrong'
  const manager = open(t, url.href)
  const refused = new Promise<Error>(resolve => {
    manager.once('connectFailed', ({ err }) => resolve(err))
  })
  t.match((await refused).message, /ACCESS[-_]REFUSED/)
  await manager.close()
})
