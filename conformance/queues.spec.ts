import type { Channel } from 'amqplib'
import t from 'tap'
import { openBroker } from './support/broker.js'
import { openClient, uniqueName } from './support/client.js'
import { expectChannelError } from './support/errors.js'
import { consume } from './support/inbox.js'
import { call, tell } from './support/methods.js'
import { isMethod, openRelay } from './support/relay.js'
import { eventually } from './support/waiting.js'

const broker = await openBroker(t)

const BY_DECLARE = { classId: 50, methodId: 10 }
const BY_DELETE = { classId: 50, methodId: 40 }

const PLAIN = { passive: false, durable: false, exclusive: false, autoDelete: false }

t.test('declaring a queue tells its ready messages and its consumers', async t => {
  const client = await openClient(t, broker)
  const queue = client.queueName()
  const options = { durable: false }
  const first = await client.channel.assertQueue(queue, options)
  t.same(first, { queue, messageCount: 0, consumerCount: 0 })
  for (const body of ['1', '2', '3']) client.send(queue, body)
  await client.channel.prefetch(1)
  const inbox = await consume(client.channel, queue)
  await inbox.take(1)
  const again = await client.channel.assertQueue(queue, options)
  t.same(again, { queue, messageCount: 2, consumerCount: 1 }, 'unacked messages are not ready')
  t.same(await client.channel.checkQueue(queue), again)
})

t.test('a passive declare of a missing queue is 404', async t => {
  const { channel } = await openClient(t, broker)
  const queue = uniqueName('queue')
  t.same(await expectChannelError(channel, channel.checkQueue(queue)), {
    code: 404,
    text: `NOT_FOUND - no queue '${queue}' in vhost '/'`,
    ...BY_DECLARE,
  })
})

t.test('a passive declare ignores every other property', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ autoDelete: true })
  const fields = { queue, ...PLAIN, passive: true, durable: true, arguments: { 'x-expires': 1 } }
  await t.resolves(call(client.channel, 'queueDeclare', fields))
})

t.test('a queue without a name is given one', async t => {
  const { channel } = await openClient(t, broker)
  const { queue } = await channel.assertQueue('', { exclusive: true })
  t.match(queue, /^amq\.gen-[A-Za-z0-9_-]{22}$/)
  const { queue: other } = await channel.assertQueue('', { exclusive: true })
  t.not(other, queue)
})

t.test('a queue name may not begin with amq.', async t => {
  const { channel } = await openClient(t, broker)
  t.same(await expectChannelError(channel, channel.assertQueue('amq.conformance')), {
    code: 403,
    text: "ACCESS_REFUSED - queue name 'amq.conformance' contains reserved prefix 'amq.*'",
    ...BY_DECLARE,
  })
})

t.test('even the owner cannot redeclare a server-named queue by its name', async t => {
  const client = await openClient(t, broker)
  const { queue } = await client.channel.assertQueue('', { exclusive: true, durable: false })
  t.same(await client.channel.checkQueue(queue), { queue, messageCount: 0, consumerCount: 0 })
  const again = client.channel.assertQueue(queue, { exclusive: true, durable: false })
  t.same(await expectChannelError(client.channel, again), {
    code: 403,
    text: `ACCESS_REFUSED - queue name '${queue}' contains reserved prefix 'amq.*'`,
    ...BY_DECLARE,
  })
})

t.test('a queue name may have 255 bytes of anything', async t => {
  const client = await openClient(t, broker)
  for (const name of [
    uniqueName('long').padEnd(255, 'x'),
    uniqueName('größe/€ #*?'),
    `${uniqueName('é')}${'é'.repeat(100)}`,
  ]) {
    const { queue } = await client.channel.assertQueue(client.queueName(name), { durable: false })
    t.equal(queue, name)
    client.send(queue, 'x')
    t.same(await client.drain(queue), ['x'])
  }
})

t.test('line ends in queue names are removed', async t => {
  const client = await openClient(t, broker)
  const name = client.queueName()
  const { queue } = await client.channel.assertQueue(`\r${name}\r\n`, { durable: false })
  t.equal(queue, name)
})

t.test('the empty name means the queue last declared on the channel', async t => {
  const client = await openClient(t, broker)
  const { channel } = client
  const first = await client.queue()
  const queue = await client.queue()
  const key = uniqueName('key')
  await channel.bindQueue('', 'amq.direct', key)
  client.publish('amq.direct', key, 'bound')
  t.equal((await client.get('')).content.toString(), 'bound')
  await channel.unbindQueue('', 'amq.direct', key)
  client.publish('amq.direct', key, 'unbound')
  client.send(queue, '1')
  client.send(queue, '2')
  t.same(await channel.purgeQueue(''), { messageCount: 2 })
  await channel.checkQueue(first)
  client.send(first, 'to the checked')
  const inbox = await consume(channel, '', { noAck: true })
  t.same(await inbox.takeBodies(1), ['to the checked'], 'a passive declare counts')
  await channel.deleteQueue('')
  t.notOk(await client.queueExists(first))
  t.ok(await client.queueExists(queue))
})

t.test('binding with neither name nor key uses the name as the key', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('direct')
  const queue = await client.queue()
  await client.channel.bindQueue('', exchange, '')
  client.publish(exchange, queue, 'by name')
  client.publish(exchange, '', 'by nothing')
  t.same(await client.drain(queue), ['by name'])
  await client.channel.unbindQueue('', exchange, '')
  client.publish(exchange, queue, 'unbound')
  t.same(await client.drain(queue), [])
})

t.test('the empty name without a declared queue is 404', async t => {
  const client = await openClient(t, broker)
  const cases = [
    [50, 20, channel => channel.bindQueue('', 'amq.direct', 'key')],
    [50, 50, channel => channel.unbindQueue('', 'amq.direct', 'key')],
    [60, 20, channel => consume(channel, '')],
    [60, 70, channel => channel.get('')],
    [50, 30, channel => channel.purgeQueue('')],
    [50, 40, channel => channel.deleteQueue('')],
  ] as const satisfies readonly (readonly [
    number,
    number,
    (channel: Channel) => Promise<unknown>,
  ])[]
  for (const [classId, methodId, action] of cases) {
    const channel = await client.openChannel()
    t.same(await expectChannelError(channel, action(channel)), {
      code: 404,
      text: 'NOT_FOUND - no previously declared queue',
      classId,
      methodId,
    })
  }
})

t.test('a passive declare of the empty name does not use the shortcut', async t => {
  const client = await openClient(t, broker)
  await client.queue()
  const declared = call(client.channel, 'queueDeclare', { queue: '', ...PLAIN, passive: true })
  const { code, text } = await expectChannelError(client.channel, declared)
  t.same([code, text], [404, "NOT_FOUND - no queue '' in vhost '/'"])
})

t.test('redeclaring a queue with another property names the property', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ messageTtl: 100_000 })
  const cases = [
    [{ durable: true }, "'durable'", "received 'true' but current is 'false'"],
    [{ autoDelete: true }, "'auto_delete'", "received 'true' but current is 'false'"],
    [{ messageTtl: 200_000 }, "'x-message-ttl'", "received '200000' but current is '100000'"],
    [
      { messageTtl: undefined },
      "'x-message-ttl'",
      "received none but current is the value '100000' of type 'signedint'",
    ],
    [
      { maxLength: 100_000 },
      "'x-max-length'",
      "received the value '100000' of type 'signedint' but current is none",
    ],
    [
      { maxLength: 5 },
      "'x-max-length'",
      "received the value '5' of type 'byte' but current is none",
    ],
    [
      { deadLetterExchange: 'amq.direct' },
      "'x-dead-letter-exchange'",
      "received the value 'amq.direct' of type 'longstr' but current is none",
    ],
  ] as const
  for (const [options, property, difference] of cases) {
    const channel = await client.openChannel()
    const declared = channel.assertQueue(queue, {
      durable: false,
      messageTtl: 100_000,
      ...(options as object),
    })
    t.same(await expectChannelError(channel, declared), {
      code: 406,
      text: `PRECONDITION_FAILED - inequivalent arg ${property} for queue '${queue}' in vhost '/': ${difference}`,
      ...BY_DECLARE,
    })
  }
})

t.test('integer arguments are compared by value, not by width', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ messageTtl: 100 })
  for (const type of ['byte', 'unsignedbyte', 'short', 'int', 'unsignedint', 'long']) {
    const declared = client.channel.assertQueue(queue, {
      durable: false,
      arguments: { 'x-message-ttl': { '!': type, value: 100 } },
    })
    await t.resolves(declared, type)
  }
})

t.test('arguments a queue does not know are kept, not compared', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ arguments: { 'x-colour': 'red', 'x-flag': false } })
  const again = client.channel.assertQueue(queue, {
    durable: false,
    arguments: { 'x-colour': 'blue' },
  })
  await t.resolves(again)
})

t.test('a boolean argument may be false (regression 30)', async t => {
  const client = await openClient(t, broker)
  const options = { arguments: { 'x-single-active-consumer': false } }
  const queue = await client.queue(options)
  await t.resolves(client.channel.assertQueue(queue, { durable: false, ...options }))
})

t.test('no queue type and the type classic are the same', async t => {
  const client = await openClient(t, broker)
  const classic = { arguments: { 'x-queue-type': 'classic' } }
  const plain = await client.queue()
  await t.resolves(client.channel.assertQueue(plain, { durable: false, ...classic }))
  const typed = await client.queue(classic)
  await t.resolves(client.channel.assertQueue(typed, { durable: false }))
})

t.test('arguments with impossible values are refused with the reason', async t => {
  const client = await openClient(t, broker)
  const cases: [Record<string, unknown>, string, string][] = [
    [{ 'x-message-ttl': -1 }, 'x-message-ttl', '{value_negative,-1}'],
    [{ 'x-message-ttl': 315_360_000_001 }, 'x-message-ttl', '{value_too_large,315360000001}'],
    [{ 'x-message-ttl': 'soon' }, 'x-message-ttl', '"expected integer, got longstr"'],
    [{ 'x-expires': 0 }, 'x-expires', '{value_zero,0}'],
    [{ 'x-expires': -1 }, 'x-expires', '{value_negative,-1}'],
    [{ 'x-max-length': -1 }, 'x-max-length', '{value_negative,-1}'],
    [{ 'x-max-length-bytes': -1 }, 'x-max-length-bytes', '{value_negative,-1}'],
    [{ 'x-overflow': 'spill' }, 'x-overflow', 'invalid_overflow'],
    [
      { 'x-dead-letter-routing-key': 'k' },
      'x-dead-letter-routing-key',
      'routing_key_but_no_dlx_defined',
    ],
    [{ 'x-max-priority': 256 }, 'x-max-priority', '{max_value_exceeded,256}'],
    [{ 'x-max-priority': -1 }, 'x-max-priority', '{value_negative,-1}'],
    [{ 'x-queue-type': 'heap' }, 'x-queue-type', '"unsupported queue type \'heap\'"'],
  ]
  for (const [args, name, reason] of cases) {
    const channel = await client.openChannel()
    const queue = client.queueName()
    const declared = channel.assertQueue(queue, { durable: false, arguments: args })
    t.same(await expectChannelError(channel, declared), {
      code: 406,
      text: `PRECONDITION_FAILED - invalid arg '${name}' for queue '${queue}' in vhost '/': ${reason}`,
      ...BY_DECLARE,
    })
  }
})

t.test('a dead-letter exchange that is no string is refused', async t => {
  const client = await openClient(t, broker)
  const queue = client.queueName()
  const declared = client.channel.assertQueue(queue, {
    durable: false,
    arguments: { 'x-dead-letter-exchange': 100_000 },
  })
  t.same(await expectChannelError(client.channel, declared), {
    code: 406,
    text: `PRECONDITION_FAILED - invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue '${queue}' in vhost '/'`,
    ...BY_DECLARE,
  })
})

t.test('the largest legal values are accepted', async t => {
  const client = await openClient(t, broker)
  await t.resolves(
    client.queue({
      arguments: {
        'x-message-ttl': 315_360_000_000,
        'x-expires': 315_360_000_000,
        'x-max-length': 2 ** 40,
        'x-max-length-bytes': 2 ** 40,
        'x-max-priority': 255,
      },
    }),
  )
})

t.test('an exclusive queue is locked for every other connection (regression 31)', async t => {
  const owner = await openClient(t, broker)
  const queue = await owner.queue({ exclusive: true })
  await owner.channel.bindQueue(queue, 'amq.direct', queue)
  const other = await openClient(t, broker)
  const cases = [
    [50, 10, channel => channel.assertQueue(queue, { exclusive: true, durable: false })],
    [50, 10, channel => channel.assertQueue(queue, { durable: false })],
    [50, 10, channel => channel.checkQueue(queue)],
    [50, 20, channel => channel.bindQueue(queue, 'amq.direct', 'key')],
    [50, 50, channel => channel.unbindQueue(queue, 'amq.direct', queue)],
    [60, 20, channel => consume(channel, queue)],
    [60, 70, channel => channel.get(queue)],
    [50, 30, channel => channel.purgeQueue(queue)],
    [50, 40, channel => channel.deleteQueue(queue)],
  ] as const satisfies readonly (readonly [
    number,
    number,
    (channel: Channel) => Promise<unknown>,
  ])[]
  for (const [classId, methodId, action] of cases) {
    const channel = await other.openChannel()
    t.same(await expectChannelError(channel, action(channel)), {
      code: 405,
      text: `RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '${queue}' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.`,
      classId,
      methodId,
    })
  }
  other.send(queue, 'anybody may publish')
  await owner.untilReady(queue, 1)
})

t.test('unbinding what was never bound succeeds even from a locked queue', async t => {
  const owner = await openClient(t, broker)
  const queue = await owner.queue({ exclusive: true })
  const other = await openClient(t, broker)
  await t.resolves(other.channel.unbindQueue(queue, 'amq.direct', queue))
})

t.test('the owner of an exclusive queue uses it on any channel', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ exclusive: true })
  const channel = await client.openChannel()
  await t.resolves(channel.assertQueue(queue, { exclusive: true, durable: false }))
  const inbox = await consume(channel, queue)
  client.send(queue, 'x')
  t.same(await inbox.takeBodies(1), ['x'])
})

t.test('the exclusive flag must be repeated, and must not be invented', async t => {
  const client = await openClient(t, broker)
  const exclusive = await client.queue({ exclusive: true })
  const open = await client.queue()
  for (const [queue, flag] of [
    [exclusive, false],
    [open, true],
  ] as const) {
    const channel = await client.openChannel()
    const declared = channel.assertQueue(queue, { exclusive: flag, durable: false })
    const { code, text } = await expectChannelError(channel, declared)
    t.equal(code, 405)
    t.match(text, `RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '${queue}'`)
  }
})

t.test('a durable exclusive queue can be redeclared as it was', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ exclusive: true, durable: true })
  await t.resolves(client.channel.assertQueue(queue, { exclusive: true, durable: true }))
})

t.test('the text of a lock on a queue with a long name is cut at 255 bytes', async t => {
  const owner = await openClient(t, broker)
  const queue = owner.queueName(uniqueName('long').padEnd(255, 'x'))
  await owner.channel.assertQueue(queue, { exclusive: true, durable: false })
  const { channel } = await openClient(t, broker)
  const { code, text } = await expectChannelError(channel, channel.checkQueue(queue))
  t.equal(code, 405)
  t.equal(Buffer.byteLength(text), 255)
  t.ok(
    text.startsWith(
      `RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '${queue.slice(0, 100)}`,
    ),
  )
})

t.test('an auto-delete queue goes with its last consumer', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ autoDelete: true })
  client.send(queue, 'x')
  await client.get(queue)
  t.ok(await client.queueExists(queue), 'basic.get is no consumer')
  const first = await consume(client.channel, queue)
  const second = await consume(client.channel, queue)
  await first.cancel()
  t.ok(await client.queueExists(queue))
  await second.cancel()
  t.notOk(await client.queueExists(queue))
})

t.test(
  'an auto-delete queue goes when the channel of its last consumer does (regression 32)',
  async t => {
    const client = await openClient(t, broker)
    const queue = await client.queue({ autoDelete: true })
    const channel = await client.openChannel()
    await consume(channel, queue)
    await channel.close()
    await eventually('the queue to be gone', async () => !(await client.queueExists(queue)))
    await t.resolves(client.channel.assertQueue(queue, { durable: true, autoDelete: true }), 'anew')
  },
)

t.test('an auto-delete queue that never had a consumer outlives its connection', async t => {
  const observer = await openClient(t, broker)
  const client = await openClient(t, broker)
  const queue = observer.queueName()
  await client.channel.assertQueue(queue, { autoDelete: true, durable: false })
  await client.connection.close()
  t.ok(await observer.queueExists(queue))
})

t.test('deleting a queue tells how many messages went with it', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  for (const body of ['1', '2', '3']) client.send(queue, body)
  await client.channel.get(queue)
  t.same(await client.channel.deleteQueue(queue), { messageCount: 2 })
  t.notOk(await client.queueExists(queue))
})

t.test('deleting a queue that does not exist succeeds', async t => {
  const { channel } = await openClient(t, broker)
  t.same(await channel.deleteQueue(uniqueName('queue')), { messageCount: 0 })
})

t.test('if-unused spares a queue with consumers', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const inbox = await consume(client.channel, queue)
  const channel = await client.openChannel()
  t.same(await expectChannelError(channel, channel.deleteQueue(queue, { ifUnused: true })), {
    code: 406,
    text: `PRECONDITION_FAILED - queue '${queue}' in vhost '/' in use`,
    ...BY_DELETE,
  })
  await inbox.cancel()
  await t.resolves(client.channel.deleteQueue(queue, { ifUnused: true }))
})

t.test('if-empty spares a queue with messages', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  client.send(queue, 'x')
  await client.untilReady(queue, 1)
  const channel = await client.openChannel()
  t.same(await expectChannelError(channel, channel.deleteQueue(queue, { ifEmpty: true })), {
    code: 406,
    text: `PRECONDITION_FAILED - queue '${queue}' in vhost '/' not empty`,
    ...BY_DELETE,
  })
  await client.channel.purgeQueue(queue)
  await t.resolves(client.channel.deleteQueue(queue, { ifEmpty: true }))
})

t.test('a message delivered before its queue was deleted can still be acknowledged', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  client.send(queue, 'x')
  const inbox = await consume(client.channel, queue)
  const message = await inbox.next()
  await client.channel.deleteQueue(queue)
  client.channel.ack(message)
  await t.resolves(client.queue(), 'the channel lives')
})

t.test('a queue declared again under a deleted name starts empty and unbound', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('fanout')
  const queue = await client.boundQueue(exchange, '')
  client.publish(exchange, '', 'old')
  await client.channel.deleteQueue(queue)
  await client.channel.assertQueue(queue, { durable: false })
  client.publish(exchange, '', 'new')
  t.same(await client.drain(queue), [])
})

t.test('purging removes ready messages only', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  for (const body of ['1', '2', '3', '4']) client.send(queue, body)
  const taken = await client.channel.get(queue)
  t.same(await client.channel.purgeQueue(queue), { messageCount: 3 })
  t.same(await client.channel.purgeQueue(queue), { messageCount: 0 })
  if (taken !== false) client.channel.nack(taken)
  t.same(await client.drain(queue), ['1'], 'what was unacked comes back')
})

t.test('purging a queue that does not exist is 404', async t => {
  const { channel } = await openClient(t, broker)
  const queue = uniqueName('queue')
  t.same(await expectChannelError(channel, channel.purgeQueue(queue)), {
    code: 404,
    text: `NOT_FOUND - no queue '${queue}' in vhost '/'`,
    classId: 50,
    methodId: 30,
  })
})

t.test('declare, purge and delete work without a reply', async t => {
  const relay = await openRelay(t, broker)
  const client = await openClient(t, { ...broker, ...relay })
  const { channel } = client
  const queue = client.queueName()
  tell(channel, 'queueDeclare', { queue, ...PLAIN, nowait: true })
  client.send(queue, '1')
  tell(channel, 'queuePurge', { queue, nowait: true })
  client.send(queue, '2')
  t.same(await client.drain(queue), ['2'])
  tell(channel, 'queueDelete', { queue, ifUnused: false, ifEmpty: false, nowait: true })
  await channel.checkExchange('amq.direct')
  const replies = relay
    .framesFromBroker()
    .filter(frame => isMethod(frame, 50, 11) || isMethod(frame, 50, 31) || isMethod(frame, 50, 41))
  t.same(replies, [])
  t.notOk(await client.queueExists(queue))
})

t.test('a hundred queues can be declared and deleted in a row', async t => {
  const client = await openClient(t, broker)
  const queues = await Promise.all(Array.from({ length: 100 }, () => client.queue()))
  t.equal(new Set(queues).size, 100)
  queues.forEach((queue, index) => {
    client.send(queue, `${index}`)
  })
  for (const [index, queue] of queues.entries()) {
    t.equal((await client.get(queue)).content.toString(), `${index}`)
  }
})
