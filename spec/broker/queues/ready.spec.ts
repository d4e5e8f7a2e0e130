import { deepStrictEqual, ok } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { Ready, ReadyPages } from '../../../src/broker/queues/ready.js'
import { MessageTable } from '../../../src/store/message-table.js'
import { ChunkPool } from '../../../src/structures/chunk-pool.js'
import { deterministic } from '../../support/generators.js'

const largePage = 4096

/** A message as the model has it: slots come in order, so the lower one is the older. */
interface Entry {
  readonly slot: number
  readonly deadline: number
  readonly returns: number
}

/** A queue of ready messages, and a sorted array that should hold the same. */
class Bench {
  readonly messages = new MessageTable(new ChunkPool())
  readonly ready: Ready
  readonly model: Entry[] = []
  readonly out: Entry[] = []
  #last = 0

  constructor(pages = new ReadyPages()) {
    this.ready = new Ready(this.messages, pages)
  }

  add(): number {
    return this.messages.add(Buffer.alloc(1), 0, 1, 0, ++this.#last)
  }

  push(count: number, deadline = 0): void {
    for (let i = 0; i < count; i++) {
      const slot = this.add()
      this.ready.push(slot, deadline)
      this.model.push({ slot, deadline, returns: 0 })
    }
  }

  shift(count: number): void {
    for (let i = 0; i < count && this.model.length > 0; i++) {
      const entry = this.model.shift() as Entry
      this.check(entry)
      this.ready.shift()
      this.out.push(entry)
    }
    this.check(this.model[0])
  }

  /** Gives back some that were shifted, in any order. */
  giveBack(count: number, place: number): void {
    for (let i = 0; i < count && this.out.length > 0; i++) {
      const [entry] = this.out.splice(place % this.out.length, 1) as [Entry]
      const number = this.messages.number(entry.slot)
      this.ready.giveBack(entry.slot, entry.deadline, entry.returns + 1, number)
      this.model.push({ ...entry, returns: entry.returns + 1 })
    }
    this.model.sort((a, b) => this.messages.number(a.slot) - this.messages.number(b.slot))
  }

  /** Withdraws every `nth` of the last messages of those that never left. */
  withdraw(last: number, nth: number): void {
    const from = Math.max(1, this.#last - last)
    const wanted = ({ slot, returns }: Entry) =>
      returns === 0 && this.messages.number(slot) >= from && this.messages.number(slot) % nth === 0
    const model = this.model.filter(wanted).map(({ slot }) => slot)
    const taken: number[] = []
    this.ready.withdraw(from, slot => {
      if (this.messages.number(slot) % nth !== 0) return false
      taken.push(slot)
      return true
    })
    deepStrictEqual(taken, model.reverse())
    this.model.splice(0, this.model.length, ...this.model.filter(entry => !wanted(entry)))
  }

  check(first: Entry | undefined): void {
    const { ready } = this
    deepStrictEqual(ready.peek(), first !== undefined)
    if (first === undefined) return
    const { slot, deadline, returns } = ready
    deepStrictEqual({ slot, deadline, returns }, first)
  }
}

const count = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 1, max: 5 }) },
  { weight: 3, arbitrary: fc.integer({ min: 50, max: 80 }) },
  { weight: 1, arbitrary: fc.integer({ min: largePage - 100, max: largePage + 100 }) },
)
const deadline = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 1e6 }))

const step = fc.oneof(
  fc.record({ does: fc.constant('push' as const), count, deadline }),
  fc.record({ does: fc.constant('shift' as const), count }),
  fc.record({ does: fc.constant('give back' as const), count, place: fc.nat() }),
  fc.record({ does: fc.constant('peek' as const) }),
  fc.record({ does: fc.constant('withdraw' as const), count, nth: fc.integer({ min: 1, max: 3 }) }),
)

t.test('the oldest goes first, with its deadline and its returns, whatever came back', async () => {
  const pages = new ReadyPages()
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: 'max' }), steps => {
      const bench = new Bench(pages)
      for (const step of steps) {
        if (step.does === 'push') bench.push(step.count, step.deadline)
        else if (step.does === 'shift') bench.shift(step.count)
        else if (step.does === 'give back') bench.giveBack(step.count, step.place)
        else if (step.does === 'withdraw') bench.withdraw(step.count, step.nth)
        bench.check(bench.model[0])
        deepStrictEqual(bench.ready.count, bench.model.length)
      }
      bench.shift(bench.model.length)
      deepStrictEqual(bench.ready.count, 0)
    }),
    { ...deterministic, numRuns: 80 },
  )
})

/** Pages that remember who took which. */
class WatchedPages extends ReadyPages {
  readonly given: unknown[] = []
  readonly taken: unknown[] = []
  readonly sizes: number[] = []

  override take(size: number) {
    const page = super.take(size)
    this.taken.push(page)
    this.sizes.push(page.slots.length)
    return page
  }

  override give(page: ReturnType<ReadyPages['take']>): void {
    this.given.push(page)
    super.give(page)
  }
}

t.test('a queue begins with a small page and goes on with large ones', async t => {
  const pages = new WatchedPages()
  const bench = new Bench(pages)
  bench.push(64 + 2 * largePage)
  t.same(pages.sizes, [64, largePage, largePage])
})

t.test(
  'a queue that is filled and emptied all the time has the same page, and empty none',
  async t => {
    const pages = new WatchedPages()
    const bench = new Bench(pages)
    for (let i = 0; i < 1000; i++) {
      bench.push(1 + (i % 50))
      bench.shift(50)
      if (pages.given.length !== pages.taken.length) throw new Error('an empty queue has a page')
    }
    t.equal(new Set(pages.taken).size, 1)
    t.equal(pages.sizes[0], 64)
  },
)

t.test('a drained backlog gives its pages to the next queue', async t => {
  const pages = new WatchedPages()
  const one = new Bench(pages)
  one.push(64 + 3 * largePage, 5)
  one.shift(64 + 3 * largePage)
  t.equal(pages.given.length, pages.taken.length, 'all of them')
  const large = new Set(pages.given.filter(page => (page as { slots: [] }).slots.length > 64))
  pages.taken.length = 0
  const other = new Bench(pages)
  other.push(64 + 3 * largePage)
  t.ok(pages.taken.slice(1).every(page => large.has(page)))
  other.shift(64 + 3 * largePage)
})

t.test('no more than 64 large pages and 1,024 small ones wait for their next queue', async t => {
  const kept = (count: number, size: number): number => {
    const pages = new ReadyPages()
    const taken = Array.from({ length: count }, () => pages.take(size))
    for (const page of taken) pages.give(page)
    const again = new Set(Array.from({ length: count }, () => pages.take(size)))
    return taken.filter(page => again.has(page)).length
  }
  t.equal(kept(70, largePage), 64)
  t.equal(kept(1100, 64), 1024)
})

t.test('a backlog that is never empty holds only the pages between its ends', async t => {
  const pages = new WatchedPages()
  const bench = new Bench(pages)
  bench.push(100)
  for (let i = 0; i < 10 * largePage; i += 50) {
    bench.push(50)
    bench.shift(50)
  }
  t.ok(pages.taken.length - pages.given.length <= 2)
  t.ok(new Set(pages.taken).size <= 4)
})

t.test('a hundred thousand that come back at once are given out in order', async () => {
  const bench = new Bench()
  const { ready, messages } = bench
  const slots = Array.from({ length: 100_000 }, () => bench.add())
  // The numbers of a shuffled deck: 7919 has no factor in common with 100,000.
  for (let i = 0; i < slots.length; i++) {
    const slot = slots[(i * 7919) % slots.length] as number
    ready.giveBack(slot, 0, 1, messages.number(slot))
  }
  let before = 0
  while (ready.peek()) {
    const number = messages.number(ready.slot)
    ok(number > before)
    before = number
    ready.shift()
  }
  deepStrictEqual(before, slots.length)
})
