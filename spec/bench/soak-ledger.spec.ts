/** The checker of the soak finds each thing that it looks for, and nothing in a broker that keeps its word. */
import t from 'tap'
import { type Kind, Ledger, SETTLE_MS, type Stream } from '../../bench/soak/ledger.js'

const second = 1000

/** A ledger with a stream into `queue`, and one that is carried on into `target` by transactions of two. */
class Story {
  readonly ledger = new Ledger(() => {})
  readonly plain = this.ledger.stream('plain', {
    queue: { order: () => 0, last: () => true },
  })
  readonly carried = this.ledger.stream('carried', {
    source: { order: () => 0, last: () => false },
    target: { order: null, last: () => true, entered: true },
  })

  constructor() {
    this.carried.transaction = 2
    this.ledger.begin(10 * second)
  }

  publish(stream: Stream, count: number, confirmed = true): void {
    for (let i = 0; i < count; i++) {
      stream.sent++
      if (confirmed) stream.confirm(stream.sent - 1)
    }
  }

  deliver(stream: Stream, queue: string, sequence: number, redelivered = false, ms = 0): void {
    stream.tracks.get(queue)?.deliver(sequence, redelivered, ms || this.ledger.epoch.begunMs)
  }

  /** Settles; `provenMs` is when the broker was known to have seen it. */
  settle(stream: Stream, queue: string, sequence: number, ms: number, provenMs?: number): void {
    const track = stream.tracks.get(queue)
    track?.settle(sequence, ms)
    if (provenMs !== undefined) track?.settleDurably(sequence, provenMs + SETTLE_MS)
  }

  /** The broker ends and starts again. */
  restart(ms: number, clean = false): void {
    this.ledger.end(ms, clean)
    this.ledger.begin(ms + second)
  }

  /** All that was found, once all queues are empty. */
  get found(): Partial<Record<Kind, number>> {
    this.ledger.checkDrained()
    return Object.fromEntries(this.ledger.found)
  }
}

t.test('a confirmed message that never comes is lost, and told once', async t => {
  const story = new Story()
  story.publish(story.plain, 2)
  story.deliver(story.plain, 'queue', 0)
  story.settle(story.plain, 'queue', 0, 11 * second)
  story.restart(12 * second)
  t.same(story.found, { lost: 1 })
  t.same(story.found, { lost: 1 })
})

t.test('a delivered message that was not settled must come again', async t => {
  const story = new Story()
  story.publish(story.plain, 1)
  story.deliver(story.plain, 'queue', 0)
  story.restart(12 * second)
  t.same(story.found, { lost: 1 })
})

t.test('a message that was not confirmed, or need not survive, may be missing', async t => {
  const story = new Story()
  story.plain.transient = sequence => sequence === 1
  story.publish(story.plain, 1, false)
  story.publish(story.plain, 1)
  story.restart(12 * second)
  t.same(story.found, {})
  story.deliver(story.plain, 'queue', 1, true)
  t.same(story.found, { resurrected: 1 })
})

t.test('what was settled long before the end must not come back', async t => {
  const story = new Story()
  story.publish(story.plain, 4)
  for (let i = 0; i < 4; i++) story.deliver(story.plain, 'queue', i)
  story.settle(story.plain, 'queue', 0, 11 * second, 11.5 * second)
  story.settle(story.plain, 'queue', 1, 11 * second, 11.6 * second)
  story.settle(story.plain, 'queue', 2, 11 * second)
  story.settle(story.plain, 'queue', 3, 12.4 * second, 12.4 * second)
  story.restart(12.5 * second)
  for (let i = 1; i < 4; i++) {
    story.deliver(story.plain, 'queue', i, true)
    story.settle(story.plain, 'queue', i, 14 * second, 14 * second)
  }
  t.same(story.found, {}, 'of these the settlement may be gone')
  story.deliver(story.plain, 'queue', 0, true)
  story.settle(story.plain, 'queue', 0, 14 * second, 14 * second)
  t.same(story.found, { resurrected: 1 })
})

t.test(
  'what was settled must not come back while the broker lives or after a clean stop',
  async t => {
    const story = new Story()
    story.publish(story.plain, 2)
    for (let i = 0; i < 2; i++) {
      story.deliver(story.plain, 'queue', i)
      story.settle(story.plain, 'queue', i, 12 * second, 12 * second)
    }
    story.deliver(story.plain, 'queue', 0, true)
    story.settle(story.plain, 'queue', 0, 12 * second, 12 * second)
    t.same(story.found, { resurrected: 1 })
    story.restart(12.1 * second, true)
    story.deliver(story.plain, 'queue', 1, true)
    story.settle(story.plain, 'queue', 1, 14 * second)
    t.same(story.found, { resurrected: 2 })
  },
)

t.test('what comes a second time, or after an unclean end, must be flagged', async t => {
  const story = new Story()
  story.publish(story.plain, 3)
  story.deliver(story.plain, 'queue', 0)
  story.deliver(story.plain, 'queue', 0, true)
  story.restart(12 * second)
  story.deliver(story.plain, 'queue', 0, true)
  story.deliver(story.plain, 'queue', 1, true)
  for (let i = 0; i < 3; i++) story.settle(story.plain, 'queue', i, 14 * second)
  t.same(story.found, {})
  story.deliver(story.plain, 'queue', 2)
  story.settle(story.plain, 'queue', 2, 14 * second)
  t.equal(story.found['not flagged'], 1)
})

t.test('what entered a queue just before the end may enter it again', async t => {
  const story = new Story()
  story.publish(story.carried, 2)
  story.deliver(story.carried, 'target', 0, false, 11.4 * second)
  story.deliver(story.carried, 'target', 1, false, 10.9 * second)
  story.restart(12 * second)
  story.deliver(story.carried, 'target', 0)
  t.same([...story.ledger.found], [])
  story.deliver(story.carried, 'target', 1)
  t.same([...story.ledger.found], [['not flagged', 1]])
})

t.test('after a clean stop a message that comes first needs no flag', async t => {
  const story = new Story()
  story.publish(story.plain, 1)
  story.restart(12 * second, true)
  story.deliver(story.plain, 'queue', 0)
  story.settle(story.plain, 'queue', 0, 14 * second)
  t.same(story.found, {})
})

t.test('first deliveries come in order, later ones in any', async t => {
  const story = new Story()
  story.publish(story.plain, 4)
  for (const sequence of [0, 2, 3]) story.deliver(story.plain, 'queue', sequence)
  story.deliver(story.plain, 'queue', 0, true)
  t.same([...story.ledger.found], [])
  story.deliver(story.plain, 'queue', 1)
  t.same([...story.ledger.found], [['out of order', 1]])
})

t.test('of a transaction that was not confirmed, all comes or nothing', async t => {
  const story = new Story()
  story.publish(story.carried, 6, false)
  story.restart(12 * second)
  for (const sequence of [2, 3, 4]) {
    story.deliver(story.carried, 'source', sequence, true)
    story.settle(story.carried, 'source', sequence, 14 * second, 14 * second)
    story.deliver(story.carried, 'target', sequence)
    story.settle(story.carried, 'target', sequence, 14 * second, 14 * second)
  }
  t.same(story.found, { 'torn transactions': 1 })
})

t.test('a message that was taken from one queue and never came in the next is lost', async t => {
  const story = new Story()
  story.publish(story.carried, 2)
  for (const sequence of [0, 1]) {
    story.deliver(story.carried, 'source', sequence)
    story.settle(story.carried, 'source', sequence, 11 * second, 11 * second)
  }
  story.deliver(story.carried, 'target', 0)
  story.settle(story.carried, 'target', 0, 11 * second, 11 * second)
  t.same(story.found, { lost: 1 })
})
