import { deepStrictEqual } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { decodeMethod, encodeMethod, encodeMethodFrame, methodSize } from '../../src/wire/codec.js'
import type { FieldTable } from '../../src/wire/field-table.js'
import { type Method, methodNames, methods } from '../../src/wire/methods.js'
import { amqplib, amqplibTable, numberedTable } from '../support/amqplib-codec.js'
import { anyMethod, deterministic, methodNamed } from '../support/generators.js'
import { recordedFrames } from './recorded-frames.js'

function frameOf(channel: number, { name, args }: Method): Buffer {
  return encodeMethodFrame(channel, name, args)
}

function decodeHex(hex: string): Method {
  const bytes = Buffer.from(hex, 'hex')
  return decodeMethod(bytes, 0, bytes.length)
}

t.test('any method is the same after encoding and decoding', async () => {
  for (const name of methodNames())
    fc.assert(
      fc.property(methodNamed(name), method => {
        const frame = frameOf(1, method)
        deepStrictEqual(decodeMethod(frame, 7, frame.length - 1), method)
      }),
      { ...deterministic, numRuns: 50 },
    )
})

t.test('a method is written where it is told to, and takes its size', async () => {
  fc.assert(
    fc.property(anyMethod, fc.nat(20), ({ name, args }, start) => {
      const size = methodSize(name, args)
      const target = Buffer.alloc(start + size + 5, 0xaa)
      deepStrictEqual(encodeMethod(target, start, name, args), start + size)
      deepStrictEqual(target.subarray(0, start), Buffer.alloc(start, 0xaa))
      deepStrictEqual(target.subarray(start + size), Buffer.alloc(5, 0xaa))
      deepStrictEqual(decodeMethod(target, start, start + size), { name, args })
    }),
    deterministic,
  )
})

t.test('amqplib encodes every method to the same frame', async () => {
  for (const name of methodNames())
    fc.assert(
      fc.property(methodNamed(name), fc.nat(65535), (method, channel) => {
        const [ours, theirs] = forBoth(method)
        const frame = amqplib.encodeMethod(methods[name].id, channel, theirs)
        deepStrictEqual(frameOf(channel, ours), frame)
      }),
      { ...deterministic, numRuns: 50 },
    )
})

/** The same arguments for us and for amqplib, which insists on reserved ones and knows no bigint. */
function forBoth({ name, args }: Method): [Method, object] {
  const ours: Record<string, unknown> = { ...args }
  for (const [field, value] of Object.entries(args))
    if (typeof value === 'bigint') ours[field] = Number.MAX_SAFE_INTEGER
  const theirs: { [field: string]: unknown; virtualHost?: string } = { ...ours }
  for (const [field, value] of Object.entries(args)) {
    if (!Array.isArray(value)) continue
    ours[field] = numberedTable(value as FieldTable)
    theirs[field] = amqplibTable(value as FieldTable)
  }
  if (name === 'connection.open') theirs.virtualHost = args.vhost
  return [{ name, args: ours } as Method, theirs]
}

t.test('what RabbitMQ 3.10.8 sent is understood and encoded to the same bytes', async t => {
  for (const { channel, method, hex } of recordedFrames) {
    const frame = Buffer.from(hex, 'hex')
    t.strictSame(decodeMethod(frame, 7, frame.length - 1), method, method.name)
    t.equal(frameOf(channel, method).toString('hex'), hex, method.name)
  }
})

t.test('consecutive bits share an octet, the first is the lowest', async t => {
  t.same(decodeHex('003c0078000000000000000102').args, {
    deliveryTag: 1,
    multiple: false,
    requeue: true,
  })
})

t.test('a delivery tag keeps all its 64 bits', async t => {
  const largest = { deliveryTag: 2n ** 64n - 1n, multiple: false }
  t.strictSame(decodeHex('003c0050ffffffffffffffff00').args, largest)
  t.equal(
    frameOf(1, { name: 'basic.ack', args: largest }).toString('hex', 7, 20),
    '003c0050ffffffffffffffff00',
  )
  const { args } = decodeHex('003c0050001fffffffffffff00')
  t.strictSame(args, { deliveryTag: Number.MAX_SAFE_INTEGER, multiple: false })
})

t.test('reserved fields are skipped, whatever they hold', async t => {
  t.same(decodeHex('003c004612340171ff').args, { queue: 'q', noAck: true })
})

t.test('a shortstr over 255 bytes cannot be encoded', async t => {
  const reason = 'x'.repeat(256)
  t.throws(() => encodeMethodFrame(0, 'connection.blocked', { reason }), RangeError)
})

/** Payloads of method frames, and what RabbitMQ 3.10.8 answered to them where it answered. */
const refusals = [
  { hex: '0032000a0000', text: 'FRAME_ERROR - cannot decode <<0,0>>', why: 'cut off' },
  { hex: '0032000a', text: 'FRAME_ERROR - cannot decode <<>>', why: 'no arguments' },
  {
    hex: '003c0050000000000000000501ff',
    text: 'FRAME_ERROR - cannot decode <<0,0,0,0,0,0,0,5,1,255>>',
    why: 'an octet after the last field',
  },
  {
    hex: '0032000a00000161000000000461',
    text: 'FRAME_ERROR - cannot decode <<0,0,1,97,0,0,0,0,4,97>>',
    why: 'a table longer than the frame',
  },
  {
    hex: '0032000a00000161000000000161',
    text: 'FRAME_ERROR - cannot decode <<0,0,1,97,0,0,0,0,1,97>>',
    why: 'a key longer than its table',
  },
  {
    hex: '0032000a000002c3280000000000',
    text: 'FRAME_ERROR - Malformed UTF-8 in shortstr',
    why: 'no UTF-8',
  },
  {
    hex: '0032000a00000161000000000301615500',
    text: 'SYNTAX_ERROR - field table holds a value of unknown type <<"U">>',
    why: 'an unknown letter, which RabbitMQ cannot decode',
  },
  {
    hex: '001400',
    text: 'FRAME_ERROR - type 1, all octets = <<0,20,0>>: unknown_frame',
    why: 'no room for an id',
  },
  { hex: '00320063', text: 'COMMAND_INVALID - unknown method', why: 'an id nobody knows' },
]

t.test('a bad method is refused with its text', async t => {
  for (const { hex, text, why } of refusals) t.throws(() => decodeHex(hex), { message: text }, why)
})

t.test('the error for a large bad method stays small', async t => {
  const payload = Buffer.alloc(100_000)
  payload.writeUInt32BE(methods['queue.declare'].id)
  t.throws(() => decodeMethod(payload, 0, payload.length), { message: /^.{255,1000}$/ })
})

t.test('no bytes end otherwise than in a method or in a refusal', async () => {
  fc.assert(
    fc.property(anyMethod, fc.nat(), fc.nat(255), fc.nat(), (method, at, octet, cut) => {
      const frame = frameOf(1, method)
      const size = frame.length - 8
      frame[7 + (at % size)] = octet
      try {
        decodeMethod(frame, 7, 7 + (cut % (size + 1)))
      } catch (error) {
        deepStrictEqual((error as Error).name, 'AmqpError')
      }
    }),
    { ...deterministic, numRuns: 3000 },
  )
})
