/**
 * Exchange types beyond AMQP's own. RabbitMQ has most of them as plugins; where it does not have
 * one, its tests are skipped.
 */
import type { Channel } from 'amqplib'
import t from 'tap'
import { openBroker } from './support/broker.js'
import { type Client, openClient } from './support/client.js'
import { expectChannelError } from './support/errors.js'

const broker = await openBroker(t)
const keys = Array.from({ length: 1000 }, (_, i) => `key ${i}`)

/** Why the tests of a type are skipped: false if they are not. */
async function unlessOffered(type: string): Promise<false | string> {
  if (!broker.real) return false
  const client = await openClient(t, broker)
  const refusals = new Promise<true>(resolve => client.connection.on('error', () => resolve(true)))
  const declared = client.exchange(type, exchangeArguments(type)).then(
    () => false as const,
    () => true as const,
  )
  const refused = await Promise.race([declared, refusals])
  return refused ? `${type} is not enabled` : false
}

function exchangeArguments(type: string) {
  return type === 'x-delayed-message' ? { arguments: { 'x-delayed-type': 'direct' } } : {}
}

/** Publishes a message with each of the keys, and tells which of them each queue got. */
async function spread(client: Client, exchange: string, queues: readonly string[]) {
  for (const key of keys) client.publish(exchange, key, key)
  const got = await Promise.all(queues.map(queue => client.drain(queue)))
  let count = got.flat().length
  while (count < keys.length) {
    const more = await Promise.all(queues.map(queue => client.drain(queue)))
    for (const [i, bodies] of more.entries()) got[i]?.push(...bodies)
    count = got.flat().length
  }
  return got
}

/** The text with which a channel is closed. */
async function refusal(client: Client, ask: (channel: Channel) => Promise<unknown>) {
  const channel = await client.openChannel()
  const { code, text } = await expectChannelError(channel, ask(channel))
  return code === 406 ? text : `${code} ${text}`
}

function declaration(client: Client, type: string, args: object): Promise<string> {
  const name = client.exchangeName()
  return refusal(client, channel => channel.assertExchange(name, type, { arguments: args }))
}

async function boundQueues(client: Client, exchange: string, weights: readonly string[]) {
  const queues: string[] = []
  for (const weight of weights) queues.push(await client.boundQueue(exchange, weight))
  return queues
}

t.test('x-consistent-hash', { skip: await unlessOffered('x-consistent-hash') }, async t => {
  t.test('every message goes to one queue, by its key, in shares as the weights say', async t => {
    const client = await openClient(t, broker)
    const exchange = await client.exchange('x-consistent-hash')
    const queues = await boundQueues(client, exchange, ['1', '1', '2'])
    const got = await spread(client, exchange, queues)
    t.same(got.flat().sort(), [...keys].sort())
    const shares = got.map(bodies => bodies.length / keys.length)
    for (const [i, share] of [0.25, 0.25, 0.5].entries())
      t.ok(Math.abs((shares[i] as number) - share) < 0.1, `${shares}`)
    t.same(
      (await spread(client, exchange, queues)).map(bodies => bodies.sort()),
      got.map(bodies => bodies.sort()),
    )
  })

  t.test('by a header instead, whatever the key; without it all go to one', async t => {
    const client = await openClient(t, broker)
    const exchange = await client.exchange('x-consistent-hash', {
      arguments: { 'hash-header': 'user' },
    })
    const queues = await boundQueues(client, exchange, ['1', '1', '1'])
    for (let i = 0; i < 60; i++)
      client.publish(exchange, `${i}`, `${i % 6}`, { headers: { user: `user ${i % 6}` } })
    const bodies: string[][] = queues.map(() => [])
    while (bodies.flat().length < 60)
      for (const [i, queue] of queues.entries()) bodies[i]?.push(...(await client.drain(queue)))
    for (let user = 0; user < 6; user++)
      t.equal(bodies.filter(got => got.includes(`${user}`)).length, 1, `user ${user}`)
    t.equal((await spread(client, exchange, queues)).filter(got => got.length > 0).length, 1)
  })

  t.test('weights and arguments that cannot be are refused', async t => {
    const client = await openClient(t, broker)
    const exchange = await client.exchange('x-consistent-hash')
    const queue = await client.queue()
    for (const [key, text] of [
      ['many', 'PRECONDITION_FAILED - The binding key must be an integer: <<"many">>'],
      ['0', 'PRECONDITION_FAILED - The binding key must be greater than 0'],
    ] as const)
      t.equal(await refusal(client, channel => channel.bindQueue(queue, exchange, key)), text)
    for (const [args, text] of [
      [
        { 'hash-header': 'h', 'hash-property': 'message_id' },
        'PRECONDITION_FAILED - hash-header and hash-property are mutually exclusive',
      ],
      [{ 'hash-property': 'app_id' }, 'PRECONDITION_FAILED - Unsupported property: app_id'],
    ] as const)
      t.equal(await declaration(client, 'x-consistent-hash', args), text)
  })
})

t.test(
  'x-modulus-hash: each key has one queue',
  { skip: await unlessOffered('x-modulus-hash') },
  async t => {
    const client = await openClient(t, broker)
    const exchange = await client.exchange('x-modulus-hash')
    const queues = await boundQueues(client, exchange, ['', 'any', '7'])
    const got = await spread(client, exchange, queues)
    t.same(got.flat().sort(), [...keys].sort())
    t.ok(
      got.every(bodies => bodies.length > 200),
      got.map(({ length }) => length).join(),
    )
  },
)

for (const type of ['x-random', 'x-local-random'])
  t.test(`${type}: any of the queues`, { skip: await unlessOffered(type) }, async t => {
    const client = await openClient(t, broker)
    const exchange = await client.exchange(type)
    const queues = await boundQueues(client, exchange, ['', '', ''])
    const got = await spread(client, exchange, queues)
    t.same(got.flat().sort(), [...keys].sort())
    t.ok(
      got.every(bodies => bodies.length > 200),
      got.map(({ length }) => length).join(),
    )
  })

t.test('x-recent-history', { skip: await unlessOffered('x-recent-history') }, async t => {
  t.test('a new binding brings the last messages, oldest first', async t => {
    const client = await openClient(t, broker)
    const exchange = await client.exchange('x-recent-history', {
      arguments: { 'x-recent-history-length': 3 },
    })
    const first = await client.boundQueue(exchange, '')
    for (const body of ['a', 'b', 'c', 'd']) client.publish(exchange, `key ${body}`, body)
    client.publish(exchange, '', 'unkept', { headers: { 'x-recent-history-no-store': true } })
    await client.untilReady(first, 5)
    const later = await client.boundQueue(exchange, '')
    await client.untilReady(later, 3)
    const message = await client.get(later)
    t.match(message.fields, { exchange, routingKey: 'key b', redelivered: false })
    t.same(await client.drain(later), ['c', 'd'])
  })

  t.test('a length that cannot be is refused', async t => {
    const client = await openClient(t, broker)
    const text =
      "PRECONDITION_FAILED - Invalid argument 0, 'x-recent-history-length' must be a positive integer"
    t.equal(await declaration(client, 'x-recent-history', { 'x-recent-history-length': 0 }), text)
  })
})

t.test('x-delayed-message', { skip: await unlessOffered('x-delayed-message') }, async t => {
  t.test('messages come in the order of their delays, after them', async t => {
    const client = await openClient(t, broker)
    const exchange = await client.exchange('x-delayed-message', {
      arguments: { 'x-delayed-type': 'direct' },
    })
    const queue = await client.boundQueue(exchange, 'k')
    const started = performance.now()
    client.publish(exchange, 'k', 'late', { headers: { 'x-delay': 400 } })
    client.publish(exchange, 'k', 'soon', { headers: { 'x-delay': 200 } })
    client.publish(exchange, 'k', 'now')
    const bodies: string[] = []
    for (let i = 0; i < 3; i++) {
      const message = await client.getEventually(queue)
      bodies.push(message.content.toString())
      if (i > 0) t.ok(performance.now() - started >= 200 * i, 'not early')
      if (i > 0) t.equal(message.properties.headers?.['x-delay'], -200 * i)
    }
    t.same(bodies, ['now', 'soon', 'late'])
  })

  t.test('a mandatory one is returned and confirmed, and still comes', async t => {
    const client = await openClient(t, broker)
    const exchange = await client.exchange('x-delayed-message', {
      arguments: { 'x-delayed-type': 'fanout' },
    })
    const queue = await client.boundQueue(exchange, '')
    const channel = await client.openConfirmChannel()
    const returned = new Promise<string>(resolve =>
      channel.once('return', message => resolve(message.fields.replyText)),
    )
    const options = { mandatory: true, persistent: true, headers: { 'x-delay': 50 } }
    channel.publish(exchange, '', Buffer.from('m'), options)
    await channel.waitForConfirms()
    t.equal(await returned, 'NO_ROUTE')
    t.equal((await client.getEventually(queue)).content.toString(), 'm')
  })

  t.test('without a type to wrap it is refused', async t => {
    const client = await openClient(t, broker)
    const text =
      "PRECONDITION_FAILED - Invalid argument, 'x-delayed-type' must be an existing exchange type"
    t.equal(await declaration(client, 'x-delayed-message', {}), text)
  })
})
