/** Queues whose messages are partly on the disk only, and what happens while they are being read. */
import { deepStrictEqual, ok } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { type Line, ReadAhead } from '../../../src/broker/queues/read-ahead.js'
import { deterministic } from '../../support/generators.js'
import { QueueBench, TestConsumer } from '../../support/queues.js'

const bulky = true

/** A queue with messages 0, 1, 2, … of which all are on the disk only. */
function paged(count: number, args = {}): QueueBench {
  const bench = new QueueBench(args)
  for (let id = 0; id < count; id++) bench.publish(id, { bulky })
  bench.log.pageOut()
  return bench
}

const run = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i)

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('publish' as const), bulky: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('page out' as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('answer' as const), most: fc.nat(4) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('end turn' as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('complete' as const), place: fc.nat(9) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('requeue' as const), place: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('another' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('move' as const) }) },
)

t.test('all go out in order, whatever leaves memory and whenever it comes back', async () => {
  let answers = 0
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100, size: 'max' }), steps => {
      const bench = new QueueBench()
      const waiting: number[] = []
      const seen = new Set<number>()
      let consumer = new TestConsumer(bench, 'c', { limit: 3 })
      bench.subscribe(consumer)
      let ids = 0
      /** What came since the last look must be the oldest of what waited. */
      const look = () => {
        for (const id of consumer.taken.splice(0)) {
          deepStrictEqual(id, waiting.shift())
          seen.add(id)
        }
      }
      for (const step of steps) {
        if (step.do === 'publish') {
          waiting.push(ids)
          bench.publish(ids++, { bulky: step.bulky })
        } else if (step.do === 'page out') bench.log.pageOut()
        else if (step.do === 'move') bench.log.moveAll()
        else if (step.do === 'answer') bench.log.answer(step.most)
        else if (step.do === 'end turn') bench.world.turns.end()
        else if (step.do === 'another') {
          look()
          const gone = consumer
          for (const { id } of gone.held) waiting.push(id)
          waiting.sort((a, b) => a - b)
          gone.lose()
          consumer = new TestConsumer(bench, 'c', { limit: 3 })
          bench.subscribe(consumer)
        } else if (consumer.held.length > 0) {
          look()
          const place = step.place % consumer.held.length
          if (step.do === 'requeue') {
            waiting.push(consumer.held[place]?.id as number)
            waiting.sort((a, b) => a - b)
          }
          consumer.settle(place, step.do)
        }
        look()
        deepStrictEqual(bench.queue.readyCount, waiting.length)
      }
      while (bench.queue.readyCount + consumer.held.length > 0) {
        bench.settle()
        look()
        ok(consumer.held.length > 0, 'something never comes')
        consumer.settle(0, 'complete')
      }
      deepStrictEqual(seen.size, ids)
      deepStrictEqual(bench.messages.count, 0)
      answers += bench.log.answers
    }),
    { ...deterministic, numRuns: 150 },
  )
  ok(answers > 300, `${answers} contents came back`)
})

t.test('a purge while the first is being read leaves nothing', async t => {
  const bench = paged(5)
  const consumer = new TestConsumer(bench, 'c', { noAck: true })
  bench.subscribe(consumer)
  bench.world.turns.endAll()
  t.ok(bench.log.waiting.length > 0)
  t.equal(bench.queue.purge(), 5)
  bench.publish(7)
  bench.settle()
  t.same(consumer.taken, [7])
  t.equal(bench.messages.count, 0)
})

t.test('a queue that ends while the first is being read ends for good', async t => {
  const bench = paged(5)
  bench.subscribe(new TestConsumer(bench, 'c', { noAck: true }))
  bench.world.turns.endAll()
  bench.queue.end()
  bench.settle()
  t.same(bench.deliveries, [])
  t.equal(bench.messages.count, 0)
})

t.test('what expires while it is being read is not delivered', async t => {
  const bench = paged(3, { 'x-message-ttl': 100 })
  const consumer = new TestConsumer(bench, 'c', { noAck: true })
  bench.subscribe(consumer)
  bench.world.turns.endAll()
  bench.clock.advance(100)
  bench.publish(9)
  bench.settle()
  t.same(bench.burials, ['0 expired', '1 expired', '2 expired'])
  t.same(consumer.taken, [9])
})

t.test('a get waits for the content, as do those behind it', async t => {
  const bench = paged(2)
  const getter = new TestConsumer(bench, 'g', { noAck: true })
  for (let i = 0; i < 3; i++) bench.get(getter)
  t.same(bench.deliveries, [])
  bench.settle()
  t.same(bench.deliveries, ['g 0 0', 'g 1 0', 'g nothing'])
})

t.test('what cannot be read leaves, which is said, and the rest goes out', async t => {
  const bench = paged(4)
  bench.log.damage(1)
  bench.log.damage(2)
  const consumer = new TestConsumer(bench, 'c', { noAck: true })
  bench.subscribe(consumer)
  for (let i = 0; i < 10; i++) {
    bench.settle()
    bench.clock.advance(1000)
  }
  t.same(consumer.taken, [0, 3])
  t.equal(bench.messages.count, 0)
  const left = bench.world.lines.filter(({ message }) => /has left/.test(message))
  t.same(
    left.map(({ fields }) => fields),
    [
      { message: 2, queue: 'q' },
      { message: 3, queue: 'q' },
    ],
  )
})

t.test('it reads no more than a batch and a half ahead', async t => {
  const bench = paged(1000)
  const consumer = new TestConsumer(bench, 'c', { limit: 1 })
  bench.subscribe(consumer)
  bench.settle()
  const ahead = () => bench.log.answers - consumer.taken.length
  // A batch is half a MiB here: nine messages of a little more than 64 KiB.
  t.ok(ahead() < 10)
  let most = 0
  while (consumer.held.length > 0) {
    consumer.settle(0, 'complete')
    bench.settle()
    most = Math.max(most, ahead())
  }
  t.ok(most < 14, `${most}`)
  t.same(consumer.taken, run(0, 1000))
})

t.test('a line that goes on in memory is not looked at again and again', async t => {
  const bench = paged(2)
  for (let id = 2; id < 500; id++) bench.publish(id)
  let looks = 0
  const slots = [0, 1]
  const line: Line = {
    taken: 0,
    upcoming(from, into) {
      looks++
      into.set(slots.slice(from))
      return slots.length - from
    },
  }
  const ahead = new ReadAhead(bench.messages, bench.paging, () => {})
  ahead.request(line)
  bench.log.answer()
  const taken = { ...line, taken: 2 }
  for (let i = 0; i < 100; i++) ahead.advance(taken)
  t.equal(looks, 1)
})
