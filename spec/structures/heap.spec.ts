import { deepStrictEqual } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { Heap } from '../../src/structures/heap.js'
import { deterministic } from '../support/generators.js'

/** Puts one of the nodes at a place in time, or takes it out. */
const steps = fc.array(fc.tuple(fc.nat(30), fc.option(fc.integer({ min: -20, max: 20 }))), {
  maxLength: 200,
  size: 'max',
})

function nodes() {
  return Array.from({ length: 31 }, (_, name) => ({ name, at: 0, place: -1 }))
}

t.test('the first node is always one with the smallest time', async () => {
  fc.assert(
    fc.property(steps, steps => {
      const all = nodes()
      const heap = new Heap<(typeof all)[number]>()
      const model = new Map<number, number>()
      for (const [name, at] of steps) {
        const node = all[name] as (typeof all)[number]
        if (at === null) {
          heap.remove(node)
          model.delete(name)
        } else {
          heap.set(node, at)
          model.set(name, at)
        }
        const first = heap.first()
        deepStrictEqual(heap.size, model.size)
        deepStrictEqual(first?.at, model.size === 0 ? undefined : Math.min(...model.values()))
        if (first !== undefined) deepStrictEqual(first.at, model.get(first.name))
      }
    }),
    deterministic,
  )
})

t.test('taken out one after another, nodes come in the order of time', async () => {
  fc.assert(
    fc.property(steps, steps => {
      const all = nodes()
      const heap = new Heap<(typeof all)[number]>()
      for (const [name, at] of steps) {
        const node = all[name] as (typeof all)[number]
        if (at === null) heap.remove(node)
        else heap.set(node, at)
      }
      const expected = all.filter(node => node.place >= 0).map(node => node.at)
      const times: number[] = []
      for (let node = heap.first(); node !== undefined; node = heap.first()) {
        times.push(node.at)
        heap.remove(node)
        deepStrictEqual(node.place, -1)
      }
      deepStrictEqual(
        times,
        expected.sort((a, b) => a - b),
      )
    }),
    deterministic,
  )
})

t.test('taking out a node that is not in changes nothing', async t => {
  const heap = new Heap()
  const node = { at: 0, place: -1 }
  const stranger = { at: 0, place: -1 }
  heap.set(node, 5)
  heap.remove(stranger)
  t.equal(heap.size, 1)
  t.equal(heap.first(), node)
})
