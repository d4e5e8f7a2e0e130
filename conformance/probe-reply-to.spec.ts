import t from 'tap'
import { openBroker } from './support/broker.js'
import { type Case, prober } from './support/probe.js'
import type { RawClient } from './support/raw-client.js'

// Section 4.13: direct reply-to, without a queue for the replies.

const broker = await openBroker(t)
const probe = prober(t, broker)

const pseudo = 'amq.rabbitmq.reply-to'

const consume = (client: RawClient, channel = 1, consumerTag = 'reply') =>
  client.call(channel, 'basic.consume', { queue: pseudo, noAck: true, consumerTag })

/** The name that stands in a request which the client sends on the channel. */
async function address(client: RawClient, queue: string, channel = 1): Promise<string> {
  client.publish(channel, { key: queue, properties: { replyTo: pseudo } })
  await client.fence(channel)
  client.send(channel, 'basic.get', { queue, noAck: true })
  const { properties } = await client.content(channel, 'basic.get-ok')
  return properties.replyTo ?? ''
}

/** A requester whose replies are consumed, the name of its requests, and who answers. */
async function scene(c: Case) {
  const [requester, server] = [await c.channel(), await c.channel()]
  await consume(requester)
  const queue = await c.queue(requester)
  return { requester, server, queue, replyTo: await address(requester, queue) }
}

probe('4.13 a reply comes under the tag of its consumer, and nowhere else', async c => {
  const { requester, server, queue, replyTo } = await scene(c)
  await requester.channel(2)
  await consume(requester, 2, 'other')
  const other = await address(requester, queue, 2)
  for (const name of [replyTo, other]) c.t.ok(name.startsWith(`${pseudo}.`), name)
  c.t.not(replyTo, other, 'each channel has a name of its own')
  server.publish(1, { key: replyTo, body: 'first', properties: { correlationId: '1' } })
  const { fields, body, properties } = await requester.content(1, 'basic.deliver')
  c.t.strictSame(fields, {
    consumerTag: 'reply',
    // Getting the request took the first tag.
    deliveryTag: 2n,
    redelivered: false,
    exchange: '',
    routingKey: replyTo,
  })
  c.t.equal(body.toString(), 'first')
  c.t.strictSame(properties, { correlationId: '1' })
  c.t.strictSame(await requester.fence(2), [], 'nothing on the other channel')
})

probe('4.13 each reply takes a delivery tag', async c => {
  const { requester, server, replyTo } = await scene(c)
  const tags: bigint[] = []
  for (let i = 0; i < 3; i += 1) {
    server.publish(1, { key: replyTo })
    tags.push((await requester.content(1, 'basic.deliver')).fields.deliveryTag)
  }
  c.t.equal(tags.join(' '), c.decided())
})

probe('4.13 a reply consumer acknowledges nothing, and there is one on a channel', async c => {
  const client = await c.channel()
  client.send(1, 'basic.consume', { queue: pseudo, consumerTag: 'acks' })
  await c.outcome(
    client,
    'channel 406 60,20 PRECONDITION_FAILED - reply consumer cannot acknowledge',
  )
  await client.channel(1)
  await consume(client)
  client.send(1, 'basic.consume', { queue: pseudo, noAck: true, consumerTag: 'second' })
  await c.outcome(client, 'channel 406 60,20 PRECONDITION_FAILED - reply consumer already set')
})

probe('4.13 a request needs a reply consumer on its own channel', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  await client.channel(2)
  await consume(client, 2)
  const missing = 'channel 406 60,40 PRECONDITION_FAILED - fast reply consumer does not exist'
  client.publish(1, { key: queue, properties: { replyTo: pseudo } })
  await c.outcome(client, missing)
  await client.fence(2)
  await client.call(2, 'basic.cancel', { consumerTag: 'reply' })
  client.publish(2, { key: queue, properties: { replyTo: pseudo } })
  await c.outcome(client, missing)
})

probe('4.13 the tag of a reply consumer is taken and given like any other', async c => {
  const client = await c.channel()
  const made = await client.call(1, 'basic.consume', { queue: pseudo, noAck: true })
  c.t.match(made.consumerTag, /^amq\.ctag-[\w-]{22}$/)
  await client.call(1, 'basic.cancel', { consumerTag: made.consumerTag })
  const queue = await c.queue(client)
  await client.call(1, 'basic.consume', { queue, consumerTag: 'taken' })
  client.send(1, 'basic.consume', { queue: pseudo, noAck: true, consumerTag: 'taken' })
  await c.outcome(
    client,
    "connection 530 60,20 NOT_ALLOWED - attempt to reuse consumer tag 'taken'",
  )
})

probe('4.13 the tag of a reply consumer is not free for another', async c => {
  const client = await c.channel()
  await consume(client)
  client.send(1, 'basic.consume', { queue: await c.queue(client), consumerTag: 'reply' })
  await c.outcome(client, c.decided())
})

probe('4.13 declaring the pseudo-queue says there is a consumer and no message', async c => {
  const { server, requester, replyTo } = await scene(c)
  const declare = (queue: string, passive: boolean) =>
    server.call(1, 'queue.declare', { queue, passive })
  for (const queue of [pseudo, replyTo])
    for (const passive of [true, false])
      c.t.strictSame(await declare(queue, passive), { queue, messages: 0, consumers: 1 })
  await requester.close()
  // RabbitMQ hears of the end of another connection in its own time.
  for (let tries = 0; tries < 100; tries += 1) {
    server.send(1, 'queue.declare', { queue: replyTo, passive: true })
    const f = await server.next()
    if (f?.name !== 'queue.declare-ok') {
      server.send(1, 'channel.close-ok')
      await server.channel(1)
      break
    }
    await server.within(20)
  }
  server.send(1, 'queue.declare', { queue: replyTo, passive: true })
  await c.outcome(server, `channel 404 50,10 NOT_FOUND - no queue '${replyTo}' in vhost '/'`)
})

probe('4.13 a reply after cancel-ok goes nowhere, and a new consumer may come', async c => {
  const { requester, server, queue, replyTo } = await scene(c)
  await requester.call(1, 'basic.cancel', { consumerTag: 'reply' })
  server.publish(1, { key: replyTo, body: 'late' })
  await server.fence(1)
  c.t.strictSame(await requester.within(100), [])
  await consume(requester, 1, 'again')
  server.publish(1, { key: await address(requester, queue), body: 'new' })
  const { fields, body } = await requester.content(1, 'basic.deliver')
  c.t.strictSame([fields.consumerTag, body.toString()], ['again', 'new'])
})

probe('4.13 replies know no prefetch', async c => {
  const { requester, server, queue, replyTo } = await scene(c)
  for (const global of [false, true])
    await requester.call(1, 'basic.qos', { prefetchCount: 1, global })
  requester.publish(1, { key: queue })
  await requester.call(1, 'basic.consume', { queue, consumerTag: 'full' })
  await requester.content(1, 'basic.deliver')
  for (const body of ['1', '2', '3']) server.publish(1, { key: replyTo, body })
  for (const body of ['1', '2', '3'])
    c.t.equal((await requester.content(1, 'basic.deliver')).body.toString(), body)
})

probe('4.13 a reply to a made-up name goes nowhere', async c => {
  const { server, requester } = await scene(c)
  for (const key of [pseudo, `${pseudo}.`, `${pseudo}.nobody`, `${pseudo}.g2dkAA.x==`])
    server.publish(1, { key })
  server.send(1, 'channel.flow', { active: true })
  await c.outcome(server, c.decided())
  c.t.strictSame(await requester.within(100), [])
})

probe('4.13 the pseudo-queue cannot be bound', async c => {
  const client = await c.channel()
  client.send(1, 'queue.bind', { queue: pseudo, exchange: 'amq.direct', routingKey: 'k' })
  await c.outcome(client, c.decided())
})

probe('4.13 a reply is confirmed to who sends it', async c => {
  const { requester, server, replyTo } = await scene(c)
  await server.call(1, 'confirm.select')
  server.publish(1, { key: replyTo, body: 'reply' })
  c.t.strictSame(await server.expect(1, 'basic.ack'), { deliveryTag: 1n, multiple: false })
  await requester.content(1, 'basic.deliver')
})

probe('4.13 replies in a transaction come at its commit', async c => {
  const { requester, server, replyTo } = await scene(c)
  await server.call(1, 'tx.select')
  server.publish(1, { key: replyTo, body: 'reply' })
  await server.fence(1)
  const early = await requester.within(100)
  c.t.equal(early.map(f => f.name ?? '').join(''), c.decided())
  await server.call(1, 'tx.commit')
  if (early.length === 0)
    c.t.equal((await requester.content(1, 'basic.deliver')).body.toString(), 'reply')
  c.t.strictSame(await requester.within(100), [], 'once')
})

probe('4.13 the name of nobody cannot be declared, passively or not', async c => {
  const queue = `${pseudo}.nobody`
  for (const passive of [true, false]) {
    const client = await c.channel()
    client.send(1, 'queue.declare', { queue, passive })
    await c.outcome(client, `channel 404 50,10 NOT_FOUND - no queue '${queue}' in vhost '/'`)
  }
})
