import t from 'tap'
import { openBroker } from './support/broker.js'
import { openClient, uniqueName } from './support/client.js'
import { expectChannelError, expectConnectionError } from './support/errors.js'
import { consume } from './support/inbox.js'
import {
  ackTag,
  call,
  channelNumber,
  connectionInternals,
  nackTag,
  publishExactly,
  rejectTag,
  tell,
} from './support/methods.js'
import { frame, isMethod, METHOD, openRelay } from './support/relay.js'

const broker = await openBroker(t)

t.test('channel.open-ok carries its reserved field (regression 1)', async t => {
  const relay = await openRelay(t, broker)
  await openClient(t, { ...broker, ...relay })
  const openOk = relay.framesFromBroker().find(frame => isMethod(frame, 20, 11))
  t.same([...(openOk?.payload ?? [])], [0, 20, 0, 11, 0, 0, 0, 0])
})

t.test('a closed channel number can be opened again at once', async t => {
  const client = await openClient(t, broker)
  for (let round = 0; round < 5; round++) {
    const channel = await client.openChannel()
    t.equal(channelNumber(channel), 2)
    await channel.close()
  }
})

t.test('the number of a channel the server closed can be opened again at once', async t => {
  const client = await openClient(t, broker)
  for (let round = 0; round < 5; round++) {
    const channel = await client.openChannel()
    t.equal(channelNumber(channel), 2)
    const { code } = await expectChannelError(channel, channel.checkQueue(uniqueName('none')))
    t.equal(code, 404)
  }
})

t.test('an error on one channel leaves the others and the connection alone', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const inbox = await consume(client.channel, queue, { noAck: true })
  const failing = await client.openChannel()
  await expectChannelError(failing, failing.checkQueue(uniqueName('none')))
  client.send(queue, 'still here')
  t.same(await inbox.takeBodies(1), ['still here'])
})

t.test('a second channel.open closes the connection with 504 (regression 34)', async t => {
  const client = await openClient(t, broker)
  tell(client.channel, 'channelOpen', { outOfBand: '' })
  t.same(await expectConnectionError(client.connection), {
    code: 504,
    text: "CHANNEL_ERROR - second 'channel.open' seen",
  })
})

t.test('what follows a channel error is dropped silently (regressions 38, 39)', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  tell(channel, 'queueDeclare', {
    queue: uniqueName('none'),
    passive: true,
    nowait: false,
    durable: false,
    exclusive: false,
    autoDelete: false,
  })
  ackTag(channel, 1)
  nackTag(channel, 2)
  rejectTag(channel, 3)
  channel.sendToQueue(queue, Buffer.from('too late'))
  tell(channel, 'basicRecover', { requeue: false })
  const { code } = await expectChannelError(channel)
  t.equal(code, 404)
  t.same(await client.drain(queue), [])
  const reopened = await client.openChannel()
  t.equal(channelNumber(reopened), channelNumber(channel))
})

t.test('an ack on a channel the client has closed closes the connection with 504', async t => {
  const client = await openClient(t, broker)
  const channel = await client.openChannel()
  const number = channelNumber(channel)
  await channel.close()
  const ack = Buffer.from([0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 1, 0])
  connectionInternals(client.connection).stream.write(frame(METHOD, number, ack))
  t.same(await expectConnectionError(client.connection), {
    code: 504,
    text: "CHANNEL_ERROR - expected 'channel.open'",
  })
})

t.test('closing a channel requeues what it has not acknowledged, once (regression 10)', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  const inbox = await consume(channel, queue)
  for (const body of ['1', '2', '3', '4']) client.send(queue, body)
  const [, second] = await inbox.take(4)
  channel.ack(second!)
  await channel.close()
  t.equal(await client.ready(queue), 3)
  for (const body of ['1', '3', '4']) {
    const message = await client.get(queue)
    t.equal(message.content.toString(), body)
    t.ok(message.fields.redelivered)
  }
})

t.test('a channel error requeues deliveries and cancels consumers', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  const inbox = await consume(channel, queue)
  client.send(queue, 'kept')
  await inbox.take(1)
  await expectChannelError(channel, channel.checkExchange(uniqueName('none')))
  t.same(await client.channel.checkQueue(queue), { queue, messageCount: 1, consumerCount: 0 })
  t.ok((await client.get(queue)).fields.redelivered)
})

t.test('nothing is delivered on a channel after its close-ok (regression 7)', async t => {
  const relay = await openRelay(t, broker)
  const client = await openClient(t, { ...broker, ...relay })
  const queue = await client.queue()
  const channel = await client.openChannel()
  const number = channelNumber(channel)
  await consume(channel, queue, { noAck: true })
  const closed = channel.close()
  for (let count = 0; count < 50; count++) client.send(queue, `${count}`)
  await closed
  await client.ready(queue)
  const frames = relay.framesFromBroker().filter(frame => frame.channel === number)
  t.ok(isMethod(frames.at(-1)!, 20, 41), 'close-ok is the last frame')
})

t.test('a publish is visible to a get that follows it on the channel', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  for (let count = 0; count < 20; count++) {
    client.send(queue, `${count}`)
    t.equal((await client.get(queue)).content.toString(), `${count}`)
  }
})

t.test('channel.flow with active=true is acknowledged', async t => {
  const { channel } = await openClient(t, broker)
  t.same(await call(channel, 'channelFlow', { active: true }), { active: true })
})

t.test('channel.flow with active=false is not implemented', async t => {
  const { channel, connection } = await openClient(t, broker)
  t.same(await expectConnectionError(connection, call(channel, 'channelFlow', { active: false })), {
    code: 540,
    text: 'NOT_IMPLEMENTED - active=false',
  })
})

t.test('access.request is answered', async t => {
  const { channel } = await openClient(t, broker)
  const { ticket } = await call(channel, 'accessRequest', { realm: '/data' })
  t.equal(ticket, 1)
})

t.test('publishing on one channel does not wait for an unfinished message on another', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const other = await client.openChannel()
  publishExactly(client.channel, { routingKey: queue }, {}, Buffer.alloc(400_000, 1))
  publishExactly(other, { routingKey: queue }, {}, Buffer.alloc(300_000, 2))
  publishExactly(client.channel, { routingKey: queue }, {}, 'three')
  await client.untilReady(queue, 3)
  const messages = await Promise.all([1, 2, 3].map(() => client.get(queue)))
  t.same(
    messages.map(({ content }) => content.length).sort((a, b) => a - b),
    [5, 300_000, 400_000],
  )
})
