/** The order of what comes back when it takes several turns, and of the answers then. */
import t from 'tap'
import {
  consume,
  declareQueue,
  method,
  publish,
  SimulatedBroker,
  type TestClient,
} from '../support/test-client.js'

const prefetch = (count: number) =>
  method(1, 'basic.qos', { prefetchSize: 0, prefetchCount: count, global: false })

const numbered = (queue: string, first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, i) => publish(1, queue, Buffer.from(`${first + i}`)))

type Tag = 'c' | 'f' | 'm'
type Deliveries = Partial<Record<Tag, number[]>>

/** The bodies of deliveries, by the consumer's tag. */
function delivered(client: TestClient): Deliveries {
  const bodies: Deliveries = {}
  let tag: Tag = 'c'
  for (const { name, args, payload } of client.take()) {
    if (name === 'basic.deliver') tag = args.consumerTag
    if (name !== 'body') continue
    bodies[tag] ??= []
    bodies[tag]?.push(Number(payload))
  }
  return bodies
}

const rising = (numbers: readonly number[]) =>
  numbers.every((n, i) => i === 0 || n > (numbers[i - 1] as number))

t.test('who comes next on a queue gets what comes back before what is younger', t => {
  for (const sac of [true, false]) {
    const host = new SimulatedBroker()
    const first = host.open()
    const next = host.open()
    const other = host.open()
    const args = sac ? { 'x-single-active-consumer': true } : {}
    for (const name of ['many', 'few']) first.give(declareQueue(1, name, args))
    // Those of the second queue are the last to come back.
    first.give(prefetch(20_000), consume(1, 'many', 'm'), prefetch(10), consume(1, 'few', 'f'))
    other.give(...numbered('many', 1, 30_000))
    host.settle()
    other.give(...numbered('few', 1, 20))
    host.settle()
    t.equal(delivered(first).f?.length, 10)
    if (sac) next.give(consume(1, 'many', 'm'), consume(1, 'few', 'f'))
    host.settle()
    next.take()
    first.drop()
    if (!sac) next.give(consume(1, 'many', 'm'), consume(1, 'few', 'f'))
    host.endTurn()
    other.give(...numbered('few', 21, 22))
    host.settle()
    const { m = [], f = [] } = delivered(next)
    t.equal(m.length, 30_000)
    t.ok(rising(m), `many, ${sac}`)
    t.equal(f.length, 22)
    t.ok(rising(f), `few, ${sac}`)
  }
  t.end()
})

for (const how of ['recover', 'nack', 'commit'] as const)
  t.test(`a consumer gets all that it gives back before what is younger (${how})`, t => {
    const host = new SimulatedBroker()
    const client = host.open()
    client.give(declareQueue(1, 'q'), consume(1, 'q', 'c'))
    if (how === 'commit') client.send(1, 'tx.select', {})
    const other = host.open()
    other.give(...numbered('q', 1, 5000))
    host.settle()
    t.equal(delivered(client).c?.length, 5000)
    if (how === 'recover') client.send(1, 'basic.recover', { requeue: true })
    else client.send(1, 'basic.nack', { deliveryTag: 0, multiple: true, requeue: true })
    if (how === 'commit') client.send(1, 'tx.commit', {})
    other.give(...numbered('q', 5001, 5100))
    host.settle()
    const again = delivered(client).c ?? []
    t.equal(again.length, 5100)
    t.ok(rising(again))
    t.end()
  })

t.test('a queue that is deleted while deliveries come back to it stays deleted', t => {
  const host = new SimulatedBroker()
  const client = host.open()
  client.give(declareQueue(1, 'q'), consume(1, 'q', 'c'))
  const other = host.open()
  other.give(...numbered('q', 1, 20_000))
  host.settle()
  client.drop()
  host.endTurn()
  other.give(
    method(1, 'queue.delete', { queue: 'q', ifUnused: false, ifEmpty: false, nowait: false }),
  )
  host.settle()
  other.give(declareQueue(1, 'q'), consume(1, 'q', 'c', true), publish(1, 'q', Buffer.from('1')))
  host.settle()
  t.strictSame(delivered(other).c, [1])
  t.equal(host.broker.messages.count, 0)
  t.end()
})
