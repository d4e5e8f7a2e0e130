import { setImmediate as nextTurn } from 'node:timers/promises'
import { connect, credentials } from 'amqplib'
import t from 'tap'
import { startBroker } from '../src/index.js'
import { decided } from './exceptions.js'
import { openBroker } from './support/broker.js'
import { openClient, openConnection, uniqueName } from './support/client.js'
import { expectConnectionError } from './support/errors.js'
import { consume } from './support/inbox.js'
import { channelNumber, connectionInternals } from './support/methods.js'
import { BODY, frame, HEADER, HEARTBEAT, isMethod, METHOD, openRelay } from './support/relay.js'
import { eventually } from './support/waiting.js'

const broker = await openBroker(t)
const { host: hostname, port } = broker

const LOGIN_REFUSED =
  'Handshake terminated by server: 403 (ACCESS-REFUSED) with message "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile."'

t.test('the server introduces itself as RabbitMQ with a version and its capabilities', async t => {
  const client = await openClient(t, broker)
  const { product, version, cluster_name, capabilities } = client.connection.connection
    .serverProperties as Record<string, unknown>
  t.equal(product, 'RabbitMQ')
  t.match(version, /^\d+\.\d+\.\d+/)
  t.type(cluster_name, 'string')
  t.match(capabilities, {
    publisher_confirms: true,
    exchange_exchange_bindings: true,
    'basic.nack': true,
    consumer_cancel_notify: true,
    'connection.blocked': true,
    consumer_priorities: true,
    authentication_failure_close: true,
    per_consumer_qos: true,
  })
})

t.test('a wrong password is refused with 403', async t => {
  const attempt = connect({ hostname, port, username: 'guest', password: 'wrong' })
  await t.rejects(attempt, { message: LOGIN_REFUSED })
})

t.test('an unknown user is refused exactly as a wrong password is', async t => {
  const attempt = connect({ hostname, port, username: uniqueName('user'), password: 'guest' })
  await t.rejects(attempt, { message: LOGIN_REFUSED })
})

t.test('an empty password is refused', async t => {
  const attempt = connect({ hostname, port, username: 'guest', password: '' })
  await t.rejects(attempt, { message: LOGIN_REFUSED })
})

t.test('without authentication_failure_close a refused login is a silent, late close', async t => {
  const relay = await openRelay(t, broker)
  const asked = performance.now()
  const attempt = connect(
    { hostname: relay.host, port: relay.port, username: 'guest', password: 'wrong' },
    { clientProperties: { capabilities: {} } },
  )
  await t.rejects(attempt, { message: 'Socket closed abruptly during opening handshake' })
  t.ok(performance.now() - asked >= 1000, 'the answer is delayed')
  t.equal(relay.framesFromBroker().length, 1, 'nothing after connection.start')
})

t.test('AMQPLAIN logs in as PLAIN does', async t => {
  const connection = await connect(
    { hostname, port },
    { credentials: credentials.amqplain('guest', 'guest') },
  )
  await t.resolves(connection.close())
})

t.test('an unknown vhost is refused with 530', async t => {
  const relay = await openRelay(t, broker)
  const attempt = connect({ hostname: relay.host, port: relay.port, vhost: 'conformance-nope' })
  await t.rejects(attempt, { message: /got <ConnectionClose/ })
  t.match(relay.fromBroker().toString(), 'NOT_ALLOWED - vhost conformance-nope not found')
  const close = relay.framesFromBroker().find(frame => isMethod(frame, 10, 50))
  t.equal(close?.payload.readUInt16BE(4), 530)
  t.same([...(close?.payload.subarray(-4) ?? [])], [0, 10, 0, 40], 'caused by connection.open')
})

t.test('connection.open-ok carries its reserved field (regression 1)', async t => {
  const relay = await openRelay(t, broker)
  await openConnection(t, relay)
  const openOk = relay.framesFromBroker().find(frame => isMethod(frame, 10, 41))
  t.same([...(openOk?.payload ?? [])], [0, 10, 0, 41, 0])
})

t.test('the server proposes 2047 channels, frames of 128 KiB and a heartbeat', async t => {
  const connection = await openConnection(t, broker)
  const { channelMax, frameMax, heartbeat } = connectionInternals(connection)
  t.equal(channelMax, 2047)
  t.equal(frameMax, 131_072)
  t.equal(heartbeat, 60)
})

t.test('a frame_max of 4096 is accepted, and bodies are cut at exactly 4088 bytes', async t => {
  const relay = await openRelay(t, broker)
  const client = await openClient(t, { ...broker, ...relay }, { frameMax: 4096 })
  const queue = await client.queue()
  client.channel.sendToQueue(queue, Buffer.alloc(10_000, 7))
  const message = await client.getEventually(queue)
  t.same(message.content, Buffer.alloc(10_000, 7))
  const bodies = relay.framesFromBroker().filter(frame => frame.type === BODY)
  t.same(
    bodies.map(({ payload }) => payload.length),
    [4088, 4088, 1824],
  )
})

t.test('a frame_max below the minimum is refused with 530', async t => {
  const relay = await openRelay(t, broker)
  await t.rejects(connect({ hostname: relay.host, port: relay.port, frameMax: 2048 }))
  const close = relay.framesFromBroker().find(frame => isMethod(frame, 10, 50))
  const text = decided(broker, 'a frame_max below the minimum is refused with 530')
  t.equal(close?.payload.subarray(7, -4).toString() ?? '', text)
  if (!broker.real) t.equal(close?.payload.readUInt16BE(4), 530)
})

t.test('one channel more than negotiated closes the connection (regression 35)', async t => {
  const connection = await openConnection(t, broker, { channelMax: 1 })
  await connection.createChannel()
  connectionInternals(connection).channelMax = 10
  t.same(await expectConnectionError(connection, connection.createChannel()), {
    code: 530,
    text: 'NOT_ALLOWED - number of channels opened (1) has reached the negotiated channel_max (1)',
  })
})

t.test('heartbeats go to a client that sends nothing but heartbeats (regression 6)', async t => {
  const relay = await openRelay(t, broker)
  const connection = await openConnection(t, relay, { heartbeat: 1 })
  t.equal(connectionInternals(connection).heartbeat, 1)
  const beats = () => relay.framesFromBroker().filter(frame => frame.type === HEARTBEAT)
  await eventually('two heartbeats', () => beats().length >= 2)
  for (const { channel, payload } of beats()) t.same([channel, payload.length], [0, 0])
})

t.test('a new secret for a password user is acknowledged (regression 45)', async t => {
  const connection = await openConnection(t, broker)
  await t.resolves(connection.updateSecret(Buffer.from('guest'), 'conformance'))
})

t.test('closing the connection deletes its exclusive queues before close-ok', async t => {
  const observer = await openClient(t, broker)
  const owner = await openClient(t, broker)
  const queue = await owner.queue({ exclusive: true })
  await owner.connection.close()
  t.notOk(await observer.queueExists(queue))
})

t.test('a connection that just goes away loses its exclusive queues', async t => {
  const observer = await openClient(t, broker)
  const owner = await openClient(t, broker)
  const queue = await owner.queue({ exclusive: true })
  connectionInternals(owner.connection).stream.destroy(new Error('the cable is cut'))
  await eventually('the queue to be gone', async () => {
    const channel = await observer.openChannel()
    const gone = await channel.checkQueue(queue).then(
      () => false,
      error => error.code === 404,
    )
    if (!gone) await channel.close().catch(() => {})
    return gone
  })
})

t.test('what was sent before the socket was half-closed is executed', async t => {
  const observer = await openClient(t, broker)
  const queue = await observer.queue()
  const publisher = await openClient(t, broker)
  for (const body of ['1', '2', '3']) publisher.send(queue, body)
  for (let turn = 0; turn < 5; turn++) await nextTurn()
  connectionInternals(publisher.connection).stream.end()
  await observer.untilReady(queue, 3)
  t.same(await observer.drain(queue), ['1', '2', '3'])
})

t.test(
  'a message whose publisher died in the middle of it is not stored (regression 5)',
  async t => {
    const observer = await openClient(t, broker)
    const queue = await observer.queue()
    const publisher = await openClient(t, broker)
    const exclusive = await publisher.queue({ exclusive: true })
    publisher.send(queue, 'whole')
    for (let turn = 0; turn < 5; turn++) await nextTurn()

    const key = Buffer.from(queue)
    const header = Buffer.alloc(14)
    header.writeUInt16BE(60, 0)
    header.writeBigUInt64BE(10n, 4)
    const number = channelNumber(publisher.channel)
    const publish = Buffer.concat([
      Buffer.from([0, 60, 0, 40, 0, 0, 0, key.length]),
      key,
      Buffer.from([0]),
    ])
    const { stream } = connectionInternals(publisher.connection)
    stream.write(
      Buffer.concat([
        frame(METHOD, number, publish),
        frame(HEADER, number, header),
        frame(BODY, number, Buffer.from('half!')),
      ]),
    )
    stream.end()
    await eventually('the end of the connection', () =>
      observer.queueExists(exclusive).then(
        exists => !exists,
        () => false,
      ),
    )
    await observer.untilReady(queue, 1)
    t.same(await observer.drain(queue), ['whole'])
  },
)

t.test('the same client can consume on many connections at once', async t => {
  const clients = await Promise.all(Array.from({ length: 10 }, () => openClient(t, broker)))
  const publisher = clients[0]!
  const exchange = await publisher.exchange('fanout')
  const inboxes = await Promise.all(
    clients.map(async client => consume(client.channel, await client.boundQueue(exchange, ''))),
  )
  publisher.publish(exchange, '', 'to all')
  for (const inbox of inboxes) t.same(await inbox.takeBodies(1), ['to all'])
})

t.test(
  'a broker that stops closes its clients with 320',
  broker.real ? { skip: 'nobody stops a shared RabbitMQ' } : {},
  async t => {
    const ours = await startBroker({ port: 0 })
    const connection = await openConnection(t, ours)
    const closed = expectConnectionError(connection)
    await ours.close()
    t.same(await closed, {
      code: 320,
      text: "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'",
    })
  },
)
