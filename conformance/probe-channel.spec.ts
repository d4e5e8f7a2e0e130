import t from 'tap'
import { openBroker } from './support/broker.js'
import { prober } from './support/probe.js'
import { encodeHeader, frame, HEADER, methodFrame } from './support/raw-codec.js'

// Section 1.11: channels.

const broker = await openBroker(t)
const probe = prober(t, broker)

/** A soft error: the channel is closing on the broker's side. */
const softError = methodFrame(1, 'basic.ack', { deliveryTag: 4711 })
const softErrorIs = 'channel 406 60,80 PRECONDITION_FAILED - unknown delivery tag 4711'

probe('1.11 channel.open on an open channel is 504', async c => {
  const client = await c.channel()
  client.send(1, 'channel.open')
  await c.outcome(client, "connection 504 20,10 CHANNEL_ERROR - second 'channel.open' seen")
})

probe('1.11 any other first method on a channel is 504', async c => {
  for (const [name, ids] of [
    ['queue.declare', '50,10'],
    ['basic.ack', '60,80'],
    ['basic.publish', '60,40'],
    ['channel.flow', '20,20'],
    ['tx.select', '90,10'],
  ] as const) {
    const client = await c.open()
    client.send(3, name)
    if (name === 'basic.publish') client.header(3, 0)
    await c.outcome(client, `connection 504 ${ids} CHANNEL_ERROR - expected 'channel.open'`)
  }
})

probe('1.11 a late ack on a channel the client has closed is 504', async c => {
  const client = await c.channel()
  await client.call(1, 'channel.close', { replyCode: 200, replyText: 'bye' })
  client.send(1, 'basic.ack', { deliveryTag: 1 })
  await c.outcome(client, "connection 504 60,80 CHANNEL_ERROR - expected 'channel.open'")
})

probe('1.11 a header or body on a channel not open is 505', async c => {
  const client = await c.open()
  client.frame(HEADER, 5, encodeHeader({ size: 0 }))
  await c.outcome(
    client,
    'connection 505 0,0 UNEXPECTED_FRAME - expected method frame, got non method frame instead',
  )
})

probe('1.11 channel.open-ok carries one reserved longstr', async c => {
  const client = await c.open()
  client.send(1, 'channel.open')
  const f = await client.next()
  c.t.equal(f?.payload.toString('hex'), '0014000b00000000')
})

probe('1.11 channel numbers may be anything up to 65535', async c => {
  const client = await c.open()
  for (const number of [2047, 2048, 65_535, 1]) {
    await client.channel(number)
    await client.fence(number)
  }
})

probe('1.11 a closing channel drops everything until close-ok', async c => {
  const client = await c.channel()
  await client.channel(2)
  const [queue, other] = [await c.queue(client), c.name()]
  client.write(
    Buffer.concat([
      softError,
      methodFrame(1, 'queue.declare', { queue: other, durable: true }),
      methodFrame(1, 'basic.publish', { routingKey: queue }),
      frame(HEADER, 1, encodeHeader({ size: 3 })),
      frame(3, 1, Buffer.from('abc')),
      softError,
      methodFrame(1, 'basic.get', { queue }),
    ]),
  )
  const close = await client.expect(1, 'channel.close')
  c.t.equal(close.replyCode, 406)
  // Only now, too, and on a channel whose close has been seen.
  client.send(1, 'basic.get', { queue })
  client.send(1, 'channel.flow', { active: true })
  c.t.strictSame(await client.fence(2), [])
  client.send(2, 'queue.declare', { queue, passive: true })
  c.t.equal((await client.expect(2, 'queue.declare-ok')).messages, 0, 'nothing was published')
  client.send(2, 'queue.declare', { queue: other, passive: true })
  await c.outcome(client, `channel 404 50,10 NOT_FOUND - no queue '${other}' in vhost '/'`)
})

probe('1.11 crossing closes: close is answered, close-ok still awaited', async c => {
  const client = await c.channel()
  client.write(Buffer.concat([softError, methodFrame(1, 'channel.close', { replyCode: 200 })]))
  await client.expect(1, 'channel.close')
  await client.expect(1, 'channel.close-ok')
  client.send(1, 'channel.close-ok')
  await client.channel(1)
  await client.fence(1)
})

probe('1.11 after close-ok the number is free at once, on either side', async c => {
  const client = await c.channel()
  for (let i = 0; i < 20; i++) {
    await client.call(1, 'channel.close', { replyCode: 200 })
    await client.channel(1)
    client.write(softError)
    const { replyCode } = await client.expect(1, 'channel.close')
    c.t.equal(replyCode, 406)
    client.write(
      Buffer.concat([methodFrame(1, 'channel.close-ok'), methodFrame(1, 'channel.open')]),
    )
    await client.expect(1, 'channel.open-ok')
  }
})

probe('1.11 a reused channel starts afresh', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  await client.call(1, 'confirm.select')
  client.publish(1, { key: queue })
  await client.expect(1, 'basic.ack')
  client.send(1, 'basic.get', { queue })
  c.t.equal((await client.content(1, 'basic.get-ok')).fields.deliveryTag, 1n)
  await client.call(1, 'channel.close', { replyCode: 200 })
  await client.channel(1)
  client.send(1, 'basic.get', { queue })
  const again = await client.content(1, 'basic.get-ok')
  c.t.equal(again.fields.deliveryTag, 1n, 'delivery tags')
  c.t.equal(again.fields.redelivered, true)
  await client.call(1, 'tx.select')
  client.send(1, 'queue.purge', { queue: '' })
  await c.outcome(client, 'channel 404 50,30 NOT_FOUND - no previously declared queue')
})

for (const how of ['a soft error', 'channel.close'] as const)
  probe(`1.11 ${how} removes consumers and requeues before close-ok`, async c => {
    const client = await c.channel()
    await client.channel(2)
    const queue = await c.queue(client)
    client.send(1, 'basic.consume', { queue, consumerTag: 'mine' })
    await client.expect(1, 'basic.consume-ok')
    client.publish(2, { key: queue, body: 'x' })
    await client.content(1, 'basic.deliver')
    if (how === 'channel.close') await client.call(1, 'channel.close', { replyCode: 200 })
    else {
      client.write(softError)
      await client.expect(1, 'channel.close')
    }
    const { consumers, messages } = await client.call(2, 'queue.declare', { queue, passive: true })
    c.t.equal(consumers, 0)
    c.t.equal(messages, 1)
    client.send(2, 'basic.get', { queue, noAck: true })
    c.t.equal((await client.content(2, 'basic.get-ok')).fields.redelivered, true)
  })

probe('1.11 nothing follows channel.close-ok', async c => {
  const client = await c.channel()
  const publisher = await c.channel()
  const queue = await c.queue(client)
  await client.channel(2)
  for (let i = 0; i < 2_000; i++) publisher.publish(1, { key: queue, body: 'x'.repeat(100) })
  await publisher.fence(1)
  client.send(2, 'basic.consume', { queue, noAck: true })
  await client.expect(2, 'basic.consume-ok')
  client.send(2, 'channel.close', { replyCode: 200 })
  let f = await client.next()
  while (f !== undefined && f.name !== 'channel.close-ok') f = await client.next()
  c.t.equal(f?.channel, 2)
  c.t.strictSame(await client.fence(1), [])
})

probe('1.11 a connection error ends all channels without channel.close', async c => {
  const client = await c.channel()
  await client.channel(2)
  client.write(Buffer.concat([methodFrame(1, 'channel.open'), softError]))
  const f = await client.next()
  c.t.equal(f?.name, 'connection.close')
  client.send(0, 'connection.close-ok')
  const { frames } = await client.collect()
  c.t.strictSame(frames, [])
})

probe('1.11 an error on one channel leaves the others alone', async c => {
  const client = await c.channel()
  await client.channel(2)
  client.write(softError)
  await c.outcome(client, softErrorIs)
  await client.fence(2)
})

probe('1.11 ack, nack and reject for a closing channel are swallowed', async c => {
  const client = await c.channel()
  await client.channel(2)
  client.write(softError)
  await client.expect(1, 'channel.close')
  client.send(1, 'basic.ack', { deliveryTag: 1 })
  client.send(1, 'basic.nack', { deliveryTag: 2 })
  client.send(1, 'basic.reject', { deliveryTag: 3 })
  client.send(1, 'channel.close-ok')
  await client.channel(1)
  c.t.strictSame(await client.fence(1), [])
})

probe('1.11 an unasked close-ok on an open channel', async c => {
  const client = await c.channel()
  client.send(1, 'channel.close-ok')
  await c.outcome(client, 'connection 503 20,41 COMMAND_INVALID - unimplemented method')
})

probe('1.11 an unasked connection.close-ok', async c => {
  const client = await c.channel()
  client.send(0, 'connection.close-ok')
  await c.outcome(
    client,
    'connection 504 10,51 CHANNEL_ERROR - unexpected method in connection state running',
  )
})
