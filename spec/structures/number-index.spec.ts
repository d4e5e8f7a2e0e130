import { deepStrictEqual, ok } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { absent, NumberIndex } from '../../src/structures/number-index.js'
import { deterministic } from '../support/generators.js'

const pageNumbers = 1024
const pageBytes = pageNumbers * 4

type Step =
  | readonly ['fill', gap: number, count: number]
  | readonly ['set' | 'delete', place: number, value: number]
  | readonly ['set several', place: number, count: number]
  | readonly ['thin out', from: number, to: number, kept: number]
  | readonly ['clear']

/** Numbers near the pages that `fill` has filled, as a part of the highest number. */
const place = fc.double({ min: 0, max: 1.01, noNaN: true })

const values = fc.oneof(fc.integer({ min: absent + 1, max: 2 ** 31 - 1 }), fc.constant(absent + 1))

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.tuple(fc.constant('fill' as const), fc.nat(2000), fc.nat(3000)),
    },
    {
      weight: 6,
      arbitrary: fc.tuple(fc.constantFrom('set' as const, 'delete' as const), place, values),
    },
    {
      weight: 2,
      arbitrary: fc.tuple(fc.constant('set several' as const), place, fc.nat(200)),
    },
    {
      weight: 4,
      arbitrary: fc.tuple(fc.constant('thin out' as const), place, place, fc.nat(300)),
    },
    { weight: 1, arbitrary: fc.constant(['clear'] as const) },
  ),
  { maxLength: 40, size: 'max' },
)

/** An index, and a plain map that should hold the same. */
class Bench {
  readonly index = new NumberIndex()
  readonly model = new Map<number, number>()
  highest: number

  constructor(base: number) {
    this.highest = base
  }

  take(step: Step, base: number): void {
    const numberAt = (place: number) => base + Math.floor(place * (this.highest - base))
    switch (step[0]) {
      case 'fill':
        this.highest += step[1]
        for (let i = 0; i < step[2]; i++) this.#set(++this.highest, i - 5)
        break
      case 'set':
        this.#set(numberAt(step[1]), step[2])
        break
      case 'set several':
        for (let i = 0; i < step[2]; i++) this.#set(numberAt(step[1]) + 2 * i, i)
        break
      case 'delete':
        this.#delete(numberAt(step[1]))
        break
      case 'thin out':
        for (let number = numberAt(step[1]); number < numberAt(step[2]); number++)
          if (number % (step[3] + 1) !== 0) this.#delete(number)
        break
      default:
        this.index.clear()
        this.model.clear()
    }
  }

  #set(number: number, value: number): void {
    this.highest = Math.max(this.highest, number)
    this.index.set(number, value)
    this.model.set(number, value)
  }

  #delete(number: number): void {
    this.index.delete(number)
    this.model.delete(number)
  }

  check(): void {
    const { index, model } = this
    deepStrictEqual(index.size, model.size)
    for (const [number, value] of model) {
      if (index.get(number) !== value) deepStrictEqual([number, index.get(number)], [number, value])
      if (!model.has(number + 1)) deepStrictEqual(index.get(number + 1), absent)
    }
    deepStrictEqual(
      inOrder(index),
      [...model.keys()].sort((a, b) => a - b),
    )
  }
}

/** All numbers, each found from the one before. */
function inOrder(index: NumberIndex): number[] {
  const numbers: number[] = []
  for (let at = index.firstAtOrAfter(0); at >= 0; at = index.firstAtOrAfter(at + 1))
    numbers.push(at)
  return numbers
}

t.test('it holds what a plain map would hold, and in order', async () => {
  fc.assert(
    fc.property(steps, fc.constantFrom(0, 1000, 2 ** 32 - 5, 2 ** 53 - 2 ** 24), (steps, base) => {
      const bench = new Bench(base)
      for (const step of steps) {
        bench.take(step, base)
        bench.check()
      }
    }),
    deterministic,
  )
})

t.test('the first number is found from any place before it', async t => {
  const index = new NumberIndex()
  t.equal(index.firstAtOrAfter(0), -1)
  index.set(5_000_000, 1)
  for (const from of [0, 4_999_999, 5_000_000]) t.equal(index.firstAtOrAfter(from), 5_000_000)
  t.equal(index.firstAtOrAfter(5_000_001), -1)
  t.equal(index.get(-1), absent)
})

t.test('numbers that come and go one after another need one page', async () => {
  const index = new NumberIndex()
  for (let number = 0; number < 10 * pageNumbers; number++) {
    index.set(number, 1)
    index.delete(number)
    ok(index.bytes <= 3 * pageBytes)
  }
  deepStrictEqual(index.size, 0)
})

t.test('it knows the memory that it uses', async t => {
  const index = new NumberIndex()
  const pages = 1000
  for (let number = 0; number < pages * pageNumbers; number++) index.set(number, number)
  t.ok(index.bytes >= pages * pageBytes)
  t.ok(index.bytes <= pages * (pageBytes + 300))
  for (let number = 0; number < pages * pageNumbers; number++)
    if (number % pageNumbers !== 77) index.delete(number)
  t.equal(index.size, pages)
  t.ok(
    index.bytes <= 20 * pageBytes + pages * 400,
    'one forgotten number in each page costs little',
  )
  for (let page = 0; page < pages; page++) index.delete(page * pageNumbers + 77)
  t.equal(index.size, 0)
  t.ok(index.bytes <= 20 * pageBytes)
  for (let number = 0; number < pages * pageNumbers; number++) index.set(number, number)
  index.clear()
  t.ok(index.bytes <= 20 * pageBytes)
})
