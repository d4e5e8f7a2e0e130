import t from 'tap'
import { openBroker } from './support/broker.js'
import { prober } from './support/probe.js'
import { RawClient } from './support/raw-client.js'
import {
  BODY,
  contentFrames,
  encodeHeader,
  encodeMethod,
  frame,
  HEADER,
  HEARTBEAT,
  METHOD,
  methodFrame,
  table,
} from './support/raw-codec.js'

// Section 1.1: frame layout and limits.

const broker = await openBroker(t)
const probe = prober(t, broker)

/** basic.publish to the default exchange, without its content. */
const publish = (key: string) =>
  frame(METHOD, 1, encodeMethod('basic.publish', { routingKey: key }))

probe('1.1 a payload of exactly frame_max bytes is accepted', async c => {
  const client = await c.channel({ frameMax: 4096 })
  const queue = await c.queue(client)
  client.write(publish(queue))
  client.header(1, 4096)
  client.body(1, Buffer.alloc(4096, 'x'))
  client.send(1, 'basic.get', { queue, noAck: true })
  const { body, sizes } = await client.content(1, 'basic.get-ok')
  c.t.equal(body.length, 4096)
  c.t.strictSame(sizes, [4088, 8])
})

probe('1.1 a payload of frame_max + 1 bytes is 501', async c => {
  const client = await c.channel({ frameMax: 4096 })
  client.write(publish('nobody'))
  client.header(1, 4097)
  client.body(1, Buffer.alloc(4097, 'x'))
  await c.outcome(
    client,
    'connection 501 0,0 FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,4097,4088}',
  )
})

probe('1.1 an oversize method frame is 501', async c => {
  const client = await c.channel({ frameMax: 4096 })
  client.frame(METHOD, 1, Buffer.alloc(5000))
  await c.outcome(
    client,
    'connection 501 0,0 FRAME_ERROR - type 1, all octets = <<>>: {frame_too_large,5000,4088}',
  )
})

probe('1.1 a body leaves in pieces of frame_max - 8', async c => {
  const client = await c.channel({ frameMax: 4096 })
  const queue = await c.queue(client)
  const body = Buffer.from(Array.from({ length: 10_000 }, (_, i) => i % 251))
  const publisher = await c.channel()
  for (const sizes of [[10_000], [1, 4095, 4096, 1808], [100, 0, 9900]]) {
    publisher.write(publish(queue))
    publisher.header(1, 10_000)
    let at = 0
    for (const size of sizes) {
      publisher.body(1, body.subarray(at, at + size))
      at += size
    }
    await publisher.fence(1)
    client.send(1, 'basic.get', { queue, noAck: true })
    const got = await client.content(1, 'basic.get-ok')
    c.t.strictSame(got.sizes, [4088, 4088, 1824], 'whatever the pieces it came in')
    c.t.ok(got.body.equals(body), 'byte for byte')
  }
  client.send(1, 'basic.consume', { queue, noAck: true })
  await client.expect(1, 'basic.consume-ok')
  publisher.publish(1, { key: queue, body: body.subarray(0, 8176) })
  c.t.strictSame((await client.content(1, 'basic.deliver')).sizes, [4088, 4088])
})

probe('1.1 a start-ok of 6000 bytes', async c => {
  const client = await c.connect()
  await client.start()
  client.startOk({ clientProperties: [['padding', 'S', 'x'.repeat(6000)]] })
  await c.outcome(client, c.decided())
})

probe('1.1 a header frame that the broker makes too large leaves in one piece', async c => {
  const client = await c.channel({ frameMax: 4096 })
  const [source, target] = [c.name(), c.name()]
  await client.call(1, 'queue.declare', { queue: target, exclusive: true })
  await client.call(1, 'queue.declare', {
    queue: source,
    exclusive: true,
    arguments: table({ 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': target }),
  })
  client.publish(1, {
    key: source,
    body: 'x',
    properties: { headers: table({ padding: 'p'.repeat(4040) }) },
  })
  client.send(1, 'basic.get', { queue: source })
  const { fields } = await client.content(1, 'basic.get-ok')
  client.send(1, 'basic.reject', { deliveryTag: fields.deliveryTag })
  await client.call(1, 'basic.consume', { queue: target, noAck: true })
  const dead = await client.content(1, 'basic.deliver')
  c.t.ok(dead.header.raw.length > 4096, 'larger than frame_max')
  c.t.ok(dead.properties.headers?.some(([key, letter]) => key === 'x-death' && letter === 'A'))
  c.t.strictSame(dead.body.toString(), 'x')
})

probe('1.1 an empty body has no body frame, in or out', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  client.publish(1, { key: queue, properties: { messageId: 'empty' } })
  client.send(1, 'basic.get', { queue, noAck: true })
  const got = await client.content(1, 'basic.get-ok')
  c.t.equal(got.header.size, 0n)
  c.t.equal(got.properties.messageId, 'empty')
  c.t.strictSame(await client.fence(1), [], 'nothing between the header and the next answer')
})

probe('1.1 a zero-length body frame after an empty body is 505', async c => {
  const client = await c.channel()
  client.publish(1, { key: 'nobody' })
  client.body(1, '')
  await c.outcome(
    client,
    'connection 505 0,0 UNEXPECTED_FRAME - expected method frame, got non method frame instead',
  )
})

probe('1.1 a body may come in any fragments, empty ones among them', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  client.write(publish(queue))
  client.header(1, 6)
  for (const fragment of ['', 'a', '', '', 'bcd', 'e', '', 'f']) client.body(1, fragment)
  client.send(1, 'basic.get', { queue, noAck: true })
  const got = await client.content(1, 'basic.get-ok')
  c.t.equal(got.body.toString(), 'abcdef')
  c.t.strictSame(got.sizes, [6])
})

probe('1.1 bytes may come in any pieces', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  const message = Buffer.concat([publish(queue), contentFrames(1, Buffer.from('whole'))])
  await client.writeSplit(message, Array(message.length).fill(1))
  client.send(1, 'basic.get', { queue, noAck: true })
  c.t.equal((await client.content(1, 'basic.get-ok')).body.toString(), 'whole')
})

probe('1.1 a fragment beyond the announced size is 501', async c => {
  const client = await c.channel()
  client.write(publish('nobody'))
  client.header(1, 3)
  client.body(1, 'abcd')
  await c.outcome(client, c.decided(), c.real ? 500 : undefined)
})

probe('1.1 an announced body above 512 MiB is 501', async c => {
  const client = await c.channel()
  client.write(publish('nobody'))
  client.header(1, 536_870_913)
  await c.outcome(client, c.decided(), c.real ? 500 : undefined)
})

probe('1.1 an announced body of 2^63 bytes', async c => {
  const client = await c.channel()
  client.write(publish('nobody'))
  client.header(1, 2n ** 63n)
  await c.outcome(client, c.decided(), c.real ? 500 : undefined)
})

probe('1.1 a bad end octet is 501', async c => {
  const client = await c.channel()
  const bad = methodFrame(1, 'channel.open')
  bad[bad.length - 1] = 0
  client.write(bad)
  await c.outcome(
    client,
    'connection 501 0,0 FRAME_ERROR - type 1, all octets = <<0,20,0,10,0>>: {invalid_frame_end_marker,0}',
  )
})

probe('1.1 a bad end octet after a long payload shows the first 16 octets', async c => {
  const client = await c.channel()
  const bad = frame(METHOD, 1, Buffer.from(Array.from({ length: 40 }, (_, i) => i)))
  bad[bad.length - 1] = 1
  client.write(bad)
  // RabbitMQ breaks a long text over two lines.
  c.t.equal(
    (await client.outcome()).replace(/\n */, ''),
    'connection 501 0,0 FRAME_ERROR - type 1, first 16 octets = <<0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15>>: {invalid_frame_end_marker,1}',
  )
})

probe('1.1 an unknown frame type is 501', async c => {
  const client = await c.channel()
  client.frame(7, 1, 'abc')
  await c.outcome(
    client,
    'connection 501 0,0 FRAME_ERROR - type 7, all octets = <<"abc">>: unknown_frame',
  )
})

probe('1.1 octets are printed as Erlang prints them', async c => {
  for (const [payload, printed] of [
    [Buffer.from([1, 2, 255]), 'all octets = <<1,2,255>>'],
    [Buffer.from('say "hi"\n'), 'all octets = <<"say \\"hi\\"\\n">>'],
    [Buffer.from([8, 9, 11, 12, 13, 27]), 'all octets = <<"\\b\\t\\v\\f\\r\\e">>'],
    [Buffer.from('a\\~'), 'all octets = <<"a\\\\~">>'],
    [Buffer.from('a\x7f'), 'all octets = <<97,127>>'],
    [Buffer.from('sixteen letters!'), 'all octets = <<"sixteen letters!">>'],
    [Buffer.from('seventeen letters'), 'first 16 octets = <<"seventeen letter">>'],
  ] as const) {
    const client = await c.channel()
    client.frame(5, 1, payload)
    await c.outcome(client, `connection 501 0,0 FRAME_ERROR - type 5, ${printed}: unknown_frame`)
  }
})

probe('1.1 a heartbeat on a channel other than 0 is 505', async c => {
  const client = await c.channel()
  client.frame(HEARTBEAT, 1)
  await c.outcome(client, 'connection 505 0,0 UNEXPECTED_FRAME - type 8, all octets = <<>>')
})

probe('1.1 a heartbeat with a payload is 501', async c => {
  const client = await c.channel()
  client.frame(HEARTBEAT, 0, 'beat')
  await c.outcome(
    client,
    'connection 501 0,0 FRAME_ERROR - type 8, all octets = <<"beat">>: unknown_frame',
  )
})

probe('1.1 a content header on channel 0 is 505', async c => {
  const client = await c.channel()
  client.frame(HEADER, 0, encodeHeader({ size: 0 }))
  await c.outcome(
    client,
    'connection 505 0,0 UNEXPECTED_FRAME - type 2, all octets = <<0,60,0,0,0,0,0,0,0,0,0,0,0,0>>',
  )
})

probe('1.1 a body on channel 0 is 505', async c => {
  const client = await c.channel()
  client.frame(BODY, 0, 'body')
  await c.outcome(client, 'connection 505 0,0 UNEXPECTED_FRAME - type 3, all octets = <<"body">>')
})

probe('1.1 a header or a body when a method is due is 505', async c => {
  for (const [type, payload] of [
    [HEADER, encodeHeader({ size: 0 })],
    [BODY, Buffer.from('x')],
  ] as const) {
    const client = await c.channel()
    client.frame(type, 1, payload)
    await c.outcome(
      client,
      'connection 505 0,0 UNEXPECTED_FRAME - expected method frame, got non method frame instead',
    )
  }
})

probe('1.1 anything but a header after basic.publish is 505', async c => {
  for (const next of [
    frame(BODY, 1, Buffer.from('x')),
    methodFrame(1, 'basic.qos'),
    frame(HEADER, 1, encodeHeader({ size: 0, weight: 1 })),
  ]) {
    const client = await c.channel()
    client.write(publish('nobody'))
    client.write(next)
    await c.outcome(
      client,
      'connection 505 60,40 UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead',
    )
  }
})

probe('1.1 a header of another class is 505', async c => {
  const client = await c.channel()
  client.write(publish('nobody'))
  client.frame(HEADER, 1, encodeHeader({ size: 0, classId: 50 }))
  await c.outcome(
    client,
    'connection 505 60,40 UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead',
  )
})

probe('1.1 anything but a body when a body is due is 505', async c => {
  for (const next of [methodFrame(1, 'basic.qos'), frame(HEADER, 1, encodeHeader({ size: 0 }))]) {
    const client = await c.channel()
    client.write(publish('nobody'))
    client.header(1, 5)
    client.body(1, 'abc')
    client.write(next)
    await c.outcome(
      client,
      'connection 505 60,40 UNEXPECTED_FRAME - expected content body, got non content body frame instead',
    )
  }
})

probe('1.1 contents of different channels may be interleaved', async c => {
  const client = await c.channel()
  await client.channel(2)
  const queue = await c.queue(client)
  const parts = (channel: number, letter: string) => [
    methodFrame(channel, 'basic.publish', { routingKey: queue }),
    frame(HEADER, channel, encodeHeader({ size: 4 })),
    frame(BODY, channel, Buffer.from(letter.repeat(2))),
    frame(BODY, channel, Buffer.from(letter.repeat(2))),
  ]
  const [one, two] = [parts(1, 'a'), parts(2, 'b')]
  for (let i = 0; i < one.length; i++) client.write(Buffer.concat([one[i]!, two[i]!]))
  await client.fence(2)
  await client.fence(1)
  const bodies: string[] = []
  for (let i = 0; i < 2; i++) {
    client.send(1, 'basic.get', { queue, noAck: true })
    bodies.push((await client.content(1, 'basic.get-ok')).body.toString())
  }
  c.t.strictSame(bodies.sort(), ['aaaa', 'bbbb'])
})

probe('1.1 a heartbeat or another channel may come amid a content', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  client.write(publish(queue))
  client.frame(HEARTBEAT, 0)
  client.header(1, 2)
  client.frame(HEARTBEAT, 0)
  await client.channel(2)
  client.body(1, 'ok')
  client.send(1, 'basic.get', { queue, noAck: true })
  c.t.equal((await client.content(1, 'basic.get-ok')).body.toString(), 'ok')
})

probe('1.1 a method whose fields are cut off is 501', async c => {
  const client = await c.channel()
  client.frame(METHOD, 1, Buffer.from([0, 50, 0, 10, 0, 0]))
  await c.outcome(client, 'connection 501 50,10 FRAME_ERROR - cannot decode <<0,0>>')
})

probe('1.1 bytes after the last field are 501', async c => {
  const client = await c.channel()
  client.frame(METHOD, 1, Buffer.concat([encodeMethod('basic.qos', {}), Buffer.from([0])]))
  await c.outcome(client, 'connection 501 60,10 FRAME_ERROR - cannot decode <<0,0,0,0,0,0,0,0>>')
})

probe('1.1 a shortstr of a method that is not UTF-8 is 501', async c => {
  const client = await c.channel()
  client.send(1, 'queue.declare', { queue: Buffer.from([0x66, 0xff, 0xfe]) })
  await c.outcome(client, 'connection 501 0,0 FRAME_ERROR - Malformed UTF-8 in shortstr')
})

probe('1.1 properties and table contents are opaque bytes', async c => {
  const client = await c.channel()
  const raw = Buffer.from([0xff, 0x00, 0xfe, 0x80])
  const queue = await c.queue(client, { arguments: [['x-odd', 'S', raw]] })
  const properties = { contentType: raw, headers: [['h', 'S', raw] as const] }
  client.publish(1, { key: queue, properties })
  client.send(1, 'basic.get', { queue, noAck: true })
  const { header } = await client.content(1, 'basic.get-ok')
  c.t.equal(
    header.raw.toString('hex'),
    encodeHeader({ size: 0, properties }).subarray(12).toString('hex'),
  )
})

for (const [what, id] of [
  ['class', [0, 99, 0, 10]],
  ['method', [0, 50, 0, 99]],
] as const)
  probe(`1.1 an unknown ${what} id`, async c => {
    const client = await c.channel()
    client.frame(METHOD, 1, Buffer.from(id))
    await c.outcome(client, c.decided())
  })

probe('1.1 a method that only the broker sends is 503', async c => {
  const payloads = [
    encodeMethod('queue.declare-ok', { queue: 'q' }),
    encodeMethod('basic.get-empty', {}),
    encodeMethod('channel.open-ok', {}),
    encodeMethod('confirm.select-ok', {}),
  ]
  for (const payload of payloads) {
    const client = await c.channel()
    client.frame(METHOD, 1, payload)
    const ids = `${payload.readUInt16BE(0)},${payload.readUInt16BE(2)}`
    await c.outcome(client, `connection 503 ${ids} COMMAND_INVALID - unimplemented method`)
  }
})

probe('1.1 basic.deliver from a client is 503', async c => {
  const client = await c.channel()
  client.send(1, 'basic.deliver', { consumerTag: 'x', deliveryTag: 1 })
  client.header(1, 0)
  await c.outcome(client, 'connection 503 60,60 COMMAND_INVALID - unimplemented method')
})

probe('1.1 a connection method in the wrong state is 504', async c => {
  for (const name of ['connection.start-ok', 'connection.tune-ok', 'connection.open'] as const) {
    const client = await c.channel()
    client.send(0, name)
    const payload = encodeMethod(name, {})
    const ids = `${payload.readUInt16BE(0)},${payload.readUInt16BE(2)}`
    await c.outcome(
      client,
      `connection 504 ${ids} CHANNEL_ERROR - unexpected method in connection state running`,
    )
  }
})

probe('1.1 a channel, queue or basic method on channel 0 is 504', async c => {
  for (const [name, ids] of [
    ['channel.open', '20,10'],
    ['queue.declare', '50,10'],
    ['basic.qos', '60,10'],
    ['tx.select', '90,10'],
  ] as const) {
    const client = await c.channel()
    client.send(0, name)
    await c.outcome(
      client,
      `connection 504 ${ids} CHANNEL_ERROR - unexpected method in connection state running`,
    )
  }
})

probe('1.1 a connection method on an open channel is 503', async c => {
  const client = await c.channel()
  client.send(1, 'connection.close', { replyCode: 200 })
  await c.outcome(client, 'connection 503 10,50 COMMAND_INVALID - unimplemented method')
})

probe('1.1 a connection method on a channel not open is 504', async c => {
  const client = await c.open()
  client.send(1, 'connection.close', { replyCode: 200 })
  await c.outcome(client, "connection 504 10,50 CHANNEL_ERROR - expected 'channel.open'")
})

probe.slow('1.1 a channel other than 0 before open-ok', async c => {
  for (const prepare of ['start', 'tuned'] as const) {
    const client = await c.connect()
    await client.start()
    if (prepare === 'tuned') {
      client.startOk()
      await client.expect(0, 'connection.tune')
      client.send(0, 'connection.tune-ok', { channelMax: 10, frameMax: 4096 })
    }
    client.send(1, 'channel.open')
    await c.outcome(
      client,
      prepare === 'start'
        ? 'dropped'
        : 'connection 505 0,0 UNEXPECTED_FRAME - type 1, all octets = <<0,20,0,10,0>>',
    )
  }
})

probe('1.1 a reply text above 255 bytes ends in three dots', async c => {
  const owner = await c.channel()
  const queue = c.name().padEnd(255, 'n')
  await owner.call(1, 'queue.declare', { queue, exclusive: true })
  const client = await c.channel()
  client.send(1, 'queue.declare', { queue, passive: true })
  const { replyCode, replyText } = await client.expect(1, 'channel.close')
  c.t.equal(replyCode, 405)
  const whole = `RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '${queue}' in vhost '/'.`
  c.t.equal(replyText, `${whole.slice(0, 252)}...`)
})

probe('1.1 a reply text is cut between characters', async c => {
  const client = await c.open()
  for (let shift = 1; shift <= 3; shift++) {
    await client.channel(1)
    const queue = `${c.name()}${'.'.repeat(shift)}${'€'.repeat(72)}`
    client.send(1, 'queue.declare', { queue, passive: true })
    const { replyCode, replyText } = await client.expect(1, 'channel.close')
    client.send(1, 'channel.close-ok')
    c.t.equal(replyCode, 404)
    c.t.ok(replyText.endsWith('...'))
    const whole = `NOT_FOUND - no queue '${queue}' in vhost '/'`
    // 3.10 cuts at the 252nd byte wherever that is.
    const kept = replyText.slice(0, -3).replace(c.real ? /\uFFFD+$/ : /$/, '')
    c.t.ok(whole.startsWith(kept) && Buffer.byteLength(kept) >= 249, 'no half character')
  }
})

probe('1.1 a frame too short for its type is an unknown frame', async c => {
  for (const [type, payload, printed] of [
    [METHOD, [], '<<>>'],
    [METHOD, [0, 50], '<<0,50>>'],
    [HEADER, [0, 60, 0, 0], '<<0,60,0,0>>'],
  ] as const) {
    const client = await c.channel()
    if (type === HEADER) client.write(publish('nobody'))
    client.frame(type, 1, Buffer.from(payload))
    await c.outcome(
      client,
      `connection 501 0,0 FRAME_ERROR - type ${type}, all octets = ${printed}: unknown_frame`,
    )
  }
})

probe('1.1 properties that end too early cost the connection', async c => {
  const client = await c.channel()
  client.write(publish('nobody'))
  client.header(1, 0, Buffer.from([0x80, 0, 5, 1]))
  await c.outcome(client, c.decided())
})

if (!broker.real)
  probe('1.1 a message above max_message_size is 406 and the connection lives', async c => {
    const small = await openBroker(c.t, { max_message_size: 1000 })
    const client = await RawClient.open(small)
    c.t.teardown(() => client.close())
    await client.channel(1)
    await client.channel(2)
    client.publish(1, { key: 'nobody', body: Buffer.alloc(1000) })
    await client.fence(1)
    client.publish(1, { key: 'nobody', body: Buffer.alloc(1001) })
    await c.outcome(
      client,
      'channel 406 60,40 PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000',
    )
    await client.fence(2)
    await client.channel(1)
  })

probe.slow('1.1 after a bad end octet the socket goes soon, answered or not', async c => {
  const client = await c.channel()
  const at = performance.now()
  const bad = methodFrame(1, 'channel.open')
  bad[bad.length - 1] = 0
  client.write(bad)
  await client.expect(0, 'connection.close')
  await client.ended
  const waited = performance.now() - at
  c.t.ok(waited < 6_000, `${Math.round(waited)} ms`)
})
