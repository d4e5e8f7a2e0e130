/** Contents leave memory and come back: the table, the scratch file and a log that answers later. */
import { deepStrictEqual, ok } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { largeBytes, Mark, MessageTable, scratchBase } from '../../src/store/message-table.js'
import { type ContentWaiter, Paging } from '../../src/store/paging.js'
import { ChunkPool, chunkBytes } from '../../src/structures/chunk-pool.js'
import { deterministic } from '../support/generators.js'
import { contentOf, messageBytes, messageInParts, octetsOf } from '../support/messages.js'
import { SimulatedContents } from '../support/simulated-contents.js'
import { SimulatedDisk } from '../support/simulated-disk.js'
import { SimulatedWorld } from '../support/simulated-world.js'

const tick = () => new Promise<void>(resolve => setImmediate(resolve))

interface Kept {
  readonly content: Buffer
  readonly transient: boolean
  durable: boolean
  asked: boolean
}

const segmentBytes = 1024 * 1024
const reserveBytes = 3 * 1024 * 1024

/** Messages under paging, and a plain map of what they are. */
class Bench implements ContentWaiter {
  readonly world = new SimulatedWorld()
  readonly pool = new ChunkPool()
  readonly messages = new MessageTable(this.pool)
  readonly paging = new Paging(this.messages, this.world.turn, this.world.clock, this.world.log)
  readonly log: SimulatedContents
  readonly disk: SimulatedDisk
  readonly model = new Map<number, Kept>()
  came = 0
  #number = 0

  constructor(seed = 1) {
    this.disk = new SimulatedDisk(seed)
    this.log = new SimulatedContents(this.messages, this.paging, seed)
    this.paging.leastBytes = 0
  }

  static async open(shareChunks: number, seed = 1): Promise<Bench> {
    const bench = new Bench(seed)
    const size = { segmentBytes, reserveBytes }
    await bench.paging.openScratch(bench.disk.session(), 'scratch', size)
    bench.paging.limit = shareChunks * chunkBytes
    bench.paging.look()
    return bench
  }

  contentCame(): void {
    this.came++
  }

  add(size: number, transient: boolean, cold: boolean): number {
    const content = messageBytes(contentOf({ body: octetsOf(size, ++this.#number) }))
    const marks = transient ? 0 : Mark.persistent
    const slot = this.messages.add(content, 0, content.length, marks, this.#number, cold)
    if (!transient) this.messages.setLogged(slot)
    this.model.set(slot, { content, transient, durable: false, asked: false })
    return slot
  }

  addParts(size: number, transient: boolean, cold: boolean): void {
    const content = contentOf({ body: octetsOf(size, ++this.#number) })
    const { bytes, parts } = messageInParts(content, [size >> 1, size >> 2])
    const slot = this.messages.addOwn(bytes, parts, 0, this.#number, cold)
    if (!transient) this.messages.setLogged(slot)
    const whole = Buffer.concat([bytes, ...(parts ?? [])])
    this.model.set(slot, { content: whole, transient, durable: false, asked: false })
  }

  /** Everything that waits for the log becomes durable. */
  logAll(): void {
    for (const [slot, kept] of this.model) {
      if (kept.transient || kept.durable) continue
      kept.durable = true
      this.log.place(slot)
    }
  }

  release(slot: number): void {
    this.messages.release(slot)
    this.model.delete(slot)
  }

  ask(slot: number): void {
    const kept = this.model.get(slot) as Kept
    if (kept.asked || this.messages.inMemory(slot)) return
    kept.asked = true
    this.paging.ask(slot, {
      contentCame: () => {
        kept.asked = false
      },
    })
  }

  /** Turns, the disk and time go on, without an end to requests that wait for the log. */
  async run(turns = 20): Promise<void> {
    for (let i = 0; i < turns; i++) {
      this.world.turns.endAll()
      this.world.clock.advance(100)
      await tick()
    }
  }

  /** The content of a message, which is in memory. */
  content(slot: number): Buffer {
    const { messages } = this
    messages.locate(slot)
    const { bytes, start, end, parts } = messages
    return Buffer.concat([bytes.subarray(start, end), ...(parts ?? [])])
  }

  check(): void {
    for (const [slot, kept] of this.model)
      if (this.messages.inMemory(slot)) ok(this.content(slot).equals(kept.content))
  }

  /** Reads everything that is not in memory, a few at a time, and checks it. */
  async readAll(): Promise<void> {
    this.log.faults = 0
    this.paging.limit = Number.POSITIVE_INFINITY
    for (let i = 0; this.outOfMemory().length > 0; i++) {
      ok(i < 3000, 'every content comes')
      for (const slot of this.outOfMemory().slice(0, 50)) this.ask(slot)
      this.log.answer()
      await this.run(1)
    }
    this.check()
  }

  some(place: number): number {
    const slots = [...this.model.keys()]
    return slots[place % slots.length] ?? -1
  }

  outOfMemory(): number[] {
    return [...this.model.keys()].filter(slot => !this.messages.inMemory(slot))
  }

  async close(): Promise<void> {
    await this.paging.close()
  }
}

const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      does: fc.constant('add' as const),
      size: fc.oneof(
        { weight: 5, arbitrary: fc.integer({ min: 40_000, max: 65_000 }) },
        { weight: 1, arbitrary: fc.integer({ min: 1, max: 300 }) },
      ),
      transient: fc.boolean(),
      cold: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      does: fc.constant('add parts' as const),
      size: fc.integer({ min: largeBytes, max: 2 * largeBytes }),
      transient: fc.boolean(),
      cold: fc.boolean(),
    }),
  },
  { weight: 4, arbitrary: fc.record({ does: fc.constant('ask' as const), place: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('release' as const), place: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('move' as const), place: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('answer' as const), most: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('sync' as const) }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('compact' as const) }) },
  { weight: 3, arbitrary: fc.record({ does: fc.constant('run' as const), turns: fc.nat(8) }) },
)

t.test('whatever leaves memory comes back as it was, or goes unread', async () => {
  let out = 0
  let scratched = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 200, size: 'max' }),
      fc.nat(1000),
      fc.nat(4),
      async (steps, seed, shareChunks) => {
        const bench = await Bench.open(shareChunks, seed)
        bench.log.faults = 0.2
        bench.disk.faults = { fail: seed % 3 === 0 ? 0.2 : 0, short: 0.2, names: 0 }
        for (const step of steps) {
          if (step.does === 'add') bench.add(step.size, step.transient, step.cold)
          else if (step.does === 'add parts') bench.addParts(step.size, step.transient, step.cold)
          else if (step.does === 'answer') bench.log.answer(step.most)
          else if (step.does === 'sync') bench.logAll()
          else if (step.does === 'compact') bench.messages.compact()
          else if (step.does === 'run') await bench.run(step.turns)
          else {
            const slot = bench.some(step.place)
            if (slot < 0) continue
            if (step.does === 'ask') bench.ask(slot)
            else if (step.does === 'release') bench.release(slot)
            else if (bench.model.get(slot)?.durable) bench.log.move(slot)
          }
        }
        out += bench.outOfMemory().length
        for (const slot of bench.model.keys())
          if (bench.messages.segment(slot) >= scratchBase) scratched++
        bench.check()
        bench.disk.faults = { fail: 0, short: 0.2, names: 0 }
        await bench.readAll()
        for (const slot of bench.model.keys()) bench.release(slot)
        await bench.run()
        ok(bench.paging.scratchBytes < 2 * segmentBytes, 'one segment at most')
        deepStrictEqual(bench.messages.liveBytes, 0)
        await bench.close()
        deepStrictEqual(bench.disk.paths(), [])
      },
    ),
    { ...deterministic, numRuns: 40 },
  )
  ok(out > 200, `${out} out of memory`)
  ok(scratched > 50, `${scratched} in the scratch file`)
})

t.test('contents keep to their share, and the newest of a backlog leave first', async t => {
  const bench = await Bench.open(8)
  const slots: number[] = []
  for (let i = 0; i < 400; i++) {
    slots.push(bench.add(10_000, false, true))
    if (i % 20 === 19) {
      bench.logAll()
      await bench.run(1)
    }
  }
  t.ok(bench.messages.chunkBytes <= 9 * chunkBytes)
  const inMemory = slots.map(slot => bench.messages.inMemory(slot))
  const first = inMemory.indexOf(false)
  t.ok(first > 100, 'the oldest are in memory')
  t.ok(inMemory.slice(first).filter(Boolean).length < 60, 'and the chunk being filled')
  await bench.close()
})

t.test('what is needed soon stays while there is a backlog to send out', async t => {
  const bench = await Bench.open(8)
  const soon = Array.from({ length: 60 }, () => bench.add(10_000, false, false))
  for (let i = 0; i < 400; i++) bench.add(10_000, false, true)
  bench.logAll()
  await bench.run()
  t.ok(soon.every(slot => bench.messages.inMemory(slot)))
  t.ok(bench.outOfMemory().length > 250)
  for (let i = 0; i < 400; i++) bench.add(10_000, false, false)
  bench.logAll()
  await bench.run()
  t.notOk(bench.messages.inMemory(soon[0] as number), 'what was not needed for longest goes next')
  await bench.close()
})

t.test('nothing leaves before it is durable, and all that can then', async t => {
  const bench = await Bench.open(4)
  for (let i = 0; i < 200; i++) bench.add(10_000, false, true)
  await bench.run()
  t.equal(bench.outOfMemory().length, 0)
  bench.logAll()
  bench.paging.look()
  await bench.run()
  t.ok(bench.messages.chunkBytes <= 5 * chunkBytes)
  await bench.close()
})

t.test('transient contents leave for the scratch file only when memory is short', async t => {
  const bench = await Bench.open(20)
  for (let i = 0; i < 70; i++) bench.add(60_000, true, true)
  await bench.run()
  t.equal(bench.disk.counts.write, 0)
  for (let i = 0; i < 280; i++) {
    bench.add(60_000, true, true)
    if (i % 20 === 0) await bench.run(20)
  }
  await bench.run(100)
  t.ok(bench.messages.chunkBytes <= 21 * chunkBytes)
  await bench.readAll()
  const segments = bench.disk.paths().length
  t.ok(segments >= 3)
  const slots = [...bench.model.keys()]
  for (const slot of slots.slice(70)) bench.release(slot)
  await bench.run()
  t.ok(bench.disk.paths().length < segments, 'a segment goes when nobody needs anything in it')
  for (const slot of slots.slice(0, 70)) bench.release(slot)
  await bench.run()
  t.equal(bench.disk.paths().length, 1)
  await bench.close()
})

t.test('what a process before left in the scratch folder is removed', async t => {
  const bench = await Bench.open(1)
  bench.disk.put('scratch/7', Buffer.alloc(100))
  await bench.paging.openScratch(bench.disk.session(), 'scratch')
  t.same(bench.disk.paths(), [])
  await bench.close()
})

t.test('a full disk keeps transient contents in memory, until it has room', async t => {
  const bench = await Bench.open(4)
  bench.disk.free = 0
  for (let i = 0; i < 200; i++) bench.add(10_000, true, true)
  await bench.run(50)
  t.equal(bench.outOfMemory().length, 0)
  t.equal(bench.world.lines.filter(line => line.level === 'warn').length, 1, 'said once')
  bench.disk.free = reserveBytes + 1024 * 1024
  await bench.run(200)
  t.ok(bench.disk.free >= reserveBytes, 'and leaves the log its reserve')
  bench.disk.free = Number.POSITIVE_INFINITY
  await bench.run(200)
  t.ok(bench.messages.chunkBytes <= 5 * chunkBytes)
  await bench.readAll()
  await bench.close()
})

t.test('without a disk nothing leaves', async t => {
  const bench = new Bench()
  bench.paging.limit = chunkBytes
  bench.paging.look()
  for (let i = 0; i < 100; i++) bench.add(10_000, true, true)
  await bench.run()
  t.equal(bench.outOfMemory().length, 0)
  bench.check()
})

t.test('what the rest takes is taken from the share', async t => {
  const bench = await Bench.open(20)
  for (let i = 0; i < 400; i++) bench.add(10_000, false, true)
  bench.logAll()
  await bench.run()
  t.equal(bench.outOfMemory().length, 0)
  bench.paging.otherBytes = () => 15 * chunkBytes
  bench.paging.look()
  await bench.run()
  t.ok(bench.messages.chunkBytes <= 6 * chunkBytes)
  bench.paging.otherBytes = () => 30 * chunkBytes
  bench.paging.leastBytes = 3 * chunkBytes
  bench.paging.look()
  await bench.run()
  const { chunkBytes: left } = bench.messages
  t.ok(left <= 4 * chunkBytes && left >= 2 * chunkBytes, 'but not all')
  await bench.close()
})

t.test('a read that fails is tried again, then the content is given up', async t => {
  const bench = await Bench.open(0)
  const slot = bench.add(10_000, false, true)
  for (let i = 0; i < 50; i++) bench.add(10_000, false, true)
  bench.logAll()
  bench.paging.look()
  await bench.run()
  t.notOk(bench.messages.inMemory(slot))
  bench.log.damage(slot)
  bench.paging.ask(slot, bench)
  for (let i = 0; i < 3; i++) {
    t.equal(bench.came, 0)
    t.notOk(bench.paging.isLost(slot))
    bench.log.answer()
    await bench.run(11)
  }
  t.equal(bench.log.answers, 3)
  t.equal(bench.came, 1)
  t.ok(bench.paging.isLost(slot))
  t.equal(bench.world.lines.filter(line => line.level === 'error').length, 1)
  bench.release(slot)
  t.notOk(bench.paging.isLost(bench.add(1, true, true)), 'another message in its slot is there')
  await bench.close()
})

t.test('a disk that cannot be read for a minute costs no message', async t => {
  const bench = await Bench.open(0)
  const slot = bench.add(10_000, false, true)
  for (let i = 0; i < 50; i++) bench.add(10_000, false, true)
  bench.logAll()
  bench.paging.look()
  await bench.run()
  t.notOk(bench.messages.inMemory(slot))
  bench.log.fault = Object.assign(new Error('EIO: simulated'), { code: 'EIO' })
  bench.paging.ask(slot, bench)
  for (let seconds = 0; seconds < 60; seconds++) {
    bench.log.answer()
    await bench.run(1)
    bench.world.clock.advance(1000)
  }
  t.ok(bench.log.answers < 10, `${bench.log.answers} attempts`)
  t.equal(bench.came, 0)
  t.equal(bench.world.lines.length, 1, 'it is told')
  bench.log.fault = null
  bench.world.clock.advance(100_000)
  bench.log.answer()
  t.equal(bench.came, 1)
  t.ok(bench.messages.inMemory(slot))
  bench.check()
  bench.log.fault = new Error('closed')
  await bench.close()
  t.equal(bench.world.clock.pending, 0, 'no timer is left')
})

t.test('a message that goes while it is being read is not brought back', async t => {
  const bench = await Bench.open(0)
  const slots = Array.from({ length: 60 }, () => bench.add(10_000, false, true))
  bench.logAll()
  bench.paging.look()
  await bench.run()
  const slot = slots[0] as number
  bench.paging.ask(slot, bench)
  bench.release(slot)
  const other = bench.add(10_000, false, true)
  t.equal(other, slot, 'its slot is used again')
  bench.log.answer()
  t.equal(bench.came, 1)
  bench.check()
  await bench.close()
})
