/**
 * Field tables and message properties as JSON, and back. Texts are UTF-8 where they can be; bytes
 * which are not become what is nearest. A whole number of JSON is a long, any other one a double.
 */
import {
  type FieldTable,
  type FieldValue,
  fieldTable,
  type PlainTable,
} from '../wire/field-table.js'
import type { Properties } from '../wire/properties.js'
import { badRequest } from './refusal.js'

export type Json = string | number | boolean | null | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [key: string]: Json
}

/** A table as an object; of a key that stands twice the first counts. */
export function tableJson(table: FieldTable): JsonObject {
  const object: Record<string, Json> = Object.create(null)
  for (const { key, value } of table) if (!(key in object)) object[key] = valueJson(value)
  return { ...object }
}

function valueJson(value: FieldValue): Json {
  switch (value.type) {
    case 'S':
    case 'x':
      return value.value.toString()
    case 'F':
      return tableJson(value.value)
    case 'A':
      return value.value.map(valueJson)
    case 'D':
      return value.value.digits / 10 ** value.value.scale
    case 'f':
    case 'd':
      // JSON has no other numbers than these.
      return Number.isFinite(value.value) ? value.value : String(value.value)
    default:
      return typeof value.value === 'bigint' ? Number(value.value) : value.value
  }
}

/** The table that an object of a request stands for; refuses (400) what is nested too deep. */
export function tableOf(object: Readonly<Record<string, unknown>>): FieldTable {
  try {
    return fieldTable(object as PlainTable)
  } catch {
    throw badRequest('arguments are nested too deep')
  }
}

/** The names that properties have in JSON, with the kind of value that each takes. */
const propertyNames = {
  contentType: ['content_type', 'string'],
  contentEncoding: ['content_encoding', 'string'],
  headers: ['headers', 'object'],
  deliveryMode: ['delivery_mode', 'number'],
  priority: ['priority', 'number'],
  correlationId: ['correlation_id', 'string'],
  replyTo: ['reply_to', 'string'],
  expiration: ['expiration', 'string'],
  messageId: ['message_id', 'string'],
  timestamp: ['timestamp', 'number'],
  type: ['type', 'string'],
  userId: ['user_id', 'string'],
  appId: ['app_id', 'string'],
  clusterId: ['cluster_id', 'string'],
} as const satisfies Record<keyof Properties, readonly [string, string]>

const entries = Object.entries(propertyNames) as [keyof Properties, readonly [string, string]][]

const longestText = 255
const octetMax = 255

export function propertiesJson(properties: Properties): JsonObject {
  const object: Record<string, Json> = {}
  for (const [name, [key]] of entries) {
    const value = properties[name]
    if (value === undefined) continue
    object[key] =
      typeof value === 'object'
        ? tableJson(value)
        : typeof value === 'bigint'
          ? Number(value)
          : value
  }
  return object
}

/** Properties that an object of a request stands for; what is not known is passed over, a wrong value refused (400). */
export function propertiesOf(object: Readonly<Record<string, unknown>>): Properties {
  const properties: Record<string, unknown> = {}
  for (const [name, [key, kind]] of entries) {
    const value = object[key]
    if (value === undefined || value === null) continue
    if (typeof value !== kind || Array.isArray(value))
      throw badRequest(`invalid property ${key}: a ${kind} is wanted`)
    properties[name] =
      kind === 'object' ? tableOf(value as Readonly<Record<string, unknown>>) : checked(key, value)
  }
  return properties
}

/** A property that fits on the wire. */
function checked(key: string, value: unknown): unknown {
  if (typeof value === 'string' && Buffer.byteLength(value) > longestText)
    throw badRequest(`invalid property ${key}: more than ${longestText} bytes`)
  if (typeof value !== 'number') return value
  const most = key === 'timestamp' ? Number.MAX_SAFE_INTEGER : octetMax
  if (!Number.isInteger(value) || value < 0 || value > most)
    throw badRequest(`invalid property ${key}: ${value}`)
  return value
}
