/** What the firehose shows of messages that clients publish and get. */
import t from 'tap'
import type { Vhost } from '../../src/broker/vhost.js'
import { type FieldTable, fieldTable, lookup, textOf } from '../../src/wire/field-table.js'
import { declareQueue, method, publish, SimulatedBroker } from '../support/test-client.js'
import { type Taken, takeAll } from '../support/vhosts.js'

const body = Buffer.from('the body')

/** A broker whose traces with such keys come to the queue `traces`. */
function open(key = '#') {
  const host = new SimulatedBroker()
  const vhost = host.broker.vhost('/') as Vhost
  const client = host.open()
  const tracer = host.open()
  tracer.give(
    declareQueue(1, 'traces'),
    method(1, 'queue.bind', {
      queue: 'traces',
      exchange: 'amq.rabbitmq.trace',
      routingKey: key,
      nowait: false,
      arguments: [],
    }),
  )
  client.give(declareQueue(1, 'q'))
  host.settle()
  client.take()
  vhost.trace(true)
  const traces = () => {
    host.settle()
    return takeAll(vhost, 'traces')
  }
  return { host, vhost, client, traces }
}

const texts = (headers: FieldTable, key: string) => {
  const value = lookup(headers, key)
  return value?.type === 'A' ? value.value.map(textOf) : undefined
}

const consume = (queue: string, noAck: boolean) =>
  method(1, 'basic.consume', {
    queue,
    consumerTag: 'tag',
    noLocal: false,
    noAck,
    exclusive: false,
    nowait: false,
    arguments: [],
  })

t.test('a publish is shown with its queues, keys and properties, and its body', async t => {
  const { client, traces } = open()
  const properties = {
    contentType: 'text/plain',
    headers: fieldTable({ a: 1, CC: ['other'] }),
    deliveryMode: 2,
    messageId: 'id',
    timestamp: 5_000_000_000,
  }
  client.give(publish(1, 'q', body, { properties }))
  const [trace, ...others] = traces() as [Taken, ...Taken[]]
  t.same(others, [])
  t.equal(trace.exchange, 'amq.rabbitmq.trace')
  t.equal(trace.routingKey, 'publish.')
  t.ok(trace.body.equals(body))
  t.same(Object.keys(trace.properties), ['headers'], 'all else stands in headers')
  const { headers } = trace
  t.equal(textOf(lookup(headers, 'exchange_name')), '')
  t.same(texts(headers, 'routing_keys'), ['q', 'other'])
  t.same(texts(headers, 'routed_queues'), ['q'])
  t.equal(textOf(lookup(headers, 'vhost')), '/')
  t.equal(textOf(lookup(headers, 'user')), 'guest')
  t.equal(textOf(lookup(headers, 'node')), 'leveret@localhost')
  t.match(textOf(lookup(headers, 'connection')), / -> /)
  t.strictSame(lookup(headers, 'channel'), { type: 'I', value: 1 })
  const shown = lookup(headers, 'properties')
  t.same(shown?.type === 'F' && shown.value.map(({ key }) => key), [
    'timestamp',
    'message_id',
    'delivery_mode',
    'headers',
    'content_type',
  ])
})

t.test('deliveries and gets are shown with their queue', async t => {
  const { host, client, traces } = open('deliver.#')
  client.give(publish(1, 'q', body))
  client.give(method(1, 'basic.get', { queue: 'q', noAck: false }))
  client.give(method(1, 'basic.reject', { deliveryTag: 1, requeue: true }))
  host.settle()
  client.give(consume('q', true))
  const shown = traces()
  t.same(
    shown.map(({ routingKey }) => routingKey),
    ['deliver.q', 'deliver.q'],
  )
  t.same(
    shown.map(({ headers }) => lookup(headers, 'redelivered')),
    [
      { type: 'I', value: 0 },
      { type: 'I', value: 1 },
    ],
  )
  t.ok(shown.every(({ body: shown }) => shown.equals(body)))
})

t.test('what goes straight through, nowhere, or at a commit is shown as well', async t => {
  const { client, traces } = open()
  client.give(consume('q', true), publish(1, 'q', body))
  t.same(
    traces()
      .map(({ routingKey }) => routingKey)
      .sort(),
    ['deliver.q', 'publish.'],
  )
  client.give(publish(1, 'none', body, { exchange: 'amq.direct' }))
  const [unrouted] = traces() as [Taken]
  t.equal(unrouted.routingKey, 'publish.amq.direct')
  t.same(texts(unrouted.headers, 'routed_queues'), [])
  client.give(method(1, 'tx.select', {}), publish(1, 'q', body), method(1, 'tx.commit', {}))
  t.same(
    traces()
      .map(({ routingKey }) => routingKey)
      .sort(),
    ['deliver.q', 'publish.'],
  )
})

t.test('BCC is among the keys, and not among the headers', async t => {
  const { client, traces } = open()
  const properties = { headers: fieldTable({ BCC: ['hidden'] }) }
  client.give(publish(1, 'q', body, { properties }))
  const [{ headers }] = traces() as [Taken]
  t.same(texts(headers, 'routing_keys'), ['q', 'hidden'])
  const shown = lookup(headers, 'properties')
  const inner = shown?.type === 'F' ? lookup(shown.value, 'headers') : undefined
  t.same(inner?.value, [])
})

t.test('traces themselves are not traced, and nothing is when it is off', async t => {
  const { host, vhost, client, traces } = open()
  client.give(publish(1, 'q', body))
  t.equal(traces().length, 1)
  const reader = host.open()
  reader.give(consume('traces', true))
  client.give(publish(1, 'q', body), publish(1, 'q', body))
  host.settle()
  t.equal(reader.names().filter(name => name === 'basic.deliver').length, 2)
  vhost.trace(true)
  vhost.trace(false)
  client.give(publish(1, 'q', body))
  host.settle()
  t.same(reader.names(), [])
  t.equal(vhost.queues.get('q')?.readyCount, 4)
})

t.test(
  'messages go the same ways, and are confirmed and returned alike, while it is on',
  async t => {
    const { host, vhost, client } = open('none')
    const outcomes = () => {
      client.give(
        publish(1, 'q', body, { mandatory: true }),
        publish(1, 'none', body, { mandatory: true }),
        publish(1, 'none', body, { properties: { headers: fieldTable({ CC: ['q'] }) } }),
      )
      host.settle()
      return client.names()
    }
    client.give(method(1, 'confirm.select', { nowait: true }))
    const on = outcomes()
    vhost.trace(false)
    t.same(outcomes(), on)
    t.ok(on.includes('basic.return'))
    t.equal(vhost.queues.get('q')?.readyCount, 4)
  },
)
