import t from 'tap'
import { openBroker } from './support/broker.js'
import { type Case, prober } from './support/probe.js'
import { type Entry, encodeHeader, type Table, table } from './support/raw-codec.js'

// Sections 2.22 and 2.23: field tables and basic properties.

const broker = await openBroker(t)
const probe = prober(t, broker)

/** Every letter with values at the edges of its range. */
const everyLetter: Table = [
  ['t', 't', true],
  ['f', 't', false],
  ['b', 'b', -128],
  ['B', 'B', 255],
  ['s', 's', -32_768],
  ['u', 'u', 65_535],
  ['I', 'I', -(2 ** 31)],
  ['i', 'i', 2 ** 32 - 1],
  ['l', 'l', -(2n ** 63n)],
  ['L', 'L', 2n ** 63n - 1n],
  ['float', 'f', 0.5],
  ['double', 'd', -1e300],
  ['D', 'D', [2, 4_294_967_295]],
  ['S', 'S', 'text'],
  ['S0', 'S', ''],
  ['x', 'x', Buffer.from([0, 255])],
  [
    'A',
    'A',
    [
      ['I', 1],
      ['A', []],
      ['F', []],
      ['V', null],
    ],
  ],
  ['F', 'F', [['in', 'F', [['deeper', 'S', 'x']]]]],
  ['T', 'T', 2n ** 63n],
  ['V', 'V', null],
  ['', 'S', 'an empty key'],
  ['k'.repeat(255), 'S', 'a long key'],
]

const dead = async (c: Case, headers: Table): Promise<Table> => {
  const client = await c.channel()
  const target = await c.queue(client)
  const queue = await c.queue(client, {
    arguments: table({ 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': target }),
  })
  client.publish(1, { key: queue, properties: { headers } })
  client.send(1, 'basic.get', { queue })
  const { fields } = await client.content(1, 'basic.get-ok')
  client.send(1, 'basic.reject', { deliveryTag: fields.deliveryTag })
  await client.call(1, 'basic.consume', { queue: target, noAck: true })
  return (await client.content(1, 'basic.deliver')).properties.headers ?? []
}

probe('2.22 every field type passes through untouched', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  const properties = { headers: everyLetter }
  client.publish(1, { key: queue, properties })
  client.send(1, 'basic.get', { queue, noAck: true })
  const { header } = await client.content(1, 'basic.get-ok')
  c.t.equal(
    header.raw.toString('hex'),
    encodeHeader({ size: 0, properties }).subarray(12).toString('hex'),
  )
})

probe('2.22 every field type survives a header that the broker rewrites, L as l', async c => {
  const got = await dead(c, everyLetter)
  for (const [key, letter, value] of everyLetter) {
    const found = got.find(([name]) => name === key)
    const printed = (v: unknown) =>
      JSON.stringify(v, (_, inner) => (typeof inner === 'bigint' ? `${inner}n` : inner))
    c.t.equal(found?.[1], letter === 'L' ? 'l' : letter, `the type of ${letter}`)
    c.t.equal(printed(found?.[2]), printed(value), `the value of ${letter}`)
  }
})

probe('2.22 a bool of any octet but 0 is true', async c => {
  const got = await dead(c, [['seven', 't', 7]])
  c.t.strictSame(
    got.find(([key]) => key === 'seven'),
    ['seven', 't', true],
  )
})

probe('2.22 every field type is accepted in arguments', async c => {
  const client = await c.channel()
  const args = everyLetter.map(
    ([key, letter, value]): Entry => [`y-${key}`.slice(0, 255), letter, value],
  )
  const queue = await c.queue(client, { arguments: args })
  await client.call(1, 'queue.bind', { queue, exchange: 'amq.headers', arguments: args })
  await client.call(1, 'queue.unbind', { queue, exchange: 'amq.headers', arguments: args })
  await client.call(1, 'basic.consume', { queue, arguments: args })
})

probe('2.22 what the broker adds is l and S', async c => {
  const death = (await dead(c, [])).find(([key]) => key === 'x-death')
  const [[letter, entry]] = (death as Entry)[2] as [[string, Table]]
  c.t.equal(letter, 'F')
  const letters = Object.fromEntries(entry.map(([key, type]) => [key, type]))
  c.t.strictSame(letters, {
    count: 'l',
    reason: 'S',
    queue: 'S',
    time: 'T',
    exchange: 'S',
    'routing-keys': 'A',
  })
})

for (const [where, letter] of [
  ['headers', 'U'],
  ['headers', 'Z'],
  ['queue arguments', 'U'],
] as const)
  probe(`2.22 a field of type ${letter} in ${where}`, async c => {
    const client = await c.channel()
    const odd: Entry = ['odd', letter, Buffer.from([0, 1])]
    if (where === 'headers') client.publish(1, { key: c.name(), properties: { headers: [odd] } })
    else client.send(1, 'queue.declare', { queue: c.name(), exclusive: true, arguments: [odd] })
    await c.outcome(client, c.decided())
  })

probe('2.22 a table whose lengths do not add up costs the connection', async c => {
  const client = await c.channel()
  client.send(1, 'basic.publish', { routingKey: 'nobody' })
  client.header(1, 0, Buffer.from('200000000004016153ff', 'hex'))
  await c.outcome(client, c.decided())
})

probe('2.23 bytes after the last property cost the connection', async c => {
  const client = await c.channel()
  client.send(1, 'basic.publish', { routingKey: 'nobody' })
  client.header(1, 0, Buffer.from([0x10, 0, 2, 9, 9]))
  await c.outcome(client, c.decided())
})

probe('2.23 the flag of a continuation costs the connection', async c => {
  const client = await c.channel()
  client.send(1, 'basic.publish', { routingKey: 'nobody' })
  client.header(1, 0, Buffer.from([0x10, 1, 0, 0, 2]))
  await c.outcome(client, c.decided())
})

probe('2.23 flag bit 1 is ignored', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  client.send(1, 'basic.publish', { routingKey: queue })
  client.header(1, 0, Buffer.from([0x10, 2, 2]))
  client.send(1, 'basic.get', { queue, noAck: true })
  const f = await client.next()
  c.t.equal(f?.name, 'basic.get-ok')
  const header = await client.next()
  c.t.match(header?.payload.subarray(12).toString('hex'), /^100[02]02$/)
})

probe('2.23 each property alone comes back alone', async c => {
  const client = await c.channel()
  const queue = await c.queue(client)
  for (const properties of [
    { contentType: 'a' },
    { contentEncoding: 'a' },
    { headers: [] },
    { deliveryMode: 1 },
    { priority: 0 },
    { correlationId: '' },
    { replyTo: 'a' },
    { expiration: '100000' },
    { messageId: 'a' },
    { timestamp: 0n },
    { type: 'a' },
    { userId: 'guest' },
    { appId: 'a' },
    { clusterId: 'a' },
  ]) {
    client.publish(1, { key: queue, properties })
    client.send(1, 'basic.get', { queue, noAck: true })
    c.t.strictSame((await client.content(1, 'basic.get-ok')).properties, properties)
  }
})

probe('2.22 arguments nested 100 deep', async c => {
  const client = await c.channel()
  const deep = Array.from({ length: 100 }).reduce<Table>(inner => [['d', 'F', inner]], [])
  await c.queue(client, { arguments: deep })
  const got = await dead(c, deep)
  c.t.strictSame(
    got.find(([key]) => key === 'd'),
    deep[0],
  )
})
