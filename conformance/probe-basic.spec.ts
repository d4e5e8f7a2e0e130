import t from 'tap'
import { openBroker } from './support/broker.js'
import { prober } from './support/probe.js'
import { everyCapability, type RawClient } from './support/raw-client.js'
import {
  type Entry,
  encodeHeader,
  type Fields,
  type Properties,
  type Table,
  table,
} from './support/raw-codec.js'

// Sections 2.11 to 2.19: prefetch, consumers, publishing, getting, settling, recovering, flow.

const broker = await openBroker(t)
const probe = prober(t, broker)

const fill = (client: RawClient, queue: string, count: number) => {
  for (let i = 1; i <= count; i++) client.publish(1, { key: queue, body: `${i}` })
}

/** The deliveries that are there when the broker has nothing more to say: tag of the consumer and body. */
const deliveries = async (client: RawClient, channel = 1): Promise<string[]> => {
  const seen: string[] = []
  let tag = ''
  // Deliveries to a consumer just added or revived need a moment in the queue.
  const frames = [...(await client.within(150)), ...(await client.fence(channel))]
  for (const f of frames) {
    if (f.name === 'basic.deliver') tag = (f.fields as Fields<'basic.deliver'>).consumerTag
    if (f.type === 3) seen.push(`${tag}${f.payload}`)
  }
  return seen
}

const get = async (client: RawClient, queue: string, noAck = false) => {
  client.send(1, 'basic.get', { queue, noAck })
  return client.content(1, 'basic.get-ok')
}

// ----------------------------------------------------------------------------------------------------- qos

probe('2.11 a prefetch size is 540', async c => {
  const client = await c.channel()
  client.send(1, 'basic.qos', { prefetchSize: 10 })
  await c.outcome(client, 'connection 540 60,10 NOT_IMPLEMENTED - prefetch_size!=0 (10)')
})

probe('2.11 global=0 is for later consumers, each with its own limit', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  fill(client, queue, 20)
  await client.call(1, 'basic.qos', { prefetchCount: 2 })
  await client.call(1, 'basic.consume', { queue, consumerTag: 'a' })
  c.t.strictSame(await deliveries(client), ['a1', 'a2'])
  await client.call(1, 'basic.qos', { prefetchCount: 3 })
  c.t.strictSame(await deliveries(client), [], 'the first consumer keeps its 2')
  await client.call(1, 'basic.consume', { queue, consumerTag: 'b' })
  c.t.strictSame(await deliveries(client), ['b3', 'b4', 'b5'])
  client.send(1, 'basic.ack', { deliveryTag: 1 })
  c.t.strictSame(await deliveries(client), ['a6'], 'an ack opens its own consumer only')
  client.send(1, 'basic.nack', { deliveryTag: 3, multiple: false, requeue: false })
  c.t.strictSame(await deliveries(client), ['b7'])
  client.send(1, 'basic.reject', { deliveryTag: 4, requeue: false })
  c.t.strictSame(await deliveries(client), ['b8'])
  await client.call(1, 'basic.qos', { prefetchCount: 0 })
  await client.call(1, 'basic.consume', { queue, consumerTag: 'c' })
  c.t.equal((await deliveries(client)).length, 12, '0 is unlimited')
})

probe('2.11 global=1 is one limit for the channel, and at once', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  fill(client, queue, 20)
  await client.call(1, 'basic.qos', { prefetchCount: 3, global: true })
  await client.call(1, 'basic.consume', { queue, consumerTag: 'a' })
  c.t.equal((await deliveries(client)).length, 3)
  await client.call(1, 'basic.consume', { queue, consumerTag: 'b' })
  c.t.equal((await deliveries(client)).length, 0, 'shared')
  await client.call(1, 'basic.qos', { prefetchCount: 5, global: true })
  c.t.equal((await deliveries(client)).length, 2, 'raised while they run')
  await client.call(1, 'basic.qos', { prefetchCount: 1, global: true })
  client.send(1, 'basic.ack', { deliveryTag: 4, multiple: true })
  c.t.equal((await deliveries(client)).length, 0, 'lowered: one is still unacked')
  client.send(1, 'basic.ack', { deliveryTag: 5 })
  c.t.equal((await deliveries(client)).length, 1)
  await client.call(1, 'basic.qos', { prefetchCount: 0, global: true })
  c.t.equal((await deliveries(client)).length, 14, '0 removes it')
})

probe('2.11 both limits apply together', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  fill(client, queue, 10)
  await client.call(1, 'basic.qos', { prefetchCount: 2 })
  await client.call(1, 'basic.qos', { prefetchCount: 3, global: true })
  await client.call(1, 'basic.consume', { queue, consumerTag: 'a' })
  c.t.strictSame(await deliveries(client), ['a1', 'a2'])
  await client.call(1, 'basic.consume', { queue, consumerTag: 'b' })
  c.t.strictSame(await deliveries(client), ['b3'])
})

probe('2.11 no-ack consumers and basic.get know no prefetch', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  fill(client, queue, 10)
  await client.call(1, 'basic.qos', { prefetchCount: 1 })
  await client.call(1, 'basic.consume', { queue, consumerTag: 'a' })
  c.t.strictSame(await deliveries(client), ['a1'])
  c.t.equal((await get(client, queue)).body.toString(), '2')
  c.t.equal((await get(client, queue)).body.toString(), '3')
  await client.call(1, 'basic.consume', { queue, consumerTag: 'n', noAck: true })
  c.t.equal((await deliveries(client)).length, 7)
})

// ------------------------------------------------------------------------------------------------- consume

probe('2.12 an empty consumer tag becomes amq.ctag- and 22 characters', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  const { consumerTag } = await client.call(1, 'basic.consume', { queue })
  c.t.match(consumerTag, /^amq\.ctag-[A-Za-z0-9_-]{22}$/)
})

probe('2.12 a consumer tag in use is 530, on its channel only', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  await client.channel(2)
  await client.call(1, 'basic.consume', { queue, consumerTag: 'tt' })
  await client.call(2, 'basic.consume', { queue, consumerTag: 'tt' })
  client.send(1, 'basic.consume', { queue, consumerTag: 'tt' })
  await c.outcome(client, "connection 530 60,20 NOT_ALLOWED - attempt to reuse consumer tag 'tt'")
})

probe('2.12 consume-ok comes before the first delivery', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  fill(client, queue, 50)
  for (let i = 0; i < 10; i++) {
    client.send(1, 'basic.consume', { queue, consumerTag: `${i}` })
    await client.expect(1, 'basic.consume-ok')
    await client.content(1, 'basic.deliver')
    client.send(1, 'basic.cancel', { consumerTag: `${i}` })
    for (let f = await client.next(); f?.name !== 'basic.cancel-ok'; f = await client.next());
    await client.call(1, 'basic.recover', { requeue: true })
  }
  c.t.pass('each time')
})

probe('2.12 an exclusive consumer wants the queue for itself', async c => {
  const client = await c.channel()
  await client.channel(2)
  const queue = await c.queue(client)
  const inUse = `channel 403 60,20 ACCESS_REFUSED - queue '${queue}' in vhost '/' in exclusive use`
  await client.call(1, 'basic.consume', { queue, consumerTag: 'tag' })
  client.send(2, 'basic.consume', { queue, exclusive: true })
  await c.outcome(client, inUse)
  await client.call(1, 'basic.cancel', { consumerTag: 'tag' })
  await client.call(1, 'basic.consume', { queue, consumerTag: 'tag', exclusive: true })
  await client.channel(2)
  client.send(2, 'basic.consume', { queue })
  await c.outcome(client, inUse)
  await client.call(1, 'basic.cancel', { consumerTag: 'tag' })
  fill(client, queue, 1)
  c.t.equal((await get(client, queue)).body.toString(), '1')
})

probe('2.12 basic.get passes an exclusive consumer', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  await client.call(1, 'basic.qos', { prefetchCount: 1 })
  await client.call(1, 'basic.consume', { queue, exclusive: true })
  fill(client, queue, 2)
  await client.content(1, 'basic.deliver')
  c.t.equal((await get(client, queue)).body.toString(), '2')
})

probe('2.12 no exclusive consumer on a single active consumer queue', async c => {
  const client = await c.channel()
  const queue = await c.queue(client, { arguments: table({ 'x-single-active-consumer': true }) })
  client.send(1, 'basic.consume', { queue, exclusive: true })
  await c.outcome(
    client,
    `channel 403 60,20 ACCESS_REFUSED - queue '${queue}' in vhost '/' in exclusive use`,
  )
})

probe('2.12 consuming from a queue that is not there is 404', async c => {
  const client = await c.channel()
  const queue = c.name()
  client.send(1, 'basic.consume', { queue })
  await c.outcome(client, `channel 404 60,20 NOT_FOUND - no queue '${queue}' in vhost '/'`)
})

probe('2.12 x-priority must be an integer', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  for (const entry of [
    ['x-priority', 'I', 5],
    ['x-priority', 'l', -5n],
    ['x-priority', 'b', 1],
  ] satisfies Entry[])
    await client.call(1, 'basic.consume', { queue, arguments: [entry] })
  client.send(1, 'basic.consume', { queue, arguments: table({ 'x-priority': 'high' }) })
  await c.outcome(
    client,
    `channel 406 60,20 PRECONDITION_FAILED - invalid arg 'x-priority' for queue '${queue}' in vhost '/': "expected integer, got longstr"`,
  )
})

probe('2.12 unknown consumer arguments and no-local are ignored', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  const args = table({ 'x-mine': 1, 'x-credit': { credit: 5, drain: false } })
  await client.call(1, 'basic.consume', { queue, noLocal: true, noAck: true, arguments: args })
  fill(client, queue, 1)
  await client.content(1, 'basic.deliver')
})

probe('2.12 an auto-delete queue waits for its first consumer and goes with its last', async c => {
  const client = await c.channel()
  const queue = c.name()
  await client.call(1, 'queue.declare', { queue, autoDelete: true })
  await client.call(1, 'queue.declare', { queue, passive: true })
  await client.call(1, 'basic.consume', { queue, consumerTag: 'a' })
  await client.call(1, 'basic.consume', { queue, consumerTag: 'b' })
  await client.call(1, 'basic.cancel', { consumerTag: 'a' })
  await client.call(1, 'queue.declare', { queue, passive: true })
  await client.call(1, 'basic.cancel', { consumerTag: 'b' })
  client.send(1, 'queue.declare', { queue, passive: true })
  await c.outcome(client, `channel 404 50,10 NOT_FOUND - no queue '${queue}' in vhost '/'`)
})

// -------------------------------------------------------------------------------------------------- cancel

probe('2.13 cancelling an unknown tag is answered with it', async c => {
  const client = await c.channel()
  const { consumerTag } = await client.call(1, 'basic.cancel', { consumerTag: 'never seen' })
  c.t.equal(consumerTag, 'never seen')
})

probe('2.13 nothing for the tag after cancel-ok, and what is unacked stays ackable', async c => {
  const client = await c.channel()
  const publisher = await c.channel()
  const queue = await c.queue(client)
  await client.call(1, 'basic.consume', { queue, consumerTag: 'tag' })
  for (let i = 0; i < 1_000; i++) publisher.publish(1, { key: queue, body: 'x' })
  for (let i = 0; i < 20; i++) await client.content(1, 'basic.deliver')
  client.send(1, 'basic.cancel', { consumerTag: 'tag' })
  let last = 20n
  for (let f = await client.next(); f?.name !== 'basic.cancel-ok'; f = await client.next())
    if (f?.name === 'basic.deliver') last = (f.fields as Fields<'basic.deliver'>).deliveryTag
  await publisher.fence(1)
  c.t.strictSame(await deliveries(client), [])
  client.send(1, 'basic.ack', { deliveryTag: last, multiple: true })
  await client.fence(1)
  const { messages, consumers } = await client.call(1, 'queue.declare', { queue, passive: true })
  c.t.equal(messages, 1_000 - Number(last))
  c.t.equal(consumers, 0)
  await client.call(1, 'basic.consume', { queue, consumerTag: 'tag', noAck: true })
})

probe('2.13 a deleted queue cancels its consumers', async c => {
  const client = await c.channel()
  await client.channel(2)
  const queue = await c.queue(client)
  await client.call(2, 'basic.consume', { queue, consumerTag: 'gone' })
  client.send(1, 'queue.delete', { queue })
  const frames = [await client.next(), await client.next()]
  const cancel = frames.find(f => f?.channel === 2)
  c.t.equal(cancel?.name, 'basic.cancel')
  c.t.strictSame(cancel?.fields, { consumerTag: 'gone', nowait: true })
  await client.fence(2)
  const other = await c.queue(client)
  await client.call(2, 'basic.consume', { queue: other, consumerTag: 'gone' })
})

probe('2.13 a client that answers a cancel of the broker', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  await client.call(1, 'basic.consume', { queue, consumerTag: 'tag' })
  await client.call(1, 'queue.delete', { queue })
  await client.expect(1, 'basic.cancel')
  client.send(1, 'basic.cancel-ok', { consumerTag: 'tag' })
  client.send(1, 'basic.qos')
  await c.outcome(client, c.decided())
})

probe('2.13 without consumer_cancel_notify nobody is told', async c => {
  const capabilities = everyCapability.filter(([key]) => key !== 'consumer_cancel_notify')
  for (const announced of [capabilities, table({ consumer_cancel_notify: false }), []]) {
    const client = await c.channel({ capabilities: announced })
    const queue = await c.queue(client)
    await client.call(1, 'basic.consume', { queue, consumerTag: 'tag' })
    await client.call(1, 'queue.delete', { queue })
    c.t.strictSame([...(await client.within(100)), ...(await client.fence(1))], [])
  }
})

// ------------------------------------------------------------------------------------------------- publish

probe('2.14 immediate is 540', async c => {
  const client = await c.channel()
  client.send(1, 'basic.publish', { routingKey: 'k', immediate: true })
  client.header(1, 0)
  await c.outcome(client, 'connection 540 60,40 NOT_IMPLEMENTED - immediate=true')
})

probe('2.14 publishing to no exchange is 404, and what follows is dropped', async c => {
  const client = await c.channel()
  await client.channel(2)
  const [queue, exchange] = [await c.queue(client), c.name('x')]
  await client.call(1, 'confirm.select')
  client.publish(1, { key: queue })
  client.publish(1, { exchange, key: 'k' })
  client.publish(1, { key: queue })
  const seen: string[] = []
  for (let f = await client.next(); f !== undefined; f = await client.next()) {
    seen.push(`${f.name}`)
    if (f.name === 'channel.close') {
      c.t.equal(
        (f.fields as Fields<'channel.close'>).replyText,
        `NOT_FOUND - no exchange '${exchange}' in vhost '/'`,
      )
      c.t.equal((f.fields as Fields<'channel.close'>).methodId, 40)
      break
    }
  }
  c.t.ok(seen.length <= 2, 'at most the first is confirmed')
  client.send(1, 'channel.close-ok')
  const { messages } = await client.call(2, 'queue.declare', { queue, passive: true })
  c.t.equal(messages, 1)
})

for (const [expiration, text] of [
  ['abc', "invalid expiration 'abc': no_integer"],
  ['', "invalid expiration '': no_integer"],
  ['1.5', `invalid expiration '1.5': {leftover_string,".5"}`],
  ['12 ', `invalid expiration '12 ': {leftover_string," "}`],
  ['-1', "invalid expiration '-1': {value_negative,-1}"],
  ['99999999999999', "invalid expiration '99999999999999': {value_too_large,99999999999999}"],
  ['315360000001', "invalid expiration '315360000001': {value_too_large,315360000001}"],
] as const)
  probe(`2.14 expiration "${expiration}" is 406`, async c => {
    const client = await c.channel()
    client.publish(1, { key: 'nobody', properties: { expiration } })
    await c.outcome(client, `channel 406 60,40 PRECONDITION_FAILED - ${text}`)
  })

probe('2.14 expirations that are accepted', async c => {
  const client = await c.channel()
  for (const expiration of ['0', '1', '315360000000', '+5', '007'])
    client.publish(1, { key: 'nobody', properties: { expiration } })
  c.t.strictSame(await client.fence(1), [])
})

probe('2.14 of several mistakes the first in order counts', async c => {
  const internal = c.name('x')
  const [noInteger, badKeys] = [
    { expiration: 'abc' },
    { headers: [['CC', 'S', 'no array']] satisfies Table },
  ]
  const replyTo = 'amq.rabbitmq.reply-to'
  for (const [exchange, properties, expected] of [
    ['nox', noInteger, "404 60,40 NOT_FOUND - no exchange 'nox' in vhost '/'"],
    [
      internal,
      noInteger,
      `403 60,40 ACCESS_REFUSED - cannot publish to internal exchange '${internal}' in vhost '/'`,
    ],
    [
      '',
      { ...noInteger, replyTo },
      '406 60,40 PRECONDITION_FAILED - fast reply consumer does not exist',
    ],
    [
      '',
      { ...noInteger, ...badKeys },
      "406 60,40 PRECONDITION_FAILED - invalid expiration 'abc': no_integer",
    ],
    [
      '',
      { ...badKeys, replyTo },
      '406 60,40 PRECONDITION_FAILED - fast reply consumer does not exist',
    ],
  ] as [string, Properties, string][]) {
    const client = await c.channel()
    if (exchange === internal)
      await client.call(1, 'exchange.declare', { exchange, type: 'direct', internal: true })
    client.publish(1, { exchange, key: 'k', properties })
    await c.outcome(client, `channel ${expected}`)
  }
})

probe('2.14 a foreign user-id is 406, the own one is passed on', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  client.publish(1, { key: queue, properties: { userId: 'guest' } })
  c.t.equal((await get(client, queue)).properties.userId, 'guest')
  client.publish(1, { key: queue, properties: { userId: 'bob' } })
  await c.outcome(
    client,
    "channel 406 60,40 PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'guest'",
  )
})

for (const [name, letter, value, text] of [
  ['CC', 'S', 'x', '{unacceptable_type_in_header,"CC",longstr}'],
  ['BCC', 'S', 'x', '{unacceptable_type_in_header,"BCC",longstr}'],
  ['CC', 'I', 1, '{unacceptable_type_in_header,"CC",signedint}'],
  ['CC', 'F', [], '{unacceptable_type_in_header,"CC",table}'],
] as const)
  probe(`2.14 a ${name} header of type ${letter} is 406`, async c => {
    const client = await c.channel()
    client.publish(1, { key: 'nobody', properties: { headers: [[name, letter, value]] } })
    await c.outcome(client, `channel 406 60,40 PRECONDITION_FAILED - invalid message: ${text}`)
  })

probe('2.14 CC and BCC are further routing keys, and BCC is not shown', async c => {
  const client = await c.channel()
  const [one, two, three] = [await c.queue(client), await c.queue(client), await c.queue(client)]
  const headers: Table = [
    ['z', 'I', 1],
    [
      'CC',
      'A',
      [
        ['S', two],
        ['S', one],
      ],
    ],
    ['BCC', 'A', [['S', three]]],
  ]
  client.publish(1, { key: one, properties: { headers } })
  for (const queue of [one, two, three]) {
    const got = await get(client, queue, true)
    c.t.equal(got.fields.routingKey, one, 'the key it was published with')
    c.t.strictSame([...(got.properties.headers ?? [])].map(([key]) => key).sort(), ['CC', 'z'])
    c.t.equal(got.fields.messages, 0, 'one copy each')
  }
})

probe('2.14 CC with 300 keys', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  const keys = Array.from({ length: 300 }, (_, i) => ['S', i === 299 ? queue : `no.${i}`])
  client.publish(1, { key: 'nobody', properties: { headers: [['CC', 'A', keys]] } })
  await get(client, queue)
})

probe('2.14 properties are passed on byte for byte', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  const deep = Array.from({ length: 100 }).reduce<Table>(inner => [['d', 'F', inner]], [])
  const all: Properties = {
    contentType: 'text/plain',
    contentEncoding: '',
    headers: [
      ['b', 'I', 1],
      ['a', 'S', 'x'],
      ['b', 'I', 2],
      ['deep', 'F', deep],
    ],
    deliveryMode: 2,
    priority: 255,
    correlationId: 'c'.repeat(255),
    replyTo: 'r',
    expiration: '60000',
    messageId: 'm',
    timestamp: 0xffff_ffff_ffff_ffffn,
    type: 't',
    userId: 'guest',
    appId: 'a',
    clusterId: 'cl',
  }
  const raws: Buffer[] = [
    all,
    {},
    { headers: [] },
    { deliveryMode: 1, priority: 0 },
    { timestamp: 2n ** 53n + 1n },
  ].map(properties => encodeHeader({ size: 0, properties }).subarray(12))
  for (const raw of raws) {
    client.send(1, 'basic.publish', { routingKey: queue })
    client.header(1, 0, raw)
    c.t.equal((await get(client, queue)).header.raw.toString('hex'), raw.toString('hex'))
  }
})

probe('2.14 a delivery mode that is neither 1 nor 2', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  client.publish(1, { key: queue, properties: { deliveryMode: 3 } })
  client.send(1, 'basic.get', { queue })
  await c.outcome(client, c.decided())
})

probe('2.14 with BCC removed every other header is still there', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  const headers: Table = [
    ['zz', 'I', 1],
    ['BCC', 'A', [['S', queue]]],
    ['aa', 'T', 2n],
    ['CC', 'A', []],
  ]
  client.publish(1, { key: 'nobody', properties: { headers } })
  const left = (await get(client, queue)).properties.headers ?? []
  c.t.strictSame(
    [...left].sort(([a], [b]) => (a < b ? -1 : 1)),
    [
      ['CC', 'A', []],
      ['aa', 'T', 2n],
      ['zz', 'I', 1],
    ],
  )
})

probe('2.14 headers to which the broker adds come out sorted', async c => {
  const client = await c.channel()
  const dead = await c.queue(client)
  const queue = await c.queue(client, {
    arguments: table({ 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead }),
  })
  const headers: Table = [
    ['zz', 'I', 1],
    ['aa', 'I', 2],
    ['mm', 'I', 3],
  ]
  client.publish(1, { key: queue, properties: { headers } })
  const { fields } = await get(client, queue)
  client.send(1, 'basic.reject', { deliveryTag: fields.deliveryTag })
  await client.call(1, 'basic.consume', { queue: dead, noAck: true })
  const got = (await client.content(1, 'basic.deliver')).properties.headers ?? []
  c.t.strictSame(
    got.map(([key]) => key).filter(key => !key.startsWith('x-last-death')),
    [
      'aa',
      'mm',
      'x-death',
      'x-first-death-exchange',
      'x-first-death-queue',
      'x-first-death-reason',
      'zz',
    ],
  )
})

// -------------------------------------------------------------------------------------------------- return

probe('2.15 mandatory and unroutable is returned with 312', async c => {
  const client = await c.channel()
  const properties = { messageId: 'm', headers: table({ a: 1 }) }
  client.publish(1, { key: 'nobody', body: 'back', properties, mandatory: true })
  const back = await client.content(1, 'basic.return')
  c.t.strictSame(back.fields, {
    replyCode: 312,
    replyText: 'NO_ROUTE',
    exchange: '',
    routingKey: 'nobody',
  })
  c.t.equal(back.body.toString(), 'back')
  c.t.strictSame(back.properties, properties)
  client.publish(1, { exchange: 'amq.topic', key: 'no.body', mandatory: true })
  const empty = await client.content(1, 'basic.return')
  c.t.equal(empty.fields.exchange, 'amq.topic')
  c.t.equal(empty.header.size, 0n)
})

probe('2.15 what is routed, or not mandatory, is not returned', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  client.publish(1, { key: queue, mandatory: true })
  client.publish(1, { key: 'nobody' })
  c.t.strictSame(await client.fence(1), [])
})

probe('2.15 a returned message has lost its BCC', async c => {
  const client = await c.channel()
  const headers: Table = [
    ['BCC', 'A', [['S', 'nobody either']]],
    ['a', 'I', 1],
  ]
  client.publish(1, { key: 'nobody', properties: { headers }, mandatory: true })
  c.t.strictSame((await client.content(1, 'basic.return')).properties.headers, [['a', 'I', 1]])
})

for (const [what, alive] of [
  ['that is delivered', true],
  ['to a requester who is gone', false],
] as const)
  probe(`2.15 a mandatory direct reply ${what}`, async c => {
    const [requester, server] = [await c.channel(), await c.channel()]
    const queue = await c.queue(server)
    const pseudo = 'amq.rabbitmq.reply-to'
    await requester.call(1, 'basic.consume', { queue: pseudo, noAck: true, consumerTag: 'reply' })
    requester.publish(1, { key: queue, properties: { replyTo: pseudo } })
    await requester.fence(1)
    const { replyTo } = (await get(server, queue)).properties
    if (!alive) await requester.close()
    server.publish(1, { key: replyTo ?? '', body: 'reply', mandatory: true })
    if (alive) {
      const { fields, body } = await requester.content(1, 'basic.deliver')
      c.t.equal(body.toString(), 'reply')
      c.t.equal(fields.consumerTag, 'reply')
    }
    const names = (await server.fence(1)).flatMap(f => f.name ?? [])
    c.t.equal(names.join(' '), c.decided())
  })

// ----------------------------------------------------------------------------------------- deliver and get

probe('2.16 delivery tags count every delivery of the channel', async c => {
  const client = await c.channel()
  await client.channel(2)
  const queue = await c.queue(client)
  fill(client, queue, 6)
  c.t.equal((await get(client, queue, true)).fields.deliveryTag, 1n, 'get, no-ack')
  c.t.equal((await get(client, queue)).fields.deliveryTag, 2n, 'get')
  await client.call(1, 'basic.qos', { prefetchCount: 1 })
  await client.call(1, 'basic.consume', { queue, consumerTag: 'a' })
  c.t.equal((await client.content(1, 'basic.deliver')).fields.deliveryTag, 3n, 'consumer')
  await client.call(1, 'basic.consume', { queue, consumerTag: 'n', noAck: true })
  for (const tag of [4n, 5n, 6n])
    c.t.equal((await client.content(1, 'basic.deliver')).fields.deliveryTag, tag, 'no-ack')
  client.publish(1, { key: queue })
  c.t.equal((await client.content(1, 'basic.deliver')).fields.deliveryTag, 7n)
})

probe('2.16 get-ok counts what is left; get-empty has one reserved octet', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  fill(client, queue, 3)
  for (const left of [2, 1, 0]) {
    const { fields } = await get(client, queue)
    c.t.equal(fields.messages, left)
    c.t.equal(fields.exchange, '')
    c.t.equal(fields.routingKey, queue)
    c.t.equal(fields.redelivered, false)
  }
  client.send(1, 'basic.get', { queue })
  c.t.equal((await client.next())?.payload.toString('hex'), '003c004800')
})

probe('2.16 getting from a queue that is not there is 404', async c => {
  const client = await c.channel()
  const queue = c.name()
  client.send(1, 'basic.get', { queue })
  await c.outcome(client, `channel 404 60,70 NOT_FOUND - no queue '${queue}' in vhost '/'`)
})

probe('2.16 a stream has no basic.get', async c => {
  const client = await c.channel()
  const queue = c.name()
  const args = table({ 'x-queue-type': 'stream' })
  client.send(1, 'queue.declare', { queue, durable: true, arguments: args })
  if (!c.real) return c.outcome(client, c.decided())
  await client.expect(1, 'queue.declare-ok')
  client.send(1, 'basic.get', { queue })
  await c.outcome(client, c.decided())
})

probe('2.16 redelivered is set when the message had been out', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  fill(client, queue, 2)
  const first = await get(client, queue)
  client.send(1, 'basic.reject', { deliveryTag: first.fields.deliveryTag, requeue: true })
  const again = await get(client, queue)
  c.t.equal(again.body.toString(), '1')
  c.t.equal(again.fields.redelivered, true)
  c.t.equal((await get(client, queue)).fields.redelivered, false, 'the second was never out')
})

// -------------------------------------------------------------------------------------------------- settle

probe('2.17 tag 0 with multiple is all there is, even nothing', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  client.send(1, 'basic.ack', { deliveryTag: 0, multiple: true })
  client.send(1, 'basic.nack', { deliveryTag: 0, multiple: true, requeue: true })
  c.t.strictSame(await client.fence(1), [])
  fill(client, queue, 3)
  for (let i = 0; i < 3; i++) await get(client, queue)
  client.send(1, 'basic.ack', { deliveryTag: 0, multiple: true })
  await client.fence(1)
  await client.call(1, 'basic.recover', { requeue: true })
  c.t.equal((await client.call(1, 'queue.purge', { queue })).messages, 0)
})

for (const [name, ids] of [
  ['basic.ack', '60,80'],
  ['basic.nack', '60,120'],
  ['basic.reject', '60,90'],
] as const)
  for (const [what, deliveryTag, printed] of [
    ['0', 0n, '0'],
    ['never issued', 1n, '1'],
    ['2^53 + 1', 2n ** 53n + 1n, '9007199254740993'],
    ['2^64 - 1', 2n ** 64n - 1n, '18446744073709551615'],
  ] as const)
    probe(`2.17 ${name} of tag ${what} is 406`, async c => {
      const client = await c.channel()
      client.send(1, name, { deliveryTag })
      await c.outcome(
        client,
        `channel 406 ${ids} PRECONDITION_FAILED - unknown delivery tag ${printed}`,
      )
    })

for (const [what, settle] of [
  ['acked before', { noAck: false, ack: true, channel: 1 }],
  ['delivered with no-ack', { noAck: true, ack: false, channel: 1 }],
  ['of another channel', { noAck: false, ack: false, channel: 2 }],
] as const)
  probe(`2.17 a tag ${what} is 406`, async c => {
    const client = await c.channel()
    await client.channel(2)
    const queue = await c.queue(client)
    fill(client, queue, 1)
    await get(client, queue, settle.noAck)
    if (settle.ack) client.send(1, 'basic.ack', { deliveryTag: 1 })
    client.send(settle.channel, 'basic.ack', { deliveryTag: 1 })
    await c.outcome(client, 'channel 406 60,80 PRECONDITION_FAILED - unknown delivery tag 1')
  })

probe('2.17 multiple with a tag that is not outstanding', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  fill(client, queue, 3)
  for (let i = 0; i < 3; i++) await get(client, queue)
  client.send(1, 'basic.ack', { deliveryTag: 2 })
  client.send(1, 'basic.ack', { deliveryTag: 2, multiple: true })
  await c.outcome(client, 'channel 406 60,80 PRECONDITION_FAILED - unknown delivery tag 2')
})

probe('2.17 multiple above the last tag', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  fill(client, queue, 1)
  await get(client, queue)
  client.send(1, 'basic.ack', { deliveryTag: 2, multiple: true })
  await c.outcome(client, 'channel 406 60,80 PRECONDITION_FAILED - unknown delivery tag 2')
})

probe('2.17 requeued messages go back to their places', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  fill(client, queue, 4)
  for (let i = 0; i < 3; i++) await get(client, queue)
  client.send(1, 'basic.ack', { deliveryTag: 3 })
  client.send(1, 'basic.nack', { deliveryTag: 2, requeue: true })
  client.send(1, 'basic.nack', { deliveryTag: 1, requeue: true })
  const seen: string[] = []
  for (let i = 0; i < 3; i++) {
    const { body, fields } = await get(client, queue)
    seen.push(`${body}${fields.redelivered ? ' again' : ''}`)
  }
  c.t.strictSame(seen, ['1 again', '2 again', '4'])
})

probe('2.17 requeue=0 drops, multiple reaches down', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  fill(client, queue, 5)
  for (let i = 0; i < 5; i++) await get(client, queue)
  client.send(1, 'basic.nack', { deliveryTag: 2, multiple: true, requeue: false })
  client.send(1, 'basic.reject', { deliveryTag: 3, requeue: false })
  client.send(1, 'basic.nack', { deliveryTag: 5, multiple: true, requeue: true })
  const fourth = await get(client, queue)
  c.t.equal(fourth.body.toString(), '4')
  c.t.equal(fourth.fields.deliveryTag, 6n)
  c.t.equal(fourth.fields.messages, 1)
  c.t.equal((await get(client, queue)).body.toString(), '5')
})

probe('2.17 a requeued message goes out again to who waits, even the same', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  await client.call(1, 'basic.consume', { queue })
  fill(client, queue, 1)
  for (let i = 1n; i <= 5n; i++) {
    const { fields } = await client.content(1, 'basic.deliver')
    c.t.equal(fields.deliveryTag, i)
    c.t.equal(fields.redelivered, i > 1n)
    client.send(1, 'basic.nack', { deliveryTag: i, requeue: true })
  }
})

// ------------------------------------------------------------------------------------------------- recover

probe('2.18 recover requeues everything unacked, then answers', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  fill(client, queue, 3)
  for (let i = 0; i < 3; i++) await get(client, queue)
  await client.call(1, 'basic.recover', { requeue: true })
  for (const body of ['1', '2', '3']) {
    const again = await get(client, queue)
    c.t.equal(again.body.toString(), body)
    c.t.equal(again.fields.redelivered, true)
  }
  client.send(1, 'basic.recover-async', { requeue: true })
  c.t.strictSame(await client.fence(1), [], 'recover-async is not answered')
  c.t.equal((await client.call(1, 'queue.purge', { queue })).messages, 3)
  client.send(1, 'basic.ack', { deliveryTag: 4 })
  await c.outcome(client, 'channel 406 60,80 PRECONDITION_FAILED - unknown delivery tag 4')
})

for (const [name, ids] of [
  ['basic.recover', '60,110'],
  ['basic.recover-async', '60,100'],
] as const)
  probe(`2.18 ${name} without requeue is 540`, async c => {
    const client = await c.channel()
    client.send(1, name, { requeue: false })
    await c.outcome(client, `connection 540 ${ids} NOT_IMPLEMENTED - requeue=false`)
  })

// ---------------------------------------------------------------------------------------------------- flow

probe('2.19 channel.flow active is answered in kind', async c => {
  const client = await c.channel()
  c.t.equal((await client.call(1, 'channel.flow', { active: true })).active, true)
})

probe('2.19 channel.flow inactive is 540', async c => {
  const client = await c.channel()
  client.send(1, 'channel.flow', { active: false })
  await c.outcome(client, 'connection 540 20,20 NOT_IMPLEMENTED - active=false')
})

// ------------------------------------------------------------------------------------------------- several

for (const [what, args] of [
  ['x-message-ttl 0', { 'x-message-ttl': 0 }],
  ['x-max-length 0', { 'x-max-length': 0 }],
  ['x-max-length-bytes 0', { 'x-max-length-bytes': 0 }],
] as const)
  probe(`4 a queue with ${what} does not take a message from the queues beside it`, async c => {
    const client = await c.channel()
    const exchange = c.name('x')
    await client.call(1, 'exchange.declare', { exchange, type: 'fanout', autoDelete: true })
    // Whatever the order in which the queues are served, one that drops comes before one that keeps.
    const drops = [await c.queue(client, { arguments: table(args) })]
    const keeps = [await c.queue(client), await c.queue(client)]
    drops.push(await c.queue(client, { arguments: table(args) }))
    for (const queue of [...drops, ...keeps])
      await client.call(1, 'queue.bind', { queue, exchange })
    for (let i = 1; i <= 20; i++) client.publish(1, { exchange, key: 'k', body: `message ${i}` })
    for (const queue of keeps)
      for (let i = 1; i <= 20; i++)
        c.t.equal((await get(client, queue)).body.toString(), `message ${i}`)
    client.send(1, 'basic.ack', { multiple: true })
    await client.fence(1)
    const own = await c.queue(client)
    for (let i = 1; i <= 20; i++) client.publish(1, { key: own, body: `other ${i}` })
    for (let i = 1; i <= 20; i++) c.t.equal((await get(client, own)).body.toString(), `other ${i}`)
  })
