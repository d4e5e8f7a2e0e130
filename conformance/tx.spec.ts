import type { Channel, Message } from 'amqplib'
import t from 'tap'
import { openBroker } from './support/broker.js'
import { openClient, uniqueName } from './support/client.js'
import { expectChannelError } from './support/errors.js'
import { ackTag, call, nackTag } from './support/methods.js'

// amqplib has no transactions of its own: its channel only carries the methods.
const broker = await openBroker(t)

const select = (channel: Channel) => call(channel, 'txSelect')
const commit = (channel: Channel) => call(channel, 'txCommit')
const rollback = (channel: Channel) => call(channel, 'txRollback')

t.test('publishes reach their queues at commit', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  await select(channel)
  channel.sendToQueue(queue, Buffer.from('1'))
  channel.sendToQueue(queue, Buffer.from('2'))
  t.equal((await channel.checkQueue(queue)).messageCount, 0)
  await commit(channel)
  t.same(await client.drain(queue), ['1', '2'])
  channel.sendToQueue(queue, Buffer.from('3'))
  await commit(channel)
  t.same(await client.drain(queue), ['3'], 'the next transaction begins by itself')
})

t.test('publishes are forgotten at rollback', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  await select(channel)
  channel.sendToQueue(queue, Buffer.from('1'))
  await rollback(channel)
  channel.sendToQueue(queue, Buffer.from('2'))
  await commit(channel)
  t.same(await client.drain(queue), ['2'])
})

t.test('closing the channel rolls back', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  client.send(queue, 'kept')
  await client.untilReady(queue, 1)
  const channel = await client.openChannel()
  await select(channel)
  channel.sendToQueue(queue, Buffer.from('lost'))
  await channel.get(queue)
  ackTag(channel, 1)
  await channel.close()
  t.same(await client.drain(queue), ['kept'])
})

t.test('acks take effect at commit', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  for (const body of ['1', '2', '3']) client.send(queue, body)
  await client.untilReady(queue, 3)
  const channel = await client.openChannel()
  await select(channel)
  for (let count = 0; count < 3; count++) await channel.get(queue)
  ackTag(channel, 1)
  nackTag(channel, 3)
  await channel.checkQueue(queue)
  t.equal(await client.ready(queue), 0, 'nothing returned yet')
  await commit(channel)
  t.same(await client.drain(queue), ['3'])
  await channel.close()
  t.same(await client.drain(queue), ['2'])
})

t.test(
  'rollback undoes acks: the same tags can be settled again, nothing is redelivered',
  async t => {
    const client = await openClient(t, broker)
    const queue = await client.queue()
    client.send(queue, '1')
    client.send(queue, '2')
    await client.untilReady(queue, 2)
    const channel = await client.openChannel()
    await select(channel)
    await channel.get(queue)
    await channel.get(queue)
    ackTag(channel, 1)
    ackTag(channel, 2)
    await rollback(channel)
    t.equal(await client.ready(queue), 0)
    ackTag(channel, 1)
    await commit(channel)
    await channel.close()
    t.same(await client.drain(queue), ['2'])
  },
)

t.test('a tag acked twice in a transaction is unknown at once (regression 15)', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  client.send(queue, 'x')
  await client.untilReady(queue, 1)
  const channel = await client.openChannel()
  await select(channel)
  await channel.get(queue)
  ackTag(channel, 1)
  ackTag(channel, 1)
  t.same(await expectChannelError(channel), {
    code: 406,
    text: 'PRECONDITION_FAILED - unknown delivery tag 1',
    classId: 60,
    methodId: 80,
  })
})

t.test('commit and rollback need select (regression 15)', async t => {
  const client = await openClient(t, broker)
  for (const [method, methodId] of [
    [commit, 20],
    [rollback, 30],
  ] as const) {
    const channel = await client.openChannel()
    t.same(await expectChannelError(channel, method(channel)), {
      code: 406,
      text: 'PRECONDITION_FAILED - channel is not transactional',
      classId: 90,
      methodId,
    })
  }
})

t.test('a channel has transactions or confirms, not both', async t => {
  const client = await openClient(t, broker)
  const confirming = await client.openConfirmChannel()
  t.same(await expectChannelError(confirming, select(confirming)), {
    code: 406,
    text: 'PRECONDITION_FAILED - cannot switch from confirm to tx mode',
    classId: 90,
    methodId: 10,
  })
  const channel = await client.openChannel()
  await select(channel)
  await t.resolves(select(channel), 'select can be repeated')
  const switched = call(channel, 'confirmSelect', { nowait: false })
  t.same(await expectChannelError(channel, switched), {
    code: 406,
    text: 'PRECONDITION_FAILED - cannot switch from tx to confirm mode',
    classId: 85,
    methodId: 10,
  })
})

t.test(
  'mandatory messages are returned whole at commit, before commit-ok (regression 49)',
  async t => {
    const client = await openClient(t, broker)
    const exchange = await client.exchange('direct')
    const channel = await client.openChannel()
    const returns: Message[] = []
    channel.on('return', message => returns.push(message))
    await select(channel)
    channel.publish(exchange, '', Buffer.from('one'), { mandatory: true })
    channel.publish(exchange, '', Buffer.alloc(200_000, 2), { mandatory: true })
    await channel.checkExchange(exchange)
    t.equal(returns.length, 0)
    await commit(channel)
    t.equal(returns.length, 2)
    t.equal(returns[0]?.content.toString(), 'one')
    t.ok(returns[1]?.content.equals(Buffer.alloc(200_000, 2)))
    await commit(channel)
    t.equal(returns.length, 2)
  },
)

t.test('publishing to a missing exchange fails at once', async t => {
  const client = await openClient(t, broker)
  const channel = await client.openChannel()
  await select(channel)
  channel.publish(uniqueName('exchange'), '', Buffer.from('x'))
  const { code, classId, methodId } = await expectChannelError(channel)
  t.same([code, classId, methodId], [404, 60, 40])
})

t.test('a refused publish makes the commit fail, what was taken stays', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ maxLength: 1, overflow: 'reject-publish' })
  const channel = await client.openChannel()
  await select(channel)
  channel.sendToQueue(queue, Buffer.from('1'))
  channel.sendToQueue(queue, Buffer.from('2'))
  const { code, text } = await expectChannelError(channel, commit(channel))
  t.same([code, text], [406, 'PRECONDITION_FAILED - partial tx completion'])
  t.same(await client.drain(queue), ['1'])
})

t.test('recover leaves messages alone whose ack awaits the commit (regression 13)', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  client.send(queue, '1')
  client.send(queue, '2')
  await client.untilReady(queue, 2)
  const channel = await client.openChannel()
  await select(channel)
  await channel.get(queue)
  await channel.get(queue)
  ackTag(channel, 1)
  await channel.recover()
  t.equal(await client.ready(queue), 1)
  await commit(channel)
  t.same(await client.drain(queue), ['2'])
})
