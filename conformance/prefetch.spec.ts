import type { Channel } from 'amqplib'
import t from 'tap'
import { openBroker } from './support/broker.js'
import { type Client, openClient } from './support/client.js'
import { expectConnectionError } from './support/errors.js'
import { consume, type Inbox } from './support/inbox.js'
import { call } from './support/methods.js'
import { eventually } from './support/waiting.js'

const broker = await openBroker(t)

function send(client: Client, queue: string, count: number): void {
  for (let index = 1; index <= count; index++) client.send(queue, `${index}`)
}

/** What a consumer has received once the queue says how many are left. */
async function received(
  client: Client,
  queue: string,
  left: number,
  inboxes: readonly Inbox[],
  total: number,
) {
  await client.untilReady(queue, left)
  const count = () => inboxes.reduce((sum, inbox) => sum + inbox.received.length, 0)
  await eventually(`${total} deliveries`, () => count() === total)
  return inboxes.map(inbox => inbox.received.length)
}

t.test('without a prefetch everything is delivered', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const inbox = await consume(client.channel, queue)
  send(client, queue, 1000)
  t.equal((await inbox.take(1000)).length, 1000)
})

t.test('a prefetch limits each consumer made after it on its own', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  await channel.prefetch(3)
  const inboxes = [await consume(channel, queue), await consume(channel, queue)]
  send(client, queue, 10)
  t.same(await received(client, queue, 4, inboxes, 6), [3, 3])
})

t.test('a changed prefetch leaves existing consumers alone (regression 16)', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  await channel.prefetch(1)
  const before = await consume(channel, queue)
  await channel.prefetch(4)
  send(client, queue, 10)
  t.same(await received(client, queue, 9, [before], 1), [1])
  const after = await consume(channel, queue)
  t.same(await received(client, queue, 5, [before, after], 5), [1, 4])
  await channel.prefetch(0)
  const unlimited = await consume(channel, queue)
  t.same(await received(client, queue, 0, [before, after, unlimited], 10), [1, 4, 5])
})

t.test('every way of settling opens the window again', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  await channel.prefetch(2)
  const inbox = await consume(channel, queue)
  send(client, queue, 7)
  const [first, second] = await inbox.take(2)
  channel.ack(first!)
  t.same(await inbox.takeBodies(1), ['3'])
  channel.nack(second!, false, false)
  t.same(await inbox.takeBodies(1), ['4'])
  channel.reject(inbox.received[2]!, false)
  t.same(await inbox.takeBodies(1), ['5'])
  channel.ack(inbox.received[4]!, true)
  t.same(await inbox.takeBodies(2), ['6', '7'])
  await channel.recover()
  t.same(await inbox.takeBodies(2), ['6', '7'])
})

t.test('ack with multiple opens the window by all it settles', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  await channel.prefetch(10)
  const inbox = await consume(channel, queue)
  send(client, queue, 100)
  const bodies: string[] = []
  while (bodies.length < 100) {
    bodies.push(...(await inbox.takeBodies(10)))
    channel.ack(inbox.received.at(-1)!, true)
  }
  t.same(
    bodies,
    Array.from({ length: 100 }, (_, index) => `${index + 1}`),
  )
})

t.test('no-ack consumers know no prefetch', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  await channel.prefetch(1)
  const inbox = await consume(channel, queue, { noAck: true })
  send(client, queue, 100)
  t.equal((await inbox.take(100)).length, 100)
})

t.test('the prefetch of one channel says nothing about another', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const limited = await client.openChannel()
  await limited.prefetch(1)
  const few = await consume(limited, queue)
  const many = await consume(await client.openChannel(), queue)
  send(client, queue, 20)
  t.same(await received(client, queue, 0, [few, many], 20), [1, 19])
})

t.test('a global prefetch is shared by all consumers of the channel', async t => {
  const client = await openClient(t, broker)
  const first = await client.queue()
  const second = await client.queue()
  const channel = await client.openChannel()
  await channel.prefetch(3, true)
  const a = await consume(channel, first)
  const b = await consume(channel, second)
  send(client, first, 10)
  await a.take(3)
  send(client, second, 10)
  await client.untilReady(second, 10)
  channel.ack(a.received[0]!)
  await eventually('a fourth delivery', () => a.received.length + b.received.length === 4)
  await client.untilReady(first, 10 - a.received.length)
  t.equal(a.received.length + b.received.length, 4)
})

t.test('a global prefetch counts for consumers that were there before', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  const inbox = await consume(channel, queue)
  await channel.prefetch(2, true)
  send(client, queue, 10)
  t.same(await received(client, queue, 8, [inbox], 2), [2])
  await channel.prefetch(5, true)
  t.same(await received(client, queue, 5, [inbox], 5), [5])
  await channel.prefetch(0, true)
  t.same(await received(client, queue, 0, [inbox], 10), [10])
})

t.test('a lowered global prefetch counts what is already unacked (regression 52)', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  await channel.prefetch(5, true)
  const inbox = await consume(channel, queue)
  send(client, queue, 10)
  await inbox.take(5)
  await channel.prefetch(2, true)
  for (const index of [0, 1, 2]) channel.ack(inbox.received[index]!)
  await channel.checkQueue(queue)
  t.equal(await client.ready(queue), 5)
  channel.ack(inbox.received[3]!)
  t.same(await received(client, queue, 4, [inbox], 6), [6])
})

t.test('both limits hold at once', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  await channel.prefetch(2, false)
  await channel.prefetch(3, true)
  const inboxes = [await consume(channel, queue), await consume(channel, queue)]
  send(client, queue, 10)
  const counts = await received(client, queue, 7, inboxes, 3)
  t.same(counts.sort(), [1, 2])
})

t.test('a global prefetch does not limit basic.get (regression 11)', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const other = await client.queue()
  const channel = await client.openChannel()
  await channel.prefetch(2, true)
  send(client, queue, 5)
  await client.untilReady(queue, 5)
  for (let count = 0; count < 4; count++) t.ok(await channel.get(queue))
  const inbox = await consume(channel, other)
  send(client, other, 5)
  t.same(await received(client, other, 3, [inbox], 2), [2], 'gets do not count either')
})

t.test('a prefetch size is not implemented', async t => {
  const client = await openClient(t, broker)
  const fields = { prefetchSize: 10, prefetchCount: 1, global: false }
  t.same(await expectConnectionError(client.connection, call(client.channel, 'basicQos', fields)), {
    code: 540,
    text: 'NOT_IMPLEMENTED - prefetch_size!=0 (10)',
  })
})

t.test('with a prefetch of one several consumers share evenly', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const inboxes: Inbox[] = []
  const channels: Channel[] = []
  for (let count = 0; count < 4; count++) {
    const channel = await client.openChannel()
    await channel.prefetch(1)
    channels.push(channel)
    inboxes.push(await consume(channel, queue))
  }
  send(client, queue, 40)
  for (let round = 0; round < 10; round++) {
    for (const [index, inbox] of inboxes.entries()) {
      channels[index]!.ack(await inbox.next())
    }
  }
  t.same(
    inboxes.map(inbox => inbox.received.length),
    [10, 10, 10, 10],
  )
})

t.test('a cancelled consumer gives its share of a global prefetch back when acked', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const channel = await client.openChannel()
  await channel.prefetch(1, true)
  const first = await consume(channel, queue)
  send(client, queue, 2)
  const message = await first.next()
  await first.cancel()
  const second = await consume(channel, queue)
  t.equal(await client.ready(queue), 1, 'still held')
  channel.ack(message)
  t.same(await second.takeBodies(1), ['2'])
})
