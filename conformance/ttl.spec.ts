import t from 'tap'
import { openBroker } from './support/broker.js'
import { type Client, openClient } from './support/client.js'
import { consume } from './support/inbox.js'
import { nackTag } from './support/methods.js'
import { elapse, eventually } from './support/waiting.js'

const broker = await openBroker(t)

const HOUR = 3_600_000

/** Resolves when publishing to the queue leads nowhere; unlike a declare, asking does not renew the queue. */
async function untilGone(client: Client, queue: string): Promise<void> {
  let returned = 0
  const count = () => {
    returned++
  }
  client.channel.on('return', count)
  await eventually(`the end of ${queue}`, async () => {
    client.send(queue, 'anybody there?', { mandatory: true })
    await client.channel.checkExchange('amq.direct')
    return returned > 0
  })
  client.channel.off('return', count)
}

t.test('messages of a queue with a TTL expire', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ messageTtl: 50 })
  client.send(queue, '1')
  client.send(queue, '2')
  await client.untilReady(queue, 0)
  t.equal(await client.channel.get(queue), false)
})

t.test('a message whose time has not come stays', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ messageTtl: HOUR })
  client.send(queue, '1')
  client.send(queue, '2', { expiration: HOUR })
  await elapse(100)
  t.same(await client.drain(queue), ['1', '2'])
})

t.test('a message with an expiration expires', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  client.send(queue, 'x', { expiration: 50 })
  await client.untilReady(queue, 0)
  t.equal(await client.channel.get(queue), false)
})

t.test('the shorter of queue TTL and expiration counts (regression 19)', async t => {
  const client = await openClient(t, broker)
  const short = await client.queue({ messageTtl: 50 })
  const long = await client.queue({ messageTtl: HOUR })
  client.send(short, 'by the queue', { expiration: HOUR })
  client.send(long, 'by itself', { expiration: 50 })
  await client.untilReady(short, 0)
  await client.untilReady(long, 0)
  t.same([...(await client.drain(short)), ...(await client.drain(long))], [])
})

t.test('the expiration is delivered unchanged', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ messageTtl: HOUR })
  client.send(queue, 'x', { expiration: '0600000' })
  t.equal((await client.get(queue)).properties.expiration, '0600000')
})

t.test('a TTL of 0 means now or never (regression 18)', async t => {
  const client = await openClient(t, broker)
  const byQueue = await client.queue({ messageTtl: 0 })
  const byMessage = await client.queue()
  const publish = () => {
    client.send(byQueue, 'x')
    client.send(byMessage, 'x', { expiration: 0 })
  }
  publish()
  t.equal(await client.channel.get(byQueue), false)
  t.equal(await client.channel.get(byMessage), false)

  const other = await openClient(t, broker)
  for (const queue of [byQueue, byMessage]) {
    const inbox = await consume(other.channel, queue)
    publish()
    t.same(await inbox.takeBodies(1), ['x'], 'to a consumer that is ready')
  }
})

t.test('an expired message behind one that stays is not delivered', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  client.send(queue, 'stays')
  client.send(queue, 'expires', { expiration: 50 })
  client.send(queue, 'stays too')
  await client.untilReady(queue, 3)
  await elapse(100)
  t.equal(await client.ready(queue), 3, 'it is still counted')
  t.same(await client.drain(queue), ['stays', 'stays too'])
})

t.test('a message expires once what stood before it has gone (regression 20)', async t => {
  const client = await openClient(t, broker)
  const dead = await client.queue()
  const queue = await client.queue({ deadLetterExchange: '', deadLetterRoutingKey: dead })
  client.send(queue, 'stays')
  client.send(queue, 'expires', { expiration: 50 })
  await client.get(queue)
  t.equal((await client.getEventually(dead)).content.toString(), 'expires')
})

t.test('an unacked message does not expire', async t => {
  const client = await openClient(t, broker)
  const dead = await client.queue()
  const queue = await client.queue({ deadLetterExchange: '', deadLetterRoutingKey: dead })
  const inbox = await consume(client.channel, queue)
  client.send(queue, 'x', { expiration: 50 })
  const message = await inbox.next()
  await elapse(100)
  client.channel.ack(message)
  await client.channel.checkQueue(queue)
  t.equal(await client.ready(dead), 0)
})

t.test('a requeued message keeps its deadline', async t => {
  const client = await openClient(t, broker)
  const dead = await client.queue()
  const queue = await client.queue({ deadLetterExchange: '', deadLetterRoutingKey: dead })
  const { channel } = client
  const inbox = await consume(channel, queue)
  client.send(queue, 'x', { expiration: 100 })
  await inbox.next()
  await inbox.cancel()
  await elapse(150)
  nackTag(channel, 1)
  t.equal(await channel.get(queue), false)
  t.equal((await client.getEventually(dead)).content.toString(), 'x')
})

t.test('a consumer never sees an expired message', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ messageTtl: 50 })
  for (let index = 0; index < 100; index++) client.send(queue, 'expires')
  await client.channel.get(queue) // answered once all have arrived
  await elapse(100)
  const inbox = await consume(client.channel, queue, { noAck: true })
  client.send(queue, 'fresh')
  t.same(await inbox.takeBodies(1), ['fresh'])
})

t.test('messages expire each in its own time', async t => {
  const client = await openClient(t, broker)
  const dead = await client.queue()
  const options = { deadLetterExchange: '', deadLetterRoutingKey: dead }
  const queues = [
    await client.queue(options),
    await client.queue(options),
    await client.queue(options),
  ]
  const inbox = await consume(client.channel, dead, { noAck: true })
  for (const [index, expiration] of [2000, 50, 900].entries()) {
    client.send(queues[index]!, `${expiration}`, { expiration })
  }
  t.same(await inbox.takeBodies(3), ['50', '900', '2000'])
})

t.test('an unused queue expires', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ expires: 100 })
  await untilGone(client, queue)
  t.notOk(await client.queueExists(queue))
})

t.test('a queue expires with its messages, which are not dead letters', async t => {
  const client = await openClient(t, broker)
  const dead = await client.queue()
  const queue = await client.queue({
    expires: 100,
    deadLetterExchange: '',
    deadLetterRoutingKey: dead,
  })
  client.send(queue, 'x')
  await untilGone(client, queue)
  t.equal(await client.ready(dead), 0)
})

t.test('declaring, checking and getting renew a queue (regression 21)', async t => {
  const client = await openClient(t, broker)
  const expires = 2500
  const declared = await client.queue({ expires })
  const checked = await client.queue({ expires })
  const fetched = await client.queue({ expires })
  const forgotten = await client.queue({ expires })
  const until = performance.now() + 1.5 * expires
  while (performance.now() < until) {
    await client.channel.assertQueue(declared, { durable: false, expires })
    await client.channel.checkQueue(checked)
    await client.channel.get(fetched)
    await elapse(100)
  }
  for (const queue of [declared, checked, fetched]) t.ok(await client.queueExists(queue))
  await untilGone(client, forgotten)
})

t.test('a queue with a consumer does not expire until that has gone', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ expires: 100 })
  const inbox = await consume(client.channel, queue, { noAck: true })
  await elapse(300)
  client.send(queue, 'still there')
  t.same(await inbox.takeBodies(1), ['still there'])
  await inbox.cancel()
  await untilGone(client, queue)
})
