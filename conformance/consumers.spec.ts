import t from 'tap'
import { openBroker } from './support/broker.js'
import { openClient, uniqueName } from './support/client.js'
import { expectChannelError, expectConnectionError } from './support/errors.js'
import { consume, Inbox } from './support/inbox.js'
import { ackTag, call, nackTag, publishExactly, rejectTag, tell } from './support/methods.js'
import { isMethod, openRelay } from './support/relay.js'
import { eventually } from './support/waiting.js'

const broker = await openBroker(t)

const unknownTag = (tag: number, methodId: number) => ({
  code: 406,
  text: `PRECONDITION_FAILED - unknown delivery tag ${tag}`,
  classId: 60,
  methodId,
})

t.test('a consumer gets what was there and what comes, in order', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  client.send(queue, '1')
  client.send(queue, '2')
  const inbox = await consume(client.channel, queue)
  client.send(queue, '3')
  t.same(await inbox.takeBodies(3), ['1', '2', '3'])
  t.match(inbox.received[0]?.fields, {
    consumerTag: inbox.consumerTag,
    deliveryTag: 1,
    redelivered: false,
    exchange: '',
    routingKey: queue,
  })
})

t.test('consume-ok comes before the first delivery (regression 3)', async t => {
  const relay = await openRelay(t, broker)
  const client = await openClient(t, { ...broker, ...relay })
  const queue = await client.queue()
  for (let index = 0; index < 50; index++) client.send(queue, `${index}`)
  await client.untilReady(queue, 50)
  const inbox = await consume(client.channel, queue)
  await inbox.take(50)
  const frames = relay.framesFromBroker()
  const consumeOk = frames.findIndex(frame => isMethod(frame, 60, 21))
  const delivery = frames.findIndex(frame => isMethod(frame, 60, 60))
  t.ok(consumeOk >= 0 && consumeOk < delivery)
})

t.test('a consumer without a tag is given one', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const inbox = await consume(client.channel, queue)
  t.match(inbox.consumerTag, /^amq\.ctag-[A-Za-z0-9_-]{22}$/)
})

t.test('a tag used twice on a channel closes the connection', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ exclusive: true })
  const other = await client.openChannel()
  await consume(client.channel, queue, { consumerTag: 'tag' })
  await t.resolves(consume(other, queue, { consumerTag: 'tag' }), 'another channel, same tag')
  const again = consume(client.channel, queue, { consumerTag: 'tag' })
  t.same(await expectConnectionError(client.connection, again), {
    code: 530,
    text: "NOT_ALLOWED - attempt to reuse consumer tag 'tag'",
  })
})

t.test('a cancelled tag can be used again', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  for (let round = 0; round < 5; round++) {
    const inbox = await consume(client.channel, queue, { consumerTag: 'tag', noAck: true })
    client.send(queue, `${round}`)
    t.same(await inbox.takeBodies(1), [`${round}`])
    await inbox.cancel()
  }
})

t.test('consuming from a queue that does not exist is 404', async t => {
  const { channel } = await openClient(t, broker)
  const queue = uniqueName('queue')
  t.same(await expectChannelError(channel, consume(channel, queue)), {
    code: 404,
    text: `NOT_FOUND - no queue '${queue}' in vhost '/'`,
    classId: 60,
    methodId: 20,
  })
})

t.test('consuming works without a reply', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const inbox = new Inbox(client.channel)
  // amqplib learns of a consumer by its reply only; so one is announced to it under the same tag.
  const registry = client.channel as unknown as {
    registerConsumer(tag: string, callback: (message: never) => void): void
  }
  registry.registerConsumer('silent', message => inbox.accept(message))
  tell(client.channel, 'basicConsume', {
    queue,
    consumerTag: 'silent',
    noLocal: false,
    noAck: true,
    exclusive: false,
    nowait: true,
  })
  client.send(queue, 'x')
  t.same(await inbox.takeBodies(1), ['x'])
  tell(client.channel, 'basicCancel', { consumerTag: 'silent', nowait: true })
  t.equal(await client.consumers(queue), 0)
})

t.test('no-local is ignored', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const inbox = await consume(client.channel, queue, { noLocal: true, noAck: true })
  client.send(queue, 'own')
  t.same(await inbox.takeBodies(1), ['own'])
})

t.test('unknown consumer arguments are ignored', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const options = { noAck: true, arguments: { 'x-credit': { credit: 1 }, 'x-colour': 'red' } }
  const inbox = await consume(client.channel, queue, options)
  client.send(queue, '1')
  client.send(queue, '2')
  t.same(await inbox.takeBodies(2), ['1', '2'])
})

t.test('an acknowledged message is gone', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  const inbox = await consume(channel, queue)
  client.send(queue, 'x')
  channel.ack(await inbox.next())
  await channel.close()
  t.equal(await client.ready(queue), 0)
})

t.test('ack with multiple takes all tags up to its own', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  const inbox = await consume(channel, queue)
  for (const body of ['1', '2', '3', '4', '5']) client.send(queue, body)
  const messages = await inbox.take(5)
  channel.ack(messages[1]!)
  channel.ack(messages[3]!, true)
  await channel.close()
  t.same(await client.drain(queue), ['5'])
})

t.test('tag 0 with multiple takes everything, or nothing (regression 12)', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const { channel } = client
  channel.ackAll()
  channel.nackAll()
  const inbox = await consume(channel, queue)
  for (const body of ['1', '2', '3']) client.send(queue, body)
  await inbox.take(3)
  channel.ackAll()
  channel.ackAll()
  await channel.recover()
  t.equal(await client.ready(queue), 0)
  t.equal(inbox.received.length, 3)
})

t.test('nack of tag 0 with multiple returns everything (regression 14)', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  for (const body of ['1', '2', '3']) client.send(queue, body)
  for (let count = 0; count < 3; count++) await channel.get(queue)
  channel.nackAll(true)
  await channel.close()
  t.same(await client.drain(queue), ['1', '2', '3'])
})

t.test('tag 0 without multiple is unknown', async t => {
  const client = await openClient(t, broker)
  const cases = [
    [80, channel => ackTag(channel, 0)],
    [90, channel => rejectTag(channel, 0)],
    [120, channel => nackTag(channel, 0)],
  ] as const satisfies readonly (readonly [number, (channel: typeof client.channel) => void])[]
  for (const [methodId, action] of cases) {
    const channel = await client.openChannel()
    action(channel)
    t.same(await expectChannelError(channel), unknownTag(0, methodId))
  }
})

t.test('a tag that is not outstanding closes the channel', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const cases = [
    [80, channel => ackTag(channel, 1)],
    [80, channel => ackTag(channel, 1, true)],
    [90, channel => rejectTag(channel, 1)],
    [120, channel => nackTag(channel, 1)],
    [120, channel => nackTag(channel, 1, { multiple: true })],
  ] as const satisfies readonly (readonly [number, (channel: typeof client.channel) => void])[]
  for (const [methodId, action] of cases) {
    const channel = await client.openChannel()
    client.send(queue, 'x')
    await client.untilReady(queue, 1)
    const message = await channel.get(queue)
    if (message !== false) channel.ack(message)
    action(channel)
    t.same(await expectChannelError(channel), unknownTag(1, methodId), 'acknowledged before')
  }
  const channel = await client.openChannel()
  ackTag(channel, 77)
  t.same(await expectChannelError(channel), unknownTag(77, 80), 'never issued')
})

t.test('multiple up to a settled tag is an error though lower ones are outstanding', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  const inbox = await consume(channel, queue)
  for (const body of ['1', '2', '3']) client.send(queue, body)
  await inbox.take(3)
  ackTag(channel, 2)
  ackTag(channel, 2, true)
  t.same(await expectChannelError(channel), unknownTag(2, 80))
  await client.untilReady(queue, 2)
  t.same(await client.drain(queue), ['1', '3'])
})

t.test('a no-ack delivery needs no ack and takes none, but takes a tag', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  const inbox = await consume(channel, queue, { noAck: true })
  client.send(queue, '1')
  client.send(queue, '2')
  const messages = await inbox.take(2)
  t.same(
    messages.map(({ fields }) => fields.deliveryTag),
    [1, 2],
  )
  ackTag(channel, 1)
  t.same(await expectChannelError(channel), unknownTag(1, 80))
  t.equal(await client.ready(queue), 0)
})

t.test('delivery tags count per channel over all consumers and gets', async t => {
  const client = await openClient(t, broker)
  const { channel } = client
  const acked = await client.queue()
  const unacked = await client.queue()
  const fetched = await client.queue()
  const first = await consume(channel, acked)
  const second = await consume(channel, unacked, { noAck: true })
  client.send(acked, 'x')
  t.equal((await first.next()).fields.deliveryTag, 1)
  client.send(unacked, 'x')
  t.equal((await second.next()).fields.deliveryTag, 2)
  client.send(fetched, 'x')
  t.equal((await client.get(fetched)).fields.deliveryTag, 3)
  client.send(acked, 'x')
  t.equal((await first.next()).fields.deliveryTag, 4)
  const other = await client.openChannel()
  const third = await consume(other, fetched)
  client.send(fetched, 'x')
  t.equal((await third.next()).fields.deliveryTag, 1)
})

t.test('requeued messages return to their places (regression 9)', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  await channel.prefetch(4)
  const inbox = await consume(channel, queue)
  for (const body of ['1', '2', '3', '4', '5', '6']) client.send(queue, body)
  const messages = await inbox.take(4)
  await channel.cancel(inbox.consumerTag)
  channel.nack(messages[2]!)
  channel.reject(messages[0]!)
  channel.ack(messages[1]!)
  await channel.checkQueue(queue)
  await client.untilReady(queue, 4)
  const order: [string, boolean][] = []
  for (let count = 0; count < 4; count++) {
    const { content, fields } = await client.get(queue)
    order.push([content.toString(), fields.redelivered])
  }
  t.same(order, [
    ['1', true],
    ['3', true],
    ['5', false],
    ['6', false],
  ])
})

t.test('nack with multiple and requeue keeps the order', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  for (const body of ['1', '2', '3', '4', '5']) client.send(queue, body)
  await client.untilReady(queue, 5)
  for (let count = 0; count < 4; count++) await channel.get(queue)
  nackTag(channel, 3, { multiple: true })
  await channel.checkQueue(queue)
  t.same(await client.drain(queue), ['1', '2', '3', '5'])
})

t.test('what is rejected without requeue is gone', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const { channel } = client
  const inbox = await consume(channel, queue)
  for (const body of ['1', '2', '3', '4']) client.send(queue, body)
  const messages = await inbox.take(4)
  channel.reject(messages[0]!, false)
  channel.nack(messages[3]!, true, false)
  await channel.recover()
  t.equal(await client.ready(queue), 0)
  t.equal(inbox.received.length, 4)
})

t.test('a requeued message goes to another waiting consumer or back, redelivered', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const { channel } = client
  const inbox = await consume(channel, queue)
  client.send(queue, 'x')
  for (let round = 0; round < 5; round++) {
    const message = await inbox.next()
    t.equal(message.fields.redelivered, round > 0)
    t.equal(message.fields.deliveryTag, round + 1)
    channel.nack(message)
  }
  channel.ack(await inbox.next())
})

t.test(
  'recover requeues everything unacked of the channel, gets included (regression 13)',
  async t => {
    const client = await openClient(t, broker)
    const queue = await client.queue()
    const channel = await client.openChannel()
    for (const body of ['1', '2', '3']) client.send(queue, body)
    await client.untilReady(queue, 3)
    await channel.get(queue)
    await channel.prefetch(1)
    const inbox = await consume(channel, queue)
    await inbox.take(1)
    await inbox.cancel()
    await channel.recover()
    t.equal(await client.ready(queue), 3)
    const redelivered: boolean[] = []
    for (const body of ['1', '2', '3']) {
      const message = await client.get(queue)
      t.equal(message.content.toString(), body)
      redelivered.push(message.fields.redelivered)
    }
    t.same(redelivered, [true, true, false])
  },
)

t.test('recover without requeue is not implemented', async t => {
  const client = await openClient(t, broker)
  const recovered = call(client.channel, 'basicRecover', { requeue: false })
  t.same(await expectConnectionError(client.connection, recovered), {
    code: 540,
    text: 'NOT_IMPLEMENTED - requeue=false',
  })
})

t.test('recover-async requeues without an answer', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  client.send(queue, 'x')
  await client.untilReady(queue, 1)
  await channel.get(queue)
  tell(channel, 'basicRecoverAsync', { requeue: true })
  const again = await channel.get(queue)
  t.ok(again !== false && again.fields.redelivered)
})

t.test('cancelling keeps unacked messages with the channel (regression 8)', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  const inbox = await consume(channel, queue)
  client.send(queue, '1')
  client.send(queue, '2')
  const [first] = await inbox.take(2)
  t.same(await channel.cancel(inbox.consumerTag), { consumerTag: inbox.consumerTag })
  t.equal(await client.ready(queue), 0)
  channel.ack(first!)
  await channel.close()
  t.same(await client.drain(queue), ['2'])
})

t.test('nothing is delivered after cancel-ok', async t => {
  const relay = await openRelay(t, broker)
  const client = await openClient(t, { ...broker, ...relay })
  const queue = await client.queue()
  const channel = await client.openChannel()
  const inbox = await consume(channel, queue, { noAck: true })
  for (let index = 0; index < 200; index++) client.send(queue, `${index}`)
  const cancelled = channel.cancel(inbox.consumerTag)
  for (let index = 200; index < 300; index++) client.send(queue, `${index}`)
  await cancelled
  await channel.checkQueue(queue)
  const frames = relay.framesFromBroker()
  const cancelOk = frames.findIndex(frame => isMethod(frame, 60, 31))
  const last = frames.findLastIndex(frame => isMethod(frame, 60, 60))
  t.ok(last < cancelOk)
  const left = await client.drain(queue)
  t.same(
    [...inbox.bodies, ...left],
    Array.from({ length: 300 }, (_, index) => `${index}`),
  )
})

t.test('cancelling a tag nobody has succeeds', async t => {
  const { channel } = await openClient(t, broker)
  t.same(await channel.cancel('nobody'), { consumerTag: 'nobody' })
})

t.test('consumers of a deleted queue are cancelled by the server', async t => {
  const client = await openClient(t, broker)
  const other = await openClient(t, broker)
  const queue = await client.queue()
  const mine = await consume(client.channel, queue)
  const theirs = await consume(other.channel, queue, { consumerTag: 'theirs' })
  await client.channel.deleteQueue(queue)
  await mine.untilCancelled()
  await theirs.untilCancelled()
  await t.resolves(other.channel.cancel('theirs'), 'the tag is free')
  const next = await client.queue()
  await t.resolves(consume(other.channel, next, { consumerTag: 'theirs' }))
})

t.test('the cancellation of a deleted queue asks for no answer', async t => {
  const relay = await openRelay(t, broker)
  const client = await openClient(t, { ...broker, ...relay })
  const queue = await client.queue()
  const inbox = await consume(client.channel, queue, { consumerTag: 'c' })
  await client.channel.deleteQueue(queue)
  await inbox.untilCancelled()
  const frames = relay.framesFromBroker()
  const cancel = frames.findIndex(frame => isMethod(frame, 60, 30))
  t.same([...frames[cancel]!.payload], [0, 60, 0, 30, 1, 'c'.charCodeAt(0), 1])
  t.ok(cancel > frames.findIndex(frame => isMethod(frame, 50, 41)), 'after delete-ok')
})

t.test('a client without consumer_cancel_notify is not told', async t => {
  const relay = await openRelay(t, broker)
  const client = await openClient(
    t,
    { ...broker, ...relay },
    { clientProperties: { capabilities: {} } },
  )
  const queue = await client.queue()
  await consume(client.channel, queue)
  await client.channel.deleteQueue(queue)
  await client.channel.checkExchange('amq.direct')
  await client.queueExists(queue)
  const cancels = relay.framesFromBroker().filter(frame => isMethod(frame, 60, 30))
  t.same(cancels, [])
})

t.test('an exclusive consumer suffers no other', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const inbox = await consume(client.channel, queue, { exclusive: true })
  for (const exclusive of [false, true]) {
    const channel = await client.openChannel()
    t.same(await expectChannelError(channel, consume(channel, queue, { exclusive })), {
      code: 403,
      text: `ACCESS_REFUSED - queue '${queue}' in vhost '/' in exclusive use`,
      classId: 60,
      methodId: 20,
    })
  }
  client.send(queue, 'x')
  t.same(await inbox.takeBodies(1), ['x'])
  client.channel.ackAll()
  await inbox.cancel()
  await t.resolves(consume(client.channel, queue, { exclusive: true }))
})

t.test('exclusive consumption is refused while there is any consumer', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  await consume(client.channel, queue)
  const channel = await client.openChannel()
  const { code, text } = await expectChannelError(
    channel,
    consume(channel, queue, { exclusive: true }),
  )
  t.same([code, text], [403, `ACCESS_REFUSED - queue '${queue}' in vhost '/' in exclusive use`])
})

t.test('an exclusive consumer does not keep others from getting', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  client.send(queue, 'x')
  await client.untilReady(queue, 1)
  await client.channel.prefetch(1)
  const inbox = await consume(client.channel, queue, { exclusive: true })
  await inbox.take(1)
  client.send(queue, 'y')
  const other = await openClient(t, broker)
  t.equal((await other.getEventually(queue)).content.toString(), 'y')
})

t.test('consumers of one queue take turns (regression 42)', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const inboxes: Inbox[] = []
  for (let count = 0; count < 3; count++) {
    inboxes.push(await consume(await client.openChannel(), queue, { noAck: true }))
  }
  for (let index = 0; index < 30; index++) {
    client.send(queue, `${index}`)
    await client.channel.checkQueue(queue)
  }
  await eventually('all deliveries', () => inboxes.flatMap(inbox => inbox.received).length === 30)
  for (const inbox of inboxes) {
    t.equal(inbox.received.length, 10)
    const numbers = inbox.bodies.map(Number)
    t.ok(
      numbers.every((number, index) => index === 0 || number === numbers[index - 1]! + 3),
      'every third message',
    )
  }
})

t.test('a consumer of higher priority is served first while it has credit', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channels = await Promise.all([
    client.openChannel(),
    client.openChannel(),
    client.openChannel(),
  ])
  const inboxes: Inbox[] = []
  for (const [index, priority] of [-1, 0, 5].entries()) {
    await channels[index]!.prefetch(2)
    inboxes.push(await consume(channels[index]!, queue, { priority }))
  }
  const [low, plain, high] = inboxes as [Inbox, Inbox, Inbox]
  for (const body of ['1', '2', '3', '4', '5', '6', '7']) client.send(queue, body)
  t.same(await high.takeBodies(2), ['1', '2'])
  t.same(await plain.takeBodies(2), ['3', '4'])
  t.same(await low.takeBodies(2), ['5', '6'])
  t.equal(await client.ready(queue), 1)
  channels[2]!.ack(high.received[0]!)
  t.same(await high.takeBodies(1), ['7'])
})

t.test('a consumer priority that is no integer is refused', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const { channel } = client
  const consumed = consume(channel, queue, { arguments: { 'x-priority': 'high' } })
  t.same(await expectChannelError(channel, consumed), {
    code: 406,
    text: `PRECONDITION_FAILED - invalid arg 'x-priority' for queue '${queue}' in vhost '/': "expected integer, got longstr"`,
    classId: 60,
    methodId: 20,
  })
})

t.test('what a lost connection had not acknowledged comes back at its place', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const dying = await openClient(t, broker)
  await dying.channel.prefetch(3)
  const inbox = await consume(dying.channel, queue)
  for (const body of ['1', '2', '3', '4', '5']) client.send(queue, body)
  const messages = await inbox.take(3)
  dying.channel.ack(messages[1]!)
  await dying.channel.checkQueue(queue)
  await dying.connection.close()
  t.same(await client.drain(queue), ['1', '3', '4', '5'])
})

t.test('a redelivered message gains no header (regression 24)', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  publishExactly(client.channel, { routingKey: queue }, {}, 'x')
  const inbox = await consume(client.channel, queue)
  for (let round = 0; round < 3; round++) {
    const message = await inbox.next()
    t.equal(message.properties.headers, undefined)
    client.channel.nack(message)
  }
})

t.test('a consumer that is never read from does not stop the others (regression 42)', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const idle = await client.openChannel()
  await idle.prefetch(1)
  await consume(idle, queue)
  const busy = await client.openChannel()
  const inbox = new Inbox(busy)
  await busy.consume(queue, message => {
    inbox.accept(message)
    if (message !== null) busy.ack(message)
  })
  for (let index = 0; index < 200; index++) client.send(queue, `${index}`)
  t.equal((await inbox.take(199)).length, 199)
})
