import t from 'tap'
import { openBroker } from './support/broker.js'
import { type Case, prober } from './support/probe.js'
import type { RawClient } from './support/raw-client.js'
import { contentFrames, type Fields, methodFrame, table } from './support/raw-codec.js'

// Sections 2.20 and 2.21: transactions and publisher confirms.

const broker = await openBroker(t)
const probe = prober(t, broker)

/** A channel in a transaction, a second channel that sees the queue from outside, and the queue. */
const transaction = async (c: Case) => {
  const client = await c.channel()
  await client.channel(2)
  const queue = await c.queue(client)
  await client.call(1, 'tx.select')
  /** What somebody else would be given now. */
  const seen = async () => {
    const bodies: string[] = []
    for (;;) {
      client.send(2, 'basic.get', { queue })
      const f = await client.next()
      if (f?.name === 'basic.get-empty') break
      if (f?.name !== 'basic.get-ok') throw new Error(`basic.get-ok expected, got ${f?.name}`)
      await client.next()
      bodies.push(`${(await client.next())?.payload}`)
    }
    await client.call(2, 'basic.recover', { requeue: true })
    return bodies
  }
  return { client, queue, seen }
}

const get = async (client: RawClient, queue: string) => {
  client.send(1, 'basic.get', { queue })
  return client.content(1, 'basic.get-ok')
}

probe('2.20 tx and confirm exclude each other; each may be selected again', async c => {
  const client = await c.channel()
  await client.call(1, 'tx.select')
  await client.call(1, 'tx.select')
  client.send(1, 'confirm.select')
  await c.outcome(
    client,
    'channel 406 85,10 PRECONDITION_FAILED - cannot switch from tx to confirm mode',
  )
  await client.channel(1)
  await client.call(1, 'confirm.select')
  await client.call(1, 'confirm.select')
  client.send(1, 'tx.select')
  await c.outcome(
    client,
    'channel 406 90,10 PRECONDITION_FAILED - cannot switch from confirm to tx mode',
  )
})

for (const [name, ids] of [
  ['tx.commit', '90,20'],
  ['tx.rollback', '90,30'],
] as const)
  probe(`2.20 ${name} without select is 406`, async c => {
    const client = await c.channel()
    client.send(1, name)
    await c.outcome(client, `channel 406 ${ids} PRECONDITION_FAILED - channel is not transactional`)
  })

probe('2.20 publishes arrive at commit, in order', async c => {
  const { client, queue, seen } = await transaction(c)
  for (const body of ['1', '2', '3']) client.publish(1, { key: queue, body })
  await client.fence(1)
  c.t.strictSame(await seen(), [])
  await client.call(1, 'tx.commit')
  c.t.strictSame(await seen(), ['1', '2', '3'])
  await client.call(1, 'tx.commit')
  c.t.strictSame(await seen(), ['1', '2', '3'], 'an empty commit')
})

probe('2.20 rollback drops the publishes', async c => {
  const { client, queue, seen } = await transaction(c)
  client.publish(1, { key: queue, body: 'dropped' })
  await client.call(1, 'tx.rollback')
  client.publish(1, { key: queue, body: 'kept' })
  await client.call(1, 'tx.commit')
  c.t.strictSame(await seen(), ['kept'])
})

probe('2.20 returns come at commit, before commit-ok, in order', async c => {
  const { client, queue } = await transaction(c)
  client.publish(1, { key: 'nobody.1', body: 'a', mandatory: true })
  client.publish(1, { key: queue, body: 'b', mandatory: true })
  client.publish(1, { key: 'nobody.2', body: 'c', mandatory: true })
  c.t.strictSame(await client.fence(1), [], 'not before')
  client.send(1, 'tx.commit')
  for (const key of ['nobody.1', 'nobody.2']) {
    const { fields } = await client.content(1, 'basic.return')
    c.t.equal(fields.routingKey, key)
    c.t.equal(fields.replyCode, 312)
  }
  await client.expect(1, 'tx.commit-ok')
})

probe('2.20 rollback returns nothing', async c => {
  const { client } = await transaction(c)
  client.publish(1, { key: 'nobody', mandatory: true })
  await client.call(1, 'tx.rollback')
  await client.call(1, 'tx.commit')
  c.t.strictSame(await client.fence(1), [])
})

probe('2.20 errors of a publish do not wait for the commit', async c => {
  const { client } = await transaction(c)
  const exchange = c.name('x')
  client.publish(1, { exchange, key: 'k' })
  await c.outcome(client, `channel 404 60,40 NOT_FOUND - no exchange '${exchange}' in vhost '/'`)
})

probe('2.20 acks are held until commit', async c => {
  const { client, queue, seen } = await transaction(c)
  client.publish(2, { key: queue, body: 'x' })
  await client.fence(2)
  const { fields } = await get(client, queue)
  client.send(1, 'basic.ack', { deliveryTag: fields.deliveryTag })
  await client.fence(1)
  await client.call(1, 'tx.rollback')
  c.t.strictSame(await seen(), [], 'no redelivery')
  client.send(1, 'basic.ack', { deliveryTag: fields.deliveryTag })
  await client.call(1, 'tx.commit')
  await client.call(1, 'basic.recover', { requeue: true })
  c.t.strictSame(await seen(), [], 'gone for good')
})

for (const name of ['basic.ack', 'basic.nack', 'basic.reject'] as const)
  probe(`2.20 after rollback the tags of a ${name} can be settled again`, async c => {
    const { client, queue, seen } = await transaction(c)
    for (const body of ['1', '2']) client.publish(2, { key: queue, body })
    await client.fence(2)
    for (let i = 0; i < 2; i++) await get(client, queue)
    for (let round = 0; round < 3; round++) {
      client.send(1, name, { deliveryTag: 1 })
      client.send(1, 'basic.ack', { deliveryTag: 2, multiple: true })
      c.t.strictSame(await client.fence(1), [])
      await client.call(1, 'tx.rollback')
    }
    client.send(1, 'basic.nack', { deliveryTag: 2, multiple: true, requeue: true })
    await client.fence(1)
    c.t.strictSame(await seen(), [], 'a requeue is held as well')
    await client.call(1, 'tx.commit')
    c.t.strictSame(await seen(), ['1', '2'])
  })

probe('2.20 a tag is checked at once, and one that is held is not outstanding', async c => {
  const { client, queue } = await transaction(c)
  client.publish(2, { key: queue })
  await client.fence(2)
  await get(client, queue)
  client.send(1, 'basic.ack', { deliveryTag: 1 })
  client.send(1, 'basic.ack', { deliveryTag: 1 })
  await c.outcome(client, 'channel 406 60,80 PRECONDITION_FAILED - unknown delivery tag 1')
})

probe('2.20 closing the channel is a rollback', async c => {
  const { client, queue, seen } = await transaction(c)
  client.publish(2, { key: queue, body: 'there' })
  await client.fence(2)
  await get(client, queue)
  client.send(1, 'basic.ack', { deliveryTag: 1 })
  client.publish(1, { key: queue, body: 'never' })
  await client.call(1, 'channel.close', { replyCode: 200 })
  c.t.strictSame(await seen(), ['there'])
})

probe('2.20 recover leaves alone what is acked in the transaction', async c => {
  const { client, queue, seen } = await transaction(c)
  for (const body of ['1', '2']) client.publish(2, { key: queue, body })
  await client.fence(2)
  for (let i = 0; i < 2; i++) await get(client, queue)
  client.send(1, 'basic.ack', { deliveryTag: 1 })
  await client.call(1, 'basic.recover', { requeue: true })
  c.t.strictSame(await seen(), ['2'])
  await client.call(1, 'tx.commit')
  c.t.strictSame(await seen(), ['2'])
})

probe('2.20 a transaction spans queues and mixes publishes with acks', async c => {
  const { client, queue, seen } = await transaction(c)
  const other = c.name()
  await client.call(2, 'queue.declare', { queue: other, exclusive: true })
  client.publish(2, { key: queue, body: 'request' })
  await client.fence(2)
  await get(client, queue)
  client.publish(1, { key: other, body: 'reply' })
  client.publish(1, { key: queue, body: 'next' })
  client.send(1, 'basic.ack', { deliveryTag: 1 })
  await client.call(1, 'tx.commit')
  c.t.strictSame(await seen(), ['next'])
  c.t.equal((await client.call(2, 'queue.purge', { queue: other })).messages, 1)
})

// ------------------------------------------------------------------------------------------------ confirms

/** Acks and nacks until `count` numbers are settled; asserts that each comes once. */
const confirms = async (c: Case, client: RawClient, count: number, from = 1) => {
  const settled = new Map<number, string>()
  let low = from
  while (settled.size < count) {
    const f = await client.next()
    if (f?.name !== 'basic.ack' && f?.name !== 'basic.nack')
      throw new Error(`a confirm expected, got ${f?.name}`)
    const { deliveryTag, multiple } = f.fields as Fields<'basic.nack'>
    if (deliveryTag === 0n) c.t.fail('a confirm with tag 0')
    const first = multiple ? low : Number(deliveryTag)
    for (let tag = first; tag <= Number(deliveryTag); tag++) {
      if (!multiple && settled.has(tag)) c.t.fail(`${tag} is settled twice`)
      if (!settled.has(tag)) settled.set(tag, f.name)
    }
    while (settled.has(low)) low++
  }
  return { settled }
}

probe('2.21 every publish is confirmed once, counting from the select', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  client.publish(1, { key: queue })
  await client.call(1, 'confirm.select')
  client.publish(1, { key: queue })
  const first = await confirms(c, client, 1)
  c.t.strictSame([...first.settled.keys()], [1])
  await client.call(1, 'confirm.select')
  for (let i = 0; i < 2_000; i++) client.publish(1, { key: i % 3 === 0 ? 'nobody' : queue })
  const { settled } = await confirms(c, client, 2_000, 2)
  c.t.strictSame(
    [Math.min(...settled.keys()), Math.max(...settled.keys())],
    [2, 2_001],
    'numbering goes on after a second select',
  )
  c.t.ok([...settled.values()].every(name => name === 'basic.ack'))
  c.t.strictSame(await client.fence(1), [])
})

probe('2.21 confirms of a durable queue with persistent messages', async c => {
  const client = await c.channel()
  const queue = c.name()
  await client.call(1, 'queue.declare', { queue, durable: true })
  await client.call(1, 'confirm.select')
  for (let i = 0; i < 500; i++) client.publish(1, { key: queue, properties: { deliveryMode: 2 } })
  const { settled } = await confirms(c, client, 500)
  c.t.equal(settled.size, 500)
  c.t.strictSame(await client.fence(1), [])
})

probe('2.21 an unroutable message is acked at once', async c => {
  const client = await c.channel()
  await client.call(1, 'confirm.select')
  client.publish(1, { key: 'nobody' })
  c.t.strictSame(await client.expect(1, 'basic.ack'), { deliveryTag: 1n, multiple: false })
})

probe('2.21 a batch of unroutable messages is acked completely', async c => {
  const client = await c.channel()
  await client.call(1, 'confirm.select')
  for (let i = 0; i < 20; i++) client.publish(1, { key: 'nobody' })
  const { settled } = await confirms(c, client, 20)
  c.t.equal(settled.size, 20)
})

probe('2.15 the return comes before the confirm', async c => {
  const client = await c.channel()
  await client.call(1, 'confirm.select')
  for (let tag = 1n; tag <= 5n; tag++) {
    client.publish(1, { key: `nobody.${tag}`, body: 'x', mandatory: true })
    const { fields } = await client.content(1, 'basic.return')
    c.t.equal(fields.routingKey, `nobody.${tag}`)
    c.t.equal((await client.expect(1, 'basic.ack')).deliveryTag, tag)
  }
})

probe('2.15 every return precedes its own confirm in a burst as well', async c => {
  const client = await c.channel()
  await client.call(1, 'confirm.select')
  for (let i = 1; i <= 50; i++) client.publish(1, { key: `${i}`, body: 'x', mandatory: true })
  let returned = 0
  let acked = 0
  while (acked < 50) {
    const f = await client.next()
    if (f?.name === 'basic.return') {
      returned++
      if ((f.fields as Fields<'basic.return'>).routingKey !== `${returned}`)
        c.t.fail('returned out of order')
    } else if (f?.name === 'basic.ack') {
      acked = Number((f.fields as Fields<'basic.ack'>).deliveryTag)
      if (acked > returned) c.t.fail(`${acked} was confirmed before its return`)
    }
  }
  c.t.equal(returned, 50)
})

probe('2.21 a full queue with reject-publish nacks', async c => {
  const client = await c.channel()
  const queue = await c.queue(client, {
    arguments: table({ 'x-max-length': 1, 'x-overflow': 'reject-publish' }),
  })
  await client.call(1, 'confirm.select')
  client.publish(1, { key: queue })
  await client.expect(1, 'basic.ack')
  let refused = ''
  for (let i = 0; i < 50 && refused === ''; i++) {
    client.publish(1, { key: queue })
    const f = await client.next()
    if (f?.name === 'basic.nack') refused = f.payload.subarray(12).toString('hex')
  }
  c.t.match(refused, /^0[23]$/, 'the bit of requeue is set')
})

probe('2.17 a burst of refusals: nacks with requeue, each number once', async c => {
  const client = await c.channel()
  const queue = await c.queue(client, {
    arguments: table({ 'x-max-length': 1, 'x-overflow': 'reject-publish' }),
  })
  client.publish(1, { key: queue })
  client.publish(1, { key: queue })
  await client.call(1, 'queue.declare', { queue, passive: true })
  await client.call(1, 'confirm.select')
  for (let i = 0; i < 200; i++) client.publish(1, { key: queue })
  const nacked = new Set<number>()
  let low = 1
  while (nacked.size < 200) {
    const f = await client.next()
    if (f?.name !== 'basic.nack') throw new Error(`basic.nack expected, got ${f?.name}`)
    const { deliveryTag, multiple, requeue } = f.fields as Fields<'basic.nack'>
    if (!requeue) c.t.fail('without requeue')
    for (let tag = multiple ? low : Number(deliveryTag); tag <= Number(deliveryTag); tag++)
      nacked.add(tag)
    while (nacked.has(low)) low++
  }
  c.t.equal(nacked.size, 200)
})

probe('2.21 confirms and delivery tags are two spaces', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  await client.call(1, 'confirm.select')
  client.publish(1, { key: queue })
  await client.expect(1, 'basic.ack')
  c.t.equal((await get(client, queue)).fields.deliveryTag, 1n)
  client.publish(1, { key: queue })
  c.t.equal((await client.expect(1, 'basic.ack')).deliveryTag, 2n)
  client.send(1, 'basic.ack', { deliveryTag: 1 })
  c.t.strictSame(await client.fence(1), [])
})

probe('2.9 messages purged before they are confirmed are acked', async c => {
  const client = await c.channel()
  await client.channel(2)
  const queue = c.name()
  await client.call(1, 'queue.declare', { queue, durable: true })
  await client.call(1, 'confirm.select')
  for (let i = 0; i < 100; i++) client.publish(1, { key: queue, properties: { deliveryMode: 2 } })
  client.send(2, 'queue.purge', { queue })
  let low = 0
  while (low < 100) {
    const f = await client.next()
    if (f?.name === 'basic.ack') {
      const { deliveryTag, multiple } = f.fields as Fields<'basic.ack'>
      low = multiple ? Number(deliveryTag) : low + 1
    } else if (f?.name !== 'queue.purge-ok') throw new Error(`an ack expected, got ${f?.name}`)
  }
  c.t.equal(low, 100)
})

probe('2.10 a deleted queue acks what it had not confirmed', async c => {
  const client = await c.channel()
  await client.channel(2)
  const queue = c.name()
  await client.call(1, 'queue.declare', { queue, durable: true })
  await client.call(1, 'confirm.select')
  for (let i = 0; i < 100; i++) client.publish(1, { key: queue, properties: { deliveryMode: 2 } })
  client.send(2, 'queue.delete', { queue })
  const settled = new Set<number>()
  let low = 1
  while (settled.size < 100) {
    const f = await client.next()
    if (f?.name === 'queue.delete-ok') continue
    if (f?.name !== 'basic.ack') throw new Error(`an ack expected, got ${f?.name}`)
    const { deliveryTag, multiple } = f.fields as Fields<'basic.ack'>
    for (let tag = multiple ? low : Number(deliveryTag); tag <= Number(deliveryTag); tag++)
      settled.add(tag)
    while (settled.has(low)) low++
  }
  c.t.equal(settled.size, 100)
})

probe('2.20 what was published in pieces is committed whole, and nothing but it', async c => {
  const { client, queue } = await transaction(c)
  const bytes = Buffer.concat([
    methodFrame(1, 'basic.publish', { routingKey: queue }),
    contentFrames(1, Buffer.from('held'), { messageId: 'm' }),
  ])
  for (const sizes of [[bytes.length - 5], [30, 10], Array<number>(bytes.length).fill(1)]) {
    await client.writeSplit(bytes, sizes)
    await client.call(1, 'tx.commit')
    const { body, properties } = await get(client, queue)
    c.t.equal(body.toString(), 'held')
    c.t.strictSame(properties, { messageId: 'm' })
    c.t.strictSame(await client.fence(1), [], 'nothing between the body and the next frame')
  }
})
