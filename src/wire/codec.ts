// Methods between bytes and arguments, by the table in methods.ts: right for any method, fast enough for the rare ones.
// The five that make up the traffic are read and written by hot-methods.ts.

import { isUtf8 } from 'node:buffer'
import { printSnippet, writeBinary } from './erlang-term.js'
import { checkTable, decodeTable, type FieldTable, tableSize, writeTable } from './field-table.js'
import { type Integer64, readUnsigned64, writeInteger64 } from './integer64.js'
import {
  type Arguments,
  type Field,
  fieldsOf,
  type Method,
  type MethodName,
  methodById,
  methods,
} from './methods.js'
import { AmqpError } from './replies.js'

const idBytes = 4

/** Decodes the payload of a method frame. */
export function decodeMethod(bytes: Buffer, start: number, end: number): Method {
  if (end - start < idBytes) {
    const snippet = printSnippet(bytes.subarray(start, end))
    throw new AmqpError('FRAME_ERROR', `type 1, ${snippet}: unknown_frame`, 0)
  }
  const name = methodById(bytes.readUInt32BE(start))
  if (name === undefined) throw new AmqpError('COMMAND_INVALID', 'unknown method')
  return { name, args: decodeArguments(name, bytes, start + idBytes, end) } as Method
}

function decodeArguments(name: MethodName, bytes: Buffer, start: number, end: number): unknown {
  const args: Record<string, unknown> = {}
  let at = start
  for (const field of fieldsOf(name)) {
    const next = at + sizeIn(field, bytes, at, end)
    if (next > end || (field.type === 'table' && !checkTable(bytes, at + 4, next)))
      throw undecodable(bytes, start, end)
    const value = read(field, bytes, at, next)
    if (!field.reserved) args[field.name] = value
    at = next
  }
  if (at !== end) throw undecodable(bytes, start, end)
  return args
}

/** How many octets the field takes that begins here; at least those of its length if that is cut off. */
function sizeIn(field: Field, bytes: Buffer, at: number, end: number): number {
  switch (field.type) {
    case 'shortstr':
      return at < end ? 1 + bytes.readUInt8(at) : 1
    case 'longstr':
    case 'table':
      return at + 4 <= end ? 4 + bytes.readUInt32BE(at) : 4
    default:
      return fixedSize(field.type, field.bit)
  }
}

function fixedSize(type: 'bit' | 'octet' | 'short' | 'long' | 'longlong', bit: number): number {
  switch (type) {
    case 'bit':
      return bit === 0 ? 1 : 0
    case 'octet':
      return 1
    case 'short':
      return 2
    case 'long':
      return 4
    case 'longlong':
      return 8
  }
}

function read(field: Field, bytes: Buffer, at: number, end: number): unknown {
  switch (field.type) {
    case 'bit':
      return ((bytes.readUInt8(end - 1) >> field.bit) & 1) === 1
    case 'octet':
      return bytes.readUInt8(at)
    case 'short':
      return bytes.readUInt16BE(at)
    case 'long':
      return bytes.readUInt32BE(at)
    case 'longlong':
      return readUnsigned64(bytes, at)
    case 'shortstr':
      return readShortstr(bytes, at + 1, end)
    case 'longstr':
      return Buffer.from(bytes.subarray(at + 4, end))
    case 'table':
      return decodeTable(bytes, at + 4, end)
  }
}

function readShortstr(bytes: Buffer, start: number, end: number): string {
  const octets = bytes.subarray(start, end)
  if (!isUtf8(octets)) throw new AmqpError('FRAME_ERROR', 'Malformed UTF-8 in shortstr', 0)
  return octets.toString()
}

// A reply text has no room for more, so the rest of a large frame is not printed.
const printedOctets = 128

function undecodable(bytes: Buffer, start: number, end: number): AmqpError {
  const printed = writeBinary(bytes.subarray(start, Math.min(end, start + printedOctets)))
  return new AmqpError('FRAME_ERROR', `cannot decode ${printed}`)
}

/** How many octets the method takes as the payload of its frame. */
export function methodSize<M extends MethodName>(name: M, args: Arguments<M>): number {
  let size = idBytes
  for (const field of fieldsOf(name)) size += sizeOf(field, valueIn(args, field))
  return size
}

/** Writes the payload of a method frame, for which `methodSize` octets must be free, and returns where it ends. */
export function encodeMethod<M extends MethodName>(
  target: Buffer,
  start: number,
  name: M,
  args: Arguments<M>,
): number {
  let at = target.writeUInt32BE(methods[name].id, start)
  for (const field of fieldsOf(name)) at = write(field, target, at, valueIn(args, field))
  return at
}

const frameHeaderBytes = 7
const methodFrame = 1
const frameEnd = 0xce

/** A whole method frame in a buffer of its own. */
export function encodeMethodFrame<M extends MethodName>(
  channel: number,
  name: M,
  args: Arguments<M>,
): Buffer {
  const size = methodSize(name, args)
  const frame = Buffer.allocUnsafe(frameHeaderBytes + size + 1)
  frame.writeUInt8(methodFrame, 0)
  frame.writeUInt16BE(channel, 1)
  frame.writeUInt32BE(size, 3)
  frame.writeUInt8(frameEnd, encodeMethod(frame, frameHeaderBytes, name, args))
  return frame
}

/** What a reserved field is on the wire. */
const nothing = {
  bit: false,
  octet: 0,
  short: 0,
  long: 0,
  longlong: 0,
  shortstr: '',
  longstr: Buffer.alloc(0),
  table: [],
} as const

function valueIn(args: object, field: Field): unknown {
  return field.reserved ? nothing[field.type] : args[field.name as keyof typeof args]
}

function sizeOf(field: Field, value: unknown): number {
  switch (field.type) {
    case 'shortstr':
      return 1 + Buffer.byteLength(value as string)
    case 'longstr':
      return 4 + (value as Buffer).length
    case 'table':
      return tableSize(value as FieldTable)
    default:
      return fixedSize(field.type, field.bit)
  }
}

function write(field: Field, target: Buffer, at: number, value: unknown): number {
  switch (field.type) {
    case 'bit':
      return writeBit(target, at, field.bit, value as boolean)
    case 'octet':
      return target.writeUInt8(value as number, at)
    case 'short':
      return target.writeUInt16BE(value as number, at)
    case 'long':
      return target.writeUInt32BE(value as number, at)
    case 'longlong':
      return writeInteger64(target, at, value as Integer64)
    case 'shortstr': {
      const end = at + 1 + target.write(value as string, at + 1)
      target.writeUInt8(end - at - 1, at)
      return end
    }
    case 'longstr': {
      const octets = value as Buffer
      target.writeUInt32BE(octets.length, at)
      return at + 4 + octets.copy(target, at + 4)
    }
    case 'table':
      return writeTable(target, at, value as FieldTable)
  }
}

function writeBit(target: Buffer, at: number, bit: number, value: boolean): number {
  if (bit === 0) return target.writeUInt8(value ? 1 : 0, at)
  if (value) target.writeUInt8(target.readUInt8(at - 1) | (1 << bit), at - 1)
  return at
}
