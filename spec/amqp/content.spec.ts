import { deepStrictEqual, ok } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { Content } from '../../src/amqp/content.js'
import { largeBytes } from '../../src/store/message-table.js'
import { FrameParser } from '../../src/wire/frame-parser.js'
import { Message } from '../../src/wire/message.js'
import { allocationsOf } from '../support/allocations.js'
import { deterministic } from '../support/generators.js'
import {
  addressOf,
  contents,
  frame,
  headerPayload,
  messageBytes,
  octetsOf,
  pieces,
} from '../support/messages.js'

const noLimit = Number.POSITIVE_INFINITY
const plain = { exchange: 'e', routingKey: 'k', properties: Buffer.alloc(2) }

const memory = { intakeBytes: 0 }

/** A content that has got its publish and its header. */
function begun(given: { exchange: string; routingKey: string; properties: Buffer }, size: number) {
  const content = new Content(memory)
  const publish = Buffer.concat([
    addressOf({ ...given, body: plain.properties }),
    Buffer.of(0, 0xce),
  ])
  content.begin(publish, 0, publish.length)
  content.header(shown(headerPayload(given.properties, size)), noLimit)
  publish.fill(0)
  return content
}

/** A parser that stands on a header frame. */
function shown(payload: Buffer): FrameParser {
  const parser = new FrameParser(noLimit)
  const bytes = frame(2, 1, payload)
  parser.feed(bytes, 0, bytes.length)
  parser.next()
  return parser
}

function feed(content: Content, body: Buffer, cuts: readonly number[]): void {
  for (const piece of pieces(body, cuts)) {
    const passing = Buffer.concat([Buffer.alloc(3), piece])
    content.body(passing, 3, passing.length)
    passing.fill(0)
  }
}

function taken(content: Content): Message {
  const message = new Message()
  content.take(message)
  return message
}

/** Memory that the message takes, parts included. */
function memoryOf({ bytes, parts }: Message): number {
  return (parts ?? []).reduce((sum, part) => sum + part.length, bytes.length)
}

const sizes = fc.oneof(
  { weight: 5, arbitrary: fc.nat(3000) },
  { weight: 1, arbitrary: fc.constant(0) },
  { weight: 2, arbitrary: fc.integer({ min: largeBytes - 3, max: largeBytes + 3 }) },
  { weight: 1, arbitrary: fc.integer({ min: largeBytes, max: 3 * 1024 * 1024 }) },
)
const cuts = fc.array(fc.nat(), { maxLength: 50, size: 'max' })

t.test('in whatever pieces a body comes, it makes the form of a message', async () => {
  fc.assert(
    fc.property(contents(sizes), cuts, (given, cuts) => {
      const { body } = given
      const content = begun(given, body.length)
      feed(content, body, cuts)
      deepStrictEqual(content.bodyLeft, 0)
      const message = taken(content)
      const whole = messageBytes(given)
      const shownBytes = message.bytes.subarray(message.start, message.end)
      if (body.length < largeBytes) {
        deepStrictEqual(message.parts, null)
        ok(whole.equals(shownBytes))
      } else {
        ok(whole.subarray(0, whole.length - body.length - 1).equals(shownBytes))
        ok(Buffer.concat(message.parts ?? []).equals(body))
      }
    }),
    { ...deterministic, numRuns: 100 },
  )
})

t.test('two messages one after another share no memory', async t => {
  const content = begun(plain, 5)
  feed(content, Buffer.from('first'), [])
  const first = taken(content)
  const next = Buffer.concat([addressOf({ ...plain, body: plain.properties }), Buffer.of(0, 0xce)])
  content.begin(next, 0, next.length)
  content.header(shown(headerPayload(plain.properties, 6)), noLimit)
  feed(content, Buffer.from('second'), [])
  t.same(taken(content).bytes.includes('second'), true)
  t.equal(first.bytes.toString('latin1', first.body + 7, first.end - 1), 'first')
})

t.test('memory is at most eight times what has come, or a page', async () => {
  const announced = fc.constantFrom(1000, largeBytes - 1, largeBytes, 500 * 1024 * 1024)
  const steps = fc.array(fc.oneof(fc.nat(200), fc.nat(9000), fc.nat(200_000)), { maxLength: 20 })
  fc.assert(
    fc.property(announced, steps, (announced, steps) => {
      const content = begun(plain, announced)
      let arrived = 0
      for (const size of [...steps, 0]) {
        const some = Math.min(size, announced - arrived)
        content.body(octetsOf(some, 1), 0, some)
        arrived += some
      }
      const message = taken(content)
      // And the room that every publish gets at once.
      const most = Math.max(4096, 8 * (message.body + 7 + arrived)) + 512
      const memory = memoryOf(message)
      ok(memory <= most, `${memory} bytes for ${arrived} of ${announced}`)
    }),
    { ...deterministic, examples: [[500 * 1024 * 1024, [4096, 1]]] },
  )
})

t.test('a complete body takes little more than its size', async () => {
  for (const size of [1, 5000, largeBytes - 1, largeBytes, 3_000_000]) {
    const content = begun(plain, size)
    feed(content, octetsOf(size, 1), [1, 5, 1000])
    ok(memoryOf(taken(content)) <= size + 1024, `${size}`)
  }
})

t.test('a body in many pieces is not copied with each of them', async t => {
  for (const size of [largeBytes - 1, largeBytes]) {
    const content = begun(plain, size)
    const made = allocationsOf(() => {
      for (let i = 0; i < size; i++) content.body(plain.properties, 0, 1)
    })
    t.ok(made.length < 10, `${made}`)
  }
})

t.test('a body that is too large is refused by its header', async t => {
  const content = begun(plain, 10)
  t.throws(() => content.header(shown(headerPayload(plain.properties, 101)), 100), {
    message: 'PRECONDITION_FAILED - message size 101 is larger than configured max size 100',
  })
  content.header(shown(headerPayload(plain.properties, 100)), 100)
  feed(content, Buffer.alloc(100), [50])
  t.equal(content.bodyLeft, 0)
})

t.test('a frame that goes beyond the body is refused', async t => {
  const content = begun(plain, 10)
  feed(content, Buffer.alloc(6), [])
  t.throws(() => content.body(Buffer.alloc(5), 0, 5), {
    message: 'FRAME_ERROR - content body frame exceeds remaining content size',
  })
})

/** Payloads of content headers, and how they are refused. */
const refusals: readonly [why: string, payload: string, text: string][] = [
  [
    'too short',
    '003c00000000000000000000',
    'FRAME_ERROR - type 2, all octets = <<0,60,0,0,0,0,0,0,0,0,0,0>>: unknown_frame',
  ],
  [
    'of another class',
    '003200000000000000000000' + '0000',
    'UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead',
  ],
  [
    'with a weight',
    '003c00010000000000000000' + '0000',
    'UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead',
  ],
  [
    'of more than 512 MiB',
    '003c00000000000020000001' + '0000',
    'FRAME_ERROR - content body size 536870913 exceeds maximum allowed size 536870912',
  ],
  [
    'of 2^64 - 1',
    '003c0000ffffffffffffffff' + '0000',
    'FRAME_ERROR - content body size 18446744073709551615 exceeds maximum allowed size 536870912',
  ],
]

t.test('a bad content header is refused with its text', async t => {
  for (const [why, payload, message] of refusals) {
    const content = new Content(memory)
    t.throws(() => content.header(shown(Buffer.from(payload, 'hex')), noLimit), { message }, why)
  }
  const largest = Buffer.from('003c00000000000020000000' + '0000', 'hex')
  t.doesNotThrow(() => begun(plain, 1).header(shown(largest), noLimit))
})

t.test('what a half-received content takes is counted until it is whole or forgotten', async t => {
  for (const size of [10_000, 300_000]) {
    const before = memory.intakeBytes
    const content = begun(plain, size)
    const half = Buffer.alloc(size / 2)
    content.body(half, 0, half.length)
    t.ok(memory.intakeBytes - before >= size / 2)
    t.ok(memory.intakeBytes - before <= 3 * size + 8192)
    content.body(half, 0, half.length)
    content.take(new Message())
    t.equal(memory.intakeBytes, before)
    const other = begun(plain, size)
    other.body(half, 0, half.length)
    other.drop()
    t.equal(memory.intakeBytes, before)
  }
})
