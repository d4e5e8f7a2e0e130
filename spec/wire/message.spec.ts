import { deepStrictEqual } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { buildMessage, Message } from '../../src/wire/message.js'
import { encodeProperties } from '../../src/wire/properties.js'
import { deterministic, messageProperties, shortstr } from '../support/generators.js'
import {
  type Content,
  contents,
  headerPayload,
  messageAt,
  messageInParts,
} from '../support/messages.js'

const anyContent = contents(fc.oneof(fc.constant(0), fc.nat(2000)))

/** What the cursor shows. */
function contentAt(message: Message): Content {
  const { bytes, parts, body, bodySize, exchange, routingKey } = message
  return {
    exchange,
    routingKey,
    properties: bytes.subarray(message.propertiesStart, message.propertiesEnd),
    body: parts === null ? bytes.subarray(body + 7, body + 7 + bodySize) : Buffer.concat(parts),
  }
}

t.test('a cursor shows the message wherever it stands', async () => {
  fc.assert(
    fc.property(anyContent, fc.nat(50), (content, offset) => {
      const message = messageAt(content, offset)
      deepStrictEqual(contentAt(message), content)
      deepStrictEqual(message.start, offset)
      deepStrictEqual(message.end, message.bytes.length)
      deepStrictEqual(message.bodySize, content.body.length)
      deepStrictEqual(
        message.bytes.subarray(message.header + 7, message.body - 1),
        headerPayload(content.properties, content.body.length),
      )
      const address = message.bytes.subarray(message.start, message.addressEnd)
      deepStrictEqual(
        message.bytes.subarray(message.addressEnd, message.header),
        Buffer.of(0, 0xce),
      )
      deepStrictEqual(address.length, Buffer.byteLength(content.exchange + content.routingKey) + 2)
    }),
    deterministic,
  )
})

t.test('a cursor on a body in parts ends behind the head of the body frame', async () => {
  fc.assert(
    fc.property(anyContent, fc.array(fc.nat()), (content, cuts) => {
      fc.pre(content.body.length > 0)
      const message = messageInParts(content, cuts)
      deepStrictEqual(contentAt(message), content)
      deepStrictEqual(message.bodySize, content.body.length)
      deepStrictEqual(message.end, message.body + 7)
    }),
    deterministic,
  )
})

t.test('a cursor put where another one is shows the same', async () => {
  fc.assert(
    fc.property(anyContent, fc.nat(50), (content, offset) => {
      const apart = content.body.length > 0 && offset > 25
      const other = apart ? messageInParts(content, [offset]) : messageAt(content, offset)
      const message = new Message()
      message.same(other)
      deepStrictEqual(message, other)
    }),
    { ...deterministic, numRuns: 50 },
  )
})

t.test('a message is built anew with another address and other properties', async () => {
  const properties = messageProperties.map(encodeProperties)
  fc.assert(
    fc.property(
      anyContent,
      fc.array(fc.nat()),
      fc.record({ exchange: shortstr, routingKey: shortstr, properties }),
      (content, cuts, changes) => {
        const { exchange, routingKey, properties } = changes
        const body = content.body.length
        for (const like of [
          messageAt(content, 9),
          ...(body > 0 ? [messageInParts(content, cuts)] : []),
        ]) {
          const built = buildMessage(
            Buffer.from(exchange),
            Buffer.from(routingKey),
            properties,
            like,
          )
          const message = new Message()
          message.at(built.bytes, 0, built.bytes.length, built.parts)
          deepStrictEqual(contentAt(message), { ...content, ...changes })
          const expected = messageAt({ ...content, ...changes })
          deepStrictEqual(built.bytes, expected.bytes.subarray(0, built.bytes.length))
          deepStrictEqual(built.parts, like.parts)
        }
      },
    ),
    deterministic,
  )
})
