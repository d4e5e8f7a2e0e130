import { deepStrictEqual, ok } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { ChunkPool, chunkBytes } from '../../src/structures/chunk-pool.js'
import { FrameWriter } from '../../src/wire/frame-writer.js'
import { FakeSocket } from '../support/fake-socket.js'
import { deterministic } from '../support/generators.js'
import { ManualTurn } from '../support/manual-turn.js'
import { octetsOf } from '../support/messages.js'

const congestedBytes = 1024 * 1024

/** A writer, and everything around it in the hands of the test. */
class Bench {
  readonly pool = new ChunkPool()
  readonly socket = new FakeSocket()
  readonly turns = new ManualTurn()
  congested = false
  readonly writer = new FrameWriter(this.pool, this.turns.turn, this.socket, {
    congested: () => {
      deepStrictEqual(this.congested, false)
      this.congested = true
    },
    relieved: () => {
      deepStrictEqual(this.congested, true)
      this.congested = false
    },
  })
  readonly #written: Buffer[] = []

  constructor() {
    this.socket.attach({
      isStranger: false,
      received: () => {},
      drained: () => this.writer.drained(),
      ended: () => {},
      closed: () => {},
    })
  }

  get written(): Buffer {
    return Buffer.concat(this.#written)
  }

  write(size: number): void {
    const bytes = octetsOf(size, this.#written.length)
    this.#written.push(Buffer.from(bytes))
    this.writer.write(bytes)
    // They were copied: the owner may use its memory again.
    bytes.fill(0)
  }

  view(size: number): void {
    const bytes = octetsOf(size, this.#written.length)
    this.#written.push(bytes)
    this.writer.writeView(bytes)
  }

  /** Lets the socket take everything. */
  drain(): void {
    this.socket.room = Number.POSITIVE_INFINITY
    while (this.socket.holds) this.socket.drain()
    this.turns.end()
  }
}

const size = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 1, max: 2000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: chunkBytes }) },
  { weight: 1, arbitrary: fc.integer({ min: chunkBytes - 20, max: chunkBytes }) },
)

type Step = readonly ['write' | 'view' | 'room', number] | readonly ['turn' | 'flush' | 'drain']

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(fc.constant('write' as const), size),
  fc.tuple(fc.constant('view' as const), size),
  fc.tuple(fc.constant('room' as const), fc.oneof(fc.constant(0), fc.nat(3000), size)),
  fc.tuple(fc.constantFrom('turn' as const, 'flush' as const, 'drain' as const)),
)
const steps = fc.array(step, { maxLength: 50, size: 'max' })

function carryOut(bench: Bench, step: Step): void {
  switch (step[0]) {
    case 'write':
      bench.write(step[1])
      break
    case 'view':
      bench.view(step[1])
      break
    case 'room':
      bench.socket.room = step[1]
      break
    case 'turn':
      bench.turns.end()
      break
    case 'flush':
      bench.writer.flush()
      break
    case 'drain':
      bench.socket.drain()
  }
}

t.test('everything written comes out once and in order, however the socket takes it', async () => {
  fc.assert(
    fc.property(steps, steps => {
      const bench = new Bench()
      const { writer, socket, pool } = bench
      for (const step of steps) {
        carryOut(bench, step)
        deepStrictEqual(writer.busy, socket.holds)
        if (bench.congested) ok(writer.busy)
      }
      bench.drain()
      ok(socket.received.equals(bench.written))
      deepStrictEqual(writer.bytesSent, bench.written.length)
      deepStrictEqual(writer.unsentBytes, 0)
      deepStrictEqual(bench.congested, false)
      deepStrictEqual(pool.taken, 0)
    }),
    { ...deterministic, numRuns: 100 },
  )
})

t.test(
  'closed at any moment, it gives all chunks back but leaves those the socket reads',
  async () => {
    fc.assert(
      fc.property(steps, steps => {
        const bench = new Bench()
        for (const step of steps) carryOut(bench, step)
        const sent = bench.writer.bytesSent
        bench.writer.close()
        deepStrictEqual(bench.pool.taken, 0)
        // Somebody else writes to the chunks; the socket watches over what it holds.
        while (bench.pool.idleBytes > 0) bench.pool.take().fill(0xff)
        bench.drain()
        ok(bench.socket.received.equals(bench.written.subarray(0, sent)))
      }),
      { ...deterministic, numRuns: 100 },
    )
  },
)

t.test('what is written after the close goes nowhere and holds no memory', async t => {
  const bench = new Bench()
  bench.writer.close()
  bench.write(10)
  bench.view(chunkBytes)
  bench.writer.flush()
  bench.turns.end()
  t.equal(bench.socket.writes, 0)
  t.equal(bench.writer.bytesSent, 0)
  t.equal(bench.pool.taken, 0)
})

t.test('all that was written in a turn goes out in one write when it ends', async t => {
  const { writer, turns, socket, pool } = new Bench()
  const asked = t.capture(turns.turn, 'add', turns.turn.add)
  for (let i = 0; i < 100; i++) writer.write(Buffer.from('frame'))
  t.equal(asked().length, 1)
  t.equal(socket.writes, 0)
  t.equal(writer.unsentBytes, 500)
  turns.end()
  t.equal(socket.writes, 1)
  t.equal(pool.taken, 0)
  turns.end()
  t.equal(socket.writes, 1)
})

t.test('a full chunk goes out at once, and is used again', async t => {
  const bench = new Bench()
  for (let i = 0; i < 10; i++) bench.write(chunkBytes)
  t.equal(bench.socket.writes, 9)
  t.equal(bench.pool.taken, 1)
})

t.test('views go out at once when they make up a chunk', async t => {
  const bench = new Bench()
  bench.view(chunkBytes - 1)
  t.equal(bench.socket.writes, 0)
  bench.view(1)
  t.equal(bench.socket.writes, 1)
})

t.test('views are not copied', async t => {
  const bench = new Bench()
  bench.socket.room = 0
  const given: Uint8Array[] = []
  const writeAll = bench.socket.writeAll.bind(bench.socket)
  bench.socket.writeAll = stretches => {
    given.push(...stretches)
    return writeAll(stretches)
  }
  const view = octetsOf(1000, 1)
  bench.write(5)
  bench.writer.writeView(view)
  bench.write(5)
  bench.turns.end()
  t.same(
    given.map(bytes => bytes.length),
    [5, 1000, 5],
  )
  t.equal(given[1], view)
})

t.test('with more than 1 MiB unsent it is congested until the socket has taken it', async t => {
  const bench = new Bench()
  bench.socket.room = 0
  for (const time of ['the first time', 'and again']) {
    bench.write(1)
    bench.turns.end()
    bench.view(congestedBytes)
    t.equal(bench.congested, false, time)
    bench.view(1)
    t.equal(bench.congested, true)
    for (let stretches = 0; stretches < 2; stretches++) {
      bench.socket.drain()
      t.equal(bench.congested, true, 'the rest is with the socket, which has not taken it')
    }
    bench.socket.drain()
    t.equal(bench.congested, false)
  }
})

t.test('copied bytes congest as views do', async t => {
  const bench = new Bench()
  bench.socket.room = 0
  bench.write(1)
  bench.turns.end()
  for (let i = 0; i < 5; i++) bench.write(chunkBytes)
  t.equal(bench.congested, false)
  bench.write(chunkBytes)
  t.equal(bench.congested, true)
})

t.test('a socket that takes everything is never congested', async t => {
  const bench = new Bench()
  for (let i = 0; i < 8; i++) bench.view(chunkBytes)
  t.equal(bench.congested, false)
})

t.test('finished, it ends the socket after the last byte', async () => {
  fc.assert(
    fc.property(steps, steps => {
      const bench = new Bench()
      for (const step of steps) carryOut(bench, step)
      bench.writer.finish()
      deepStrictEqual(bench.socket.ended, !bench.socket.holds)
      bench.socket.room = 0
      bench.socket.drain()
      deepStrictEqual(bench.socket.ended, !bench.socket.holds)
      bench.drain()
      deepStrictEqual(bench.socket.ended, true)
      ok(bench.socket.received.equals(bench.written))
      deepStrictEqual(bench.pool.taken, 0)
    }),
    { ...deterministic, numRuns: 50 },
  )
})
