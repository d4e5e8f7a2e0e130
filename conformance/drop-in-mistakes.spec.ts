/** Mistakes that other brokers shipped and no test elsewhere would see; the numbers are rows of README.md. */
import { networkInterfaces } from 'node:os'
import t from 'tap'
import { startBroker } from '../src/index.js'
import { openBroker } from './support/broker.js'
import { openClient, openConnection } from './support/client.js'
import { expectChannelError } from './support/errors.js'
import { RawClient } from './support/raw-client.js'
import { encodeMethod, frame, METHOD } from './support/raw-codec.js'
import { eventually } from './support/waiting.js'

const broker = await openBroker(t)

t.test('a key that is too long for any message harms nobody (regression 29)', async t => {
  const client = await openClient(t, broker)
  const dead = await client.queue()
  const queue = await client.queue({
    arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead },
  })
  const keys = ['k'.repeat(256), 'k'.repeat(20_000), queue]
  client.publish('', 'nobody', 'm', { CC: keys })
  const message = await eventually('the message', () => client.channel.get(queue))
  t.match(message.properties.headers, { CC: keys }, 'as they were sent')
  client.channel.nack(message, false, false)
  const letter = await client.getEventually(dead)
  t.same(letter.properties.headers?.['x-death']?.[0]?.['routing-keys'], ['nobody', ...keys])
})

t.test('queues that come and go with their connections leave nothing (regression 33)', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('topic')
  const rounds = 30
  const names = Array.from({ length: rounds }, () => ({
    exclusive: client.queueName(),
    autoDelete: client.queueName(),
  }))
  for (const { exclusive, autoDelete } of names) {
    const connection = await openConnection(t, broker)
    const channel = await connection.createChannel()
    await channel.assertQueue(exclusive, { exclusive: true })
    await channel.assertQueue(autoDelete, { durable: false, autoDelete: true })
    for (const queue of [exclusive, autoDelete]) {
      await channel.bindQueue(queue, exchange, '#')
      await channel.consume(queue, () => {})
    }
    client.publish(exchange, 'key', 'unacked')
    await connection.close()
  }
  await eventually('the end of all queues', async () => {
    for (const { exclusive, autoDelete } of names)
      for (const queue of [exclusive, autoDelete]) if (await client.queueExists(queue)) return false
    return true
  })
  const { channel } = client
  for (const { exclusive, autoDelete } of names)
    for (const queue of [exclusive, autoDelete])
      t.same(await channel.assertQueue(queue, { durable: false }), {
        queue,
        messageCount: 0,
        consumerCount: 0,
      })
  client.publish(exchange, 'key', 'to nobody')
  const [{ exclusive }] = names as [(typeof names)[0]]
  t.equal(await client.ready(exclusive), 0, 'no binding has come back with the name')
  await t.resolves(channel.deleteExchange(exchange, { ifUnused: true }), 'nor is one left')
})

t.test('guest may come from any form of the loopback (regression 46)', async t => {
  const everywhere = broker.real ? null : await startBroker({ host: '::' }).catch(() => null)
  if (everywhere === null) {
    t.comment('no broker that listens on IPv6')
    return
  }
  t.teardown(() => everywhere.close())
  const { port } = everywhere
  for (const host of ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1']) {
    const client = await RawClient.open({ host, port })
    await client.close()
  }
  const addresses = Object.values(networkInterfaces()).flatMap(all => all ?? [])
  const outside = addresses.find(({ internal, family }) => !internal && family === 'IPv4')
  if (outside === undefined) {
    t.comment('no other address to come from')
    return
  }
  const client = await RawClient.connect({ host: outside.address, port })
  await client.start()
  client.startOk()
  t.match(await client.outcome(), /^connection 403 0,0 ACCESS_REFUSED - Login was refused/)
  client.destroy()
})

t.test('a declare that is refused changes nothing (regression 52)', async t => {
  const client = await openClient(t, broker)
  const refused: [string, (channel: typeof client.channel, name: string) => Promise<unknown>][] = [
    ['queue', (channel, name) => channel.assertQueue(name, { arguments: { 'x-expires': 0 } })],
    ['queue', (channel, name) => channel.assertQueue(name, { arguments: { 'x-overflow': 'no' } })],
    [
      'exchange',
      (channel, name) =>
        channel.assertExchange(name, 'direct', { arguments: { 'alternate-exchange': 7 } }),
    ],
  ]
  for (const [kind, declare] of refused) {
    const name = kind === 'queue' ? client.queueName() : client.exchangeName()
    const channel = await client.openChannel()
    const { code } = await expectChannelError(channel, declare(channel, name))
    t.equal(code, 406)
    t.notOk(await (kind === 'queue' ? client.queueExists(name) : client.exchangeExists(name)))
  }
  const queue = await client.queue({ arguments: { 'x-max-length': 2 } })
  const channel = await client.openChannel()
  await expectChannelError(
    channel,
    channel.assertQueue(queue, { durable: false, arguments: { 'x-max-length': 1 } }),
  )
  client.send(queue, 'first')
  client.send(queue, 'second')
  t.same(await client.drain(queue), ['first', 'second'], 'the queue that is there is as it was')
})

t.test('an ack behind connection.close is not executed (regression 52)', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  client.send(queue, 'kept')
  await client.untilReady(queue, 1)
  const raw = await RawClient.open(broker)
  await raw.channel(1)
  raw.send(1, 'basic.get', { queue })
  await raw.content(1, 'basic.get-ok')
  raw.write(
    Buffer.concat([
      frame(METHOD, 0, encodeMethod('connection.close', { replyCode: 200 })),
      frame(METHOD, 1, encodeMethod('basic.ack', { deliveryTag: 1 })),
    ]),
  )
  await raw.expect(0, 'connection.close-ok')
  await raw.close()
  const { fields } = await client.getEventually(queue)
  t.ok(fields.redelivered)
})
