import { deepStrictEqual, ok } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { largeBytes, Mark, MessageTable } from '../../src/store/message-table.js'
import { ChunkPool, chunkBytes } from '../../src/structures/chunk-pool.js'
import { deterministic } from '../support/generators.js'
import { octetsOf, pieces } from '../support/messages.js'

const recordHead = 8
const pageSlots = 4096
const pageBytes = pageSlots * 24
const slackBytes = 64 * 1024 * 1024

/** What the model knows of a message. */
interface Kept {
  readonly bytes: Buffer
  readonly parts: readonly Buffer[] | null
  marks: number
  readonly number: number
  references: number
}

/** A table, and a plain map that should hold the same. */
class Bench {
  readonly pool = new ChunkPool()
  readonly table = new MessageTable(this.pool)
  readonly model = new Map<number, Kept>()
  #lastNumber = 0

  add(size: number, seed: number, marks: number): number {
    const bytes = octetsOf(size, seed)
    const around = Buffer.concat([Buffer.alloc(seed % 9), bytes, Buffer.alloc(3)])
    const start = seed % 9
    const slot = this.table.add(around, start, start + size, marks, this.#nextNumber())
    around.fill(0xff)
    this.#enter(slot, bytes, null, marks)
    return slot
  }

  addOwn(size: number, parts: number[], marks: number): void {
    const bytes = octetsOf(100, size)
    const body = pieces(octetsOf(size, 1), parts)
    this.#enter(this.table.addOwn(bytes, body, marks, this.#nextNumber()), bytes, body, marks)
  }

  #enter(slot: number, bytes: Buffer, parts: readonly Buffer[] | null, marks: number): void {
    ok(!this.model.has(slot), 'the slot was free')
    this.model.set(slot, { bytes, parts, marks, number: this.#lastNumber, references: 1 })
  }

  #nextNumber(): number {
    this.#lastNumber += 1 + (this.#lastNumber % 7) * 1_000_000_007
    return this.#lastNumber
  }

  /** One of the messages held, or -1. */
  some(place: number): number {
    const slots = [...this.model.keys()]
    return slots[place % slots.length] ?? -1
  }

  retain(slot: number): void {
    this.table.retain(slot)
    ;(this.model.get(slot) as Kept).references++
  }

  log(slot: number): void {
    this.table.setLogged(slot)
    ;(this.model.get(slot) as Kept).marks |= Mark.logged
  }

  release(slot: number): void {
    this.table.release(slot)
    const kept = this.model.get(slot) as Kept
    if (--kept.references === 0) this.model.delete(slot)
  }

  checkMessages(): void {
    const { table } = this
    for (const [slot, kept] of this.model) {
      table.locate(slot)
      ok(kept.bytes.equals(table.bytes.subarray(table.start, table.end)))
      deepStrictEqual(table.parts, kept.parts)
      deepStrictEqual(table.number(slot), kept.number)
      deepStrictEqual(table.priority(slot), kept.marks & 255)
      deepStrictEqual(table.persistent(slot), (kept.marks & Mark.persistent) !== 0)
      deepStrictEqual(table.diedBefore(slot), (kept.marks & Mark.died) !== 0)
      deepStrictEqual(table.logged(slot), (kept.marks & Mark.logged) !== 0)
      deepStrictEqual(table.references(slot), kept.references)
      const body = kept.parts?.reduce((sum, part) => sum + part.length, 0) ?? 0
      deepStrictEqual(table.size(slot), kept.bytes.length + body)
    }
  }

  checkFigures(): void {
    const { table, pool, model } = this
    let shared = 0
    let own = 0
    for (const { bytes, parts } of model.values())
      if (parts !== null) own += bytes.length + Buffer.concat(parts).length
      else if (bytes.length >= largeBytes) own += bytes.length
      else shared += bytes.length + recordHead
    deepStrictEqual(table.count, model.size)
    deepStrictEqual(table.liveBytes, shared + own)
    deepStrictEqual(table.chunkBytes, pool.taken * chunkBytes + own)
  }
}

type Step =
  | readonly ['add', size: number, seed: number, marks: number]
  | readonly ['add parts', size: number, cuts: number[], marks: number]
  | readonly ['retain' | 'release' | 'log', place: number]
  | readonly ['compact']

const marks = fc
  .tuple(fc.nat(255), fc.constantFrom(0, Mark.persistent, Mark.died, Mark.persistent + Mark.died))
  .map(([priority, marks]) => priority + marks)

const sizes = fc.oneof(
  { weight: 5, arbitrary: fc.integer({ min: 1, max: 200 }) },
  { weight: 5, arbitrary: fc.integer({ min: 10_000, max: largeBytes - 1 }) },
  { weight: 1, arbitrary: fc.integer({ min: largeBytes, max: 2 * largeBytes }) },
  { weight: 1, arbitrary: fc.constantFrom(largeBytes - 1, largeBytes) },
)

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(fc.constant('add' as const), sizes, fc.nat(99), marks) },
  {
    weight: 1,
    arbitrary: fc.tuple(
      fc.constant('add parts' as const),
      fc.integer({ min: 1, max: 1000 }),
      fc.array(fc.nat()),
      marks,
    ),
  },
  { weight: 1, arbitrary: fc.tuple(fc.constant('retain' as const), fc.nat()) },
  { weight: 6, arbitrary: fc.tuple(fc.constant('release' as const), fc.nat()) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('log' as const), fc.nat()) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('compact' as const)) },
)

function carryOut(bench: Bench, step: Step): void {
  if (step[0] === 'add') bench.add(step[1], step[2], step[3])
  else if (step[0] === 'add parts') bench.addOwn(step[1], step[2], step[3])
  else if (step[0] === 'compact') bench.table.compact()
  else {
    const slot = bench.some(step[1])
    if (slot < 0) return
    if (step[0] === 'retain') bench.retain(slot)
    else if (step[0] === 'log') bench.log(slot)
    else bench.release(slot)
  }
}

t.test(
  'messages are kept as they are and counted exactly, whatever happens around them',
  async () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120, size: 'max' }), steps => {
        const bench = new Bench()
        steps.forEach((step, i) => {
          carryOut(bench, step)
          bench.checkFigures()
          if (i % 10 === 0) bench.checkMessages()
        })
        bench.checkMessages()
        while (bench.model.size > 0) bench.release(bench.some(0))
        bench.checkFigures()
        ok(bench.pool.taken <= 1, 'only the chunk being filled is kept')
      }),
      { ...deterministic, numRuns: 60 },
    )
  },
)

t.test('a message lives as long as somebody refers to it', async t => {
  const { table } = new Bench()
  const slot = table.add(Buffer.from('message'), 0, 7, 0, 1)
  table.retain(slot)
  table.release(slot)
  t.equal(table.count, 1)
  table.release(slot)
  t.equal(table.count, 0)
})

t.test('a hundred thousand may refer to one', async t => {
  const { table } = new Bench()
  const marks = 255 + Mark.persistent + Mark.died
  const slot = table.add(Buffer.from('message'), 0, 7, marks, 1)
  for (let i = 0; i < 100_000; i++) table.retain(slot)
  for (let i = 0; i < 100_000; i++) table.release(slot)
  t.equal(table.count, 1)
  t.equal(table.priority(slot), 255)
})

t.test('a large message in memory of its own is not copied', async t => {
  const { table } = new Bench()
  const bytes = octetsOf(100, 1)
  const parts = [octetsOf(largeBytes, 2)]
  table.locate(table.addOwn(bytes, parts, 0, 1))
  t.equal(table.bytes, bytes)
  t.equal(table.parts, parts)
})

t.test('the chunk being filled is used again once it is empty', async t => {
  const bench = new Bench()
  for (let i = 0; i < 100; i++) bench.release(bench.add(largeBytes - 1, i, 0))
  t.equal(bench.pool.taken, 1)
})

t.test('the chunk being filled is not compacted', async t => {
  const bench = new Bench()
  const slots = Array.from({ length: 10 }, (_, i) => bench.add(1000, i, 0))
  for (const slot of slots.slice(1)) bench.release(slot)
  t.equal(bench.table.compact(), false)
})

t.test('slots are used again before there are more of them', async t => {
  const bench = new Bench()
  const slots = Array.from({ length: 3 * pageSlots }, (_, i) => bench.add(10, i, 0))
  for (const slot of slots) if (slot % 3 === 0) bench.release(slot)
  const again = Array.from({ length: pageSlots }, (_, i) => bench.add(10, i, 0))
  t.ok(Math.max(...again) < 3 * pageSlots)
  t.equal(bench.table.slotBytes, 3 * pageBytes)
  bench.checkMessages()
})

/** A table with this many pages of messages, and their slots in the order of arrival. */
function filled(pages: number): { bench: Bench; slots: number[] } {
  const bench = new Bench()
  const slots = Array.from({ length: pages * pageSlots }, (_, i) => bench.add(10, i, 0))
  deepStrictEqual(bench.table.slotBytes, pages * pageBytes)
  return { bench, slots }
}

t.test('pages of slots are given back, in whatever order their messages go', async t => {
  const oldestFirst = filled(6)
  for (const slot of oldestFirst.slots) oldestFirst.bench.release(slot)
  t.equal(oldestFirst.bench.table.slotBytes, pageBytes, 'all but one')
  const youngestFirst = filled(6)
  for (const slot of youngestFirst.slots.reverse()) youngestFirst.bench.release(slot)
  t.equal(youngestFirst.bench.table.slotBytes, pageBytes, 'all but one')
  const scattered = filled(6)
  const { bench, slots } = scattered
  for (const slot of slots.toSorted((a, b) => (a % pageSlots) - (b % pageSlots) || a - b))
    bench.release(slot)
  t.equal(bench.table.slotBytes, pageBytes, 'all but one')
})

t.test('after pages were given back, new messages have slots of their own', async () => {
  const { bench, slots } = filled(4)
  for (const slot of slots.slice(0, 3 * pageSlots + 7)) bench.release(slot)
  for (let i = 0; i < 5 * pageSlots; i++) bench.add(10, i, 0)
  bench.checkMessages()
  bench.checkFigures()
  deepStrictEqual(bench.table.slotBytes, 6 * pageBytes)
})

t.test('compaction frees chunks and keeps what is in them', async t => {
  const bench = new Bench()
  const slots = Array.from({ length: 8000 }, (_, i) => bench.add(1000, i, 0))
  for (const slot of slots) if (slot % 10 !== 0) bench.release(slot)
  const before = bench.pool.taken
  let steps = 0
  while (bench.table.compact()) {
    steps++
    bench.checkFigures()
  }
  bench.checkMessages()
  t.ok(steps > 1, 'in several steps')
  t.ok(before > 30)
  t.ok(bench.table.chunkBytes < 2 * bench.table.liveBytes, `${bench.pool.taken} of ${before} left`)
  t.equal(bench.table.compact(), false)
})

t.test('compaction begins with the emptiest chunks', async t => {
  const bench = new Bench()
  const slots = Array.from({ length: 8000 }, (_, i) => bench.add(1000, i, 0))
  const half = slots.length / 2
  for (const slot of slots) if (slot % (slot < half ? 3 : 100) !== 0) bench.release(slot)
  const before = bench.pool.taken
  bench.table.compact()
  t.equal(bench.pool.taken, before - 4)
})

t.test('it wants compaction when chunks hold twice what lives and 64 MiB more', async t => {
  const { table } = new Bench()
  const content = Buffer.alloc(52_000)
  const large: number[] = []
  while (table.chunkBytes <= slackBytes) {
    table.add(content, 0, 1, 0, 1)
    for (let i = 0; i < 5; i++) large.push(table.add(content, 0, content.length, 0, 1))
  }
  t.equal(table.wantsCompaction, false)
  for (const slot of large) table.release(slot)
  t.ok(table.chunkBytes > slackBytes, 'each chunk holds a small message')
  t.equal(table.wantsCompaction, true)
  table.compact()
  t.equal(table.wantsCompaction, false)
})
