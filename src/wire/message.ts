/**
 * A cursor over the bytes of one message. Everywhere in the broker a message has one form, which
 * is how it came off the wire, so that taking it in, keeping it and giving it out are copies:
 *
 *     start                                  header          body
 *     v                                      v               v
 *     +----------+-------------+------+------+--------------+------------------+
 *     | exchange | routing key | bits | 0xCE | header frame | one body frame,  |
 *     | shortstr |  shortstr   |  u8  |      |              | none if it's empty|
 *     +----------+-------------+------+------+--------------+------------------+
 *
 * The channel numbers in the frames mean nothing; delivery sets them. The payload of a large body
 * stands apart, in `parts`; then `bytes` ends behind the head of the body frame.
 */
import { Frame, frameEnd, frameHead, frameOverhead } from './frame-parser.js'

/** Octets of a header frame's payload before the properties: class, weight, body size. */
export const headerFieldsBytes = 12

/** Between the routing key and the header frame: the bits of basic.publish and its end octet. */
const publishTailBytes = 2

/** The class of content: basic. */
const basicClass = 60

const nothing = Buffer.alloc(0)

export class Message {
  bytes: Buffer = nothing
  start = 0
  header = 0
  body = 0
  end = 0
  bodySize = 0
  parts: readonly Buffer[] | null = null

  /** Points at the message that stands at `bytes[start..end)`. */
  at(bytes: Buffer, start: number, end: number, parts: readonly Buffer[] | null): void {
    const routingKey = start + 1 + (bytes[start] as number)
    const header = routingKey + 1 + (bytes[routingKey] as number) + publishTailBytes
    const body = header + frameOverhead + bytes.readUInt32BE(header + 3)
    this.bytes = bytes
    this.start = start
    this.header = header
    this.body = body
    this.end = end
    this.bodySize = body === end ? 0 : bytes.readUInt32BE(body + 3)
    this.parts = parts
  }

  /** The body stands behind its head in `bytes`; of one that stands apart, only the head does. */
  get inPlace(): boolean {
    return this.bodySize === 0 || this.end - this.body > frameOverhead - 1 + this.bodySize
  }

  /** Points where another cursor points. */
  same(other: Message): void {
    this.bytes = other.bytes
    this.start = other.start
    this.header = other.header
    this.body = other.body
    this.end = other.end
    this.bodySize = other.bodySize
    this.parts = other.parts
  }

  /** Points at nothing, so that the memory of a message that is gone is not held. */
  clear(): void {
    this.bytes = nothing
    this.parts = null
  }

  /** Where exchange and routing key end, together the address of the message. */
  get addressEnd(): number {
    return this.header - publishTailBytes
  }

  /** Where the property flags stand. */
  get propertiesStart(): number {
    return this.header + frameHead + headerFieldsBytes
  }

  /** Where the properties end. */
  get propertiesEnd(): number {
    return this.body - 1
  }

  /** Name of the exchange it was published to. */
  get exchange(): string {
    return this.bytes.toString('utf8', this.start + 1, this.#routingKey)
  }

  get routingKey(): string {
    return this.bytes.toString('utf8', this.#routingKey + 1, this.addressEnd)
  }

  get #routingKey(): number {
    return this.start + 1 + (this.bytes[this.start] as number)
  }
}

/** A message that stands in memory of its own, and the parts of its body if they stand apart. */
export interface Made {
  readonly bytes: Buffer
  readonly parts: readonly Buffer[] | null
}

/**
 * Builds a message in its own memory: for those that the broker itself changes or makes.
 * `properties` are its property octets as on the wire; the body is `body`, or that of `like`.
 */
export function buildMessage(
  exchange: Uint8Array,
  routingKey: Uint8Array,
  properties: Uint8Array,
  like: Message,
): Made {
  const headerPayload = headerFieldsBytes + properties.length
  const bodyBytes = like.end - like.body
  const bytes = Buffer.allocUnsafe(
    1 +
      exchange.length +
      1 +
      routingKey.length +
      publishTailBytes +
      frameOverhead +
      headerPayload +
      bodyBytes,
  )
  let at = bytes.writeUInt8(exchange.length, 0)
  bytes.set(exchange, at)
  at = bytes.writeUInt8(routingKey.length, at + exchange.length)
  bytes.set(routingKey, at)
  at = bytes.writeUInt8(0, at + routingKey.length)
  at = bytes.writeUInt8(0xce, at)
  at = like.bytes.copy(bytes, at, like.header, like.header + frameHead + headerFieldsBytes) + at
  bytes.writeUInt32BE(headerPayload, at - headerFieldsBytes - 4)
  bytes.set(properties, at)
  at = bytes.writeUInt8(0xce, at + properties.length)
  like.bytes.copy(bytes, at, like.body, like.end)
  return { bytes, parts: like.parts }
}

/** A message with this body, in memory of its own. */
export function messageOf(
  exchange: string,
  routingKey: string,
  properties: Uint8Array,
  body: Uint8Array,
): Message {
  const head = Buffer.alloc(frameHead + headerFieldsBytes)
  head.writeUInt8(Frame.header, 0)
  head.writeUInt32BE(headerFieldsBytes + properties.length, 3)
  head.writeUInt16BE(basicClass, frameHead)
  head.writeUInt32BE(body.length, frameHead + 8)
  const end = Buffer.of(frameEnd)
  const parts = [shortstr(exchange), shortstr(routingKey), Buffer.of(0, frameEnd)]
  parts.push(head, Buffer.from(properties), end)
  if (body.length > 0) {
    const bodyHead = Buffer.alloc(frameHead)
    bodyHead.writeUInt8(Frame.body, 0)
    bodyHead.writeUInt32BE(body.length, 3)
    parts.push(bodyHead, Buffer.from(body), end)
  }
  const bytes = Buffer.concat(parts)
  const message = new Message()
  message.at(bytes, 0, bytes.length, null)
  return message
}

function shortstr(text: string): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([Buffer.of(bytes.length), bytes])
}

/** A message with no address, properties or body: what the broker makes without a body is like this one. */
export const blankMessage = new Message()
blankMessage.at(blank(), 0, blank().length, null)

function blank(): Buffer {
  const address = [0, 0, 0, frameEnd]
  const payload = [0, basicClass, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
  return Buffer.of(...address, Frame.header, 0, 0, 0, 0, 0, payload.length, ...payload, frameEnd)
}

/** Gives a message other properties, in memory of its own. */
export function rebuild(message: Message, properties: Buffer): void {
  const { exchange, routingKey } = message
  const built = buildMessage(Buffer.from(exchange), Buffer.from(routingKey), properties, message)
  message.at(built.bytes, 0, built.bytes.length, built.parts)
}
