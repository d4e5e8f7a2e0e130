// fast-check generators of what travels on the wire: any method with any arguments, any field table, any properties.
// Properties run with `deterministic`, so a failing run fails again.

import fc from 'fast-check'
import type { FieldArray, FieldTable, FieldValue, TableField } from '../../src/wire/field-table.js'
import {
  type FieldType,
  fieldsOf,
  type Method,
  type MethodName,
  methodNames,
} from '../../src/wire/methods.js'
import { readText } from '../../src/wire/opaque-text.js'
import type { Properties } from '../../src/wire/properties.js'

/** How every property runs. */
export const deterministic = { seed: 91, numRuns: 200 } as const

/** Objects like those a decoder makes, for deep comparison. */
const plainObjects = { noNullPrototype: true } as const

/** Text of at most 255 bytes, as a method's short string must be. */
export const shortstr: fc.Arbitrary<string> = fc.string({ unit: 'binary', maxLength: 63 })

/** Any bytes. */
export const octets: fc.Arbitrary<Buffer> = fc
  .uint8Array({ maxLength: 40 })
  .map(o => Buffer.from(o))

/** Text read from bytes in any encoding, as keys and properties may be. */
export const opaqueText: fc.Arbitrary<string> = fc.oneof(
  shortstr,
  octets.map(o => readText(o, 0, o.length)),
)

const signed64 = integer64(-(2n ** 63n), 2n ** 63n - 1n)
const unsigned64 = integer64(0n, 2n ** 64n - 1n)

function integer64(min: bigint, max: bigint): fc.Arbitrary<number | bigint> {
  const safe = fc.integer({ min: Math.max(Number(min), -1000), max: 2 ** 31 })
  const any = fc.bigInt({ min, max })
  return fc.oneof(
    safe,
    any.map(n => (Number.isSafeInteger(Number(n)) ? Number(n) : n)),
  )
}

const octet = fc.integer({ min: 0, max: 2 ** 8 - 1 })
const short = fc.integer({ min: 0, max: 2 ** 16 - 1 })
const long = fc.integer({ min: 0, max: 2 ** 32 - 1 })

function typed<T extends FieldValue['type'], V>(type: T, values: fc.Arbitrary<V>) {
  return values.map(value => ({ type, value }))
}

const nested = fc.letrec<{ value: FieldValue; table: FieldTable; array: FieldArray }>(tie => ({
  value: fc.oneof(
    { maxDepth: 4 },
    typed('t', fc.boolean()),
    typed('b', fc.integer({ min: -(2 ** 7), max: 2 ** 7 - 1 })),
    typed('B', octet),
    typed('s', fc.integer({ min: -(2 ** 15), max: 2 ** 15 - 1 })),
    typed('u', short),
    typed('I', fc.integer()),
    typed('i', long),
    typed('l', signed64),
    typed('T', unsigned64),
    typed('f', fc.float({ noNaN: true })),
    typed('d', fc.double({ noNaN: true })),
    typed('D', fc.record({ scale: octet, digits: long }, plainObjects)),
    typed('S', octets),
    typed('x', octets),
    typed('V', fc.constant(null)),
    typed('A', tie('array')),
    typed('F', tie('table')),
  ),
  array: fc.array(tie('value'), { maxLength: 5 }),
  table: fc.array(fc.record<TableField>({ key: opaqueText, value: tie('value') }, plainObjects), {
    maxLength: 5,
  }),
}))

/** Any value of a field table. */
export const fieldValues: fc.Arbitrary<FieldValue> = nested.value

/** Any field table; keys may be no UTF-8 and may stand twice. */
export const fieldTables: fc.Arbitrary<FieldTable> = nested.table

const valuesOf: Record<FieldType, fc.Arbitrary<unknown>> = {
  bit: fc.boolean(),
  octet,
  short,
  long,
  longlong: unsigned64,
  shortstr,
  longstr: octets,
  table: fieldTables,
}

/** This method with any arguments. */
export function methodNamed(name: MethodName): fc.Arbitrary<Method> {
  const fields = fieldsOf(name).filter(field => !field.reserved)
  const args = Object.fromEntries(fields.map(field => [field.name, valuesOf[field.type]]))
  return fc.record(args, plainObjects).map(given => ({ name, args: given }) as Method)
}

/** Any method with any arguments. */
export const anyMethod: fc.Arbitrary<Method> = fc.constantFrom(...methodNames()).chain(methodNamed)

/** Any set of message properties. */
export const messageProperties: fc.Arbitrary<Properties> = fc.record(
  {
    contentType: opaqueText,
    contentEncoding: opaqueText,
    headers: fieldTables,
    deliveryMode: octet,
    priority: octet,
    correlationId: opaqueText,
    replyTo: opaqueText,
    expiration: opaqueText,
    messageId: opaqueText,
    timestamp: unsigned64,
    type: opaqueText,
    userId: opaqueText,
    appId: opaqueText,
    clusterId: opaqueText,
  },
  { requiredKeys: [], ...plainObjects },
)
