import t from 'tap'
import { openBroker } from './support/broker.js'
import { type Client, openClient } from './support/client.js'
import { consume } from './support/inbox.js'
import { nackTag } from './support/methods.js'

const broker = await openBroker(t)

function send(client: Client, queue: string, ...bodies: readonly string[]): void {
  for (const body of bodies) client.send(queue, body)
}

t.test('a full queue drops its oldest messages (regression 17)', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ maxLength: 3 })
  send(client, queue, '1', '2', '3', '4', '5')
  t.same(await client.drain(queue), ['3', '4', '5'])
})

t.test('drop-head can be asked for by name', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ maxLength: 1, overflow: 'drop-head' })
  send(client, queue, '1', '2')
  t.same(await client.drain(queue), ['2'])
})

t.test('the limit in bytes counts bodies', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ arguments: { 'x-max-length-bytes': 10 } })
  client.send(queue, 'aaaa', { headers: { long: 'x'.repeat(1000) } })
  client.send(queue, 'bbbb')
  await client.untilReady(queue, 2)
  client.send(queue, 'cc')
  await client.untilReady(queue, 3)
  client.send(queue, 'd')
  t.same(await client.drain(queue), ['bbbb', 'cc', 'd'])
  client.send(queue, 'e'.repeat(11))
  t.same(await client.drain(queue), [], 'more than fits')
})

t.test('of two limits the first reached counts', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ maxLength: 2, arguments: { 'x-max-length-bytes': 10 } })
  send(client, queue, '1', '2', '3')
  t.same(await client.drain(queue), ['2', '3'])
  send(client, queue, 'aaaaaa', 'bbbbbb')
  t.same(await client.drain(queue), ['bbbbbb'])
})

t.test('unacked messages do not count', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ maxLength: 2 })
  const inbox = await consume(client.channel, queue)
  send(client, queue, '1', '2', '3', '4')
  t.same(await inbox.takeBodies(4), ['1', '2', '3', '4'])
  await inbox.cancel()
  send(client, queue, '5', '6')
  t.same(await client.drain(queue), ['5', '6'])
})

t.test('requeued messages count, from the head (regression 17)', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ maxLength: 2 })
  const channel = await client.openChannel()
  send(client, queue, '1', '2')
  await client.untilReady(queue, 2)
  await channel.get(queue)
  await channel.get(queue)
  send(client, queue, '3', '4')
  await client.untilReady(queue, 2)
  nackTag(channel, 2, { multiple: true })
  await channel.checkQueue(queue)
  t.same(await client.drain(queue), ['3', '4'])
})

t.test('a length of 0 keeps nothing but what a consumer takes at once', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ maxLength: 0 })
  send(client, queue, '1')
  t.same(await client.drain(queue), [])
  const inbox = await consume(client.channel, queue)
  send(client, queue, '2')
  t.same(await inbox.takeBodies(1), ['2'])
})

t.test('reject-publish keeps what is there', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ maxLength: 2, overflow: 'reject-publish' })
  send(client, queue, '1', '2', '3', '4')
  t.same(await client.drain(queue), ['1', '2'])
  send(client, queue, '5')
  t.same(await client.drain(queue), ['5'])
})

t.test('reject-publish refuses the message that would exceed the bytes', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({
    overflow: 'reject-publish',
    arguments: { 'x-max-length-bytes': 10 },
  })
  const channel = await client.openConfirmChannel()
  const confirmed = (body: string) =>
    new Promise<boolean>(resolve => {
      channel.sendToQueue(queue, Buffer.from(body), {}, error => resolve(error === null))
    })
  t.ok(await confirmed('aaaa'))
  t.ok(await confirmed('bbbb'))
  t.ok(await confirmed('cc'))
  t.notOk(await confirmed('d'))
  t.same(await client.drain(queue), ['aaaa', 'bbbb', 'cc'])
})

t.test('reject-publish never refuses what comes back', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ maxLength: 2, overflow: 'reject-publish' })
  const channel = await client.openChannel()
  send(client, queue, '1', '2')
  await client.untilReady(queue, 2)
  await channel.get(queue)
  await channel.get(queue)
  send(client, queue, '3', '4')
  await client.untilReady(queue, 2)
  nackTag(channel, 2, { multiple: true })
  await channel.checkQueue(queue)
  send(client, queue, '5')
  t.same(await client.drain(queue), ['1', '2', '3', '4'])
})

t.test('reject-publish refuses nothing a consumer makes room for', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ maxLength: 1, overflow: 'reject-publish' })
  const channel = await client.openConfirmChannel()
  const inbox = await consume(client.channel, queue, { noAck: true })
  for (let index = 0; index < 20; index++) {
    await new Promise<void>((resolve, reject) => {
      channel.sendToQueue(queue, Buffer.from(`${index}`), {}, error =>
        error === null ? resolve() : reject(error),
      )
    })
  }
  t.equal((await inbox.take(20)).length, 20)
})

t.test('reject-publish-dlx makes dead letters of what it refuses', async t => {
  const client = await openClient(t, broker)
  const dead = await client.queue()
  const queue = await client.queue({
    maxLength: 1,
    overflow: 'reject-publish-dlx',
    deadLetterExchange: '',
    deadLetterRoutingKey: dead,
  })
  const channel = await client.openConfirmChannel()
  const outcome = (body: string) =>
    new Promise<string>(resolve => {
      channel.sendToQueue(queue, Buffer.from(body), {}, error =>
        resolve(error === null ? 'ack' : 'nack'),
      )
    })
  t.same([await outcome('1'), await outcome('2')], ['ack', 'nack'])
  const message = await client.getEventually(dead)
  t.equal(message.content.toString(), '2')
  t.match(message.properties.headers?.['x-death'], [{ queue, reason: 'maxlen', count: 1 }])
  t.same(await client.drain(queue), ['1'])
})

t.test('a queue with room again takes messages again', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ maxLength: 3 })
  for (let round = 0; round < 10; round++) {
    send(client, queue, '1', '2', '3', '4')
    t.same(await client.drain(queue), ['2', '3', '4'])
  }
})

t.test('a length limit holds while many messages pour in', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ maxLength: 10 })
  const bodies = Array.from({ length: 2000 }, (_, index) => `${index}`)
  send(client, queue, ...bodies)
  t.same(await client.drain(queue), bodies.slice(-10))
})
