// amqplib's own encoders, generated from RabbitMQ's published definition: an independent source for the wire's specs.
// Its exports map hides the file, so it is loaded by its path.

import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { FieldTable, FieldValue } from '../../src/wire/field-table.js'

/** What the published definition says of a method. */
export interface PublishedMethod {
  readonly id: number
  readonly name: string
  readonly args: readonly { readonly name: string; readonly type: string }[]
}

interface Definitions {
  encodeMethod(id: number, channel: number, fields: object): Buffer
  encodeProperties(id: number, channel: number, size: number, fields: object): Buffer
}

const require = createRequire(import.meta.url)
const folder = dirname(require.resolve('amqplib'))
const exported = require(join(folder, 'lib', 'defs.js'))

/** amqplib's encoders of whole frames. */
export const amqplib: Definitions = exported

/** All published methods. */
export const publishedMethods: readonly PublishedMethod[] = Object.entries(exported)
  .filter(([name]) => name.startsWith('methodInfo'))
  .map(([, method]) => method as PublishedMethod)

/** The table as amqplib takes it: keys numbered, because an object can have no key twice; strings are texts. */
export function amqplibTable(table: FieldTable): Record<string, unknown> {
  return Object.fromEntries(table.map(({ value }, i) => [`k${i}`, amqplibValue(value)]))
}

/** The same table as ours. */
export function numberedTable(table: FieldTable): FieldTable {
  return table.map(({ value }, i) => ({ key: `k${i}`, value: numberedValue(value) }))
}

const letterNames = {
  b: 'int8',
  B: 'uint8',
  s: 'int16',
  u: 'uint16',
  I: 'int32',
  i: 'uint32',
  l: 'int64',
  f: 'float',
  d: 'double',
  T: 'timestamp',
} as const

function amqplibValue(field: FieldValue): unknown {
  switch (field.type) {
    case 't':
    case 'V':
    case 'x':
      return field.value
    case 'S':
      return field.value.toString()
    case 'D':
      return { '!': 'decimal', value: { places: field.value.scale, digits: field.value.digits } }
    case 'A':
      return field.value.map(amqplibValue)
    case 'F':
      return amqplibTable(field.value)
    default:
      return { '!': letterNames[field.type], value: field.value }
  }
}

function numberedValue(field: FieldValue): FieldValue {
  switch (field.type) {
    case 'S':
      return { type: 'S', value: Buffer.from(field.value.toString()) }
    case 'A':
      return { type: 'A', value: field.value.map(numberedValue) }
    case 'F':
      return { type: 'F', value: numberedTable(field.value) }
    default:
      return field
  }
}
