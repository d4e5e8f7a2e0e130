import { deepStrictEqual } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { printSnippet } from '../../src/wire/erlang-term.js'
import { Frame, FrameParser } from '../../src/wire/frame-parser.js'
import { allocationsOf } from '../support/allocations.js'
import { deterministic } from '../support/generators.js'
import { frame, octetsOf, pieces } from '../support/messages.js'

interface Shown {
  readonly type: number
  readonly channel: number
  readonly payload: string
}

const payloadMax = 100

/** Any frame, of types that nobody knows too. */
const frames = fc.record({
  type: fc.constantFrom(Frame.method, Frame.header, Frame.body, Frame.heartbeat, 0, 77, 255),
  channel: fc.nat(65535),
  payload: fc
    .oneof(fc.nat(20), fc.nat(payloadMax))
    .chain(size => fc.uint8Array({ minLength: size, maxLength: size })),
})

const cuts = fc.array(fc.nat(), { maxLength: 60, size: 'max' })

/** Feeds the bytes in pieces, each gone when the next one comes, and shows every frame. */
function parse(stream: Buffer, cuts: readonly number[], parser = new FrameParser(payloadMax)) {
  const shown: Shown[] = []
  let body: Buffer[] = []
  for (const piece of pieces(stream, cuts)) {
    const chunk = Buffer.concat([Buffer.alloc(3, 0xee), piece, Buffer.alloc(5, 0xee)])
    parser.feed(chunk, 3, 3 + piece.length)
    while (parser.next()) {
      const { type, channel } = parser
      body.push(Buffer.from(parser.bytes.subarray(parser.start, parser.end)))
      if (type !== Frame.body) deepStrictEqual([parser.complete, body.length], [true, 1])
      if (!parser.complete) continue
      shown.push({ type, channel, payload: Buffer.concat(body).toString('hex') })
      body = []
    }
    chunk.fill(0xee)
  }
  return { shown, parser }
}

/** What parsing throws. */
function refusal(stream: Buffer, cuts: readonly number[] = []): string {
  try {
    parse(stream, cuts)
  } catch (error) {
    return (error as Error).message
  }
  return ''
}

t.test('however the stream is split, it holds the same frames', async () => {
  fc.assert(
    fc.property(fc.array(frames, { maxLength: 8, size: 'max' }), cuts, (frames, cuts) => {
      const stream = Buffer.concat(frames.map(f => frame(f.type, f.channel, f.payload)))
      const { shown, parser } = parse(stream, cuts)
      deepStrictEqual(
        shown,
        frames.map(f => ({ ...f, payload: Buffer.from(f.payload).toString('hex') })),
      )
      deepStrictEqual(parser.midFrame, false)
    }),
    { ...deterministic, numRuns: 500 },
  )
})

t.test('octet by octet, each frame but a body comes whole', async t => {
  const stream = Buffer.concat([frame(1, 2, octetsOf(9, 1)), frame(8, 0, Buffer.alloc(0))])
  const everywhere = [...stream.keys()]
  t.strictSame(parse(stream, everywhere).shown, parse(stream, []).shown)
})

t.test('a body frame is shown in the pieces in which it comes', async t => {
  const stream = frame(Frame.body, 9, Buffer.from('abcdef'))
  const parser = new FrameParser(payloadMax)
  const seen: [string, boolean, number, boolean][] = []
  for (const piece of pieces(stream, [9, 11, 13])) {
    parser.feed(piece, 0, piece.length)
    while (parser.next()) {
      const text = parser.bytes.toString('latin1', parser.start, parser.end)
      seen.push([text, parser.complete, parser.channel, parser.midFrame])
    }
  }
  t.strictSame(seen, [
    ['ab', false, 9, true],
    ['cd', false, 9, true],
    ['ef', false, 9, true],
    ['', true, 9, false],
  ])
})

t.test('it knows whether a frame has begun that has not ended', async () => {
  fc.assert(
    fc.property(frames, fc.nat(), ({ type, channel, payload }, cut) => {
      const bytes = frame(type, channel, payload)
      const some = bytes.subarray(0, 1 + (cut % (bytes.length - 1)))
      deepStrictEqual(parse(some, []).parser.midFrame, true)
      deepStrictEqual(parse(bytes, [cut]).parser.midFrame, false)
    }),
    deterministic,
  )
})

t.test('what it shows of a frame stays when the next one is looked for', async t => {
  const parser = new FrameParser(payloadMax)
  const [head, rest] = pieces(frame(1, 1, Buffer.from('method')), [9]) as [Buffer, Buffer]
  parser.feed(head, 0, head.length)
  parser.next()
  parser.feed(rest, 0, rest.length)
  t.equal(parser.next(), true)
  const { bytes, start, end } = parser
  const next = frame(1, 1, Buffer.from('second')).subarray(0, 9)
  parser.feed(next, 0, next.length)
  t.equal(parser.next(), false)
  t.equal(bytes.toString('latin1', start, end), 'method')
})

t.test('a payload of exactly the limit is taken, one octet more is refused', async () => {
  const types = fc.constantFrom(Frame.method, Frame.header, Frame.body, Frame.heartbeat)
  fc.assert(
    fc.property(types, cuts, (type, cuts) => {
      deepStrictEqual(parse(frame(type, 1, Buffer.alloc(100)), cuts).shown.length, 1)
      deepStrictEqual(
        refusal(frame(type, 1, Buffer.alloc(101)), cuts),
        `FRAME_ERROR - type ${type}, all octets = <<>>: {frame_too_large,101,92}`,
      )
    }),
    { ...deterministic, examples: [[1, [3]]] },
  )
})

t.test('a frame that is too large is refused as soon as its size is known', async t => {
  const head = frame(3, 1, Buffer.alloc(0)).subarray(0, 7)
  head.writeUInt32BE(0xffffffff, 3)
  const text = 'FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,4294967295,92}'
  t.equal(refusal(head), text)
  t.equal(refusal(head, [6]), text)
})

t.test(
  'a frame that does not end in 0xCE is refused with the beginning of its payload',
  async () => {
    fc.assert(
      fc.property(frames, fc.nat(0xcd), cuts, ({ type, channel, payload }, octet, cuts) => {
        const bytes = frame(type, channel, payload)
        bytes.writeUInt8(octet, bytes.length - 1)
        deepStrictEqual(
          refusal(bytes, cuts),
          `FRAME_ERROR - type ${type}, ${printSnippet(payload)}: {invalid_frame_end_marker,${octet}}`,
        )
      }),
      {
        ...deterministic,
        examples: [[{ type: 3, channel: 1, payload: new Uint8Array(20) }, 0, [7 + 16]]],
      },
    )
  },
)

t.test('the refusal has the words that RabbitMQ 3.10.8 was seen to use', async t => {
  const bytes = frame(1, 1, Buffer.from('0014000a00', 'hex'))
  bytes.writeUInt8(0, bytes.length - 1)
  const text = 'FRAME_ERROR - type 1, all octets = <<0,20,0,10,0>>: {invalid_frame_end_marker,0}'
  t.equal(refusal(bytes), text)
})

t.test('a frame that is only announced takes no memory', async t => {
  const announced = 128 * 1024 * 1024
  for (const type of [Frame.method, Frame.header, Frame.body]) {
    const stream = frame(type, 1, octetsOf(10_000, 1)).subarray(0, 7 + 10_000)
    stream.writeUInt32BE(announced, 3)
    for (const step of [1, 6, 7, 8, 1000]) {
      const parser = new FrameParser(announced)
      const sizes = allocationsOf(() => {
        for (let at = 0; at < stream.length; at += step) {
          parser.feed(stream, at, Math.min(at + step, stream.length))
          while (parser.next()) {}
        }
      })
      const most = type === Frame.body ? 64 : 2 * stream.length
      t.ok(Math.max(0, ...sizes) <= most, `type ${type} in steps of ${step}`)
      t.ok(sizes.length < 30, 'and is not copied with each piece')
    }
  }
})
