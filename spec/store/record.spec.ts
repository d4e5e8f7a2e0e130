import { deepStrictEqual } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import {
  type Block,
  BlockWriter,
  blockHeadBytes,
  findBlocks,
  seedOf,
  windowBytes,
} from '../../src/store/block.js'
import {
  contentAt,
  entryBytesMax,
  Kind,
  kindAt,
  messageHeadBytes,
  movedHeadBytes,
  replayRecord,
  returnedBytes,
  settledBytesMax,
  sizeAt,
  writeEntry,
  writeMessageHead,
  writeMovedHead,
  writeReturned,
  writeSettled,
} from '../../src/store/record.js'
import { RecordStream } from '../../src/store/record-stream.js'
import { Ranges, Targets } from '../../src/store/targets.js'
import { deterministic } from '../support/generators.js'
import { octetsOf } from '../support/messages.js'

const numbers = fc.oneof(
  fc.integer({ min: 1, max: 1000 }),
  fc.integer({ min: 1, max: 2 ** 53 - 1 }),
)
const queues = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 2 ** 48 - 1 }))
const expiries = fc.constantFrom(0, 1, 1_800_000_000_000)
const entered = fc.array(fc.tuple(queues, expiries), { maxLength: 20 })
const marks = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const sizes = fc.oneof(fc.nat(300), fc.nat(100_000))

type Said =
  | readonly [
      'message',
      number: number,
      queues: [number, number][],
      marks: number,
      size: number,
      bodySize: number,
    ]
  | readonly ['settled', queue: number, first: number, last: number]
  | readonly ['returned', queue: number, number: number, count: number]

interface Written {
  readonly bytes: Buffer
  /** What replaying it says. */
  readonly says: readonly Said[]
}

function targetsOf(list: readonly (readonly [number, number])[]): Targets {
  const targets = new Targets()
  for (const [queue, expiry] of list) targets.add(queue, expiry)
  return targets
}

const message: fc.Arbitrary<Written> = fc
  .tuple(numbers, entered, marks, sizes, marks)
  .map(([number, list, marks, size, body]) => {
    const targets = targetsOf(list)
    const head = messageHeadBytes(targets)
    const bytes = octetsOf(head + size, number)
    deepStrictEqual(writeMessageHead(bytes, 0, head + size, number, targets, marks, body), head)
    return { bytes, says: [['message', number, list, marks, size, body]] }
  })

const moved: fc.Arbitrary<Written> = fc
  .tuple(numbers, queues, numbers, entered, marks, sizes, marks)
  .map(([number, queue, old, list, marks, size, body]) => {
    const targets = targetsOf(list)
    const head = movedHeadBytes(targets)
    const bytes = octetsOf(head + size, number)
    writeMovedHead(bytes, 0, head + size, number, queue, old, targets, marks, body)
    deepStrictEqual(contentAt(bytes, 0), head)
    return {
      bytes,
      says: [
        ['settled', queue, old, old],
        ['message', number, list, marks, size, body],
      ],
    }
  })

const settled: fc.Arbitrary<Written> = fc
  .tuple(numbers, queues, fc.array(fc.tuple(numbers, fc.nat(1000)), { minLength: 1 }))
  .map(([number, queue, list]) => {
    const ranges = new Ranges()
    const says: Said[] = []
    for (const [at, more] of list) {
      const first = Math.min(at, 2 ** 53 - 2000)
      ranges.addRange(first, first + more)
      says.push(['settled', queue, first, first + more])
    }
    const bytes = Buffer.alloc(settledBytesMax(ranges.count))
    const size = writeSettled(bytes, 0, number, queue, ranges.bounds, ranges.count)
    return { bytes: bytes.subarray(0, size), says }
  })

const returned: fc.Arbitrary<Written> = fc
  .tuple(numbers, queues, numbers, marks)
  .map(([number, queue, old, count]) => {
    const bytes = Buffer.alloc(returnedBytes)
    writeReturned(bytes, 0, number, queue, old, count)
    return { bytes, says: [['returned', queue, old, count]] }
  })

const records = fc.array(fc.oneof(message, moved, settled, returned), { maxLength: 12 })

/** What a record says when it is replayed. */
function saidBy(bytes: Buffer, start: number, offset: number): { said: Said[]; places: number[] } {
  const said: Said[] = []
  const places: number[] = []
  replayRecord(bytes, start, 1, offset, {
    message: (number, targets, marks, _segment, offset, size, body) => {
      const list: [number, number][] = []
      for (let i = 0; i < targets.count; i++)
        list.push([targets.queues[i] as number, targets.expiries[i] as number])
      said.push(['message', number, list, marks, size, body])
      places.push(offset)
    },
    settled: (queue, first, last) => said.push(['settled', queue, first, last]),
    returned: (queue, number, count) => said.push(['returned', queue, number, count]),
    opaque: () => {},
  })
  return { said, places }
}

t.test('what is written as records, in blocks, at any place, is read back so', async () => {
  fc.assert(
    fc.property(records, fc.nat(3 * windowBytes), (records, start) => {
      const writer = new BlockWriter()
      writer.begin(start, seedOf(1), 5, 77, 1, 0)
      const offsets = records.map(({ bytes }) => {
        const offset = writer.record(bytes.length)
        const middle = bytes.length >> 1
        writer.put(bytes, 0, middle)
        writer.put(Buffer.from(bytes), middle, bytes.length)
        return offset
      })
      writer.finish()
      const file = Buffer.concat([Buffer.alloc(start), ...writer.parts])
      deepStrictEqual(file.length, writer.end)
      const blocks: Block[] = []
      for (let base = 0; base < file.length; base += windowBytes)
        findBlocks(file.subarray(base, base + windowBytes), base, 0, seedOf(1), blocks)
      const found: unknown[] = []
      const stream = new RecordStream((bytes, at, offset) => {
        found.push([offset, saidBy(bytes, at, offset).said])
      })
      for (const { offset, length } of blocks) {
        const payload = offset + blockHeadBytes
        stream.feed(file, payload, payload + length, payload)
      }
      deepStrictEqual(
        found,
        records.map(({ says }, i) => [offsets[i], says]),
      )
    }),
    deterministic,
  )
})

t.test('an index entry says the same as its record, and where the content is', async () => {
  fc.assert(
    fc.property(fc.oneof(message, moved, settled, returned), ({ bytes, says }) => {
      const into = Buffer.alloc(entryBytesMax(bytes, 0))
      const size = writeEntry(into, 0, bytes, 0, 123_456)
      const said: Said[] = []
      for (let at = 0; at < size; at += sizeAt(into, at)) {
        const entry = saidBy(into, at, 0)
        said.push(...entry.said)
        if (kindAt(into, at) === Kind.placed) deepStrictEqual(entry.places, [123_456])
      }
      deepStrictEqual(said, says)
    }),
    deterministic,
  )
})
