import { deepStrictEqual } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { Holders } from '../../src/structures/holders.js'
import { deterministic } from '../support/generators.js'

const pageBytes = 4096 * 8

interface Entry {
  readonly slot: number
  readonly queues: Set<number>
}

type Step =
  | readonly ['add', count: number, many: number]
  | readonly ['remove', place: number, queue: number]
  | readonly ['remove all', from: number, entries: number]

function counts(max: number) {
  return fc.integer({ min: 1, max })
}

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 2, arbitrary: fc.tuple(fc.constant('add' as const), counts(300), counts(5)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant('add' as const), counts(3), counts(1500)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant('add' as const), counts(9000), counts(2)) },
    { weight: 6, arbitrary: fc.tuple(fc.constant('remove' as const), fc.nat(), fc.nat()) },
    { weight: 2, arbitrary: fc.tuple(fc.constant('remove all' as const), fc.nat(), fc.nat(2000)) },
  ),
  { maxLength: 30, size: 'max' },
)

/** The arena, and plain sets that should hold the same. */
class Bench {
  readonly holders = new Holders()
  readonly model = new Map<number, Entry>()
  #slot = 0
  #queue = 2 ** 40

  add(count: number): void {
    const queues = Float64Array.from({ length: count + 3 }, () => ++this.#queue)
    const slot = ++this.#slot
    const id = this.holders.add(slot, queues, count)
    deepStrictEqual(this.model.has(id), false, 'the id was free')
    deepStrictEqual(id >= 0 && id < 2 ** 31 - 1 && Number.isInteger(id), true)
    this.model.set(id, { slot, queues: new Set(queues.subarray(0, count)) })
  }

  remove(id: number, queue: number): void {
    const { queues } = this.model.get(id) as Entry
    queues.delete(queue)
    if (queues.size === 0) this.model.delete(id)
    deepStrictEqual(this.holders.remove(id, queue), queues.size)
  }

  take(step: Step): void {
    const ids = [...this.model.keys()]
    if (step[0] === 'add') {
      for (let i = 0; i < step[2]; i++) this.add(step[1])
    } else if (step[0] === 'remove') {
      const id = ids[step[1] % ids.length]
      if (id === undefined) return
      const queues = [...(this.model.get(id) as Entry).queues]
      this.remove(id, queues[step[2] % (queues.length + 1)] ?? 1)
    } else {
      const from = step[1] % Math.max(1, ids.length)
      for (const id of ids.slice(from, from + step[2]))
        for (const queue of (this.model.get(id) as Entry).queues) this.remove(id, queue)
    }
  }

  check(): void {
    const { holders, model } = this
    deepStrictEqual(holders.size, model.size)
    let words = 0
    for (const [id, { slot, queues }] of model) {
      words += queues.size
      if (holders.slot(id) !== slot) deepStrictEqual(holders.slot(id), slot)
      if (holders.count(id) !== queues.size) deepStrictEqual(holders.count(id), queues.size)
      if (holders.has(id, 1)) deepStrictEqual('has a queue that was never added', '')
      for (let i = 0; i < queues.size; i++) {
        const queue = holders.queue(id, i)
        if (!queues.has(queue)) deepStrictEqual([queue], [...queues])
        if (i % 97 === 0 && !holders.has(id, queue)) deepStrictEqual('misses a queue', queue)
      }
    }
    deepStrictEqual(holders.bytes >= words * 8, true)
  }
}

t.test('it holds what plain sets would hold', async () => {
  fc.assert(
    fc.property(steps, steps => {
      const bench = new Bench()
      steps.forEach((step, i) => {
        bench.take(step)
        if (i % 5 === 0 || i === steps.length - 1) bench.check()
      })
    }),
    deterministic,
  )
})

t.test('entries that come and go one after another need one page', async t => {
  const holders = new Holders()
  for (let i = 0; i < 10_000; i++) {
    const id = holders.add(i, Float64Array.of(1, 2), 2)
    holders.remove(id, 1)
    holders.remove(id, 2)
  }
  t.equal(holders.bytes, pageBytes)
})

t.test('an entry of three queues costs 32 bytes, and all memory comes back', async t => {
  const holders = new Holders()
  const queues = Float64Array.of(1, 2, 3)
  const ids = Array.from({ length: 100_000 }, (_, slot) => holders.add(slot, queues, 3))
  t.ok(holders.bytes <= 100_000 * 32 + pageBytes)
  for (const id of ids) for (const queue of queues) holders.remove(id, queue)
  t.equal(holders.size, 0)
  t.equal(holders.bytes, pageBytes)
})
