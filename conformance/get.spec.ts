import t from 'tap'
import { openBroker } from './support/broker.js'
import { openClient, uniqueName } from './support/client.js'
import { expectChannelError } from './support/errors.js'
import { isMethod, openRelay } from './support/relay.js'

const broker = await openBroker(t)

t.test('an empty queue answers with get-empty and its reserved field (regression 1)', async t => {
  const relay = await openRelay(t, broker)
  const client = await openClient(t, { ...broker, ...relay })
  const queue = await client.queue()
  t.equal(await client.channel.get(queue), false)
  const empty = relay.framesFromBroker().find(frame => isMethod(frame, 60, 72))
  t.same([...(empty?.payload ?? [])], [0, 60, 0, 72, 0])
})

t.test('get tells how many messages are left', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  for (const body of ['1', '2', '3']) client.send(queue, body)
  for (const left of [2, 1, 0]) {
    const { fields } = await client.get(queue)
    t.match(fields, { messageCount: left, redelivered: false, exchange: '', routingKey: queue })
  }
  t.equal(await client.channel.get(queue), false)
})

t.test('a message got without no-ack stays with the channel (regression 11)', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  client.send(queue, '1')
  client.send(queue, '2')
  await client.untilReady(queue, 2)
  const channel = await client.openChannel()
  const first = await channel.get(queue)
  const second = await channel.get(queue)
  t.equal(await client.channel.get(queue), false)
  if (first !== false && second !== false) channel.ack(first)
  await channel.close()
  const { content, fields } = await client.get(queue)
  t.equal(content.toString(), '2')
  t.ok(fields.redelivered)
  t.equal(await client.channel.get(queue), false)
})

t.test('a message got with no-ack is gone', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  client.send(queue, 'x')
  const channel = await client.openChannel()
  await client.untilReady(queue, 1)
  t.ok(await channel.get(queue, { noAck: true }))
  await channel.close()
  t.equal(await client.ready(queue), 0)
})

t.test('get from a queue that does not exist is 404', async t => {
  const { channel } = await openClient(t, broker)
  const queue = uniqueName('queue')
  t.same(await expectChannelError(channel, channel.get(queue)), {
    code: 404,
    text: `NOT_FOUND - no queue '${queue}' in vhost '/'`,
    classId: 60,
    methodId: 70,
  })
})

t.test('gets sent in one go are answered in order', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  for (let index = 0; index < 50; index++) client.send(queue, `${index}`)
  const gets = Array.from({ length: 51 }, () => client.channel.get(queue, { noAck: true }))
  const messages = await Promise.all(gets)
  t.same(
    messages.map(message => message !== false && message.content.toString()),
    [...Array.from({ length: 50 }, (_, index) => `${index}`), false],
  )
})

t.test('large and empty bodies can be got', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  client.channel.sendToQueue(queue, Buffer.alloc(0))
  client.channel.sendToQueue(queue, Buffer.alloc(500_000, 9))
  t.equal((await client.get(queue)).content.length, 0)
  t.ok((await client.get(queue)).content.equals(Buffer.alloc(500_000, 9)))
})
