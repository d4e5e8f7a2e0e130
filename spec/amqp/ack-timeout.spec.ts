/** What becomes of deliveries that a client keeps for too long. */
import { ok, strictEqual } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { fieldTable, type PlainTable } from '../../src/wire/field-table.js'
import {
  declareQueue,
  method,
  publish,
  SimulatedBroker,
  type TestClient,
} from '../support/test-client.js'

const minute = 60_000
const nothing = Buffer.alloc(0)
const quorum = { 'x-queue-type': 'quorum' }

const text = (ms: number) =>
  `PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: ${ms} ms. This timeout value can be configured, see consumers doc guide to learn more`

const ack = (deliveryTag: number) => method(1, 'basic.ack', { deliveryTag, multiple: false })

function consume(consumerTag: string, queue: string, args: PlainTable = {}): Buffer {
  const bits = { noLocal: false, noAck: false, exclusive: false, nowait: false }
  return method(1, 'basic.consume', { queue, consumerTag, ...bits, arguments: fieldTable(args) })
}

class Bench {
  readonly host = new SimulatedBroker()
  readonly client: TestClient

  constructor(args: PlainTable, options = {}) {
    this.client = this.host.open(options)
    this.give(declareQueue(1, 'q', args))
  }

  give(...bytes: Buffer[]): string[] {
    this.client.give(...bytes)
    this.host.settle()
    return this.client.names()
  }

  pass(ms: number): void {
    this.host.world.clock.advance(ms)
    this.host.settle()
  }

  get counts(): (number | undefined)[] {
    const queue = this.host.broker.vhost('/')?.queues.get('q')
    return [queue?.readyCount, queue?.unackedCount, queue?.consumers.count]
  }
}

t.test('a consumer of a quorum queue is cancelled after 30 minutes, and may still ack', async t => {
  const bench = new Bench(quorum)
  bench.give(consume('c', 'q'), publish(1, 'q', nothing), publish(1, 'q', nothing))
  bench.give(ack(1))
  bench.pass(30 * minute - 1)
  t.strictSame(bench.client.names(), [], 'not a moment too early')
  bench.pass(minute + 1)
  const received = bench.client.take()
  t.strictSame(
    received.map(({ name }) => name),
    ['basic.cancel'],
  )
  t.match(received[0]?.args, { consumerTag: 'c', nowait: true })
  t.strictSame(bench.counts, [1, 0, 0])
  t.strictSame(bench.give(ack(2)), [], 'the tag is no other than before')
  t.strictSame(bench.counts, [1, 0, 0])
  const again = bench.give(consume('c', 'q'))
  t.strictSame(again, ['basic.consume-ok', 'basic.deliver', 'header'])
})

t.test('a client that does not hear of cancellations loses its channel', async t => {
  const bench = new Bench(quorum, { capabilities: {} })
  bench.give(consume('c', 'q'), publish(1, 'q', nothing))
  bench.pass(31 * minute)
  const [close] = bench.client.take()
  t.match(close, {
    name: 'channel.close',
    args: { replyCode: 406, replyText: text(30 * minute), classId: 0, methodId: 0 },
  })
  t.strictSame(bench.counts, [1, 0, 0])
})

t.test('what was got from a quorum queue costs the channel', async t => {
  const bench = new Bench(quorum)
  bench.give(publish(1, 'q', nothing), method(1, 'basic.get', { queue: 'q', noAck: false }))
  bench.pass(31 * minute)
  t.match(bench.client.take(), [{ name: 'channel.close' }])
  t.strictSame(bench.counts, [1, 0, 0])
})

t.test('a classic queue waits for ever unless it is told', async t => {
  const patient = new Bench({})
  patient.give(consume('c', 'q'), publish(1, 'q', nothing))
  patient.pass(24 * 60 * minute)
  t.strictSame(patient.client.names(), [])
  const bench = new Bench({ 'x-consumer-timeout': 5000 })
  bench.give(consume('c', 'q'), publish(1, 'q', nothing))
  bench.pass(4999)
  t.strictSame(bench.client.names(), [])
  bench.pass(5002)
  t.match(bench.client.take(), [
    { name: 'channel.close', args: { replyCode: 406, replyText: text(5000) } },
  ])
  t.strictSame(bench.counts, [1, 0, 0])
})

t.test('a consumer may say how long it needs, longer or shorter', async t => {
  const bench = new Bench({ ...quorum, 'x-consumer-timeout': 10_000 })
  bench.give(consume('long', 'q', { 'x-consumer-timeout': 100_000 }), publish(1, 'q', nothing))
  bench.pass(90_000)
  t.strictSame(bench.client.names(), [])
  bench.give(consume('short', 'q', { 'x-consumer-timeout': 1000, 'x-priority': 1 }))
  bench.give(publish(1, 'q', nothing))
  bench.pass(3000)
  // Not served by the one that is cancelled, but by the other.
  t.match(bench.client.take().slice(0, 1), [
    { name: 'basic.cancel', args: { consumerTag: 'short' } },
  ])
})

t.test('a time that is none is refused', async () => {
  for (const [value, reason] of [
    ['x', '"expected integer, got longstr"'],
    [-1, '{value_negative,-1}'],
  ] as const) {
    const bench = new Bench(quorum)
    bench.give(consume('c', 'q', { 'x-consumer-timeout': value }))
    const bytes = bench.client.socket.received.toString('latin1')
    ok(bytes.includes(`invalid arg 'x-consumer-timeout' for queue 'q' in vhost '/': ${reason}`))
  }
})

t.test('20,000 overdue deliveries go back in several turns', async t => {
  const count = 20_000
  const bench = new Bench(quorum)
  bench.give(consume('c', 'q'))
  for (let left = count; left > 0; left -= 1000)
    bench.give(Buffer.concat(Array(1000).fill(publish(1, 'q', nothing))))
  bench.pass(30 * minute + 30_000)
  t.equal(bench.counts[0], 8192)
  for (let i = 0; i < 5; i++) bench.pass(1)
  t.strictSame(bench.counts, [count, 0, 0])
  t.strictSame(bench.client.names(), ['basic.cancel'])
})

t.test('nobody is cancelled early, and nobody much too late', async () => {
  const timeoutMs = 10_000
  const step = fc.oneof(
    fc.record({ do: fc.constant('publish' as const) }),
    fc.record({ do: fc.constant('ack' as const), place: fc.nat(20) }),
    fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 4000 }) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      const bench = new Bench({ ...quorum, 'x-consumer-timeout': timeoutMs })
      const { clock } = bench.host.world
      bench.give(consume('c', 'q'))
      const held: { tag: number; since: number }[] = []
      let tag = 0
      for (const step of steps) {
        if (step.do === 'publish') {
          bench.give(publish(1, 'q', nothing))
          held.push({ tag: ++tag, since: clock.monotonicMs() })
        } else if (step.do === 'ack') {
          const [one] = held.splice(step.place % (held.length || 1), 1)
          if (one !== undefined) bench.give(ack(one.tag))
        } else {
          bench.pass(step.ms)
        }
        const longest = Math.max(0, ...held.map(({ since }) => clock.monotonicMs() - since))
        const cancelled = bench.counts[2] === 0
        if (cancelled) ok(longest >= timeoutMs, `cancelled after ${longest}`)
        else ok(longest <= 2 * timeoutMs, `not cancelled after ${longest}`)
        if (cancelled) {
          const returned = bench.counts[0] as number
          strictEqual(returned + (bench.counts[1] as number), held.length)
          return
        }
      }
    }),
    { seed: 5, numRuns: 200 },
  )
})
