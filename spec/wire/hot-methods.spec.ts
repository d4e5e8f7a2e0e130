import { deepStrictEqual, ok } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { ChunkPool, chunkBytes } from '../../src/structures/chunk-pool.js'
import { encodeMethodFrame } from '../../src/wire/codec.js'
import { FrameWriter } from '../../src/wire/frame-writer.js'
import {
  hotIds,
  writeAck,
  writeDeliver,
  writeGetOk,
  writeNack,
  writeReturn,
} from '../../src/wire/hot-methods.js'
import type { Message } from '../../src/wire/message.js'
import { methods } from '../../src/wire/methods.js'
import { FakeSocket } from '../support/fake-socket.js'
import { deterministic, shortstr } from '../support/generators.js'
import { ManualTurn } from '../support/manual-turn.js'
import {
  type Content,
  contents,
  frame,
  headerPayload,
  messageAt,
  messageInParts,
  octetsOf,
  shortstrOf,
} from '../support/messages.js'

/** What `write` sends when so many bytes are in the chunk already. */
function sent(before: number, write: (writer: FrameWriter) => void): Buffer {
  const pool = new ChunkPool()
  const turns = new ManualTurn()
  const socket = new FakeSocket()
  const nobody = { congested: () => {}, relieved: () => {} }
  const writer = new FrameWriter(pool, turns.turn, socket, nobody)
  writer.write(Buffer.alloc(before))
  write(writer)
  turns.end()
  deepStrictEqual(pool.taken, 0)
  return socket.received.subarray(before)
}

/** The content as frames whose bodies are cut at exactly frame_max. */
function contentFrames(channel: number, frameMax: number, content: Content): Buffer {
  const { properties, body } = content
  const frames = [frame(2, channel, headerPayload(properties, body.length))]
  for (let at = 0; at < body.length; at += frameMax - 8)
    frames.push(frame(3, channel, body.subarray(at, at + frameMax - 8)))
  return Buffer.concat(frames)
}

const limits = [4096, 8192, 131072, chunkBytes - 1024, chunkBytes, 2 ** 31, 2 ** 32 - 1]
const frameMax = fc.constantFrom(...limits)
const channel = fc.nat(65535)
const tag = fc.oneof(
  fc.integer({ min: 1, max: 1000 }),
  fc.maxSafeNat(),
  fc.constantFrom(2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1),
)

/** Sizes around what fits a frame and what fits a chunk, and small ones. */
const sizes = fc.oneof(
  { weight: 4, arbitrary: fc.nat(300) },
  { weight: 1, arbitrary: fc.constant(0) },
  {
    weight: 3,
    arbitrary: fc
      .tuple(fc.constantFrom(1, 2), fc.constantFrom(...limits.slice(0, 3)), fc.integer(around(10)))
      .map(([times, limit, more]) => times * (limit - 8) + more),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.constantFrom(1, 2), fc.integer(around(1500)))
      .map(([times, more]) => times * chunkBytes + more),
  },
)

function around(distance: number) {
  return { min: -distance, max: distance }
}

/** How much of the chunk is filled before: the message may or may not fit behind. */
const before = fc.oneof(fc.nat(2000), fc.nat(chunkBytes), fc.constant(chunkBytes))

interface Case {
  readonly content: Content
  readonly message: Message
  readonly channel: number
  readonly frameMax: number
  readonly before: number
}

/** A message, with its body in place or in parts, and where it goes. */
const cases: fc.Arbitrary<Case> = fc
  .record({
    content: contents(sizes),
    cuts: fc.option(fc.array(fc.nat(), { maxLength: 4 })),
    offset: fc.nat(100),
    channel,
    frameMax,
    before,
  })
  .map(({ content, cuts, offset, ...rest }) => {
    const inParts = cuts !== null && content.body.length > 0
    const message = inParts ? messageInParts(content, cuts) : messageAt(content, offset)
    return { content, message, ...rest }
  })

/** Holds what is sent against the frames that the table makes of it; shared memory may change before it is sent. */
function check(given: Case, method: Buffer, write: (writer: FrameWriter) => void): void {
  const { content, message, channel, frameMax, before } = given
  const kept = Buffer.from(message.bytes)
  const output = sent(before, writer => {
    write(writer)
    ok(kept.equals(message.bytes), 'the message is as it was')
    message.bytes.fill(0)
  })
  ok(output.equals(Buffer.concat([method, contentFrames(channel, frameMax, content)])))
}

t.test('basic.deliver and its content are what the table makes of them', async () => {
  fc.assert(
    fc.property(
      cases,
      shortstr,
      tag,
      fc.boolean(),
      (given, consumerTag, deliveryTag, redelivered) => {
        const { channel, frameMax, message, content } = given
        const { exchange, routingKey } = content
        const args = { consumerTag, deliveryTag, redelivered, exchange, routingKey }
        const tagOctets = shortstrOf(consumerTag)
        check(given, encodeMethodFrame(channel, 'basic.deliver', args), writer =>
          writeDeliver(writer, channel, frameMax, tagOctets, deliveryTag, redelivered, message),
        )
      },
    ),
    deterministic,
  )
})

t.test('basic.get-ok and its content are what the table makes of them', async () => {
  const counts = fc.nat(2 ** 32 - 1)
  fc.assert(
    fc.property(
      cases,
      tag,
      fc.boolean(),
      counts,
      (given, deliveryTag, redelivered, messageCount) => {
        const { channel, frameMax, message, content } = given
        const { exchange, routingKey } = content
        const args = { deliveryTag, redelivered, exchange, routingKey, messageCount }
        check(given, encodeMethodFrame(channel, 'basic.get-ok', args), writer =>
          writeGetOk(writer, channel, frameMax, deliveryTag, redelivered, messageCount, message),
        )
      },
    ),
    deterministic,
  )
})

t.test('basic.return and its content are what the table makes of them', async () => {
  fc.assert(
    fc.property(cases, fc.nat(65535), shortstr, (given, replyCode, replyText) => {
      const { channel, frameMax, message, content } = given
      const { exchange, routingKey } = content
      const args = { replyCode, replyText, exchange, routingKey }
      const code = Buffer.of(replyCode >> 8, replyCode & 255)
      const reason = Buffer.concat([code, shortstrOf(replyText)])
      check(given, encodeMethodFrame(channel, 'basic.return', args), writer =>
        writeReturn(writer, channel, frameMax, reason, message),
      )
    }),
    deterministic,
  )
})

t.test('confirms are what the table makes of them', async () => {
  fc.assert(
    fc.property(channel, tag, fc.boolean(), before, (channel, deliveryTag, multiple, before) => {
      const ack = encodeMethodFrame(channel, 'basic.ack', { deliveryTag, multiple })
      ok(sent(before, writer => writeAck(writer, channel, deliveryTag, multiple)).equals(ack))
      const args = { deliveryTag, multiple, requeue: true }
      const nack = encodeMethodFrame(channel, 'basic.nack', args)
      ok(sent(before, writer => writeNack(writer, channel, deliveryTag, multiple)).equals(nack))
    }),
    deterministic,
  )
})

/** Checks a delivery of this content. */
function checkDelivery(content: Content, frameMax: number, before: number): void {
  const { exchange, routingKey } = content
  const given = { content, message: messageAt(content), channel: 258, frameMax, before }
  const args = { consumerTag: 'c', deliveryTag: 1, redelivered: false, exchange, routingKey }
  check(given, encodeMethodFrame(258, 'basic.deliver', args), writer =>
    writeDeliver(writer, 258, frameMax, shortstrOf('c'), 1, false, given.message),
  )
}

const noProperties = Buffer.alloc(2)

t.test('a body is cut only where it is longer than a frame', async () => {
  for (const frameMax of [4096, 8192, 131072])
    for (const times of [1, 2])
      for (let more = -1; more <= 9; more++) {
        const body = octetsOf(times * (frameMax - 8) + more, more)
        const content = { exchange: 'e', routingKey: 'k', properties: noProperties, body }
        checkDelivery(content, frameMax, 77)
      }
})

t.test('a message that just fits a chunk goes out like any other', async () => {
  const name = 'x'.repeat(255)
  for (let more = -1100; more <= 20; more += 16) {
    const body = octetsOf(chunkBytes + more, 1)
    const content = { exchange: name, routingKey: name, properties: noProperties, body }
    checkDelivery(content, 2 ** 31, 77)
  }
})

t.test('a header larger than a chunk goes out as one frame', async () => {
  const properties = Buffer.concat([Buffer.of(0x20, 0), Buffer.alloc(4), octetsOf(chunkBytes, 1)])
  properties.writeUInt32BE(chunkBytes, 2)
  for (const size of [0, 100, 5000]) {
    const content = { exchange: 'e', routingKey: 'k', properties, body: octetsOf(size, 2) }
    checkDelivery(content, 4096, 77)
  }
})

t.test('the ids are those of the table', async t => {
  for (const [name, id] of Object.entries(hotIds)) {
    const inTable = name === 'getOk' ? 'get-ok' : name
    t.equal(id, methods[`basic.${inTable}` as keyof typeof methods].id, name)
  }
})
