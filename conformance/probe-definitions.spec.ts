import t from 'tap'
import { openBroker } from './support/broker.js'
import { type Case, prober } from './support/probe.js'
import type { RawClient } from './support/raw-client.js'
import { type Entry, type MethodName, type Table, table, type Values } from './support/raw-codec.js'

// Sections 2.1 to 2.10: names, access, exchanges, queues and bindings.

const broker = await openBroker(t)
const probe = prober(t, broker)

/** Sends one method on a fresh channel and asserts how it is answered. */
const refuses = async <M extends MethodName>(
  c: Case,
  client: RawClient,
  name: M,
  values: Values<M>,
  expected: string | RegExp,
) => {
  await client.channel(9)
  client.send(9, name, values)
  const outcome = await client.outcome()
  if (typeof expected === 'string') c.t.equal(outcome, expected)
  else c.t.match(outcome, expected)
  if (!outcome.startsWith('channel ')) await client.call(9, 'channel.close', { replyCode: 200 })
}

const notFound = (ids: string, queue: string) =>
  `channel 404 ${ids} NOT_FOUND - no queue '${queue}' in vhost '/'`

const onDefault = (ids: string) =>
  `channel 403 ${ids} ACCESS_REFUSED - operation not permitted on the default exchange`

const locked = (ids: string, queue: string) =>
  `channel 405 ${ids} RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '${queue}' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.`

// --------------------------------------------------------------------------------------------------- names

probe('2.1 carriage returns and line feeds are removed from names', async c => {
  const client = await c.channel()
  const queue = c.name()
  const broken = `\r${queue.slice(0, 8)}\r\n${queue.slice(8)}\n`
  const declared = await client.call(1, 'queue.declare', { queue: broken, exclusive: true })
  c.t.equal(declared.queue, queue)
  await client.call(1, 'queue.declare', { queue, passive: true })
  const exchange = c.name('x')
  await client.call(1, 'exchange.declare', { exchange: `${exchange}\n`, type: 'direct' })
  await client.call(1, 'exchange.declare', { exchange, type: 'direct', passive: true })
  await client.call(1, 'queue.bind', { queue: broken, exchange: `\r${exchange}`, routingKey: 'k' })
  client.publish(1, { exchange, key: 'k' })
  client.send(1, 'basic.get', { queue, noAck: true })
  await client.content(1, 'basic.get-ok')
  await client.call(1, 'exchange.delete', { exchange })
})

probe('2.1 names of 255 bytes and of any characters', async c => {
  const client = await c.channel()
  for (const suffix of [' a/b?#*.%', 'ünï€😀', '\x00\x01\x7f']) {
    const name = `${c.name()}${suffix}`
    const { queue } = await client.call(1, 'queue.declare', { queue: name, exclusive: true })
    c.t.equal(queue, name)
    client.publish(1, { key: name })
    client.send(1, 'basic.get', { queue: name, noAck: true })
    c.t.equal((await client.content(1, 'basic.get-ok')).fields.routingKey, name)
  }
  const long = c.name().padEnd(255, 'n')
  c.t.equal((await client.call(1, 'queue.declare', { queue: long, exclusive: true })).queue, long)
  await client.call(1, 'exchange.declare', { exchange: long, type: 'topic', autoDelete: true })
  const routingKey = 'k'.repeat(255)
  await client.call(1, 'queue.bind', { queue: long, exchange: long, routingKey })
  const consumerTag = 't'.repeat(255)
  client.send(1, 'basic.consume', { queue: long, consumerTag, noAck: true })
  c.t.equal((await client.expect(1, 'basic.consume-ok')).consumerTag, consumerTag)
  client.publish(1, { exchange: long, key: routingKey })
  const { fields } = await client.content(1, 'basic.deliver')
  c.t.strictSame(fields, {
    consumerTag,
    deliveryTag: fields.deliveryTag,
    redelivered: false,
    exchange: long,
    routingKey,
  })
})

probe('2.1 the prefix amq. is reserved', async c => {
  const client = await c.channel()
  await refuses(
    c,
    client,
    'queue.declare',
    { queue: 'amq.foo' },
    "channel 403 50,10 ACCESS_REFUSED - queue name 'amq.foo' contains reserved prefix 'amq.*'",
  )
  await refuses(
    c,
    client,
    'exchange.declare',
    { exchange: 'amq.foo', type: 'direct' },
    "channel 403 40,10 ACCESS_REFUSED - exchange name 'amq.foo' contains reserved prefix 'amq.*'",
  )
  await client.call(1, 'exchange.declare', {
    exchange: 'amq.direct',
    type: 'direct',
    durable: true,
  })
  await refuses(
    c,
    client,
    'queue.declare',
    { queue: 'amq.foo', passive: true },
    notFound('50,10', 'amq.foo'),
  )
})

probe('2.1 a server-named queue cannot be declared again by its name', async c => {
  const client = await c.channel()
  const { queue } = await client.call(1, 'queue.declare', { exclusive: true })
  await client.call(1, 'queue.declare', { queue, passive: true })
  await refuses(
    c,
    client,
    'queue.declare',
    { queue, exclusive: true },
    `channel 403 50,10 ACCESS_REFUSED - queue name '${queue}' contains reserved prefix 'amq.*'`,
  )
})

probe('2.1 exchanges named amq. cannot be deleted', async c => {
  const client = await c.channel()
  await refuses(
    c,
    client,
    'exchange.delete',
    { exchange: 'amq.direct' },
    "channel 403 40,20 ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed",
  )
})

probe('2.1 the empty queue name is the last one declared on the channel', async c => {
  const client = await c.channel()
  const [first, second] = [await c.queue(client), await c.queue(client)]
  await client.call(1, 'queue.declare', { queue: first, passive: true })
  client.publish(1, { key: first, body: 'first' })
  client.publish(1, { key: second, body: 'second' })
  client.send(1, 'basic.get', { queue: '', noAck: true })
  c.t.equal((await client.content(1, 'basic.get-ok')).body.toString(), 'first', 'get, passive')
  const declared = await client.call(1, 'queue.declare', { exclusive: true })
  await client.call(1, 'queue.bind', { exchange: 'amq.topic', routingKey: `${first}.key` })
  client.publish(1, { exchange: 'amq.topic', key: `${first}.key`, body: 'bound' })
  await client.call(1, 'queue.unbind', { exchange: 'amq.topic', routingKey: `${first}.key` })
  client.publish(1, { exchange: 'amq.topic', key: `${first}.key`, body: 'not bound' })
  client.send(1, 'basic.consume', { consumerTag: 'tag', noAck: true })
  await client.expect(1, 'basic.consume-ok')
  c.t.equal((await client.content(1, 'basic.deliver')).body.toString(), 'bound', 'bind, consume')
  await client.call(1, 'basic.cancel', { consumerTag: 'tag' })
  c.t.equal((await client.call(1, 'queue.purge')).messages, 0, 'unbind, purge')
  await client.call(1, 'queue.delete')
  await refuses(
    c,
    client,
    'queue.declare',
    { queue: declared.queue, passive: true },
    notFound('50,10', declared.queue),
  )
})

probe('2.1 the empty queue name with none declared is 404', async c => {
  const client = await c.channel()
  const none = (ids: string) => `channel 404 ${ids} NOT_FOUND - no previously declared queue`
  await refuses(c, client, 'queue.bind', { exchange: 'amq.topic' }, none('50,20'))
  await refuses(c, client, 'queue.unbind', { exchange: 'amq.topic' }, none('50,50'))
  await refuses(c, client, 'queue.purge', {}, none('50,30'))
  await refuses(c, client, 'queue.delete', {}, none('50,40'))
  await refuses(c, client, 'basic.get', {}, none('60,70'))
  await refuses(c, client, 'basic.consume', {}, none('60,20'))
})

probe('2.1 binding with neither queue nor key takes the queue name as key', async c => {
  const client = await c.channel()
  const { queue } = await client.call(1, 'queue.declare', { exclusive: true })
  await client.call(1, 'queue.bind', { exchange: 'amq.direct' })
  client.publish(1, { exchange: 'amq.direct', key: queue, body: 'named' })
  client.send(1, 'basic.get', { noAck: true })
  c.t.equal((await client.content(1, 'basic.get-ok')).body.toString(), 'named')
  await client.call(1, 'queue.unbind', { exchange: 'amq.direct' })
  client.publish(1, { exchange: 'amq.direct', key: queue })
  c.t.equal((await client.call(1, 'queue.purge')).messages, 0)
  await client.call(1, 'queue.bind', { queue, exchange: 'amq.direct' })
  client.publish(1, { exchange: 'amq.direct', key: queue })
  c.t.equal(
    (await client.call(1, 'queue.purge')).messages,
    0,
    'a queue that is named keeps the empty key',
  )
})

probe('2.1 passive declare of the empty name is 404', async c => {
  const client = await c.channel()
  await c.queue(client)
  client.send(1, 'queue.declare', { passive: true })
  await c.outcome(client, notFound('50,10', ''))
})

probe('2.1 nothing may be done to the default exchange', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  await refuses(
    c,
    client,
    'exchange.declare',
    { type: 'direct', durable: true },
    onDefault('40,10'),
  )
  await refuses(c, client, 'exchange.declare', { passive: true }, onDefault('40,10'))
  await refuses(c, client, 'exchange.delete', {}, onDefault('40,20'))
  await refuses(c, client, 'queue.bind', { queue, routingKey: 'k' }, onDefault('50,20'))
  await refuses(c, client, 'queue.unbind', { queue, routingKey: 'k' }, onDefault('50,50'))
  await refuses(c, client, 'exchange.bind', { destination: 'amq.topic' }, onDefault('40,30'))
  await refuses(c, client, 'exchange.bind', { source: 'amq.topic' }, onDefault('40,30'))
  await refuses(c, client, 'exchange.unbind', { destination: 'amq.topic' }, onDefault('40,40'))
  await refuses(c, client, 'exchange.unbind', { source: 'amq.topic' }, onDefault('40,40'))
})

probe('2.2 access.request is answered with ticket 1', async c => {
  const client = await c.channel()
  const { ticket } = await client.call(1, 'access.request', { realm: '/data', write: true })
  c.t.equal(ticket, 1)
  const queue = c.name()
  await client.call(1, 'queue.declare', { ticket: 999, queue, exclusive: true })
})

// ----------------------------------------------------------------------------------------------- exchanges

probe('2.3 an unknown exchange type', async c => {
  const client = await c.channel()
  client.send(1, 'exchange.declare', { exchange: c.name('x'), type: 'no-such-type' })
  await c.outcome(client, c.decided())
})

probe('2.3 a known word that is no exchange type', async c => {
  const client = await c.channel()
  client.send(1, 'exchange.declare', { exchange: c.name('x'), type: 'classic' })
  await c.outcome(client, c.decided())
})

probe('2.3 a passive declare looks only at existence', async c => {
  const client = await c.channel()
  const exchange = c.name('x')
  await refuses(
    c,
    client,
    'exchange.declare',
    { exchange, type: 'direct', passive: true },
    `channel 404 40,10 NOT_FOUND - no exchange '${exchange}' in vhost '/'`,
  )
  await client.call(1, 'exchange.declare', {
    exchange: 'amq.direct',
    type: 'fanout',
    passive: true,
    internal: true,
    autoDelete: true,
  })
  await client.call(1, 'exchange.declare', { exchange: 'amq.direct', passive: true })
})

probe('2.3 an exchange declared otherwise is 406', async c => {
  const client = await c.channel()
  const exchange = c.name('x')
  const first = { exchange, type: 'direct', durable: true }
  await client.call(1, 'exchange.declare', first)
  await client.call(1, 'exchange.declare', first)
  await client.call(1, 'exchange.declare', { ...first, arguments: table({ 'x-other': 1 }) })
  const inequivalent = (arg: string, received: string, current: string) =>
    `channel 406 40,10 PRECONDITION_FAILED - inequivalent arg '${arg}' for exchange '${exchange}' in vhost '/': received ${received} but current is ${current}`
  await refuses(
    c,
    client,
    'exchange.declare',
    { ...first, type: 'topic', durable: false },
    inequivalent('type', "'topic'", "'direct'"),
  )
  await refuses(
    c,
    client,
    'exchange.declare',
    { exchange, type: 'direct', autoDelete: true },
    inequivalent('durable', "'false'", "'true'"),
  )
  await refuses(
    c,
    client,
    'exchange.declare',
    { ...first, autoDelete: true, internal: true },
    inequivalent('auto_delete', "'true'", "'false'"),
  )
  await refuses(
    c,
    client,
    'exchange.declare',
    { ...first, internal: true },
    inequivalent('internal', "'true'", "'false'"),
  )
  await refuses(
    c,
    client,
    'exchange.declare',
    { ...first, arguments: table({ 'alternate-exchange': 'ae' }) },
    inequivalent('alternate-exchange', "the value 'ae' of type 'longstr'", 'none'),
  )
})

probe('2.3 an internal exchange takes no publish', async c => {
  const client = await c.channel()
  const exchange = c.name('x')
  await client.call(1, 'exchange.declare', { exchange, type: 'fanout', internal: true })
  client.publish(1, { exchange, key: '' })
  await c.outcome(
    client,
    `channel 403 60,40 ACCESS_REFUSED - cannot publish to internal exchange '${exchange}' in vhost '/'`,
  )
})

probe('2.3 the exchanges that are there from the start', async c => {
  const client = await c.channel()
  for (const [exchange, type, internal] of [
    ['amq.direct', 'direct', false],
    ['amq.fanout', 'fanout', false],
    ['amq.topic', 'topic', false],
    ['amq.headers', 'headers', false],
    ['amq.match', 'headers', false],
    ['amq.rabbitmq.trace', 'topic', true],
  ] as const)
    await client.call(1, 'exchange.declare', { exchange, type, internal, durable: true })
})

probe('2.3 an auto-delete exchange goes with its last binding, not before its first', async c => {
  const client = await c.channel()
  const exchange = c.name('x')
  const queue = await c.queue(client)
  await client.call(1, 'exchange.declare', { exchange, type: 'fanout', autoDelete: true })
  await client.call(1, 'exchange.declare', { exchange, passive: true })
  await client.call(1, 'queue.bind', { queue, exchange })
  await client.call(1, 'queue.bind', { queue, exchange, routingKey: 'second' })
  await client.call(1, 'queue.unbind', { queue, exchange })
  await client.call(1, 'exchange.declare', { exchange, passive: true })
  await client.call(1, 'queue.unbind', { queue, exchange, routingKey: 'second' })
  client.send(1, 'exchange.declare', { exchange, passive: true })
  await c.outcome(client, `channel 404 40,10 NOT_FOUND - no exchange '${exchange}' in vhost '/'`)
})

probe('2.4 deleting an exchange', async c => {
  const client = await c.channel()
  const exchange = c.name('x')
  const queue = await c.queue(client)
  await client.call(1, 'exchange.delete', { exchange })
  await client.call(1, 'exchange.declare', { exchange, type: 'fanout' })
  await client.call(1, 'queue.bind', { queue, exchange })
  await refuses(
    c,
    client,
    'exchange.delete',
    { exchange, ifUnused: true },
    `channel 406 40,20 PRECONDITION_FAILED - exchange '${exchange}' in vhost '/' in use`,
  )
  const target = c.name('x')
  await client.call(1, 'exchange.declare', { exchange: target, type: 'fanout' })
  await client.call(1, 'exchange.bind', {
    destination: target,
    source: 'amq.topic',
    routingKey: target,
  })
  await client.call(1, 'exchange.delete', { exchange: target, ifUnused: true })
  await client.call(1, 'exchange.delete', { exchange })
})

probe('2.5 exchange.bind, exchange.unbind and their answers', async c => {
  const client = await c.channel()
  const [source, destination] = [c.name('x'), c.name('x')]
  for (const exchange of [source, destination])
    await client.call(1, 'exchange.declare', { exchange, type: 'fanout', autoDelete: true })
  const queue = await c.queue(client)
  await client.call(1, 'queue.bind', { queue, exchange: destination })
  client.send(1, 'exchange.bind', { destination, source })
  c.t.equal((await client.next())?.payload.toString('hex'), '0028001f')
  await client.call(1, 'exchange.bind', { destination: source, source: destination })
  await client.call(1, 'exchange.bind', { destination: source, source })
  client.publish(1, { exchange: source, key: 'k' })
  c.t.equal((await client.call(1, 'queue.purge', { queue })).messages, 1, 'cycles are walked once')
  await client.call(1, 'exchange.unbind', { destination: source, source })
  await client.call(1, 'exchange.unbind', { destination: source, source: destination })
  client.send(1, 'exchange.unbind', { destination, source, routingKey: 'never bound' })
  c.t.equal((await client.next())?.payload.toString('hex'), '00280033', '40.51')
  client.publish(1, { exchange: source, key: 'k' })
  c.t.equal((await client.call(1, 'queue.purge', { queue })).messages, 1)
  const missing = c.name('x')
  const noExchange = (ids: string) =>
    `channel 404 ${ids} NOT_FOUND - no exchange '${missing}' in vhost '/'`
  await refuses(c, client, 'exchange.bind', { destination: missing, source }, noExchange('40,30'))
  await refuses(c, client, 'exchange.bind', { destination, source: missing }, noExchange('40,30'))
  const other = c.name('x')
  await refuses(
    c,
    client,
    'exchange.bind',
    { destination: other, source: missing },
    noExchange('40,30'),
  )
  await client.call(1, 'exchange.unbind', { destination: missing, source })
  await client.call(1, 'exchange.unbind', { destination, source: missing })
})

// -------------------------------------------------------------------------------------------------- queues

probe('2.6 an exclusive queue is locked to others and to other flags', async c => {
  const [owner, other] = [await c.channel(), await c.channel()]
  const queue = await c.queue(owner)
  await owner.call(1, 'queue.declare', { queue, exclusive: true })
  await refuses(c, owner, 'queue.declare', { queue }, locked('50,10', queue))
  await refuses(c, other, 'queue.declare', { queue, exclusive: true }, locked('50,10', queue))
  await refuses(c, other, 'queue.declare', { queue, passive: true }, locked('50,10', queue))
  await refuses(c, other, 'queue.bind', { queue, exchange: 'amq.topic' }, locked('50,20', queue))
  await refuses(c, other, 'queue.purge', { queue }, locked('50,30', queue))
  await refuses(c, other, 'queue.delete', { queue }, locked('50,40', queue))
  await refuses(c, other, 'basic.get', { queue }, locked('60,70', queue))
  await refuses(c, other, 'basic.consume', { queue }, locked('60,20', queue))
  other.publish(1, { key: queue })
  await other.fence(1)
  c.t.equal((await owner.call(1, 'queue.purge', { queue })).messages, 1, 'anyone may publish')
})

probe('2.6 a queue without owner is not re-declared as exclusive', async c => {
  const client = await c.channel()
  const queue = c.name()
  await client.call(1, 'queue.declare', { queue, durable: true })
  client.send(1, 'queue.declare', { queue, durable: true, exclusive: true })
  await c.outcome(client, locked('50,10', queue))
})

probe('2.6 a queue declared otherwise is 406', async c => {
  const client = await c.channel()
  const queue = c.name()
  await client.call(1, 'queue.declare', { queue, durable: true })
  const inequivalent = (arg: string, received: string, current: string) =>
    `channel 406 50,10 PRECONDITION_FAILED - inequivalent arg '${arg}' for queue '${queue}' in vhost '/': received '${received}' but current is '${current}'`
  await refuses(
    c,
    client,
    'queue.declare',
    { queue, autoDelete: true },
    inequivalent('durable', 'false', 'true'),
  )
  await refuses(
    c,
    client,
    'queue.declare',
    { queue, durable: true, autoDelete: true },
    inequivalent('auto_delete', 'true', 'false'),
  )
})

probe('2.6 arguments are compared by class and value', async c => {
  const client = await c.channel()
  const queue = c.name()
  const declare = (args: Table) => ({ queue, durable: true, arguments: args })
  const ttl = (letter: string, value: unknown): Table => [['x-message-ttl', letter, value] as Entry]
  await client.call(1, 'queue.declare', declare(ttl('I', 1000)))
  for (const [letter, value] of [
    ['l', 1000n],
    ['s', 1000],
    ['u', 1000],
    ['i', 1000],
    ['L', 1000n],
  ] as const)
    await client.call(1, 'queue.declare', declare(ttl(letter, value)))
  const inequivalent = (text: string) =>
    `channel 406 50,10 PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue '${queue}' in vhost '/': received ${text}`
  await refuses(
    c,
    client,
    'queue.declare',
    declare(ttl('I', 2000)),
    inequivalent("'2000' but current is '1000'"),
  )
  await refuses(
    c,
    client,
    'queue.declare',
    declare([]),
    inequivalent("none but current is the value '1000' of type 'signedint'"),
  )
})

probe('2.6 a string is not a number although the text says so', async c => {
  const client = await c.channel()
  const queue = c.name()
  const declare = (letter: string, value: unknown) => ({
    queue,
    durable: true,
    arguments: [['x-max-length', letter, value] as Entry],
  })
  await client.call(1, 'queue.declare', declare('I', 1000))
  client.send(1, 'queue.declare', declare('S', '1000'))
  await c.outcome(
    client,
    `channel 406 50,10 PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '${queue}' in vhost '/': received '1000' but current is '1000'`,
  )
})

probe('2.6 an argument that only the new declare has', async c => {
  const client = await c.channel()
  const queue = c.name()
  await client.call(1, 'queue.declare', { queue, durable: true })
  client.send(1, 'queue.declare', { queue, durable: true, arguments: table({ 'x-max-length': 5 }) })
  await c.outcome(
    client,
    `channel 406 50,10 PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '${queue}' in vhost '/': received the value '5' of type 'signedint' but current is none`,
  )
})

for (const [letter, value, type] of [
  ['I', 5, 'signedint'],
  ['l', 5n, 'long'],
  ['s', 5, 'short'],
  ['b', 5, 'byte'],
  ['B', 5, 'unsignedbyte'],
  ['u', 5, 'unsignedshort'],
  ['i', 5, 'unsignedint'],
] as const)
  probe(`2.6 field type ${letter} is called ${type}`, async c => {
    const client = await c.channel()
    const queue = c.name()
    const args: Table = [['x-max-length', letter, value]]
    await client.call(1, 'queue.declare', { queue, durable: true, arguments: args })
    client.send(1, 'queue.declare', { queue, durable: true })
    await c.outcome(
      client,
      `channel 406 50,10 PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '${queue}' in vhost '/': received none but current is the value '5' of type '${type}'`,
    )
  })

probe('2.6 unknown arguments are kept and never compared', async c => {
  const client = await c.channel()
  const queue = c.name()
  const declare = (args: Table) => ({ queue, durable: true, arguments: args })
  await client.call(1, 'queue.declare', declare(table({ 'x-mine': 1, other: 'a' })))
  await client.call(1, 'queue.declare', declare(table({ 'x-mine': 'two' })))
  await client.call(1, 'queue.declare', declare([]))
})

probe('2.6 no queue type and classic are the same', async c => {
  const client = await c.channel()
  const classic = table({ 'x-queue-type': 'classic' })
  const [first, second] = [c.name(), c.name()]
  await client.call(1, 'queue.declare', { queue: first, durable: true })
  await client.call(1, 'queue.declare', { queue: first, durable: true, arguments: classic })
  await client.call(1, 'queue.declare', { queue: second, durable: true, arguments: classic })
  await client.call(1, 'queue.declare', { queue: second, durable: true })
})

probe('2.6 a server-named queue is amq.gen- and 22 characters', async c => {
  const client = await c.channel()
  const names = new Set<string>()
  for (let i = 0; i < 10; i++) {
    const { queue } = await client.call(1, 'queue.declare', { exclusive: true })
    c.t.match(queue, /^amq\.gen-[A-Za-z0-9_-]{22}$/)
    names.add(queue)
  }
  c.t.equal(names.size, 10)
})

probe('2.6 a quorum queue cannot be server-named', async c => {
  const client = await c.channel()
  client.send(1, 'queue.declare', { durable: true, arguments: table({ 'x-queue-type': 'quorum' }) })
  await c.outcome(
    client,
    'channel 406 50,10 PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue',
  )
})

probe('2.6 a dead letter exchange that is no string is 406', async c => {
  const client = await c.channel()
  const queue = c.name()
  client.send(1, 'queue.declare', { queue, arguments: table({ 'x-dead-letter-exchange': 5 }) })
  await c.outcome(
    client,
    `channel 406 50,10 PRECONDITION_FAILED - invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue '${queue}' in vhost '/'`,
  )
})

probe('2.6 passive declare: 404, live counts, other flags ignored', async c => {
  const client = await c.channel()
  const missing = c.name()
  await refuses(
    c,
    client,
    'queue.declare',
    { queue: missing, passive: true },
    notFound('50,10', missing),
  )
  const queue = await c.queue(client)
  for (let i = 0; i < 3; i++) client.publish(1, { key: queue })
  client.send(1, 'basic.get', { queue })
  await client.content(1, 'basic.get-ok')
  client.send(1, 'basic.consume', { queue: await c.queue(client) })
  await client.expect(1, 'basic.consume-ok')
  c.t.strictSame(
    await client.call(1, 'queue.declare', {
      queue,
      passive: true,
      durable: true,
      autoDelete: true,
      arguments: table({ 'x-max-length': 1 }),
    }),
    { queue, messages: 2, consumers: 0 },
    'ready only',
  )
})

probe('2.6 transient queues that are not exclusive are allowed', async c => {
  const client = await c.channel()
  const queue = c.name()
  await client.call(1, 'queue.declare', { queue })
  await client.call(1, 'queue.declare', { queue, nowait: false })
  await client.call(1, 'queue.delete', { queue })
})

probe('2.6 an exclusive durable queue may be declared again either way', async c => {
  const client = await c.channel()
  const queue = c.name()
  await client.call(1, 'queue.declare', { queue, exclusive: true, durable: true })
  await client.call(1, 'queue.declare', { queue, exclusive: true, durable: true })
  client.send(1, 'queue.declare', { queue, exclusive: true })
  await c.outcome(client, 'queue.declare-ok')
})

probe('2 nowait suppresses the answer and nothing else', async c => {
  const client = await c.channel()
  const [queue, exchange, target] = [c.name(), c.name('x'), c.name('x')]
  const nowait = true
  client.send(1, 'exchange.declare', { exchange, type: 'fanout', nowait })
  client.send(1, 'exchange.declare', { exchange: target, type: 'fanout', nowait })
  client.send(1, 'queue.declare', { queue, exclusive: true, nowait })
  client.send(1, 'queue.bind', { queue, exchange: target, nowait })
  client.send(1, 'exchange.bind', { destination: target, source: exchange, nowait })
  client.publish(1, { exchange, key: 'purged' })
  client.send(1, 'queue.purge', { queue, nowait })
  client.send(1, 'basic.consume', { queue, consumerTag: 'first', noAck: true, nowait })
  client.send(1, 'basic.cancel', { consumerTag: 'first', nowait })
  client.publish(1, { exchange, key: 'delivered' })
  client.send(1, 'confirm.select', { nowait })
  c.t.strictSame(await client.fence(1), [])
  client.send(1, 'basic.consume', { queue, consumerTag: 'second', noAck: true, nowait })
  const { fields } = await client.content(1, 'basic.deliver')
  c.t.equal(fields.routingKey, 'delivered')
  c.t.equal(fields.consumerTag, 'second')
  client.send(1, 'basic.cancel', { consumerTag: 'second', nowait })
  client.send(1, 'exchange.unbind', { destination: target, source: exchange, nowait })
  client.send(1, 'exchange.delete', { exchange, nowait })
  client.send(1, 'exchange.delete', { exchange: target, nowait })
  client.send(1, 'queue.delete', { queue, nowait })
  c.t.strictSame(await client.fence(1), [])
  client.send(1, 'queue.declare', { queue, passive: true, nowait })
  await c.outcome(client, notFound('50,10', queue))
})

probe('2 answers leave in the order of the questions', async c => {
  const client = await c.channel()
  const queue = c.name()
  client.send(1, 'queue.declare', { queue, exclusive: true })
  client.send(1, 'basic.qos', { prefetchCount: 3 })
  client.send(1, 'queue.bind', { queue, exchange: 'amq.topic', routingKey: queue })
  client.send(1, 'basic.get', { queue })
  client.send(1, 'queue.unbind', { queue, exchange: 'amq.topic', routingKey: queue })
  client.send(1, 'confirm.select')
  client.send(1, 'queue.delete', { queue })
  client.send(1, 'channel.close', { replyCode: 200 })
  for (const name of [
    'queue.declare-ok',
    'basic.qos-ok',
    'queue.bind-ok',
    'basic.get-empty',
    'queue.unbind-ok',
    'confirm.select-ok',
    'queue.delete-ok',
    'channel.close-ok',
  ] as const)
    await client.expect(1, name)
})

probe('2.7 binding something that is not there is 404', async c => {
  const client = await c.channel()
  const [queue, missing] = [await c.queue(client), c.name('x')]
  await refuses(
    c,
    client,
    'queue.bind',
    { queue, exchange: missing },
    `channel 404 50,20 NOT_FOUND - no exchange '${missing}' in vhost '/'`,
  )
  await refuses(
    c,
    client,
    'queue.bind',
    { queue: missing, exchange: 'amq.topic' },
    notFound('50,20', missing),
  )
  await refuses(
    c,
    client,
    'queue.bind',
    { queue: missing, exchange: missing },
    `channel 404 50,20 NOT_FOUND - no exchange '${missing}' in vhost '/'`,
  )
})

probe('2.7 binding twice is one binding', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  const binding = { queue, exchange: 'amq.direct', routingKey: queue }
  await client.call(1, 'queue.bind', { ...binding, arguments: table({ a: 1, b: 'x' }) })
  await client.call(1, 'queue.bind', { ...binding, arguments: table({ b: 'x', a: 1 }) })
  await client.call(1, 'queue.bind', binding)
  client.publish(1, { exchange: 'amq.direct', key: queue })
  c.t.equal((await client.call(1, 'queue.purge', { queue })).messages, 1, 'one copy')
  await client.call(1, 'queue.unbind', { ...binding, arguments: table({ a: 1, b: 'x' }) })
  client.publish(1, { exchange: 'amq.direct', key: queue })
  c.t.equal(
    (await client.call(1, 'queue.purge', { queue })).messages,
    1,
    'the other binding is left',
  )
  await client.call(1, 'queue.unbind', binding)
  client.publish(1, { exchange: 'amq.direct', key: queue })
  c.t.equal((await client.call(1, 'queue.purge', { queue })).messages, 0)
})

probe('2.8 unbinding what is not bound is fine', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  await client.call(1, 'queue.unbind', { queue, exchange: 'amq.topic', routingKey: 'never' })
  await client.call(1, 'queue.unbind', { queue, exchange: c.name('x'), routingKey: 'never' })
  await client.call(1, 'queue.unbind', { queue: c.name(), exchange: 'amq.topic' })
})

probe('2.9 purge takes the ready messages only', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  for (let i = 0; i < 4; i++) client.publish(1, { key: queue, body: `${i}` })
  client.send(1, 'basic.get', { queue })
  const { fields } = await client.content(1, 'basic.get-ok')
  c.t.equal((await client.call(1, 'queue.purge', { queue })).messages, 3)
  client.send(1, 'basic.nack', { deliveryTag: fields.deliveryTag, requeue: true })
  client.send(1, 'basic.get', { queue })
  c.t.equal((await client.content(1, 'basic.get-ok')).body.toString(), '0')
})

probe('2.9 a stream cannot be purged', async c => {
  const client = await c.channel()
  const queue = c.name()
  const args = table({ 'x-queue-type': 'stream' })
  client.send(1, 'queue.declare', { queue, durable: true, arguments: args })
  if (!c.real) return c.outcome(client, c.decided())
  await client.expect(1, 'queue.declare-ok')
  client.send(1, 'queue.purge', { queue })
  await c.outcome(client, c.decided())
})

probe('2.10 deleting a queue', async c => {
  const client = await c.channel()
  const missing = c.name()
  c.t.equal((await client.call(1, 'queue.delete', { queue: missing })).messages, 0, 'a missing one')
  const queue = await c.queue(client)
  client.publish(1, { key: queue })
  client.publish(1, { key: queue })
  const refused = (what: string) =>
    `channel 406 50,40 PRECONDITION_FAILED - queue '${queue}' in vhost '/' ${what}`
  await refuses(c, client, 'queue.delete', { queue, ifEmpty: true }, refused('not empty'))
  client.send(1, 'basic.consume', { queue, consumerTag: 'tag' })
  await client.expect(1, 'basic.consume-ok')
  await client.content(1, 'basic.deliver')
  await client.content(1, 'basic.deliver')
  await refuses(c, client, 'queue.delete', { queue, ifUnused: true }, refused('in use'))
  client.publish(1, { key: queue })
  await client.content(1, 'basic.deliver')
  await client.call(1, 'basic.cancel', { consumerTag: 'tag' })
  client.publish(1, { key: queue })
  c.t.equal((await client.call(1, 'queue.delete', { queue, ifUnused: true })).messages, 1, 'ready')
  client.send(1, 'basic.ack', { deliveryTag: 2, multiple: true })
  client.send(1, 'basic.nack', { deliveryTag: 3, requeue: true })
  c.t.strictSame(await client.fence(1), [], 'acks for a deleted queue are harmless')
})

probe('2.10 basic.cancel follows delete-ok on the deleting channel', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  await client.call(1, 'basic.consume', { queue, consumerTag: 'tag' })
  client.send(1, 'queue.delete', { queue })
  await client.expect(1, 'queue.delete-ok')
  c.t.strictSame(await client.expect(1, 'basic.cancel'), { consumerTag: 'tag', nowait: true })
})

probe('2.10 a quorum queue takes neither if-unused nor if-empty', async c => {
  for (const bit of ['unused', 'empty'] as const) {
    const client = await c.channel()
    const queue = c.name()
    const args = table({ 'x-queue-type': 'quorum' })
    client.send(1, 'queue.declare', { queue, durable: true, arguments: args })
    await client.expect(1, 'queue.declare-ok')
    client.send(1, 'queue.delete', { queue, ifUnused: bit === 'unused', ifEmpty: bit === 'empty' })
    await c.outcome(
      client,
      `connection 540 50,40 NOT_IMPLEMENTED - cannot delete queue '${queue}' in vhost '/'. queue.delete operations with if-${bit} flag set are not supported by quorum queues`,
    )
  }
})
