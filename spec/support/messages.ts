/** Messages in the form that src/wire/message.ts draws, and their bodies. */
import fc from 'fast-check'
import { Message } from '../../src/wire/message.js'
import { encodeProperties, type Properties } from '../../src/wire/properties.js'
import { messageProperties, shortstr } from './generators.js'

/** What a message says. */
export interface Content {
  readonly exchange: string
  readonly routingKey: string
  /** Property octets, flags first. */
  readonly properties: Buffer
  readonly body: Buffer
}

/** A content of which only something matters. */
export function contentOf({
  exchange = '',
  routingKey = '',
  properties = {},
  body = Buffer.alloc(0),
}: Partial<Omit<Content, 'properties'>> & { readonly properties?: Properties }): Content {
  return { exchange, routingKey, properties: encodeProperties(properties), body }
}

/** Octets that look different at each place and for each seed. */
export function octetsOf(size: number, seed: number): Buffer {
  const bytes = Buffer.allocUnsafe(size)
  let value = seed | 1
  for (let i = 0; i < size; i++) {
    value = Math.imul(value, 1_664_525) + 1_013_904_223
    bytes[i] = value >>> 24
  }
  return bytes
}

/** A frame as it stands on the wire. */
export function frame(type: number, channel: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(7)
  head.writeUInt8(type, 0)
  head.writeUInt16BE(channel, 1)
  head.writeUInt32BE(payload.length, 3)
  return Buffer.concat([head, payload, Buffer.of(0xce)])
}

/** The payload of a content header. */
export function headerPayload(properties: Buffer, bodySize: number): Buffer {
  const fixed = Buffer.alloc(12)
  fixed.writeUInt16BE(60, 0)
  fixed.writeBigUInt64BE(BigInt(bodySize), 4)
  return Buffer.concat([fixed, properties])
}

/** Exchange and routing key as two shortstrs. */
export function addressOf({ exchange, routingKey }: Content): Buffer {
  return Buffer.concat([shortstrOf(exchange), shortstrOf(routingKey)])
}

/** A text behind its length octet. */
export function shortstrOf(text: string): Buffer {
  const octets = Buffer.from(text)
  return Buffer.concat([Buffer.of(octets.length), octets])
}

/** The bytes of a message, its body frame in place. */
export function messageBytes(content: Content, bits = 0): Buffer {
  const { properties, body } = content
  return Buffer.concat([
    addressOf(content),
    Buffer.of(bits, 0xce),
    frame(2, 0, headerPayload(properties, body.length)),
    body.length === 0 ? body : frame(3, 0, body),
  ])
}

/** A cursor on a message that stands `offset` bytes into its memory. */
export function messageAt(content: Content, offset = 0): Message {
  const bytes = Buffer.concat([Buffer.alloc(offset, 0xaa), messageBytes(content)])
  const message = new Message()
  message.at(bytes, offset, bytes.length, null)
  return message
}

/** A cursor on a message whose body stands apart, in parts that end at `cuts`. */
export function messageInParts(content: Content, cuts: readonly number[]): Message {
  const whole = messageBytes(content)
  const bytes = Buffer.from(whole.subarray(0, whole.length - content.body.length - 1))
  const message = new Message()
  message.at(bytes, 0, bytes.length, pieces(content.body, cuts))
  return message
}

/** The bytes cut into pieces, none of them empty. */
export function pieces(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...cuts.map(cut => cut % (bytes.length + 1)), 0, bytes.length]
  const ends = [...new Set(places)].sort((a, b) => a - b)
  return ends.slice(1).map((end, i) => bytes.subarray(ends[i] as number, end))
}

/** Bodies of the sizes that `sizes` gives. */
export function bodies(sizes: fc.Arbitrary<number>): fc.Arbitrary<Buffer> {
  return fc.tuple(sizes, fc.nat()).map(([size, seed]) => octetsOf(size, seed))
}

/** Any content whose body has a size out of `sizes`. */
export function contents(sizes: fc.Arbitrary<number>): fc.Arbitrary<Content> {
  return fc.record(
    {
      exchange: shortstr,
      routingKey: shortstr,
      properties: messageProperties.map(encodeProperties),
      body: bodies(sizes),
    },
    { noNullPrototype: true },
  )
}
