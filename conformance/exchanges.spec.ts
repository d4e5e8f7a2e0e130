import t from 'tap'
import { decided } from './exceptions.js'
import { openBroker } from './support/broker.js'
import { openClient, uniqueName } from './support/client.js'
import { expectChannelError, expectConnectionError } from './support/errors.js'
import { call, tell } from './support/methods.js'

const broker = await openBroker(t)

const BY_DECLARE = { classId: 40, methodId: 10 }
const BY_DELETE = { classId: 40, methodId: 20 }
const BY_EXCHANGE_BIND = { classId: 40, methodId: 30 }
const BY_EXCHANGE_UNBIND = { classId: 40, methodId: 40 }
const BY_BIND = { classId: 50, methodId: 20 }
const BY_UNBIND = { classId: 50, methodId: 50 }
const BY_PUBLISH = { classId: 60, methodId: 40 }

t.test('exchanges of every core type can be declared and found', async t => {
  const client = await openClient(t, broker)
  for (const type of ['direct', 'fanout', 'topic', 'headers']) {
    const exchange = await client.exchange(type)
    await t.resolves(client.channel.checkExchange(exchange), type)
    await t.resolves(client.channel.assertExchange(exchange, type, { durable: false }), 'again')
  }
})

t.test('the exchanges of a new vhost are there', async t => {
  const { channel } = await openClient(t, broker)
  for (const [name, type] of [
    ['amq.direct', 'direct'],
    ['amq.fanout', 'fanout'],
    ['amq.topic', 'topic'],
    ['amq.headers', 'headers'],
    ['amq.match', 'headers'],
  ] as const) {
    await t.resolves(channel.assertExchange(name, type), `${name} is a durable ${type} exchange`)
  }
  await t.resolves(channel.assertExchange('amq.rabbitmq.trace', 'topic', { internal: true }))
})

t.test('an exchange type nobody knows is refused', async t => {
  const { channel, connection } = await openClient(t, broker)
  const declared = channel.assertExchange(uniqueName('exchange'), 'x-conformance-unknown')
  const error = broker.real
    ? await expectConnectionError(connection, declared)
    : await expectChannelError(channel, declared)
  t.same(error, decided(broker, 'an exchange type nobody knows is refused'))
})

t.test('a passive declare of a missing exchange is 404', async t => {
  const { channel } = await openClient(t, broker)
  const name = uniqueName('exchange')
  t.same(await expectChannelError(channel, channel.checkExchange(name)), {
    code: 404,
    text: `NOT_FOUND - no exchange '${name}' in vhost '/'`,
    ...BY_DECLARE,
  })
})

t.test('redeclaring an exchange with another property names the property', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('direct', { alternateExchange: 'amq.fanout' })
  const cases = [
    ['topic', {}, "'type'", "received 'topic' but current is 'direct'"],
    ['direct', { durable: true }, "'durable'", "received 'true' but current is 'false'"],
    ['direct', { autoDelete: true }, "'auto_delete'", "received 'true' but current is 'false'"],
    ['direct', { internal: true }, "'internal'", "received 'true' but current is 'false'"],
    [
      'direct',
      { alternateExchange: 'amq.topic' },
      "'alternate-exchange'",
      "received 'amq.topic' but current is 'amq.fanout'",
    ],
    [
      'direct',
      { alternateExchange: undefined },
      "'alternate-exchange'",
      "received none but current is the value 'amq.fanout' of type 'longstr'",
    ],
  ] as const
  for (const [type, options, property, difference] of cases) {
    const channel = await client.openChannel()
    const declared = channel.assertExchange(exchange, type, {
      durable: false,
      alternateExchange: 'amq.fanout',
      ...(options as object),
    })
    t.same(await expectChannelError(channel, declared), {
      code: 406,
      text: `PRECONDITION_FAILED - inequivalent arg ${property} for exchange '${exchange}' in vhost '/': ${difference}`,
      ...BY_DECLARE,
    })
  }
})

t.test('arguments an exchange does not know are not compared', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('direct', { arguments: { 'x-colour': 'red' } })
  const again = client.channel.assertExchange(exchange, 'direct', {
    durable: false,
    arguments: { 'x-colour': 'blue', 'x-size': 3 },
  })
  await t.resolves(again)
})

t.test('a new exchange may not begin with amq.', async t => {
  const { channel } = await openClient(t, broker)
  t.same(await expectChannelError(channel, channel.assertExchange('amq.conformance', 'direct')), {
    code: 403,
    text: "ACCESS_REFUSED - exchange name 'amq.conformance' contains reserved prefix 'amq.*'",
    ...BY_DECLARE,
  })
})

t.test('an exchange that begins with amq. cannot be deleted', async t => {
  const { channel } = await openClient(t, broker)
  t.same(await expectChannelError(channel, channel.deleteExchange('amq.direct')), {
    code: 403,
    text: "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed",
    ...BY_DELETE,
  })
})

t.test('nothing can be done to the default exchange but publish to it', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const cases = [
    [BY_DECLARE, channel => channel.assertExchange('', 'direct')],
    [BY_DELETE, channel => channel.deleteExchange('')],
    [BY_BIND, channel => channel.bindQueue(queue, '', 'key')],
    [BY_UNBIND, channel => channel.unbindQueue(queue, '', 'key')],
    [BY_EXCHANGE_BIND, channel => channel.bindExchange('amq.direct', '', 'key')],
    [BY_EXCHANGE_BIND, channel => channel.bindExchange('', 'amq.direct', 'key')],
    [BY_EXCHANGE_UNBIND, channel => channel.unbindExchange('amq.direct', '', 'key')],
  ] as const satisfies readonly (readonly [
    object,
    (channel: typeof client.channel) => Promise<unknown>,
  ])[]
  for (const [method, action] of cases) {
    const channel = await client.openChannel()
    t.same(await expectChannelError(channel, action(channel)), {
      code: 403,
      text: 'ACCESS_REFUSED - operation not permitted on the default exchange',
      ...method,
    })
  }
})

t.test('deleting an exchange that does not exist succeeds', async t => {
  const { channel } = await openClient(t, broker)
  await t.resolves(channel.deleteExchange(uniqueName('exchange')))
})

t.test('if-unused spares an exchange that is the source of a binding', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('direct')
  const upstream = await client.exchange('fanout')
  const queue = await client.boundQueue(exchange, 'key')
  await client.channel.bindExchange(exchange, upstream, '')

  const channel = await client.openChannel()
  t.same(await expectChannelError(channel, channel.deleteExchange(exchange, { ifUnused: true })), {
    code: 406,
    text: `PRECONDITION_FAILED - exchange '${exchange}' in vhost '/' in use`,
    ...BY_DELETE,
  })
  await client.channel.unbindQueue(queue, exchange, 'key')
  await t.resolves(client.channel.deleteExchange(exchange, { ifUnused: true }), 'a destination')
})

t.test('a deleted exchange loses its bindings for good', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('fanout')
  const queue = await client.boundQueue(exchange, '')
  await client.channel.deleteExchange(exchange)
  await client.channel.assertExchange(exchange, 'fanout', { durable: false })
  client.publish(exchange, '', 'lost')
  t.same(await client.drain(queue), [])
})

t.test('publishing to an exchange that does not exist is 404', async t => {
  const { channel } = await openClient(t, broker)
  const name = uniqueName('exchange')
  channel.publish(name, 'key', Buffer.from('lost'))
  t.same(await expectChannelError(channel), {
    code: 404,
    text: `NOT_FOUND - no exchange '${name}' in vhost '/'`,
    ...BY_PUBLISH,
  })
})

t.test('binding names the missing end', async t => {
  const client = await openClient(t, broker)
  const none = uniqueName('none')
  const queue = await client.queue()
  const noExchange = `NOT_FOUND - no exchange '${none}' in vhost '/'`
  const cases = [
    [noExchange, BY_BIND, channel => channel.bindQueue(queue, none, '')],
    [
      `NOT_FOUND - no queue '${none}' in vhost '/'`,
      BY_BIND,
      channel => channel.bindQueue(none, 'amq.direct', ''),
    ],
    [noExchange, BY_EXCHANGE_BIND, channel => channel.bindExchange('amq.direct', none, '')],
    [noExchange, BY_EXCHANGE_BIND, channel => channel.bindExchange(none, 'amq.direct', '')],
  ] as const satisfies readonly (readonly [
    string,
    object,
    (channel: typeof client.channel) => Promise<unknown>,
  ])[]
  for (const [text, method, action] of cases) {
    const channel = await client.openChannel()
    t.same(await expectChannelError(channel, action(channel)), { code: 404, text, ...method })
  }
})

t.test('unbinding what is not bound, or does not exist, succeeds', async t => {
  const client = await openClient(t, broker)
  const { channel } = client
  const queue = await client.queue()
  const none = uniqueName('none')
  await t.resolves(channel.unbindQueue(queue, 'amq.direct', none))
  await t.resolves(channel.unbindQueue(queue, none, ''))
  await t.resolves(channel.unbindQueue(none, 'amq.direct', ''))
  await t.resolves(channel.unbindExchange('amq.fanout', 'amq.direct', none))
  await t.resolves(channel.unbindExchange(none, 'amq.direct', ''))
  await t.resolves(channel.unbindExchange('amq.direct', none, ''))
})

t.test('the default exchange routes by queue name', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  client.send(queue, 'hello')
  const { content, fields } = await client.get(queue)
  t.equal(content.toString(), 'hello')
  t.match(fields, { exchange: '', routingKey: queue })
})

t.test('a direct exchange routes to the queues bound with exactly the key', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('direct')
  const red = await client.boundQueue(exchange, 'red')
  const blue = await client.boundQueue(exchange, 'blue')
  await client.channel.bindQueue(blue, exchange, 'red')
  await client.channel.bindQueue(blue, exchange, '')
  for (const key of ['red', 'blue', '', 'Red', 'red.', '#', '*']) client.publish(exchange, key, key)
  t.same(await client.drain(red), ['red'])
  t.same(await client.drain(blue), ['red', 'blue', ''])
})

t.test('a fanout exchange ignores keys', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('fanout')
  const queues = [
    await client.boundQueue(exchange, ''),
    await client.boundQueue(exchange, 'a'),
    await client.boundQueue(exchange, 'b'),
  ]
  client.publish(exchange, 'whatever', 'x')
  for (const queue of queues) t.same(await client.drain(queue), ['x'])
})

t.test('a queue gets one copy however many bindings match', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('topic')
  const hop = await client.exchange('fanout')
  const queue = await client.boundQueue(exchange, 'a.#')
  await client.channel.bindQueue(queue, exchange, 'a.b')
  await client.channel.bindQueue(queue, exchange, '*.b')
  await client.channel.bindExchange(hop, exchange, '#')
  await client.channel.bindQueue(queue, hop, '')
  client.publish(exchange, 'a.b', 'once')
  t.same(await client.drain(queue), ['once'])
})

t.test('binding twice is binding once', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('direct')
  const queue = await client.boundQueue(exchange, 'key', { one: 1, two: 'b' })
  await client.channel.bindQueue(queue, exchange, 'key', { two: 'b', one: 1 })
  client.publish(exchange, 'key', 'first')
  t.same(await client.drain(queue), ['first'])
  await client.channel.unbindQueue(queue, exchange, 'key', { one: 1, two: 'b' })
  client.publish(exchange, 'key', 'second')
  t.same(await client.drain(queue), [])
})

t.test('bindings with other arguments are other bindings', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('direct')
  const queue = await client.boundQueue(exchange, 'key', { one: 1 })
  await client.channel.bindQueue(queue, exchange, 'key', { one: 2 })
  await client.channel.unbindQueue(queue, exchange, 'key', { one: 1 })
  await client.channel.unbindQueue(queue, exchange, 'key')
  client.publish(exchange, 'key', 'still bound')
  t.same(await client.drain(queue), ['still bound'])
  await client.channel.unbindQueue(queue, exchange, 'key', { one: 2 })
  client.publish(exchange, 'key', 'gone')
  t.same(await client.drain(queue), [])
})

t.test('exchange and routing key may have 255 bytes each (regression 28)', async t => {
  const client = await openClient(t, broker)
  const exchange = client.exchangeName(uniqueName('exchange').padEnd(255, 'x'))
  const key = 'k'.repeat(255)
  await client.channel.assertExchange(exchange, 'direct', { durable: false })
  const queue = await client.boundQueue(exchange, key)
  client.publish(exchange, key, 'long')
  const { fields } = await client.get(queue)
  t.match(fields, { exchange, routingKey: key })
})

t.test('an exchange routes on to exchanges bound to it', async t => {
  const client = await openClient(t, broker)
  const source = await client.exchange('topic')
  const middle = await client.exchange('direct')
  const target = await client.exchange('fanout')
  await client.channel.bindExchange(middle, source, 'order.*')
  await client.channel.bindExchange(target, middle, 'order.new')
  const queue = await client.boundQueue(target, '')
  client.publish(source, 'order.new', 'routed')
  client.publish(source, 'order.old', 'stopped at the second')
  client.publish(source, 'invoice.new', 'stopped at the first')
  const { content, fields } = await client.get(queue)
  t.equal(content.toString(), 'routed')
  t.match(fields, { exchange: source, routingKey: 'order.new' }, 'as it was published')
  t.same(await client.drain(queue), [])

  await client.channel.unbindExchange(target, middle, 'order.new')
  client.publish(source, 'order.new', 'no more')
  t.same(await client.drain(queue), [])
})

t.test('exchanges bound in a circle route once', async t => {
  const client = await openClient(t, broker)
  const first = await client.exchange('fanout')
  const second = await client.exchange('fanout')
  await client.channel.bindExchange(second, first, '')
  await client.channel.bindExchange(first, second, '')
  await client.channel.bindExchange(first, first, '')
  const a = await client.boundQueue(first, '')
  const b = await client.boundQueue(second, '')
  client.publish(first, '', 'round')
  t.same([await client.drain(a), await client.drain(b)], [['round'], ['round']])
})

t.test('what an exchange cannot route goes to its alternate exchange', async t => {
  const client = await openClient(t, broker)
  const last = await client.exchange('fanout')
  const alternate = await client.exchange('direct', { alternateExchange: last })
  const exchange = await client.exchange('direct', { alternateExchange: alternate })
  const routed = await client.boundQueue(exchange, 'a')
  const second = await client.boundQueue(alternate, 'b')
  const third = await client.boundQueue(last, '')
  for (const key of ['a', 'b', 'c']) client.publish(exchange, key, key)
  t.same(await client.drain(routed), ['a'])
  const { content, fields } = await client.get(second)
  t.equal(content.toString(), 'b')
  t.match(fields, { exchange, routingKey: 'b' })
  t.same(await client.drain(third), ['c'])
})

t.test('what an alternate exchange takes is not returned', async t => {
  const client = await openClient(t, broker)
  const alternate = await client.exchange('fanout')
  const exchange = await client.exchange('direct', { alternateExchange: alternate })
  const queue = await client.boundQueue(alternate, '')
  const channel = await client.openConfirmChannel()
  const returns: unknown[] = []
  channel.on('return', message => returns.push(message))
  channel.publish(exchange, 'x', Buffer.from('taken'), { mandatory: true })
  await channel.waitForConfirms()
  t.same(returns, [])
  t.same(await client.drain(queue), ['taken'])
})

t.test('an alternate exchange that does not exist is no error', async t => {
  const client = await openClient(t, broker)
  const alternate = uniqueName('exchange')
  const exchange = await client.exchange('direct', { alternateExchange: alternate })
  const channel = await client.openConfirmChannel()
  channel.publish(exchange, 'x', Buffer.from('lost'))
  await t.resolves(channel.waitForConfirms())
})

t.test('a bound exchange that leads nowhere keeps messages from the alternate', async t => {
  const client = await openClient(t, broker)
  const alternate = await client.exchange('fanout')
  const exchange = await client.exchange('fanout', { alternateExchange: alternate })
  const nowhere = await client.exchange('fanout')
  await client.channel.bindExchange(nowhere, exchange, '')
  const queue = await client.boundQueue(alternate, '')
  client.publish(exchange, '', 'lost')
  t.same(await client.drain(queue), [])
})

t.test('an alternate-exchange that is no string is refused', async t => {
  const { channel } = await openClient(t, broker)
  const name = uniqueName('exchange')
  const declared = channel.assertExchange(name, 'direct', {
    durable: false,
    arguments: { 'alternate-exchange': 100_000 },
  })
  t.same(await expectChannelError(channel, declared), {
    code: 406,
    text: `PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange '${name}' in vhost '/'`,
    ...BY_DECLARE,
  })
})

t.test('an internal exchange takes messages from exchanges only', async t => {
  const client = await openClient(t, broker)
  const internal = await client.exchange('fanout', { internal: true })
  const front = await client.exchange('fanout')
  await client.channel.bindExchange(internal, front, '')
  const queue = await client.boundQueue(internal, '')
  client.publish(front, '', 'through the front')
  t.same(await client.drain(queue), ['through the front'])

  const channel = await client.openChannel()
  channel.publish(internal, '', Buffer.from('past it'))
  t.same(await expectChannelError(channel), {
    code: 403,
    text: `ACCESS_REFUSED - cannot publish to internal exchange '${internal}' in vhost '/'`,
    ...BY_PUBLISH,
  })
})

t.test('an auto-delete exchange goes when its last binding is removed', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('direct', { autoDelete: true })
  t.ok(await client.exchangeExists(exchange), 'stays while it never had one')
  const queue = await client.boundQueue(exchange, 'a')
  await client.channel.bindQueue(queue, exchange, 'b')
  await client.channel.unbindQueue(queue, exchange, 'a')
  t.ok(await client.exchangeExists(exchange))
  await client.channel.unbindQueue(queue, exchange, 'b')
  t.notOk(await client.exchangeExists(exchange))
})

t.test('an auto-delete exchange goes with its last queue', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('direct', { autoDelete: true })
  const queue = await client.boundQueue(exchange, 'a')
  await client.channel.deleteQueue(queue)
  t.notOk(await client.exchangeExists(exchange))
})

t.test('auto-delete exchanges bound in a row go one after the other', async t => {
  const client = await openClient(t, broker)
  const first = await client.exchange('fanout', { autoDelete: true })
  const second = await client.exchange('fanout', { autoDelete: true })
  await client.channel.bindExchange(second, first, '')
  const queue = await client.boundQueue(second, '')
  await client.channel.deleteQueue(queue)
  t.notOk(await client.exchangeExists(second))
  t.notOk(await client.exchangeExists(first))
})

t.test('an auto-delete exchange stays while it is only a destination', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('fanout', { autoDelete: true })
  const upstream = await client.exchange('fanout')
  await client.channel.bindExchange(exchange, upstream, '')
  await client.channel.unbindExchange(exchange, upstream, '')
  t.ok(await client.exchangeExists(exchange))
})

t.test('declares, binds and deletes work without a reply', async t => {
  const client = await openClient(t, broker)
  const { channel } = client
  const exchange = client.exchangeName()
  const target = client.exchangeName()
  const queue = await client.queue()
  const declare = { type: 'fanout', passive: false, durable: false, autoDelete: false }
  for (const name of [exchange, target]) {
    tell(channel, 'exchangeDeclare', { ...declare, exchange: name, internal: false, nowait: true })
  }
  const hop = { source: exchange, destination: target, routingKey: '', nowait: true }
  tell(channel, 'exchangeBind', hop)
  tell(channel, 'queueBind', { queue, exchange: target, routingKey: '', nowait: true })
  client.publish(exchange, '', 'through')
  t.same(await client.drain(queue), ['through'])
  tell(channel, 'exchangeUnbind', hop)
  client.publish(exchange, '', 'not through')
  t.same(await client.drain(queue), [])
  tell(channel, 'exchangeDelete', { exchange, ifUnused: false, nowait: true })
  await channel.checkExchange(target)
  t.notOk(await client.exchangeExists(exchange))
})

t.test('line ends in exchange names are removed', async t => {
  const client = await openClient(t, broker)
  const name = client.exchangeName()
  await client.channel.assertExchange(`${name}\r\n`, 'direct', { durable: false })
  t.ok(await client.exchangeExists(name))
})

t.test('a declare that fails without a reply still closes the channel', async t => {
  const { channel } = await openClient(t, broker)
  tell(channel, 'exchangeDelete', { exchange: 'amq.topic', ifUnused: false, nowait: true })
  const { code, classId, methodId } = await expectChannelError(channel)
  t.same({ code, classId, methodId }, { code: 403, ...BY_DELETE })
})

t.test('exchange.unbind is answered with 40.51', async t => {
  const client = await openClient(t, broker)
  const source = await client.exchange('fanout')
  const destination = await client.exchange('fanout')
  const fields = { source, destination, routingKey: '', nowait: false }
  await t.resolves(call(client.channel, 'exchangeBind', fields))
  await t.resolves(call(client.channel, 'exchangeUnbind', fields))
})
