import { deepStrictEqual, ok } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import type { Chunk } from '../../src/store/chunks.js'
import {
  Eviction,
  largeBytes,
  Mark,
  MessageTable,
  scratchBase,
} from '../../src/store/message-table.js'
import { ChunkPool, chunkBytes } from '../../src/structures/chunk-pool.js'
import { deterministic } from '../support/generators.js'
import { contentOf, messageBytes, messageInParts, octetsOf } from '../support/messages.js'

const pageSlots = 4096
const pageBytes = pageSlots * 24
const slackBytes = 64 * 1024 * 1024

/** What a content takes in a shared chunk, behind a head that has room for a place, or has not. */
const heldBytes = (size: number, placed: boolean) => (placed ? 12 : 4) + 4 * Math.ceil(size / 4)

/** Bytes of a message with an empty address and no properties, besides its body. */
const emptyBytes = messageBytes(contentOf({})).length + 8

/** Where the model says a content can be read. */
interface Place {
  readonly segment: number
  readonly offset: number
}

/** What the model knows of a message. */
interface Kept {
  readonly bytes: Buffer
  readonly parts: readonly Buffer[] | null
  readonly bodySize: number
  marks: number
  readonly number: number
  references: number
  place: Place | null
  inMemory: boolean
  /** Its head has room for a place of its own. */
  placed: boolean
}

const wholeOf = ({ bytes, parts }: Kept) => Buffer.concat([bytes, ...(parts ?? [])])

/** A table, and a plain map that should hold the same. */
class Bench {
  readonly pool = new ChunkPool()
  readonly table = new MessageTable(this.pool)
  readonly model = new Map<number, Kept>()
  /** Contents in each segment of the scratch file. */
  readonly scratched = new Map<number, number>()
  evictions = 0
  loads = 0
  #lastNumber = 0
  #disk = 0

  constructor() {
    this.table.scratch = { released: segment => this.#scratch(segment, -1) }
  }

  /** A message of this size, `headers` bytes of it in its properties. */
  add(size: number, seed: number, marks: number, cold = false, headers = 0): number {
    const properties =
      headers === 0
        ? {}
        : { headers: [{ key: 'x', value: { type: 'x' as const, value: octetsOf(headers, 1) } }] }
    const body = octetsOf(Math.max(1, size - emptyBytes), seed)
    const bytes = messageBytes(contentOf({ body, properties }))
    const around = Buffer.concat([Buffer.alloc(seed % 9), bytes, Buffer.alloc(3)])
    const start = seed % 9
    const end = start + bytes.length
    const slot = this.table.add(around, start, end, marks, this.#nextNumber(), cold)
    around.fill(0xff)
    this.#enter(slot, bytes, null, body.length, marks)
    return slot
  }

  addOwn(size: number, cuts: number[], marks: number): void {
    const { bytes, parts } = messageInParts(contentOf({ body: octetsOf(size, 1) }), cuts)
    const slot = this.table.addOwn(bytes, parts, marks, this.#nextNumber())
    this.#enter(slot, bytes, parts, size, marks)
  }

  addStored(size: number, seed: number, marks: number): void {
    const body = octetsOf(size, seed)
    const bytes = messageBytes(contentOf({ body }))
    const place = { segment: seed % 3, offset: this.#disk++ }
    const number = this.#nextNumber()
    const all = marks | Mark.logged
    const { segment, offset } = place
    const slot = this.table.addStored(bytes.length, size, all, number, segment, offset)
    this.#enter(slot, bytes, null, size, all, place)
  }

  #enter(
    slot: number,
    bytes: Buffer,
    parts: readonly Buffer[] | null,
    bodySize: number,
    marks: number,
    place: Place | null = null,
  ): void {
    ok(!this.model.has(slot), 'the slot was free')
    const number = this.#lastNumber
    const inMemory = place === null
    const placed = (marks & Mark.persistent) !== 0
    const kept = { bytes, parts, bodySize, marks, number, references: 1, place, inMemory, placed }
    this.model.set(slot, kept)
  }

  #nextNumber(): number {
    this.#lastNumber += 1 + (this.#lastNumber % 7) * 1_000_000_007
    return this.#lastNumber
  }

  #scratch(segment: number, by: number): void {
    this.scratched.set(segment, (this.scratched.get(segment) ?? 0) + by)
  }

  kept(slot: number): Kept {
    return this.model.get(slot) as Kept
  }

  /** One of the messages held, or -1. */
  some(place: number): number {
    const slots = [...this.model.keys()]
    return slots[place % slots.length] ?? -1
  }

  retain(slot: number): void {
    this.table.retain(slot)
    this.kept(slot).references++
  }

  release(slot: number): void {
    this.table.release(slot)
    if (--this.kept(slot).references === 0) this.model.delete(slot)
  }

  /** The message is in the log, at another place than before if it already was. */
  log(slot: number, segment: number): void {
    const kept = this.kept(slot)
    if (kept.place !== null && kept.place.segment >= scratchBase) return
    this.table.setLogged(slot)
    kept.marks |= Mark.logged
    kept.place = { segment, offset: this.#disk++ }
    kept.placed = true
    this.table.place(slot, segment, kept.place.offset)
  }

  /** One of the chunks to which nothing more is written. */
  full(place: number): Chunk | undefined {
    const full: Chunk[] = []
    const { hot, cold } = this.table.chunks
    for (const list of [hot, cold])
      for (let chunk = list.oldest; chunk !== null; chunk = chunk.newer)
        if (!this.table.chunks.filling(chunk)) full.push(chunk)
    return full[place % full.length]
  }

  /** Messages whose contents are in a chunk. */
  #within(chunk: Chunk): Kept[] {
    return [...this.model].flatMap(([slot, kept]) => {
      if (!kept.inMemory) return []
      this.table.locate(slot)
      return this.table.bytes === chunk.bytes ? [kept] : []
    })
  }

  evict(chunk: Chunk): void {
    const within = this.#within(chunk)
    const result = this.table.evict(chunk)
    const unplaced = within.filter(kept => kept.place === null)
    if (unplaced.length === 0) {
      deepStrictEqual(result, Eviction.done)
      this.evictions++
      for (const kept of within) kept.inMemory = false
    } else {
      const pending = unplaced.filter(kept => (kept.marks & Mark.logged) !== 0)
      if (pending.length === 0) deepStrictEqual(result, Eviction.transient)
      else if (pending.length === unplaced.length) deepStrictEqual(result, Eviction.pending)
      else ok(result !== Eviction.done)
    }
  }

  /** The chunk stands in the scratch file now, from byte `base` on. */
  writeOut(chunk: Chunk, segment: number, base: number): void {
    const placed = this.table.placeScratched(chunk, scratchBase + segment, base)
    const newly = this.#within(chunk).filter(
      kept => kept.place === null && (kept.marks & Mark.logged) === 0,
    )
    for (const [slot, kept] of this.model)
      if (newly.includes(kept)) {
        this.table.locate(slot)
        kept.place = { segment: scratchBase + segment, offset: base + this.table.start }
      }
    deepStrictEqual(placed, newly.length)
    this.#scratch(scratchBase + segment, placed)
  }

  load(slot: number): void {
    const kept = this.kept(slot)
    if (kept.inMemory) return
    const whole = wholeOf(kept)
    const around = Buffer.concat([Buffer.alloc(5), whole, Buffer.alloc(5)])
    this.table.load(slot, around, 5, 5 + whole.length)
    around.fill(0xff)
    kept.inMemory = true
    kept.placed = true
    this.loads++
  }

  /** What is moved and has a place takes it along. */
  compact(): void {
    const chunks = new Map<Kept, Buffer>()
    for (const [slot, kept] of this.model) {
      if (!kept.inMemory) continue
      this.table.locate(slot)
      chunks.set(kept, this.table.bytes)
    }
    this.table.compact()
    for (const [slot, kept] of this.model) {
      if (!kept.inMemory || kept.place === null) continue
      this.table.locate(slot)
      if (this.table.bytes !== chunks.get(kept)) kept.placed = true
    }
  }

  checkMessages(): void {
    const { table } = this
    for (const [slot, kept] of this.model) {
      deepStrictEqual(table.inMemory(slot), kept.inMemory)
      if (kept.inMemory) {
        table.locate(slot)
        ok(kept.bytes.equals(table.bytes.subarray(table.start, table.end)))
        if (kept.parts === null) deepStrictEqual(table.parts, null)
        else ok(Buffer.concat(kept.parts).equals(Buffer.concat(table.parts ?? [])))
      }
      deepStrictEqual(table.number(slot), kept.number)
      deepStrictEqual(table.priority(slot), kept.marks & 255)
      deepStrictEqual(table.persistent(slot), (kept.marks & Mark.persistent) !== 0)
      deepStrictEqual(table.diedBefore(slot), (kept.marks & Mark.died) !== 0)
      deepStrictEqual(table.logged(slot), (kept.marks & Mark.logged) !== 0)
      deepStrictEqual(table.references(slot), kept.references)
      deepStrictEqual(table.size(slot), wholeOf(kept).length)
      deepStrictEqual(table.bodySize(slot), kept.bodySize)
      deepStrictEqual(table.segment(slot), kept.place?.segment ?? -1)
      if (kept.place !== null) deepStrictEqual(table.offset(slot), kept.place.offset)
    }
  }

  checkFigures(): void {
    const { table, pool, model } = this
    let shared = 0
    let own = 0
    const scratched = new Map<number, number>()
    for (const kept of model.values()) {
      const { length } = wholeOf(kept)
      const { segment } = kept.place ?? { segment: -1 }
      if (segment >= scratchBase) scratched.set(segment, (scratched.get(segment) ?? 0) + 1)
      if (!kept.inMemory) continue
      if (kept.parts !== null || length >= largeBytes) own += length
      else shared += heldBytes(length, kept.placed)
    }
    deepStrictEqual(table.count, model.size)
    deepStrictEqual(table.liveBytes, shared + own)
    deepStrictEqual(table.chunkBytes, pool.taken * chunkBytes + own)
    deepStrictEqual(table.chunks.ownBytes, own)
    for (const [segment, count] of this.scratched)
      deepStrictEqual(count, scratched.get(segment) ?? 0)
  }
}

type Step =
  | readonly ['add', size: number, seed: number, marks: number, cold: boolean, headers: number]
  | readonly ['add parts', size: number, cuts: number[], marks: number]
  | readonly ['add stored', size: number, seed: number, marks: number]
  | readonly ['retain' | 'release' | 'load' | 'evict', place: number]
  | readonly ['log', place: number, segment: number]
  | readonly ['write out', place: number, segment: number]
  | readonly ['log all', segment: number]
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

const headers = fc.oneof(
  { weight: 9, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.integer({ min: 3900, max: 5000 }) },
)

const one = <Name extends string>(name: Name) => fc.tuple(fc.constant(name), fc.nat())
const two = <Name extends string>(name: Name) => fc.tuple(fc.constant(name), fc.nat(), fc.nat(3))

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(
      fc.constant('add' as const),
      sizes,
      fc.nat(99),
      marks,
      fc.boolean(),
      headers,
    ),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(
      fc.constant('add parts' as const),
      fc.integer({ min: 1, max: 1000 }),
      fc.array(fc.nat()),
      marks,
    ),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(
      fc.constant('add stored' as const),
      fc.integer({ min: 1, max: 100_000 }),
      fc.nat(99),
      marks,
    ),
  },
  { weight: 1, arbitrary: one('retain') },
  { weight: 4, arbitrary: one('release') },
  { weight: 2, arbitrary: two('log') },
  { weight: 2, arbitrary: fc.tuple(fc.constant('log all' as const), fc.nat(3)) },
  { weight: 6, arbitrary: one('evict') },
  { weight: 3, arbitrary: two('write out') },
  { weight: 4, arbitrary: one('load') },
  { weight: 1, arbitrary: fc.tuple(fc.constant('compact' as const)) },
)

function carryOut(bench: Bench, step: Step): void {
  if (step[0] === 'add') bench.add(step[1], step[2], step[3], step[4], step[5])
  else if (step[0] === 'add parts') bench.addOwn(step[1], step[2], step[3])
  else if (step[0] === 'add stored') bench.addStored(step[1], step[2], step[3])
  else if (step[0] === 'compact') bench.compact()
  else if (step[0] === 'log all') {
    for (const slot of bench.model.keys()) bench.log(slot, step[1])
  } else if (step[0] === 'evict') {
    const chunk = bench.full(step[1])
    if (chunk !== undefined) bench.evict(chunk)
  } else if (step[0] === 'write out') {
    const chunk = bench.full(step[1])
    if (chunk !== undefined) bench.writeOut(chunk, step[2], step[1] % 1_000_000)
  } else {
    const slot = bench.some(step[1])
    if (slot < 0) return
    if (step[0] === 'retain') bench.retain(slot)
    else if (step[0] === 'log') bench.log(slot, step[2])
    else if (step[0] === 'load') bench.load(slot)
    else bench.release(slot)
  }
}

t.test(
  'messages are kept as they are and counted exactly, whatever happens around them',
  async () => {
    let evictions = 0
    let loads = 0
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
        ok(bench.pool.taken <= 4, 'only the chunks being filled are kept')
        evictions += bench.evictions
        loads += bench.loads
      }),
      { ...deterministic, numRuns: 120 },
    )
    ok(evictions > 200 && loads > 100, `${evictions} evictions, ${loads} loads`)
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

t.test('what is copied out of a chunk in the scratch file keeps its place there', async t => {
  const bench = new Bench()
  const slots = Array.from({ length: 600 }, (_, i) => bench.add(1000, i, 0))
  const chunk = bench.full(0) as Chunk
  bench.writeOut(chunk, 1, 7000)
  bench.writeOut(chunk, 2, 9000)
  for (const slot of slots) if (slot % 10 !== 0) bench.release(slot)
  bench.compact()
  t.equal(chunk.number, -1, 'copied out')
  bench.checkMessages()
  bench.checkFigures()
  for (const slot of [...bench.model.keys()]) bench.release(slot)
  bench.checkFigures()
})

t.test('a place in the log is taken by a content that was not thought to need one', async t => {
  const bench = new Bench()
  const slots = [1, 2, 3].map(seed => bench.add(500, seed, 0))
  bench.log(slots[1] as number, 1)
  bench.checkMessages()
  bench.checkFigures()
  t.equal(bench.pool.taken, 2, 'in a chunk with places')
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
