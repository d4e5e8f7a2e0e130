/** A queue under any sequence of what can be done to it, beside a model on plain arrays. */
import { deepStrictEqual, strictEqual } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { Policy } from '../../../src/broker/policies/policy.js'
import { Ruling } from '../../../src/broker/policies/ruling.js'
import { type QueueRules, standardRules } from '../../../src/broker/queues/host.js'
import type { PlainTable } from '../../../src/wire/field-table.js'
import { QueueBench, TestConsumer } from '../../support/queues.js'
import { QueueModel } from './queue-model.js'

type How = 'complete' | 'requeue' | 'discard' | 'fail'

type Step =
  | { do: 'publish'; priority: number | null; expirationMs: number; size: number; bulky: boolean }
  | { do: 'consume'; priority: number; noAck: boolean; limit: number }
  | { do: 'get'; noAck: boolean }
  | { do: 'settle'; who: number; place: number; how: How }
  | { do: 'cancel' | 'lose'; who: number }
  | { do: 'pass'; ms: number }
  | { do: 'end-turn' | 'purge' | 'page-out' }
  | { do: 'rule'; definition: Readonly<Record<string, unknown>> }

const place = fc.nat(99)
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      do: fc.constant('publish' as const),
      priority: fc.constantFrom(null, null, 0, 1, 2, 3, 31, 255),
      expirationMs: fc.constantFrom(-1, -1, -1, 0, 10, 25, 40),
      size: fc.constantFrom(0, 1, 9, 60, 100),
      bulky: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('consume' as const),
      priority: fc.constantFrom(0, 0, 0, 1, -1),
      noAck: fc.boolean(),
      limit: fc.nat(3),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('get' as const), noAck: fc.boolean() }) },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('settle' as const),
      who: place,
      place,
      how: fc.constantFrom<How>('complete', 'requeue', 'discard', 'fail'),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cancel' as const), who: place }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('lose' as const), who: place }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(1, 10, 30) }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('end-turn' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('purge' as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('page-out' as const) }) },
)

/** What may be done to a queue whose policies change. */
const ruledStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 9, arbitrary: step },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('rule' as const),
      definition: fc.record(
        {
          'max-length': fc.nat(6),
          'max-length-bytes': fc.constantFrom(0, 60, 160),
          'message-ttl': fc.constantFrom(0, 20, 35),
          'delivery-limit': fc.constantFrom(0, 1, -1),
          overflow: fc.constantFrom('drop-head', 'reject-publish', 'reject-publish-dlx'),
        },
        { requiredKeys: [] },
      ),
    }),
  },
)

/** The queue and its model, which do the same and are compared. */
class Pair {
  readonly bench: QueueBench
  readonly #model: QueueModel
  readonly #subscribed: TestConsumer[] = []
  /** Everybody who may have messages in hands, also those that are gone. */
  readonly #holders: TestConsumer[]
  readonly #getters: { true: TestConsumer; false: TestConsumer }
  #ids = 0
  /** Contents leave memory now and then. */
  readonly #pages: boolean

  constructor(args: PlainTable, pages: boolean, rules: QueueRules) {
    this.#pages = pages
    this.bench = new QueueBench(args, {}, rules)
    this.#model = new QueueModel(this.bench.queue.settings, rules)
    this.#model.now = this.bench.clock.monotonicMs()
    this.#getters = {
      true: new TestConsumer(this.bench, 'get-no-ack', { noAck: true }),
      false: new TestConsumer(this.bench, 'get'),
    }
    this.#holders = [this.#getters.false]
  }

  run(step: Step): void {
    const { bench } = this
    const model = this.#model
    switch (step.do) {
      case 'publish': {
        const id = this.#ids++
        const { priority, expirationMs, size } = step
        const bulky = this.#pages && step.bulky
        strictEqual(
          bench.publish(id, { ...step, bulky }),
          model.publish(id, priority, expirationMs, size),
        )
        break
      }
      case 'consume': {
        const consumer = new TestConsumer(bench, `c${this.#holders.length}`, step)
        this.#subscribed.push(consumer)
        this.#holders.push(consumer)
        bench.subscribe(consumer)
        model.subscribe(consumer)
        break
      }
      case 'get': {
        const holder = this.#getters[`${step.noAck}`]
        bench.get(holder)
        bench.log.answer()
        model.get(holder)
        break
      }
      case 'settle': {
        const holder = this.#holders[step.who % this.#holders.length] as TestConsumer
        if (holder.held.length > 0) this.#settle(holder, step.place % holder.held.length, step.how)
        break
      }
      case 'cancel':
      case 'lose': {
        const [consumer] = this.#subscribed.splice(step.who % (this.#subscribed.length || 1), 1)
        if (consumer === undefined) break
        bench.queue.removeConsumer(consumer)
        model.cancel(consumer)
        while (step.do === 'lose' && consumer.held.length > 0) this.#settle(consumer, 0, 'fail')
        break
      }
      case 'pass':
        bench.clock.advance(step.ms)
        model.pass(step.ms)
        break
      case 'purge':
        strictEqual(bench.queue.purge(), model.ready.length + model.delayed.length)
        model.clear('purged')
        break
      case 'rule': {
        const policy =
          Object.keys(step.definition).length === 0
            ? null
            : new Policy('policy', 'p', { pattern: '', definition: step.definition })
        const ruling = new Ruling(policy, null)
        bench.queue.apply(ruling)
        model.apply(ruling.settingsOf(bench.queue.arguments))
        break
      }
      case 'page-out':
        if (this.#pages) bench.log.pageOut()
        break
      case 'end-turn':
        bench.settle()
        model.endTurn()
    }
    bench.clock.advance(0)
    this.#compare()
  }

  /** Deletes the queue and settles what is still in hands: then nothing is left. */
  finish(): void {
    const { bench } = this
    bench.queue.end()
    this.#model.clear('deleted')
    for (const consumer of this.#subscribed) {
      strictEqual(consumer.timesCancelled, 1)
      this.#model.cancel(consumer)
    }
    this.#compare()
    const hows = ['complete', 'requeue', 'discard'] as const
    const burials = bench.burials.length
    for (const holder of this.#holders)
      while (holder.held.length > 0) holder.settle(0, hows[holder.held.length % 3] ?? 'complete')
    bench.settle()
    strictEqual(bench.burials.length, burials, 'a queue that is gone buries nothing')
    strictEqual(bench.queue.unackedCount, 0)
    strictEqual(bench.messages.count, 0)
    strictEqual(bench.messages.liveBytes, 0)
  }

  #settle(holder: TestConsumer, place: number, how: How): void {
    holder.settle(place, how)
    this.bench.clock.advance(0)
    this.#model.settle(holder.name, place, how)
  }

  #compare(): void {
    const { queue, deliveries, burials } = this.bench
    const model = this.#model
    deepStrictEqual(deliveries, model.deliveries)
    deepStrictEqual(burials, model.burials)
    strictEqual(queue.readyCount, model.ready.length)
    strictEqual(queue.readyBytes, model.readyBytes)
    strictEqual(queue.unackedCount, model.unacked)
    strictEqual(queue.publishedCount, model.published)
    strictEqual(queue.asideCount, model.delayed.length)
    const waiting = model.ready.length + model.delayed.length
    strictEqual(model.published, waiting + model.unacked + model.left.size)
    for (const holder of this.#holders)
      deepStrictEqual(
        holder.held.map(({ id }) => id),
        model.hands(holder.name).map(({ id }) => id),
      )
  }
}

function behavesAsModel(
  args: PlainTable,
  pages: boolean,
  rules = standardRules,
  steps = step,
): number {
  let answers = 0
  fc.assert(
    fc.property(fc.array(steps, { maxLength: 80, size: 'max' }), steps => {
      const pair = new Pair(args, pages, rules)
      for (const step of steps) pair.run(step)
      pair.finish()
      answers += pair.bench.log.answers
    }),
    { seed: 17, numRuns: pages ? 60 : 200 },
  )
  return answers
}

const kinds: Readonly<Record<string, PlainTable>> = {
  'plain queue': {},
  'queue with a time to live': { 'x-message-ttl': 30 },
  'queue in which nothing waits': { 'x-message-ttl': 0 },
  'queue with a largest length that drops its head': { 'x-max-length': 3 },
  'queue of length 0': { 'x-max-length': 0 },
  'queue with a largest size that drops its head': { 'x-max-length-bytes': 160 },
  'queue that refuses what exceeds its length': {
    'x-max-length': 3,
    'x-overflow': 'reject-publish',
  },
  'queue that refuses what exceeds its size': {
    'x-max-length-bytes': 160,
    'x-overflow': 'reject-publish',
  },
  'queue that dead-letters what it refuses': {
    'x-max-length': 2,
    'x-max-length-bytes': 160,
    'x-overflow': 'reject-publish-dlx',
  },
  'queue with a single active consumer': { 'x-single-active-consumer': true },
  'queue with priorities': { 'x-max-priority': 3 },
  'queue with priorities, length and time to live': {
    'x-max-priority': 2,
    'x-max-length': 4,
    'x-message-ttl': 35,
  },
  'queue with a delivery limit': { 'x-delivery-limit': 2 },
  'quorum queue': { 'x-queue-type': 'quorum', 'x-delivery-limit': 2 },
  'quorum queue with length and time to live': {
    'x-queue-type': 'quorum',
    'x-max-length': 4,
    'x-message-ttl': 35,
  },
  'quorum queue with delayed retry': {
    'x-queue-type': 'quorum',
    'x-delayed-retry-type': 'all',
    'x-delayed-retry-min': 7,
    'x-delayed-retry-max': 17,
  },
  'quorum queue with delayed retry of failed deliveries and a length': {
    'x-queue-type': 'quorum',
    'x-max-length': 3,
    'x-delayed-retry-type': 'failed',
    'x-delayed-retry-min': 7,
    'x-delayed-retry-max': 17,
  },
  'quorum queue with a single active consumer': {
    'x-queue-type': 'quorum',
    'x-single-active-consumer': true,
    'x-delivery-limit': -1,
  },
}

for (const [kind, args] of Object.entries(kinds)) {
  t.test(`a ${kind} does what the model does`, async t => {
    t.equal(behavesAsModel(args, false), 0)
  })
  t.test(`a ${kind} does so while contents leave memory`, async t => {
    const waits = args['x-message-ttl'] !== 0 && args['x-max-length'] !== 0
    t.ok(behavesAsModel(args, true) > (waits ? 5 : -1), 'and come back')
  })
}

t.test('a quorum queue counts only rejects and losses if the node says so', async () => {
  const rules = { ...standardRules, deliveryLimit: 1, everyReturnFails: false }
  behavesAsModel({ 'x-queue-type': 'quorum' }, false, rules)
})

t.test('a queue whose policies change under load does what the model does', async t => {
  for (const args of [
    {},
    { 'x-max-length': 4 },
    { 'x-queue-type': 'quorum' },
    { 'x-max-priority': 2, 'x-message-ttl': 30 },
  ]) {
    t.equal(behavesAsModel(args, false, standardRules, ruledStep), 0)
    const answers = behavesAsModel(args, true, standardRules, ruledStep)
    t.ok(answers > 5, 'also while contents leave memory')
  }
})

t.test('a limit that comes late drops a few thousand messages in a turn', async t => {
  const bench = new QueueBench()
  for (let id = 0; id < 10_000; id++) bench.publish(id)
  const definition = { 'max-length': 10 }
  bench.queue.apply(new Ruling(new Policy('policy', 'p', { pattern: '', definition }), null))
  const left: number[] = []
  for (bench.publish(10_000); bench.world.turns.waiting; bench.world.turns.end())
    left.push(bench.queue.readyCount)
  t.strictSame([...left, bench.queue.readyCount], [5905, 1809, 10])
  t.equal(bench.burials.at(0), '0 maxlen')
  t.equal(bench.burials.at(-1), '9990 maxlen')
  bench.publish(10_001)
  t.equal(bench.queue.readyCount, 10)
})

t.test('what is behind a dropped head expires in time', async t => {
  const bench = new QueueBench({ 'x-max-length': 2 })
  bench.publish(1)
  bench.publish(2, { expirationMs: 100 })
  bench.publish(3)
  bench.settle()
  bench.clock.advance(100)
  t.strictSame(bench.burials, ['1 maxlen', '2 expired'])
  t.equal(bench.queue.readyCount, 1)
})

const pages = 3
const backlog = pages * 4096 + 100

/** The ids `from`, `from + 1` and so on. */
function run(from: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => from + i)
}

t.test('a backlog of several pages goes out in order, a share in each turn', async t => {
  const bench = new QueueBench()
  for (let id = 0; id < backlog; id++) bench.publish(id)
  t.equal(bench.queue.readyCount, backlog)
  const consumer = new TestConsumer(bench, 'c', { noAck: true })
  bench.subscribe(consumer)
  t.strictSame(consumer.taken, [], 'nothing before the turn ends')
  for (let turns = 1; bench.world.turns.waiting; turns++) {
    bench.world.turns.end()
    t.equal(consumer.taken.length, Math.min(backlog, turns * 2048))
  }
  t.notOk(bench.world.turns.waiting)
  deepStrictEqual(consumer.taken, run(0, backlog))
  t.equal(bench.messages.count, 0)
})

t.test('large messages share a turn by their bytes', async t => {
  const bench = new QueueBench()
  const size = 128 * 1024
  for (let id = 0; id < 10; id++) bench.publish(id, { size })
  const consumer = new TestConsumer(bench, 'c')
  bench.subscribe(consumer)
  bench.world.turns.end()
  t.strictSame(consumer.taken, run(0, 4), '512 KiB')
  bench.settle()
  t.strictSame(consumer.taken, run(0, 10))
})

t.test('a consumer that is lost with 100,000 messages gives them back in order', async t => {
  const count = 100_000
  const bench = new QueueBench()
  const lost = new TestConsumer(bench, 'lost')
  bench.subscribe(lost)
  for (let id = 0; id < count; id++) bench.publish(id)
  lost.settle(0, 'complete')
  bench.queue.consumers.pause(lost)
  for (let id = count; id < count + 10; id++) bench.publish(id)
  t.equal(bench.queue.unackedCount, count - 1)
  bench.queue.removeConsumer(lost)
  // Not in the order in which they were published, as a client may give them back.
  const { held } = lost
  while (held.length > 50_000) lost.settle(held.length - 1, 'requeue')
  for (const { slot, deadline, returns } of held)
    bench.queue.giveBack(slot, deadline, returns, false)
  t.equal(bench.queue.unackedCount, 0)
  t.equal(bench.queue.readyCount, count + 9)
  const next = new TestConsumer(bench, 'next')
  bench.subscribe(next)
  bench.settle()
  deepStrictEqual(next.taken, run(1, count + 9))
  t.equal(next.held.filter(({ returns }) => returns > 0).length, count - 1)
  while (next.held.length > 0) next.settle(next.held.length - 1, 'complete')
  t.equal(bench.messages.count, 0)
})

t.test('ten thousand messages that expire at once hold no turn, and none is delivered', async t => {
  const bench = new QueueBench({ 'x-message-ttl': 10 })
  for (let id = 0; id < 10_000; id++) bench.publish(id)
  bench.clock.advance(9.5)
  t.strictSame(bench.burials, [])
  const getter = new TestConsumer(bench, 'get')
  bench.get(getter)
  t.strictSame(getter.taken, [0], 'not yet')
  bench.clock.advance(0.5)
  t.equal(bench.burials.length, 4096)
  bench.clock.advance(1)
  t.equal(bench.burials.length, 8192)
  bench.publish(10_000)
  const consumer = new TestConsumer(bench, 'c')
  bench.subscribe(consumer)
  bench.settle()
  t.equal(bench.burials.length, 9999)
  t.strictSame(consumer.taken, [10_000])
  getter.settle(0, 'requeue')
  bench.settle()
  t.equal(bench.burials.at(-1), '0 expired', 'its deadline is the old one')
})

t.test('a wall clock that is set changes no deadline', async t => {
  const bench = new QueueBench({ 'x-message-ttl': 1000 })
  bench.publish(1)
  const day = 86_400_000
  for (const step of [day, -3 * day]) {
    bench.clock.stepWall(step)
    bench.clock.advance(499)
    t.strictSame(bench.burials, [])
  }
  bench.clock.advance(2)
  t.strictSame(bench.burials, ['1 expired'])
})

t.test('a purge throws away what is ready over several turns and leaves the rest', async t => {
  const bench = new QueueBench()
  for (let id = 0; id < 10_000; id++) bench.publish(id)
  const getter = new TestConsumer(bench, 'get')
  bench.get(getter)
  t.equal(bench.queue.purge(), 9999)
  t.equal(bench.queue.readyBytes, 0)
  t.ok(bench.messages.count > 4000, 'the memory goes in shares')
  bench.publish(10_000)
  getter.settle(0, 'requeue')
  bench.settle()
  t.equal(bench.messages.count, 2)
  bench.get(getter)
  bench.get(getter)
  t.strictSame(getter.taken, [0, 0, 10_000])
})

t.test('a queue that nobody uses ends after x-expires', async t => {
  const bench = new QueueBench({ 'x-expires': 100 })
  const { queue, clock } = bench
  clock.advance(99)
  queue.used()
  clock.advance(99)
  bench.get(new TestConsumer(bench, 'get'))
  bench.publish(1)
  clock.advance(99)
  t.equal(bench.timesUnused, 0, 'declaring it again and basic.get are uses')
  const consumer = new TestConsumer(bench, 'c')
  bench.subscribe(consumer)
  clock.advance(1000)
  t.equal(bench.timesUnused, 0, 'a consumer is one')
  queue.removeConsumer(consumer)
  clock.advance(99)
  bench.publish(2)
  t.equal(bench.timesUnused, 0)
  clock.advance(1)
  t.equal(bench.timesUnused, 1, 'publishing is none')

  const untouched = new QueueBench({ 'x-expires': 100 })
  untouched.clock.advance(100)
  t.equal(untouched.timesUnused, 1)
})

t.test('an auto-delete queue ends with its last consumer, not before its first', async t => {
  const bench = new QueueBench({}, { autoDelete: true })
  const [first, second] = [new TestConsumer(bench, 'c1'), new TestConsumer(bench, 'c2')]
  bench.subscribe(first)
  bench.subscribe(second)
  bench.queue.removeConsumer(first)
  t.equal(bench.timesUnused, 0)
  bench.queue.removeConsumer(second)
  t.equal(bench.timesUnused, 1)
})
