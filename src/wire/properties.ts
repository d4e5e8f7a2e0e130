// The properties of a message (class 60) as they stand in its content header: two octets of flags, then the properties
// whose flag is set, in the order of the flags. They travel byte for byte; the readers here look only for what is asked.

import { checkTable, decodeTable, type FieldTable, tableSize, writeTable } from './field-table.js'
import { type Integer64, readUnsigned64, writeInteger64 } from './integer64.js'
import { readText, textSize, writeText } from './opaque-text.js'
import { AmqpError } from './replies.js'

/** All properties of a message; one that is absent on the wire is absent here. Strings are made by opaque-text.ts. */
export interface Properties {
  contentType?: string
  contentEncoding?: string
  headers?: FieldTable
  deliveryMode?: number
  priority?: number
  correlationId?: string
  replyTo?: string
  expiration?: string
  messageId?: string
  timestamp?: Integer64
  type?: string
  userId?: string
  appId?: string
  clusterId?: string
}

type PropertyName = keyof Properties

/** The flag of each property, in the order of the wire. The lowest two bits mean nothing and are passed on. */
const flags = {
  contentType: 0x8000,
  contentEncoding: 0x4000,
  headers: 0x2000,
  deliveryMode: 0x1000,
  priority: 0x0800,
  correlationId: 0x0400,
  replyTo: 0x0200,
  expiration: 0x0100,
  messageId: 0x0080,
  timestamp: 0x0040,
  type: 0x0020,
  userId: 0x0010,
  appId: 0x0008,
  clusterId: 0x0004,
} as const satisfies Record<PropertyName, number>

const names = Object.keys(flags) as PropertyName[]
const afterAll = flags.clusterId >> 1

/** Where the property of this flag ends that begins here; beyond `end` if it does not fit. */
function endOf(flag: number, bytes: Buffer, at: number, end: number): number {
  switch (flag) {
    case flags.deliveryMode:
    case flags.priority:
      return at + 1
    case flags.timestamp:
      return at + 8
    case flags.headers:
      return at + 4 <= end ? at + 4 + bytes.readUInt32BE(at) : end + 1
    default:
      return at < end ? at + 1 + bytes.readUInt8(at) : end + 1
  }
}

/** Where the property of this flag stands, or would stand; beyond `end` if something before it does not fit. */
function placeOf(flag: number, bytes: Buffer, start: number, end: number): number {
  let earlier = bytes.readUInt16BE(start) & -(flag << 1) // the flags above this one
  let at = start + 2
  while (earlier !== 0) {
    const next = 1 << (31 - Math.clz32(earlier))
    at = endOf(next, bytes, at, end)
    earlier ^= next
  }
  return at
}

function find(flag: number, bytes: Buffer, start: number): number {
  if ((bytes.readUInt16BE(start) & flag) === 0) return -1
  return placeOf(flag, bytes, start, bytes.length)
}

/**
 * Refuses properties that do not fill their octets exactly or whose headers are no field table. RabbitMQ dies of them
 * with 541; a client that gets 502 learns whose fault it is. Allocates nothing. All other functions here rely on it.
 */
export function checkProperties(bytes: Buffer, start: number, end: number): void {
  if (end - start < 2 || placeOf(afterAll, bytes, start, end) !== end)
    throw new AmqpError('SYNTAX_ERROR', 'properties do not match the size of their content header')
  const headers = headersAt(bytes, start)
  if (headers === -1) return
  const fields = headers + 4
  if (!checkTable(bytes, fields, fields + bytes.readUInt32BE(headers)))
    throw new AmqpError('SYNTAX_ERROR', 'a length in the headers runs over the end of its table')
}

/** The delivery mode of a persistent message. */
export const persistentMode = 2

/** The delivery mode, 0 when absent. */
export function deliveryModeOf(bytes: Buffer, start: number): number {
  const at = find(flags.deliveryMode, bytes, start)
  return at === -1 ? 0 : bytes.readUInt8(at)
}

/** The priority, -1 when absent. */
export function priorityOf(bytes: Buffer, start: number): number {
  const at = find(flags.priority, bytes, start)
  return at === -1 ? -1 : bytes.readUInt8(at)
}

/** Where the expiration stands, a shortstr (length octet, then its text); -1 when absent. */
export function expirationAt(bytes: Buffer, start: number): number {
  return find(flags.expiration, bytes, start)
}

/** Where the reply-to stands, a shortstr; -1 when absent. */
export function replyToAt(bytes: Buffer, start: number): number {
  return find(flags.replyTo, bytes, start)
}

/** Where the user id stands, a shortstr; -1 when absent. */
export function userIdAt(bytes: Buffer, start: number): number {
  return find(flags.userId, bytes, start)
}

/** Where the headers stand, a field table (length u32, then its fields); -1 when absent. */
export function headersAt(bytes: Buffer, start: number): number {
  return find(flags.headers, bytes, start)
}

/** Decodes all properties; refuses what `checkProperties` refuses. */
export function decodeProperties(bytes: Buffer, start: number, end: number): Properties {
  checkProperties(bytes, start, end)
  const present = bytes.readUInt16BE(start)
  const properties: Record<string, unknown> = {}
  let at = start + 2
  for (const name of names) {
    if ((present & flags[name]) === 0) continue
    const next = endOf(flags[name], bytes, at, end)
    properties[name] = read(name, bytes, at, next)
    at = next
  }
  return properties
}

function read(name: PropertyName, bytes: Buffer, at: number, end: number): unknown {
  switch (name) {
    case 'deliveryMode':
    case 'priority':
      return bytes.readUInt8(at)
    case 'timestamp':
      return readUnsigned64(bytes, at)
    case 'headers':
      return decodeTable(bytes, at + 4, end)
    default:
      return readText(bytes, at + 1, end)
  }
}

/** Encodes properties, flags first. */
export function encodeProperties(properties: Properties): Buffer {
  return rewrite(Buffer.alloc(2), properties)
}

/** The same properties with these headers; all others keep their bytes. */
export function withHeaders(
  properties: Buffer,
  headers: FieldTable,
  { replyTo }: { readonly replyTo?: string } = {},
): Buffer {
  return rewrite(properties, replyTo === undefined ? { headers } : { headers, replyTo })
}

/**
 * The properties that stand at `bytes[start..end)` with these headers (their octets on the wire)
 * and without expiration: those of a dead letter.
 */
export function withoutExpiration(
  bytes: Buffer,
  start: number,
  end: number,
  headers: Buffer,
): Buffer {
  const present = bytes.readUInt16BE(start)
  const before = placeOf(flags.headers, bytes, start, end)
  const between = placeOf(flags.headers >> 1, bytes, start, end)
  const expiration = placeOf(flags.expiration, bytes, start, end)
  const after = placeOf(flags.expiration >> 1, bytes, start, end)
  const changed = Buffer.allocUnsafe(
    before - start + headers.length + (expiration - between) + (end - after),
  )
  let at = 2 + bytes.copy(changed, 2, start + 2, before)
  at += headers.copy(changed, at)
  at += bytes.copy(changed, at, between, expiration)
  bytes.copy(changed, at, after, end)
  changed.writeUInt16BE((present | flags.headers) & ~flags.expiration, 0)
  return changed
}

/** The same properties with this reply-to; all others keep their bytes. */
export function withReplyTo(properties: Buffer, replyTo: string): Buffer {
  return rewrite(properties, { replyTo })
}

function rewrite(properties: Buffer, changes: Properties): Buffer {
  let present = properties.readUInt16BE(0)
  const pieces: Buffer[] = [Buffer.alloc(2)]
  let at = 2
  for (const name of names) {
    const flag = flags[name]
    const next = (present & flag) === 0 ? at : endOf(flag, properties, at, properties.length)
    const change = changes[name]
    if (change !== undefined) {
      present |= flag
      pieces.push(encode(name, change))
    } else {
      pieces.push(properties.subarray(at, next))
    }
    at = next
  }
  const rewritten = Buffer.concat(pieces)
  rewritten.writeUInt16BE(present, 0)
  return rewritten
}

function encode(name: PropertyName, value: string | Integer64 | FieldTable): Buffer {
  if (typeof value === 'string') {
    const text = Buffer.alloc(1 + textSize(value))
    text.writeUInt8(text.length - 1, 0)
    writeText(text, 1, value)
    return text
  }
  if (typeof value === 'object') {
    const table = Buffer.alloc(tableSize(value))
    writeTable(table, 0, value)
    return table
  }
  if (name !== 'timestamp') return Buffer.of(Number(value))
  const timestamp = Buffer.alloc(8)
  writeInteger64(timestamp, 0, value)
  return timestamp
}
