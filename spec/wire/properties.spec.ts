import { deepStrictEqual } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { fieldTable, fieldValue, tableSize, writeTable } from '../../src/wire/field-table.js'
import {
  checkProperties,
  decodeProperties,
  deliveryModeOf,
  encodeProperties,
  expirationAt,
  headersAt,
  type Properties,
  priorityOf,
  withHeaders,
  withoutExpiration,
  withReplyTo,
} from '../../src/wire/properties.js'
import { amqplib, amqplibTable, numberedTable } from '../support/amqplib-codec.js'
import { deterministic, fieldTables, messageProperties, shortstr } from '../support/generators.js'
import { recordedContentHeader } from './recorded-frames.js'

const basicClass = 60
const contentHeaderBytes = 12

function decoded(bytes: Buffer): Properties {
  return decodeProperties(bytes, 0, bytes.length)
}

t.test('any properties are the same after encoding and decoding', async () => {
  fc.assert(
    fc.property(messageProperties, properties => {
      deepStrictEqual(decoded(encodeProperties(properties)), properties)
    }),
    deterministic,
  )
})

t.test('amqplib encodes them to the same bytes', async () => {
  const texts = fc.record(
    {
      contentType: shortstr,
      contentEncoding: shortstr,
      headers: fieldTables,
      deliveryMode: fc.nat(255),
      priority: fc.nat(255),
      correlationId: shortstr,
      replyTo: shortstr,
      expiration: shortstr,
      messageId: shortstr,
      timestamp: fc.maxSafeNat(),
      type: shortstr,
      userId: shortstr,
      appId: shortstr,
      clusterId: shortstr,
    },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(texts, properties => {
      const { headers } = properties
      const ours = headers ? { ...properties, headers: numberedTable(headers) } : properties
      const theirs = headers ? { ...properties, headers: amqplibTable(headers) } : properties
      const frame = amqplib.encodeProperties(basicClass, 1, 0, theirs)
      deepStrictEqual(encodeProperties(ours), frame.subarray(7 + contentHeaderBytes, -1))
    }),
    deterministic,
  )
})

t.test('what RabbitMQ 3.10.8 sent is understood and encoded to the same bytes', async t => {
  const sent = Buffer.from(recordedContentHeader, 'hex').subarray(contentHeaderBytes)
  const properties: Properties = {
    contentType: 'text/plain',
    headers: fieldTable({
      n: 1,
      big: 2 ** 40,
      t: true,
      s: 'text',
      v: null,
      d: 0.5,
      list: [1, 'a'],
      sub: { k: -1 },
    }),
    deliveryMode: 2,
    priority: 3,
    correlationId: 'c',
    replyTo: 'r',
    expiration: '60000',
    messageId: 'm',
    timestamp: 1700000000,
    type: 'ty',
    userId: 'guest',
    appId: 'app',
  }
  t.strictSame(decoded(sent), properties)
  t.same(encodeProperties(properties), sent)
})

t.test('the readers find what a full decoding finds', async () => {
  fc.assert(
    fc.property(messageProperties, fc.nat(9), (properties, start) => {
      const bytes = Buffer.concat([Buffer.alloc(start), encodeProperties(properties)])
      deepStrictEqual(deliveryModeOf(bytes, start), properties.deliveryMode ?? 0)
      deepStrictEqual(priorityOf(bytes, start), properties.priority ?? -1)

      const expiration = expirationAt(bytes, start)
      const table = headersAt(bytes, start)
      const { expiration: text, headers } = properties
      deepStrictEqual(
        [expiration === -1, table === -1],
        [text === undefined, headers === undefined],
      )
      if (text !== undefined)
        deepStrictEqual(
          bytes.readUInt8(expiration),
          encodeProperties({ expiration: text }).length - 3,
        )
      if (headers !== undefined)
        deepStrictEqual(bytes.readUInt32BE(table), encodeProperties({ headers }).length - 6)
    }),
    deterministic,
  )
})

t.test('properties must fill their octets exactly', async () => {
  fc.assert(
    fc.property(messageProperties, properties => {
      const bytes = encodeProperties(properties)
      checkProperties(bytes, 0, bytes.length)
      const longer = Buffer.concat([bytes, Buffer.alloc(1)])
      deepStrictEqual(refusal(longer, longer.length), 'SYNTAX_ERROR')
      for (let end = 0; end < bytes.length; end++)
        deepStrictEqual(refusal(bytes, end), 'SYNTAX_ERROR')
    }),
    { ...deterministic, numRuns: 50 },
  )
})

function refusal(bytes: Buffer, end: number): string | undefined {
  try {
    checkProperties(bytes, 0, end)
    return undefined
  } catch (error) {
    return (error as { reply?: string }).reply
  }
}

t.test('headers must be a field table', async t => {
  const unknown = encodeProperties({ headers: [{ key: 'k', value: fieldValue(1) }] })
  unknown.write('U', 8)
  t.throws(() => checkProperties(unknown, 0, unknown.length), {
    message: 'SYNTAX_ERROR - field table holds a value of unknown type <<"U">>',
  })
  const overrun = encodeProperties({ headers: [{ key: 'k', value: fieldValue('text') }] })
  overrun.writeUInt32BE(5, 9)
  t.throws(() => checkProperties(overrun, 0, overrun.length), {
    message: 'SYNTAX_ERROR - a length in the headers runs over the end of its table',
  })
})

t.test('the lowest two flags mean nothing and are passed on', async t => {
  const bytes = Buffer.of(0x10, 0x03, 2)
  checkProperties(bytes, 0, 3)
  t.same(decoded(bytes), { deliveryMode: 2 })
  t.same(withHeaders(bytes, []), Buffer.of(0x30, 0x03, 0, 0, 0, 0, 2))
})

t.test('new headers leave all other bytes alone', async () => {
  fc.assert(
    fc.property(
      messageProperties,
      fieldTables,
      fc.option(shortstr, { nil: undefined }),
      (properties, headers, replyTo) => {
        const expected: Properties = { ...properties, headers }
        if (replyTo !== undefined) expected.replyTo = replyTo
        const options = replyTo === undefined ? {} : { replyTo }
        const changed = withHeaders(encodeProperties(properties), headers, options)
        deepStrictEqual(changed, encodeProperties(expected))
      },
    ),
    deterministic,
  )
})

t.test('a dead letter has other headers and no expiration, and all else as it was', async () => {
  fc.assert(
    fc.property(messageProperties, fieldTables, shortstr, (properties, headers, before) => {
      const octets = Buffer.alloc(tableSize(headers))
      writeTable(octets, 0, headers)
      const start = Buffer.byteLength(before)
      const bytes = Buffer.concat([Buffer.from(before), encodeProperties(properties)])
      const changed = withoutExpiration(bytes, start, bytes.length, octets)
      const { expiration: _, ...others } = properties
      deepStrictEqual(changed, encodeProperties({ ...others, headers }))
    }),
    deterministic,
  )
})

t.test('a new reply-to leaves the headers alone, however odd', async t => {
  const odd = encodeProperties({
    headers: [{ key: 'k', value: { type: 'l', value: 1 } }],
    appId: 'a',
  })
  odd.write('L', 8)
  const changed = withReplyTo(odd, 'amq.rabbitmq.reply-to.x')
  t.same(changed.subarray(2, 17), odd.subarray(2, 17))
  t.match(decoded(changed), { replyTo: 'amq.rabbitmq.reply-to.x', appId: 'a' })
})
