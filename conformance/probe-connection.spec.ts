import t from 'tap'
import { openBroker } from './support/broker.js'
import { prober } from './support/probe.js'
import { AMQP_091, everyCapability, RawClient } from './support/raw-client.js'
import {
  encodeEntries,
  encodeMethod,
  type Fields,
  type Frame,
  HEARTBEAT,
  METHOD,
  methodFrame,
  table,
} from './support/raw-codec.js'

// Sections 1.2 to 1.10: the life of a connection.

const broker = await openBroker(t)
const probe = prober(t, broker)

const header = (...octets: number[]) =>
  Buffer.concat([Buffer.from('AMQP', 'latin1'), Buffer.from(octets)])

const refusal = AMQP_091.toString('latin1')

// ------------------------------------------------------------------------------------------------- header

probe('1.2 AMQP 0 0 9 1 is answered with start 0-9', async c => {
  const client = await c.connect()
  const { versionMajor, versionMinor } = await client.start()
  c.t.strictSame([versionMajor, versionMinor], [0, 9])
})

probe('1.2 AMQP 1 1 0 9 is answered with start 0-9', async c => {
  const client = await c.connect()
  client.write(header(1, 1, 0, 9))
  const { versionMajor, versionMinor } = await client.expect(0, 'connection.start')
  c.t.strictSame([versionMajor, versionMinor], [0, 9])
})

for (const [title, octets] of [
  ['1.2 the header of AMQP 0-8 (1 1 8 0)', [1, 1, 8, 0]],
  ['1.2 the header of AMQP 0-8 (1 1 9 1)', [1, 1, 9, 1]],
] as const)
  probe(title, async c => {
    const client = await c.connect()
    client.write(header(...octets))
    const answer = await client.next()
    if (answer === undefined) {
      c.t.equal(client.stray.toString('latin1'), c.decided())
      return
    }
    const { versionMajor, versionMinor, serverProperties } =
      answer.fields as Fields<'connection.start'>
    const capabilities = serverProperties.find(([key]) => key === 'capabilities')?.[2]
    c.t.equal(
      `${answer.name} ${versionMajor}-${versionMinor} capabilities ${JSON.stringify(capabilities)}`,
      c.decided(),
    )
  })

for (const [what, bytes] of [
  ['AMQP 0 0 9 0', header(0, 0, 9, 0)],
  ['AMQP 0 0 9 2', header(0, 0, 9, 2)],
  ['AMQP 0 0 10 0', header(0, 0, 10, 0)],
  ['AMQP 0 1 0 0 (AMQP 1.0)', header(0, 1, 0, 0)],
  ['AMQP 3 1 0 0 (AMQP 1.0 with SASL)', header(3, 1, 0, 0)],
  ['AMQP 2 1 0 0 (AMQP 1.0 with TLS)', header(2, 1, 0, 0)],
  ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
  ['a TLS ClientHello', Buffer.from('1603010200010001fc0303', 'hex')],
  ['8 zero bytes', Buffer.alloc(8)],
] as const)
  probe(`1.2 ${what} is answered with AMQP 0 0 9 1 and the end`, async c => {
    const client = await c.connect()
    client.write(bytes)
    const { frames } = await client.collect()
    c.t.strictSame(frames, [])
    c.t.equal(client.stray.toString('latin1'), refusal)
  })

probe('1.2 the header may come octet by octet', async c => {
  const client = await c.connect()
  await client.writeSplit(AMQP_091, Array(8).fill(1))
  await client.expect(0, 'connection.start')
})

for (const [what, bytes] of [
  ['silence', ''],
  ['half a header', 'AMQP'],
  ['a header and no start-ok', refusal],
] as const)
  probe.slow(`1.2 ${what} ends after 10 s with nothing written`, async c => {
    const client = await c.connect()
    const at = performance.now()
    if (bytes !== '') client.write(Buffer.from(bytes, 'latin1'))
    if (bytes === refusal) await client.expect(0, 'connection.start')
    const { frames } = await client.collect(20_000)
    const waited = (await client.ended).at - at
    c.t.strictSame(frames, [])
    c.t.ok(waited > 9_000 && waited < 13_000, `${Math.round(waited)} ms`)
  })

probe.slow('1.2 a tune-ok that is not followed by open ends after 10 s', async c => {
  const client = await c.connect()
  const at = performance.now()
  await client.start()
  client.startOk()
  await client.expect(0, 'connection.tune')
  client.send(0, 'connection.tune-ok', { channelMax: 10, frameMax: 4096, heartbeat: 0 })
  await client.collect(20_000)
  const waited = (await client.ended).at - at
  c.t.ok(waited > 9_000 && waited < 13_000, `${Math.round(waited)} ms`)
})

probe('1.2 connecting and closing without a byte harms nobody', async c => {
  for (let i = 0; i < 20; i++) {
    const client = await c.connect()
    if (i % 2 === 0) client.halfClose()
    else client.reset()
  }
  await (await c.channel()).fence(1)
})

// -------------------------------------------------------------------------------------------------- start

probe('1.3 server-properties are sorted by name and typed S', async c => {
  const client = await c.connect()
  const { serverProperties } = await client.start()
  const keys = serverProperties.map(([key]) => key)
  c.t.strictSame(keys, [...keys].sort(), 'sorted')
  c.t.equal(keys.join(' '), c.decided())
  for (const [key, letter, value] of serverProperties) {
    c.t.equal(letter, key === 'capabilities' ? 'F' : 'S', key)
    c.t.ok((value as string).length > 0, `${key} is not empty`)
  }
  const product = serverProperties.find(([key]) => key === 'product')?.[2]
  const version = serverProperties.find(([key]) => key === 'version')?.[2]
  c.t.equal(product, 'RabbitMQ')
  c.t.match(version, /^(3\.10|4)\.\d+/)
})

probe('1.3 every capability is announced as true', async c => {
  const client = await c.connect()
  const { serverProperties } = await client.start()
  const capabilities = serverProperties.find(([key]) => key === 'capabilities')?.[2]
  c.t.strictSame(
    capabilities,
    table({
      publisher_confirms: true,
      exchange_exchange_bindings: true,
      'basic.nack': true,
      consumer_cancel_notify: true,
      'connection.blocked': true,
      consumer_priorities: true,
      authentication_failure_close: true,
      per_consumer_qos: true,
      direct_reply_to: true,
    }),
  )
})

probe('1.3 mechanisms and locales', async c => {
  const client = await c.connect()
  const { mechanisms, locales } = await client.start()
  c.t.strictSame(mechanisms.split(' ').sort(), ['AMQPLAIN', 'PLAIN'])
  c.t.equal(locales, 'en_US')
})

probe('1.3 the locale of start-ok is not looked at', async c => {
  for (const locale of ['', 'xx_YY']) await (await c.open({ locale })).close()
  c.t.pass('both are let in')
})

// -------------------------------------------------------------------------------------------------- login

probe('1.4 client-properties may hold anything', async c => {
  const deep = Array.from({ length: 50 }).reduce<ReturnType<typeof table>>(
    inner => [['deeper', 'F', inner]],
    [],
  )
  const client = await c.channel({
    clientProperties: [
      ['connection_name', 'I', 7],
      ['connection_name', 'S', 'second'],
      ['version', 'V', null],
      ['deep', 'F', deep],
      [
        'list',
        'A',
        [
          ['F', deep],
          ['V', null],
          ['t', true],
        ],
      ],
      ['money', 'D', [2, 12345]],
      ['', 'S', 'no name'],
    ],
  })
  await client.fence(1)
})

probe('1.4 capabilities of another type count as none', async c => {
  for (const entry of [
    ['capabilities', 'S', 'all of them'],
    ['capabilities', 'A', []],
    ['capabilities', 'V', null],
  ] as const) {
    const client = await c.connect()
    await client.start()
    client.send(0, 'connection.start-ok', {
      clientProperties: [entry],
      mechanism: 'PLAIN',
      response: '\0guest\0guest',
    })
    await client.expect(0, 'connection.tune')
  }
})

probe('1.4 AMQPLAIN is a table without its length', async c => {
  const client = await c.channel({
    mechanism: 'AMQPLAIN',
    response: encodeEntries([
      ['LOGIN', 'S', 'guest'],
      ['PASSWORD', 'S', 'guest'],
    ]),
  })
  await client.fence(1)
})

probe.slow('1.4 AMQPLAIN without a password is refused', async c => {
  const client = await c.connect()
  await client.start()
  client.startOk({ mechanism: 'AMQPLAIN', response: encodeEntries([['LOGIN', 'S', 'guest']]) })
  await c.outcome(client, 'dropped')
})

const refused = (mechanism: string) =>
  `connection 403 0,0 ACCESS_REFUSED - Login was refused using authentication mechanism ${mechanism}. For details see the broker logfile.`

probe.slow('1.4 a failed login is 403 for clients that announce the capability', async c => {
  for (const login of [
    { password: 'wrong' },
    { password: '' },
    { user: `nobody-${process.pid}` },
  ]) {
    const client = await c.connect()
    await client.start()
    client.startOk(login)
    await c.outcome(client, refused('PLAIN'))
  }
})

probe.slow('1.4 a failed AMQPLAIN login names its mechanism', async c => {
  const client = await c.connect()
  await client.start()
  client.startOk({
    mechanism: 'AMQPLAIN',
    response: encodeEntries([
      ['LOGIN', 'S', 'guest'],
      ['PASSWORD', 'S', 'wrong'],
    ]),
  })
  await c.outcome(client, refused('AMQPLAIN'))
})

probe.slow('1.4 after the 403 the socket goes within 5 s', async c => {
  const client = await c.connect()
  await client.start()
  client.startOk({ password: 'wrong' })
  await client.expect(0, 'connection.close')
  const at = performance.now()
  await client.ended
  const waited = performance.now() - at
  c.t.ok(waited < 6_000, `${Math.round(waited)} ms`)
})

for (const [what, capabilities] of [
  ['no capability', table({})],
  ['the capability false', table({ authentication_failure_close: false })],
] as const)
  probe.slow(`1.4 a failed login with ${what} ends in silence after 1 to 5 s`, async c => {
    const client = await c.connect()
    await client.start()
    const at = performance.now()
    client.startOk({ password: 'wrong', capabilities })
    const { frames } = await client.collect()
    const waited = (await client.ended).at - at
    c.t.strictSame(frames, [])
    c.t.ok(waited > 900 && waited < 6_000, `${Math.round(waited)} ms`)
  })

probe.slow('1.4 an unknown mechanism ends in silence', async c => {
  const client = await c.connect()
  await client.start()
  client.startOk({ mechanism: 'NOSUCH', response: 'x' })
  await c.outcome(client, 'dropped')
})

probe.slow('1.4 a PLAIN response that is not one is refused', async c => {
  for (const response of ['', 'guest', '\0guest', '\0'.repeat(20)]) {
    const client = await c.connect()
    await client.start()
    client.startOk({ response })
    const outcome = await client.outcome()
    c.t.ok(/^(dropped|connection (403|502) )/.test(outcome), outcome)
  }
})

// --------------------------------------------------------------------------------------------------- tune

probe('1.5 the proposal is 2047 channels, 131072 bytes, 60 s', async c => {
  const client = await c.connect()
  await client.start()
  client.startOk()
  c.t.strictSame(await client.expect(0, 'connection.tune'), {
    channelMax: 2047,
    frameMax: 131072,
    heartbeat: 60,
  })
})

for (const [what, tuneOk] of [
  ['channel_max 0', { channelMax: 0, frameMax: 131072 }],
  ['channel_max 2048', { channelMax: 2048, frameMax: 131072 }],
  ['frame_max 0', { channelMax: 2047, frameMax: 0 }],
  ['frame_max 131073', { channelMax: 2047, frameMax: 131073 }],
  ['frame_max 4095', { channelMax: 2047, frameMax: 4095 }],
] as const)
  probe.slow(`1.5 tune-ok with ${what}`, async c => {
    const client = await c.connect()
    await client.start()
    client.startOk()
    await client.expect(0, 'connection.tune')
    client.send(0, 'connection.tune-ok', tuneOk)
    await c.outcome(client, c.decided())
  })

probe('1.5 frame_max 4096 is accepted', async c => {
  await (await c.channel({ frameMax: 4096 })).fence(1)
})

probe('1.5 any heartbeat is accepted', async c => {
  for (const heartbeat of [0, 1, 65_535]) await (await c.channel({ heartbeat })).fence(1)
})

probe('1.5 channel_max limits how many, not which', async c => {
  const client = await c.open({ channelMax: 1 })
  client.send(500, 'channel.open')
  await c.outcome(client, 'channel.open-ok')
})

probe('1.5 one channel more than channel_max is 530', async c => {
  const client = await c.open({ channelMax: 2 })
  await client.channel(1)
  await client.channel(2)
  await client.call(2, 'channel.close', { replyCode: 200 })
  await client.channel(2)
  client.send(3, 'channel.open')
  await c.outcome(
    client,
    'connection 530 0,0 NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)',
  )
})

// --------------------------------------------------------------------------------------------------- open

/** A connection on which open is the next method due. */
const tuned = async (client: RawClient) => {
  await client.start()
  client.startOk()
  await client.expect(0, 'connection.tune')
  client.send(0, 'connection.tune-ok', { channelMax: 2047, frameMax: 131072, heartbeat: 0 })
}

probe('1.6 an unknown vhost is 530', async c => {
  const client = await c.connect()
  await tuned(client)
  client.send(0, 'connection.open', { vhost: 'nope' })
  await c.outcome(client, 'connection 530 10,40 NOT_ALLOWED - vhost nope not found')
})

probe('1.6 the empty vhost', async c => {
  const client = await c.connect()
  await tuned(client)
  client.send(0, 'connection.open', { vhost: '' })
  await c.outcome(client, c.decided())
})

probe('1.6 open-ok carries one reserved octet', async c => {
  const client = await c.connect()
  await tuned(client)
  client.send(0, 'connection.open', { vhost: '/', capabilities: 'whatever', insist: true })
  const f = await client.next()
  c.t.equal(f?.payload.toString('hex'), '000a002900')
})

// ---------------------------------------------------------------------------------------------- heartbeat

probe.slow('1.7 heartbeat 2: the broker beats about once a second', async c => {
  const client = await c.open({ heartbeat: 2 })
  const beating = setInterval(() => client.frame(HEARTBEAT, 0), 500)
  await client.within(4_500)
  clearInterval(beating)
  const gaps = client.heartbeats.slice(1).map((at, i) => at - client.heartbeats[i]!)
  c.t.ok(client.heartbeats.length >= 3, `${client.heartbeats.length} in 4.5 s`)
  c.t.ok(
    gaps.every(gap => gap > 500 && gap < 2_000),
    gaps.map(Math.round).join(', '),
  )
})

probe.slow('1.7 heartbeat 2: a silent peer is dropped after 4 to 6.5 s', async c => {
  const client = await c.open({ heartbeat: 2 })
  const at = performance.now()
  const { frames, ending } = await client.collect(20_000)
  c.t.strictSame(frames, [], 'no connection.close')
  const waited = ending.at - at
  c.t.ok(waited > 3_500 && waited < 9_000, `${Math.round(waited)} ms`)
})

probe.slow('1.7 heartbeat 2: any traffic keeps a connection', async c => {
  const client = await c.channel({ heartbeat: 2 })
  for (let i = 0; i < 9; i++) {
    await new Promise(resolve => setTimeout(resolve, 1_000))
    await client.fence(1)
  }
})

probe.slow('1.7 heartbeat 2: half a frame now and then is traffic', async c => {
  const client = await c.channel({ heartbeat: 2 })
  const queue = await c.queue(client)
  const bytes = methodFrame(1, 'basic.publish', { routingKey: queue })
  for (const octet of bytes.subarray(0, 9)) {
    client.write(Buffer.from([octet]))
    await new Promise(resolve => setTimeout(resolve, 1_000))
  }
  client.write(bytes.subarray(9))
  client.header(1, 0)
  await client.fence(1)
})

probe.slow('1.7 heartbeat 0: silence is no reason to close', async c => {
  const client = await c.channel({ heartbeat: 0 })
  await client.within(8_000)
  c.t.equal(client.heartbeats.length, 0)
  await client.fence(1)
})

probe('1.7 a heartbeat is not answered', async c => {
  const client = await c.channel({ heartbeat: 600 })
  client.heartbeats.length = 0
  for (let i = 0; i < 10; i++) client.frame(HEARTBEAT, 0)
  await client.fence(1)
  c.t.ok(client.heartbeats.length <= 1)
})

probe('1.7 a heartbeat may follow tune-ok', async c => {
  const client = await c.connect()
  await tuned(client)
  client.frame(HEARTBEAT, 0)
  client.send(0, 'connection.open', { vhost: '/' })
  await client.expect(0, 'connection.open-ok')
})

// -------------------------------------------------------------------------------------------------- close

probe('1.8 close is answered with close-ok, and what follows it is ignored', async c => {
  const client = await c.channel()
  const queue = c.name()
  client.write(
    Buffer.concat([
      methodFrame(0, 'connection.close', { replyCode: 200, replyText: 'OK' }),
      methodFrame(1, 'queue.declare', { queue, durable: true }),
      methodFrame(9, 'basic.ack', { deliveryTag: 1 }),
    ]),
  )
  await client.expect(0, 'connection.close-ok')
  client.halfClose()
  const { frames } = await client.collect()
  c.t.strictSame(frames, [])
  const other = await c.channel()
  other.send(1, 'queue.declare', { queue, passive: true })
  await c.outcome(other, `channel 404 50,10 NOT_FOUND - no queue '${queue}' in vhost '/'`)
})

probe('1.8 exclusive queues are gone and unacked messages back before close-ok', async c => {
  const client = await c.channel()
  const observer = await c.channel()
  const [mine, shared] = [await c.queue(client), c.name()]
  await observer.call(1, 'queue.declare', { queue: shared, durable: true })
  observer.publish(1, { key: shared, body: 'x' })
  await observer.fence(1)
  client.send(1, 'basic.get', { queue: shared })
  await client.content(1, 'basic.get-ok')
  client.send(0, 'connection.close', { replyCode: 200, replyText: 'OK' })
  await client.expect(0, 'connection.close-ok')
  observer.send(1, 'basic.get', { queue: shared, noAck: true })
  const { fields } = await observer.content(1, 'basic.get-ok')
  c.t.equal(fields.redelivered, true)
  observer.send(1, 'queue.declare', { queue: mine, passive: true })
  await c.outcome(observer, `channel 404 50,10 NOT_FOUND - no queue '${mine}' in vhost '/'`)
})

probe('1.8 close and FIN at once get close-ok and the end', async c => {
  const client = await c.channel()
  const queue = c.name()
  client.send(1, 'queue.declare', { queue, durable: true })
  client.send(0, 'connection.close', { replyCode: 200, replyText: 'OK' })
  client.halfClose()
  const at = performance.now()
  const { frames, ending } = await client.collect()
  const names = frames.map(f => f.name).filter(name => name !== 'queue.declare-ok')
  const decided = c.decided()
  if (typeof decided === 'string') c.t.equal(names.join(' '), decided)
  else c.t.match(names.join(' '), decided)
  c.t.ok(ending.at - at < 2_000, `${Math.round(ending.at - at)} ms`)
})

for (const how of ['FIN', 'RST'] as const)
  probe(`1.8 frames before an abrupt ${how} are executed in order`, async c => {
    const observer = await c.channel()
    const queue = c.name()
    await observer.call(1, 'queue.declare', { queue, durable: true })
    const client = await c.channel()
    for (let i = 0; i < 100; i++) client.publish(1, { key: queue, body: `${i}` })
    if (how === 'RST') {
      // RST also discards what the broker has not read, so wait until it has.
      await client.fence(1)
      client.reset()
    } else client.halfClose()
    await client.ended
    let messages = 0
    for (let tries = 0; messages < 100 && tries < 40; tries++) {
      const declared = await observer.call(1, 'queue.declare', { queue, passive: true })
      messages = declared.messages
      await new Promise(resolve => setTimeout(resolve, 25))
    }
    // 3.10 stops its channels ahead of what they have not executed yet: what it did is at least a beginning.
    if (!c.real) c.t.equal(messages, 100)
    for (let i = 0; i < messages; i++) {
      observer.send(1, 'basic.get', { queue, noAck: true })
      const { body } = await observer.content(1, 'basic.get-ok')
      if (body.toString() !== `${i}`) c.t.equal(body.toString(), `${i}`)
    }
    c.t.pass('in order')
  })

probe('1.8 a socket that is half closed without a close loses its other half', async c => {
  const client = await c.channel()
  client.halfClose()
  const at = performance.now()
  const { frames, ending } = await client.collect()
  c.t.strictSame(frames, [])
  c.t.ok(ending.at - at < 2_000, `${Math.round(ending.at - at)} ms`)
})

probe('1.8 FIN amid a frame is the end of the connection', async c => {
  const client = await c.channel()
  client.write(methodFrame(1, 'queue.declare', { queue: c.name() }).subarray(0, 12))
  client.halfClose()
  await client.collect()
  await (await c.channel()).fence(1)
})

probe('1.8 after its own close the broker discards all but close and close-ok', async c => {
  const client = await c.channel()
  const queue = c.name()
  client.write(
    Buffer.concat([
      methodFrame(1, 'channel.open'),
      methodFrame(1, 'queue.declare', { queue, durable: true }),
      methodFrame(77, 'basic.ack'),
    ]),
  )
  const { replyCode } = await client.expect(0, 'connection.close')
  c.t.equal(replyCode, 504)
  client.send(1, 'queue.declare', { queue, durable: true })
  client.send(2, 'channel.open')
  client.send(0, 'connection.close', { replyCode: 200, replyText: 'crossing' })
  await client.expect(0, 'connection.close-ok')
  client.send(0, 'connection.close-ok')
  const { frames } = await client.collect()
  c.t.strictSame(frames, [])
  const other = await c.channel()
  other.send(1, 'queue.declare', { queue, passive: true })
  await c.outcome(other, `channel 404 50,10 NOT_FOUND - no queue '${queue}' in vhost '/'`)
})

probe('1.8 close-ok to the broker ends the socket at once', async c => {
  const client = await c.channel()
  client.send(1, 'channel.open')
  await client.expect(0, 'connection.close')
  const at = performance.now()
  client.send(0, 'connection.close-ok')
  await client.collect()
  const waited = (await client.ended).at - at
  c.t.ok(waited < 2_000, `${Math.round(waited)} ms`)
})

probe('1.8 closing instead of opening is 504', async c => {
  const client = await c.connect()
  await tuned(client)
  client.send(0, 'connection.close', { replyCode: 200, replyText: 'never mind' })
  await c.outcome(
    client,
    'connection 504 10,50 CHANNEL_ERROR - unexpected method in connection state opening',
  )
})

probe.slow('1.1 a connection method out of order in the handshake', async c => {
  const client = await c.connect()
  await client.start()
  client.frame(METHOD, 0, encodeMethod('connection.open', { vhost: '/' }))
  await c.outcome(client, 'dropped')
})

// -------------------------------------------------------------------------------------------------- secret

probe('1.10 update-secret of an internal user is answered and changes nothing', async c => {
  const client = await c.channel()
  client.send(0, 'connection.update-secret', { newSecret: 'other', reason: 'the probe' })
  await client.expect(0, 'connection.update-secret-ok')
  await client.fence(1)
  await (await c.open({ capabilities: everyCapability })).close()
})

// --------------------------------------------------------------------------------------------------- alarm

// Only against a broker of our own: an alarm would stop everybody else's tests. RabbitMQ 3.10, put into its
// alarm by hand, answers the same.
if (!broker.real)
  probe('1.6 during an alarm connections are accepted and publishers blocked', async c => {
    const alarmed = await openBroker(c.t, { 'vm_memory_high_watermark.absolute': 1 })
    const client = await RawClient.open(alarmed)
    c.t.teardown(() => client.destroy())
    await client.channel(1)
    const { queue } = await client.call(1, 'queue.declare', { exclusive: true })
    await client.call(1, 'basic.consume', { queue })
    let blocked: Frame | undefined
    // The broker looks at its memory from time to time.
    for (let tries = 0; blocked === undefined && tries < 20; tries++) {
      client.publish(1, { key: queue })
      blocked = (await client.within(300)).find(f => f.name === 'connection.blocked')
    }
    c.t.equal(blocked?.channel, 0)
    c.t.strictSame(blocked?.fields, { reason: 'low on memory' })
    client.send(1, 'channel.flow', { active: true })
    c.t.strictSame(await client.within(300), [], 'nothing more is read from who publishes')
    const untold = everyCapability.filter(([key]) => key !== 'connection.blocked')
    const other = await RawClient.open(alarmed, { capabilities: untold })
    c.t.teardown(() => other.destroy())
    await other.channel(1)
    await other.fence(1)
    other.publish(1, { key: 'nobody' })
    c.t.strictSame(await other.within(300), [], 'who did not announce the capability is not told')
  })
