/** Who is next among the consumers of a queue. */
import t from 'tap'
import { Consumers } from '../../../src/broker/queues/consumer.js'
import { growth } from '../../support/durations.js'
import { QueueBench, TestConsumer } from '../../support/queues.js'

const bench = new QueueBench()
const consumerOf = (priority: number) => new TestConsumer(bench, `${priority}`, { priority })

/** Priorities from 0, each once, in no order. */
const scattered = (count: number) => Array.from({ length: count }, (_, i) => (i * 7919) % count)

t.test('the highest of 20,000 priorities goes first, whoever joins and leaves', async t => {
  const count = 20_000
  const consumers = new Consumers(false, false)
  const joined = scattered(count).map(consumerOf)
  let highest = -1
  let wrong = 0
  for (const consumer of joined) {
    consumers.add(consumer)
    consumers.resume(consumer)
    highest = Math.max(highest, consumer.priority)
    if (consumers.next()?.priority !== highest) wrong++
  }
  // The one that is next becomes unwilling, and later comes back.
  for (let i = 0; i < 100; i++) consumers.pause(consumers.next() as TestConsumer)
  t.equal(consumers.next()?.priority, count - 101)
  for (const consumer of joined) consumers.resume(consumer)
  for (let priority = count - 1; priority >= 0; priority--) {
    const next = consumers.next()
    if (next?.priority !== priority) wrong++
    if (next !== null) consumers.remove(next)
  }
  t.equal(wrong, 0)
  t.equal(consumers.next(), null)
})

t.test('joining and leaving costs little more with thousands of priorities', async t => {
  const ratio = growth(500, 4000, count => {
    const consumers = new Consumers(false, false)
    const joined = scattered(count).map(consumerOf)
    for (const consumer of joined) {
      consumers.add(consumer)
      consumers.resume(consumer)
    }
    for (const consumer of joined) consumers.remove(consumer)
  })
  t.ok(ratio < 24, `8 times the consumers take ${ratio.toFixed(1)} times as long`)
})
