/** Consumers that share what there is: the window of a channel, and a reader that is slow. */
import t from 'tap'
import { octetsOf } from '../support/messages.js'
import {
  consume,
  declareQueue,
  method,
  publish,
  SimulatedBroker,
  type TestClient,
} from '../support/test-client.js'

/** A broker with backlogs in the queues a and b. */
function withBacklogs(count: number, body: Buffer): { host: SimulatedBroker; client: TestClient } {
  const host = new SimulatedBroker()
  const publisher = host.open()
  for (const queue of ['a', 'b']) {
    publisher.give(declareQueue(1, queue))
    for (let i = 0; i < count; i++) {
      publisher.give(publish(1, queue, body))
      host.settle()
    }
  }
  return { host, client: host.open() }
}

/** The consumer tags of the deliveries that came, and the last delivery tag. */
function delivered(client: TestClient): { from: string[]; last: number } {
  const deliveries = client.take().filter(({ name }) => name === 'basic.deliver')
  return {
    from: deliveries.map(({ args }) => args.consumerTag),
    last: deliveries.at(-1)?.args.deliveryTag ?? 0,
  }
}

t.test('two queues share the window of a channel', async t => {
  for (const window of [1, 10]) {
    const { host, client } = withBacklogs(100, Buffer.from('x'))
    client.give(
      method(1, 'basic.qos', { prefetchSize: 0, prefetchCount: window, global: true }),
      consume(1, 'a', 'a'),
      consume(1, 'b', 'b'),
    )
    const counts = { a: 0, b: 0 }
    for (let taken = 0; taken < 100; ) {
      host.settle()
      const { from, last } = delivered(client)
      taken += from.length
      for (const tag of from) counts[tag as 'a' | 'b']++
      client.send(1, 'basic.ack', { deliveryTag: last, multiple: true })
    }
    t.strictSame(counts, { a: 50, b: 50 }, `a window of ${window}`)
  }
})

t.test('a slow reader gets something from each of its channels and consumers', async t => {
  for (const [where, second] of [
    ['two channels', 2],
    ['one channel', 1],
  ] as const) {
    const { host, client } = withBacklogs(500, octetsOf(20_000, 1))
    client.socket.room = 0
    if (second === 2) client.give(method(2, 'channel.open', {}))
    client.give(consume(1, 'a', 'a', true), consume(second, 'b', 'b', true))
    const counts = { a: 0, b: 0 }
    for (let round = 0; round < 12; round++) {
      host.settle()
      client.socket.drain()
      for (const tag of delivered(client).from) counts[tag as 'a' | 'b']++
    }
    const { a, b } = counts
    t.ok(a + b > 200 && a + b < 1000, `${a + b} of them have come`)
    t.ok(Math.abs(a - b) <= 60, `${where}: ${a} and ${b}`)
  }
})
