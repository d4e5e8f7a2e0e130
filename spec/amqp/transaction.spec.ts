/** Transactions whose queues, bindings and sizes change between a publish and its commit. */
import t from 'tap'
import { fieldTable, type PlainTable } from '../../src/wire/field-table.js'
import { declareQueue, method, publish, SimulatedBroker } from '../support/test-client.js'

const select = method(1, 'tx.select', {})
const commit = method(1, 'tx.commit', {})
const deleteQueue = (queue: string) =>
  method(1, 'queue.delete', { queue, ifUnused: false, ifEmpty: false, nowait: false })
const bind = (exchange: string, queue: string, routingKey: string, args: PlainTable = {}) =>
  method(1, 'queue.bind', {
    queue,
    exchange,
    routingKey,
    nowait: false,
    arguments: fieldTable(args),
  })
const one = Buffer.from('1')

/** A channel in transaction mode, another that is not, and how many messages are ready in a queue. */
function open() {
  const host = new SimulatedBroker()
  const client = host.open()
  const other = host.open()
  client.give(select)
  host.settle()
  client.take()
  const ready = (name: string) => host.broker.vhost('/')?.queues.get(name)?.readyCount
  return { host, client, other, ready }
}

t.test('a queue deleted and declared anew before the commit gets the message', async t => {
  const { host, client, other, ready } = open()
  other.give(declareQueue(1, 'q'), declareQueue(1, 'gone'), declareQueue(1, 'stays'))
  for (const queue of ['q', 'gone', 'stays']) other.give(bind('amq.fanout', queue, ''))
  client.give(
    publish(1, 'q', one, { mandatory: true }),
    publish(1, 'gone', one, { mandatory: true }),
    publish(1, '', one, { exchange: 'amq.fanout', mandatory: true }),
  )
  other.give(deleteQueue('q'), deleteQueue('gone'), declareQueue(1, 'q'))
  client.give(commit)
  host.settle()
  t.strictSame(client.names(), ['tx.commit-ok'], 'it was routed: nothing is returned')
  t.strictSame([ready('q'), ready('gone'), ready('stays')], [2, undefined, 1])
})

t.test('a message goes where the bindings led when it was published', async t => {
  const { host, client, other, ready } = open()
  const early = { kind: 'early' }
  const headers = fieldTable(early)
  other.give(declareQueue(1, 'a'), declareQueue(1, 'b'))
  other.give(bind('amq.headers', 'a', '', early), bind('amq.direct', 'a', 'further'))
  const keys = fieldTable({ CC: ['further'] })
  client.give(
    publish(1, '', one, { exchange: 'amq.headers', properties: { headers } }),
    publish(1, 'first', one, { exchange: 'amq.direct', properties: { headers: keys } }),
    publish(1, 'second', one, { exchange: 'amq.direct', mandatory: true }),
  )
  other.give(
    method(1, 'queue.unbind', {
      queue: 'a',
      exchange: 'amq.headers',
      routingKey: '',
      arguments: fieldTable(early),
    }),
    bind('amq.headers', 'b', '', early),
    bind('amq.direct', 'b', 'further'),
    bind('amq.direct', 'b', 'second'),
  )
  client.give(commit)
  host.settle()
  t.strictSame([ready('a'), ready('b')], [2, 0])
  t.strictSame(client.names(), ['basic.return', 'header', 'body', 'tx.commit-ok'])
})
