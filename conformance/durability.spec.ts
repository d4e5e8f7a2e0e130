/** What is there after a restart, and what is not: the broker is a process that ends in order, or is killed. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Client, openClient } from './support/client.js'
import { startProgram } from './support/program.js'
import { eventually } from './support/waiting.js'

async function dataFolder(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'leveret-'))
  t.teardown(() => rm(folder, { recursive: true }))
  return folder
}

const signals = ['SIGTERM', 'SIGKILL'] as const

/** Runs `before` with a client, ends the broker, and gives a client of the next one. */
async function restarted(
  t: Test,
  folder: string,
  signal: (typeof signals)[number],
  before: (client: Client) => Promise<void>,
): Promise<Client> {
  const first = await startProgram(t, folder)
  await before(await openClient(t, first))
  await first.end(signal)
  return openClient(t, await startProgram(t, folder))
}

t.test('what was delivered before kill -9 is flagged after a later SIGTERM too', async t => {
  const folder = await dataFolder(t)
  const first = await startProgram(t, folder)
  const channel = await (await openClient(t, first)).openConfirmChannel()
  await channel.assertQueue('q')
  channel.sendToQueue('q', Buffer.from('m'), { deliveryMode: 2 })
  await channel.waitForConfirms()
  await eventually('the message', () => channel.get('q'))
  await first.end('SIGKILL')
  await (await startProgram(t, folder)).end('SIGTERM')
  const last = await openClient(t, await startProgram(t, folder))
  const again = await last.channel.get('q', { noAck: true })
  t.ok(again)
  if (again !== false) t.ok(again.fields.redelivered)
})

for (const signal of signals) {
  t.test(`durable objects are there after ${signal}, transient ones are not`, async t => {
    const client = await restarted(t, await dataFolder(t), signal, async ({ channel }) => {
      await channel.assertQueue('durable', { arguments: { 'x-max-length': 3, 'x-own': 'kept' } })
      await channel.assertQueue('transient', { durable: false })
      await channel.assertQueue('exclusive', { exclusive: true })
      await channel.assertQueue('auto-delete', { autoDelete: true })
      await channel.assertExchange('lasting', 'headers', { alternateExchange: 'amq.fanout' })
      await channel.assertExchange('passing', 'direct', { durable: false })
    })
    for (const queue of ['durable', 'auto-delete']) t.ok(await client.queueExists(queue), queue)
    for (const queue of ['transient', 'exclusive']) t.notOk(await client.queueExists(queue), queue)
    t.ok(await client.exchangeExists('lasting'))
    t.notOk(await client.exchangeExists('passing'))
    const { channel } = client
    await channel.assertQueue('durable', { arguments: { 'x-max-length': 3 } })
    await channel.assertExchange('lasting', 'headers', { alternateExchange: 'amq.fanout' })
    await channel.assertQueue('auto-delete', { autoDelete: true })
    await t.rejects(channel.assertQueue('durable'), /x-max-length/, 'with its arguments')
  })

  t.test(`an auto-delete queue that went stays away after ${signal} (regression 32)`, async t => {
    const client = await restarted(t, await dataFolder(t), signal, async first => {
      const { channel } = first
      await channel.assertQueue('went', { autoDelete: true })
      await channel.assertExchange('source', 'direct', { autoDelete: true })
      await channel.bindQueue('went', 'source', 'key')
      const { consumerTag } = await channel.consume('went', () => {})
      await channel.assertQueue('went with its channel', { autoDelete: true })
      const other = await first.openChannel()
      await other.consume('went with its channel', () => {})
      await other.close()
      await channel.cancel(consumerTag)
      // Answered when the log has all that came before.
      await channel.assertQueue('last')
    })
    t.ok(await client.queueExists('last'))
    for (const queue of ['went', 'went with its channel'])
      t.notOk(await client.queueExists(queue), queue)
    t.notOk(await client.exchangeExists('source'), 'nor the exchange it left without a binding')
  })

  t.test(`confirmed messages are as they were after ${signal}`, async t => {
    const headers = { text: 'héllo', list: [1, 'two', { three: true }] }
    const full = { headers, messageId: 'id', contentType: 'text/plain', timestamp: 1_700_000_000 }
    const dyingTo = (key: string) => ({
      arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': key },
    })
    const client = await restarted(t, await dataFolder(t), signal, async first => {
      const { channel } = first
      await channel.assertQueue('q')
      await channel.assertQueue('priorities', { maxPriority: 5 })
      await channel.assertQueue('graves')
      await channel.assertQueue('late graves')
      await channel.assertQueue('dying', dyingTo('graves'))
      await channel.assertQueue('expiring', dyingTo('late graves'))
      const publisher = await first.openConfirmChannel()
      const send = (queue: string, body: string, options: object = {}) =>
        publisher.sendToQueue(queue, Buffer.from(body), { persistent: true, ...options })
      send('q', 'first', full)
      send('q', 'transient', { persistent: false })
      send('q', 'unacked')
      send('q', 'third', { expiration: 600_000 })
      for (const priority of [1, 4, 0, 4]) send('priorities', `of ${priority}`, { priority })
      send('dying', 'rejected')
      send('expiring', 'expires', { expiration: 50 })
      await publisher.waitForConfirms()
      const got = await eventually('the first message', () => channel.get('q'))
      const unacked = await first.openChannel()
      for (let i = 0; i < 2; i += 1) await unacked.get('q')
      channel.nack(got, false, true)
      const dead = await eventually('what is to be rejected', () => channel.get('dying'))
      channel.nack(dead, false, false)
      await first.untilReady('graves', 1)
    })
    const messages = []
    for (let i = 0; i < 3; i += 1) messages.push(await client.get('q'))
    t.strictSame(
      messages.map(({ content, fields }) => [content.toString(), fields.redelivered]),
      [
        ['first', true],
        ['unacked', true],
        ['third', signal === 'SIGKILL'],
      ],
    )
    t.match(messages[0]?.properties, full)
    t.equal(messages[2]?.properties.expiration, '600000')
    t.strictSame(await client.drain('q'), [], 'and nothing else')
    t.strictSame(await client.drain('priorities'), ['of 4', 'of 4', 'of 1', 'of 0'])
    for (const [queue, body, reason] of [
      ['graves', 'rejected', 'rejected'],
      ['late graves', 'expires', 'expired'],
    ] as const) {
      const { content, properties } = await client.getEventually(queue)
      t.equal(content.toString(), body)
      t.match(properties.headers?.['x-death'], [{ reason, count: 1 }])
    }
    for (const queue of ['dying', 'expiring']) t.equal(await client.ready(queue), 0, queue)
  })

  t.test(`bindings between durable objects lead on after ${signal}`, async t => {
    const client = await restarted(t, await dataFolder(t), signal, async ({ channel }) => {
      await channel.assertQueue('q')
      await channel.assertQueue('gone', { durable: false })
      await channel.assertExchange('x', 'direct')
      await channel.bindQueue('q', 'x', 'key')
      await channel.bindQueue('gone', 'x', 'key')
      await channel.bindExchange('x', 'amq.headers', 'key', { kind: 'a' })
      await channel.bindQueue('q', 'amq.direct', 'taken back')
      await channel.unbindQueue('q', 'amq.direct', 'taken back')
    })
    client.publish('amq.direct', 'taken back', 'lost')
    client.publish('x', 'key', 'direct')
    client.publish('amq.headers', 'key', 'on two legs', { headers: { kind: 'a' } })
    t.strictSame(await client.drain('q'), ['direct', 'on two legs'])
  })

  t.test(`what is deleted stays deleted after ${signal}`, async t => {
    const folder = await dataFolder(t)
    const client = await restarted(t, folder, signal, async ({ channel }) => {
      await channel.assertQueue('q')
      await channel.assertExchange('x', 'fanout')
      await channel.bindQueue('q', 'x', '')
      await channel.deleteQueue('q')
      await channel.assertExchange('y', 'fanout', { autoDelete: true })
      await channel.assertQueue('r')
      await channel.bindQueue('r', 'y', '')
      await channel.deleteQueue('r')
    })
    for (const queue of ['q', 'r']) t.notOk(await client.queueExists(queue))
    t.notOk(await client.exchangeExists('y'), 'nor is the exchange that went with it')
    const { channel } = client
    await channel.assertQueue('q')
    client.publish('x', '', 'm')
    t.strictSame(await client.drain('q'), [], 'a new queue has no old bindings')
  })
}
