/** Settlements and commits that are too much for one turn. */
import { strictEqual } from 'node:assert'
import t from 'tap'
import { largeBytes } from '../../src/store/message-table.js'
import { AmqpError } from '../../src/wire/replies.js'
import { SimulatedContents } from '../support/simulated-contents.js'
import {
  consume,
  declareQueue,
  method,
  publish,
  SimulatedBroker,
  type TestClient,
} from '../support/test-client.js'

const count = 20_000
const atOnce = 1024
const perTurn = 8192
const nothing = Buffer.alloc(0)

const close = method(1, 'channel.close', { replyCode: 200, replyText: '', classId: 0, methodId: 0 })
const cancel = method(1, 'basic.cancel', { consumerTag: 'c', nowait: true })
const ask = (queue: string) => method(1, 'basic.get', { queue, noAck: true })
const ack = (deliveryTag: number) => method(1, 'basic.ack', { deliveryTag, multiple: true })
const nack = (deliveryTag: number, requeue: boolean) =>
  method(1, 'basic.nack', { deliveryTag, multiple: true, requeue })

/** A client that has all the deliveries of q in its hands, and consumes no more. */
function withUnacked(count: number) {
  const host = new SimulatedBroker()
  const client = host.open()
  client.give(declareQueue(1, 'q'), consume(1, 'q', 'c'))
  publishMany(host, client, count)
  client.give(cancel)
  host.settle()
  client.take()
  const queue = host.broker.vhost('/')?.queues.get('q')
  strictEqual(queue?.unackedCount, count)
  return { host, client, counts: () => [queue?.readyCount, queue?.unackedCount] }
}

function publishMany(host: SimulatedBroker, client: TestClient, count: number): void {
  for (let left = count; left > 0; left -= 1000) {
    client.give(Buffer.concat(Array(Math.min(left, 1000)).fill(publish(1, 'q', nothing))))
    host.settle()
  }
}

t.test('an ack of 20,000 takes three turns, and what comes behind it waits', async t => {
  for (const tag of [0, count]) {
    const { host, client, counts } = withUnacked(count)
    client.give(ack(tag), ask('q'))
    client.give(declareQueue(1, 'later'))
    t.ok(client.socket.paused)
    t.strictSame(counts(), [0, count - atOnce])
    for (const turns of [1, 2]) {
      host.endTurn()
      t.strictSame(counts(), [0, count - atOnce - turns * perTurn])
    }
    host.settle()
    t.strictSame(counts(), [0, 0])
    t.strictSame(client.names(), ['basic.get-empty', 'queue.declare-ok'])
    t.notOk(client.socket.paused)
  }
})

t.test('an ack of 1,000 is done at once', async t => {
  const { client, counts } = withUnacked(1000)
  client.give(ack(0))
  t.strictSame(counts(), [0, 0])
  t.notOk(client.socket.paused)
})

t.test('a nack settles those up to its tag, and none that comes in the meantime', async t => {
  for (const requeue of [false, true]) {
    const { host, client, counts } = withUnacked(count)
    client.give(nack(15_000, requeue), method(1, 'basic.reject', { deliveryTag: 15_001, requeue }))
    host.settle()
    t.strictSame(counts(), [requeue ? 15_001 : 0, 4999])
  }
})

t.test('recover-ok comes when everything is back, and what is redelivered stays out', async t => {
  const { host, client, counts } = withUnacked(count)
  client.give(method(1, 'basic.recover', { requeue: true }), ask('q'))
  t.strictSame(counts(), [atOnce, count - atOnce])
  host.endTurn()
  t.strictSame(client.names(), [])
  host.settle()
  t.match(client.take(), [
    { name: 'basic.recover-ok' },
    { name: 'basic.get-ok', args: { redelivered: true, messageCount: count - 1 } },
  ])
  client.give(consume(1, 'q', 'c'))
  host.settle()
  client.take()
  client.give(method(1, 'basic.recover-async', { requeue: true }))
  host.settle()
  t.strictSame(counts(), [0, count - 1], 'delivered again')
  t.equal(client.names().filter(name => name === 'basic.deliver').length, count - 1)
})

t.test('commit-ok comes when everything is published and settled', async t => {
  const { host, client, counts } = withUnacked(count)
  client.give(method(1, 'tx.select', {}))
  publishMany(host, client, 5000)
  client.give(ack(0), publish(1, 'none', nothing, { mandatory: true }))
  host.settle()
  client.take()
  client.give(method(1, 'tx.commit', {}), publish(1, 'q', nothing), method(1, 'tx.rollback', {}))
  t.strictSame(counts(), [256, count])
  host.endTurn()
  t.strictSame(counts(), [256 + 2048, count])
  t.strictSame(client.names(), [])
  host.settle()
  t.strictSame(counts(), [5000, 0])
  t.strictSame(client.names(), ['basic.return', 'header', 'tx.commit-ok', 'tx.rollback-ok'])
})

t.test('a long commit that is refused in part closes its channel when it is done', async t => {
  const { host, client, counts } = withUnacked(count)
  client.give(
    declareQueue(1, 'full', { 'x-max-length': 0, 'x-overflow': 'reject-publish' }),
    method(1, 'tx.select', {}),
    publish(1, 'full', nothing),
    ack(15_000),
    method(1, 'tx.commit', {}),
    declareQueue(1, 'never'),
  )
  host.settle()
  t.match(client.take().slice(2), [
    {
      name: 'channel.close',
      args: { replyCode: 406, replyText: /partial tx completion/, classId: 90, methodId: 20 },
    },
  ])
  t.strictSame(counts(), [5000, 0], 'the rest is done, and what was not acked is back')
  t.notOk(host.broker.vhost('/')?.queues.has('never'))
  t.notOk(client.socket.paused)
})

t.test('what has begun is done to its end, however the channel ends', async t => {
  for (const end of ['channel', 'connection', 'forced', 'lost'] as const) {
    const { host, client, counts } = withUnacked(count)
    client.give(ack(15_000))
    host.endTurn()
    t.strictSame(counts(), [0, count - atOnce - perTurn])
    if (end === 'channel') client.give(close)
    else if (end === 'connection')
      client.send(0, 'connection.close', { replyCode: 200, replyText: '', classId: 0, methodId: 0 })
    else if (end === 'forced') client.connection.close(new AmqpError('CONNECTION_FORCED', ''))
    else client.drop()
    host.settle()
    t.strictSame(counts(), [5000, 0], end)
    if (end === 'channel') t.strictSame(client.names(), ['channel.close-ok'])
    if (end === 'connection') t.strictSame(client.names(), ['connection.close-ok'])
    if (end === 'forced') {
      t.strictSame(client.names(), ['connection.close'])
      client.send(0, 'connection.close-ok', {})
      t.ok(client.socket.ended, 'the answer is read')
    }
  }
})

t.test('a connection lost in a commit still publishes all of it, and returns nothing', async t => {
  const { host, client, counts } = withUnacked(count)
  client.give(method(1, 'tx.select', {}), ack(15_000))
  publishMany(host, client, 5000)
  client.give(publish(1, 'none', nothing, { mandatory: true }))
  host.settle()
  client.take()
  client.give(method(1, 'tx.commit', {}))
  client.socket.owner?.ended()
  t.ok(client.socket.ended)
  host.settle()
  t.strictSame(counts(), [10_000, 0])
  t.strictSame(client.names(), [])
})

t.test('a connection is closed once a channel that was being closed has returned all', async t => {
  const { host, client, counts } = withUnacked(count)
  const args = { replyCode: 200, replyText: '', classId: 0, methodId: 0 }
  client.give(close, method(0, 'connection.close', args))
  host.endTurn()
  t.strictSame(client.names(), [])
  host.settle()
  t.strictSame(client.names(), ['connection.close-ok'])
  t.strictSame(counts(), [count, 0])
})

t.test(
  'a connection lost with many channels holds no turn, and small ones end at once',
  async t => {
    const host = new SimulatedBroker()
    const client = host.open()
    const channels = 10
    const each = 2000
    client.give(declareQueue(1, 'q'), declareQueue(1, 'small'))
    for (let channel = 2; channel < channels + 2; channel++) {
      const qos = { prefetchSize: 0, prefetchCount: each, global: false }
      client.give(method(channel, 'channel.open', {}), method(channel, 'basic.qos', qos))
      client.give(consume(channel, 'q', 'c'))
    }
    client.give(consume(1, 'small', 'c'))
    client.give(Buffer.concat(Array(256).fill(publish(1, 'small', nothing))))
    publishMany(host, client, channels * each)
    const ready = (name: string) => host.broker.vhost('/')?.queues.get(name)?.readyCount
    t.strictSame([ready('q'), ready('small')], [0, 0])
    client.drop()
    t.strictSame([ready('q'), ready('small')], [0, 256])
    host.settle()
    t.equal(ready('q'), channels * each)
  },
)

t.test(
  'a get whose message is not in memory is answered when it is, and what comes behind waits',
  async t => {
    const host = new SimulatedBroker()
    const client = host.open()
    const { messages, paging } = host.broker
    const log = new SimulatedContents(messages, paging)
    const body = Buffer.alloc(largeBytes, 7)
    client.give(declareQueue(1, 'q'), publish(1, 'q', body), publish(1, 'q', body))
    host.settle()
    client.take()
    log.pageOut()
    client.give(ask('q'), ask('q'), ask('q'))
    client.give(declareQueue(1, 'later'))
    host.settle()
    t.strictSame(client.names(), [])
    for (let i = 0; i < 10; i++) {
      log.answer(1)
      host.settle()
    }
    const names = client.names().filter(name => name.includes('.'))
    t.strictSame(names, ['basic.get-ok', 'basic.get-ok', 'basic.get-empty', 'queue.declare-ok'])
  },
)

t.test('a channel that is closed while its get waits leaves the message there', async t => {
  const host = new SimulatedBroker()
  const client = host.open()
  const { messages, paging } = host.broker
  const log = new SimulatedContents(messages, paging)
  client.give(declareQueue(1, 'q'), publish(1, 'q', Buffer.alloc(largeBytes)))
  host.settle()
  log.pageOut()
  client.give(ask('q'))
  client.drop()
  host.settle()
  log.answer()
  host.settle()
  t.equal(host.broker.vhost('/')?.queues.get('q')?.readyCount, 1)
  t.equal(host.closed, 1)
})
