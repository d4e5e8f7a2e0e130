/** The heap of due numbers, beside a sorted list. */
import { deepStrictEqual } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { DueHeap } from '../../src/structures/due-heap.js'

interface Entry {
  readonly at: number
  readonly number: number
  readonly slot: number
}

const inOrder = (a: Entry, b: Entry) => a.at - b.at || a.number - b.number

function entriesOf(heap: DueHeap, places: readonly number[]): Entry[] {
  return places.map(place => ({
    at: heap.at(place),
    number: heap.number(place),
    slot: heap.slot(place),
  }))
}

t.test('what is due first comes first, of like moments the lower number', async () => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ at: fc.nat(20) }) },
    { weight: 1, arbitrary: fc.record({ remove: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ shift: fc.constant(true) }) },
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), fc.nat(10), (steps, look) => {
      const heap = new DueHeap()
      let model: Entry[] = []
      let number = 0
      for (const step of steps) {
        if ('at' in step) {
          const entry = { at: step.at, number: ++number, slot: 1000 - number }
          heap.push(entry.at, entry.number, entry.slot)
          model.push(entry)
        } else if (heap.count > 0) {
          const place = 'remove' in step ? step.remove % heap.count : 0
          const gone = heap.number(place)
          heap.remove(place)
          model = model.filter(entry => entry.number !== gone)
        }
        model.sort(inOrder)
        deepStrictEqual(heap.firstAt, model[0]?.at ?? Number.POSITIVE_INFINITY)
        deepStrictEqual(entriesOf(heap, heap.first(look)), model.slice(0, look))
      }
      deepStrictEqual(heap.count, model.length)
      deepStrictEqual(entriesOf(heap, heap.first(heap.count)), model)
    }),
  )
})

t.test('a hundred thousand go in and out in order, and give their pages back', async t => {
  const heap = new DueHeap()
  let seed = 1
  for (let i = 0; i < 100_000; i++) {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
    heap.push(seed, i, i)
  }
  const full = heap.bytes
  let last = -1
  while (heap.count > 0) {
    const at = heap.firstAt
    if (at < last) t.fail('out of order')
    last = at
    heap.remove(0)
  }
  t.ok(full >= 100_000 * 20)
  t.ok(heap.bytes <= full / 10)
})
