import t from 'tap'
import { openBroker } from './support/broker.js'
import { type Client, openClient } from './support/client.js'
import { expectChannelError } from './support/errors.js'
import { consume } from './support/inbox.js'
import { nackTag } from './support/methods.js'

const broker = await openBroker(t)

/** Sends messages named by their priority and an index. */
function send(client: Client, queue: string, ...priorities: readonly (number | undefined)[]): void {
  for (const [index, priority] of priorities.entries()) {
    const body = `${priority ?? 'none'}#${index}`
    client.send(queue, body, priority === undefined ? {} : { priority })
  }
}

t.test('higher priorities come first, equal ones in order', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ maxPriority: 5 })
  send(client, queue, 1, 3, undefined, 5, 0, 3, 1, 5)
  t.same(await client.drain(queue), ['5#3', '5#7', '3#1', '3#5', '1#0', '1#6', 'none#2', '0#4'])
})

t.test('priorities above the maximum count as the maximum', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ maxPriority: 5 })
  send(client, queue, 5, 9, 255, 4)
  t.same(await client.drain(queue), ['5#0', '9#1', '255#2', '4#3'])
})

t.test('the priority is delivered as it was sent', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ maxPriority: 2 })
  send(client, queue, 200)
  t.equal((await client.get(queue)).properties.priority, 200)
})

t.test('a queue without a maximum knows no priorities', async t => {
  const client = await openClient(t, broker)
  for (const options of [{}, { maxPriority: 0 }]) {
    const queue = await client.queue(options)
    send(client, queue, 1, 9, undefined, 5)
    t.same(await client.drain(queue), ['1#0', '9#1', 'none#2', '5#3'])
  }
})

t.test('a queue may have 255 priorities', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ maxPriority: 255 })
  const priorities = Array.from({ length: 256 }, (_, index) => (index * 37) % 256)
  send(client, queue, ...priorities)
  const received = (await client.drain(queue)).map(body => Number(body.split('#')[0]))
  t.same(
    received,
    Array.from({ length: 256 }, (_, index) => 255 - index),
  )
})

t.test('the maximum cannot be changed', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ maxPriority: 5 })
  const { channel } = client
  const declared = channel.assertQueue(queue, { durable: false, maxPriority: 6 })
  const { code, text } = await expectChannelError(channel, declared)
  t.equal(code, 406)
  t.equal(
    text,
    `PRECONDITION_FAILED - inequivalent arg 'x-max-priority' for queue '${queue}' in vhost '/': received '6' but current is '5'`,
  )
})

t.test('a message of high priority overtakes those not delivered yet (regression 42)', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ maxPriority: 9 })
  const { channel } = client
  await channel.prefetch(1)
  send(client, queue, 1, 2)
  await client.untilReady(queue, 2)
  const inbox = await consume(channel, queue)
  const first = await inbox.next()
  t.equal(first.content.toString(), '2#1')
  client.send(queue, 'urgent', { priority: 9 })
  await client.untilReady(queue, 2)
  channel.ack(first)
  const second = await inbox.next()
  t.equal(second.content.toString(), 'urgent')
  channel.ack(second)
  t.same(await inbox.takeBodies(1), ['1#0'])
})

t.test('requeued messages return to their places within their priority', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ maxPriority: 3 })
  send(client, queue, 1, 3, 1, 3)
  await client.untilReady(queue, 4)
  const channel = await client.openChannel()
  for (let count = 0; count < 3; count++) await channel.get(queue)
  nackTag(channel, 2)
  nackTag(channel, 3)
  nackTag(channel, 1)
  await channel.checkQueue(queue)
  t.same(await client.drain(queue), ['3#1', '3#3', '1#0', '1#2'])
})

t.test('acks of any tag settle the right message', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ maxPriority: 3 })
  send(client, queue, 1, 3, 2)
  await client.untilReady(queue, 3)
  const channel = await client.openChannel()
  const inbox = await consume(channel, queue)
  const messages = await inbox.take(3)
  channel.ack(messages[1]!)
  await channel.close()
  t.same(await client.drain(queue), ['3#1', '1#0'])
})

t.test('a full priority queue drops from the head of its order', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ maxPriority: 3, maxLength: 2 })
  send(client, queue, 1, 3, 2)
  t.same(await client.drain(queue), ['2#2', '1#0'])
})

t.test('purge, counts and delete see every priority', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ maxPriority: 3 })
  send(client, queue, 0, 1, 2, 3)
  await client.untilReady(queue, 4)
  t.same(await client.channel.purgeQueue(queue), { messageCount: 4 })
  send(client, queue, 3, 0)
  t.same(await client.channel.deleteQueue(queue), { messageCount: 2 })
})

t.test('messages of a priority queue expire', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ maxPriority: 3, messageTtl: 50 })
  send(client, queue, 3, 1, 2)
  await client.untilReady(queue, 0)
  t.same(await client.drain(queue), [])
})

t.test('consumers drain a deep priority queue without a stall (regression 42)', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ maxPriority: 9 })
  send(client, queue, ...Array.from({ length: 2000 }, (_, index) => index % 10))
  await client.untilReady(queue, 2000)
  const { channel } = client
  await channel.prefetch(7)
  const inbox = await consume(channel, queue)
  const priorities: number[] = []
  while (priorities.length < 2000) {
    const message = await inbox.next()
    priorities.push(message.properties.priority)
    channel.ack(message)
  }
  t.same(
    priorities,
    Array.from({ length: 2000 }, (_, index) => 9 - Math.floor(index / 200)),
  )
})
