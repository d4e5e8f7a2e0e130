// Field tables and arrays: arguments of declarations and bindings, client and server properties, message headers.
// Type letters, order and duplicate keys are kept, so a table is written again as it was read (but `L` becomes `l`).
//
//   table = length u32, fields          field = key shortstr, value
//   array = length u32, values          value = letter, then what the letter says

import { printBinary } from './erlang-term.js'
import { type Integer64, readSigned64, readUnsigned64, writeInteger64 } from './integer64.js'
import { readText, textSize, writeText } from './opaque-text.js'
import { AmqpError } from './replies.js'

/** A value with the letter it has on the wire. `S` and `x` are bytes in no particular encoding. */
export type FieldValue =
  | { readonly type: 't'; readonly value: boolean }
  | { readonly type: 'b' | 'B' | 's' | 'u' | 'I' | 'i' | 'f' | 'd'; readonly value: number }
  | { readonly type: 'l' | 'T'; readonly value: Integer64 }
  | { readonly type: 'D'; readonly value: Decimal }
  | { readonly type: 'S' | 'x'; readonly value: Buffer }
  | { readonly type: 'A'; readonly value: FieldArray }
  | { readonly type: 'F'; readonly value: FieldTable }
  | { readonly type: 'V'; readonly value: null }

/** A decimal number: digits / 10 ** scale. */
export interface Decimal {
  readonly scale: number
  readonly digits: number
}

/** One entry of a table. Its key is made by opaque-text.ts, so any bytes survive. */
export interface TableField {
  readonly key: string
  readonly value: FieldValue
}

/** A field table; a key that stands twice is looked up at its first place. */
export type FieldTable = readonly TableField[]

/** A field array. */
export type FieldArray = readonly FieldValue[]

/** What a field table can be made from; see `fieldValue`. */
export type PlainValue =
  | string
  | number
  | bigint
  | boolean
  | null
  | Buffer
  | readonly PlainValue[]
  | PlainTable

/** An object whose properties become the fields of a table. */
export interface PlainTable {
  readonly [key: string]: PlainValue
}

type Letter = FieldValue['type']

/** RabbitMQ's names of the types, as they stand in its reply texts. */
export const typeNames: Readonly<Record<Letter, string>> = {
  t: 'bool',
  b: 'byte',
  B: 'unsignedbyte',
  s: 'short',
  u: 'unsignedshort',
  I: 'signedint',
  i: 'unsignedint',
  l: 'long',
  f: 'float',
  d: 'double',
  D: 'decimal',
  S: 'longstr',
  x: 'binary',
  A: 'array',
  F: 'table',
  T: 'timestamp',
  V: 'void',
}

/** Finds the value of a key. */
export function lookup(table: FieldTable, key: string): FieldValue | undefined {
  return table.find(field => field.key === key)?.value
}

/** The text of a string value (`S` or `x`), or undefined for a value that is none. */
export function textOf(value: FieldValue | undefined): string | undefined {
  return value?.type === 'S' || value?.type === 'x' ? value.value.toString() : undefined
}

// --- made from plain values

// Deep enough for any honest table, shallow enough for the stack of everything that walks one.
const maxDepth = 512

/** Makes a table of an object's properties. */
export function fieldTable(object: PlainTable): FieldTable {
  return tableFrom(object, 1)
}

/**
 * Gives a plain value its letter: string `S`, boolean `t`, integer `I` or `l`, other number `d`, null `V`, Buffer `x`,
 * array `A`, object `F`.
 */
export function fieldValue(plain: PlainValue): FieldValue {
  return valueFrom(plain, 0)
}

function tableFrom(object: PlainTable, depth: number): FieldTable {
  checkDepth(depth)
  return Object.entries(object).map(([key, plain]) => ({ key, value: valueFrom(plain, depth) }))
}

function arrayFrom(items: readonly PlainValue[], depth: number): FieldArray {
  checkDepth(depth)
  return items.map(plain => valueFrom(plain, depth))
}

function valueFrom(plain: PlainValue, depth: number): FieldValue {
  if (plain === null) return { type: 'V', value: null }
  if (typeof plain === 'string') return { type: 'S', value: Buffer.from(plain) }
  if (typeof plain === 'boolean') return { type: 't', value: plain }
  if (typeof plain === 'bigint') return { type: 'l', value: shortened(plain) }
  if (typeof plain === 'number') return numberFrom(plain)
  if (Buffer.isBuffer(plain)) return { type: 'x', value: plain }
  if (isArray(plain)) return { type: 'A', value: arrayFrom(plain, depth + 1) }
  return { type: 'F', value: tableFrom(plain as PlainTable, depth + 1) }
}

function numberFrom(value: number): FieldValue {
  if (value === (value | 0)) return { type: 'I', value }
  return { type: Number.isSafeInteger(value) ? 'l' : 'd', value }
}

function shortened(value: bigint): Integer64 {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
}

function isArray(plain: PlainValue): plain is readonly PlainValue[] {
  return Array.isArray(plain)
}

function checkDepth(depth: number): void {
  if (depth > maxDepth)
    throw new AmqpError('SYNTAX_ERROR', `field table is nested more than ${maxDepth} levels deep`)
}

// --- checked

const lengthPrefixed = -1
const unknownLetter = -2

/** How many octets follow each letter, or one of the two marks above. */
const widths = new Int8Array(256).fill(unknownLetter)
for (const [letters, width] of [
  ['V', 0],
  ['tbB', 1],
  ['su', 2],
  ['Iif', 4],
  ['D', 5],
  ['lLdT', 8],
  ['SxAF', lengthPrefixed],
] as const)
  for (const letter of letters) widths[letter.charCodeAt(0)] = width

const letterA = 'A'.charCodeAt(0)
const letterF = 'F'.charCodeAt(0)

/**
 * Whether these octets, which come after a table's length, are the fields of a table: false where a length runs over
 * its end. An unknown letter and too deep a nesting are refused with an explanation. Allocates nothing.
 */
export function checkTable(bytes: Buffer, start: number, end: number): boolean {
  return checkFields(bytes, start, end, 1)
}

function checkFields(bytes: Buffer, start: number, end: number, depth: number): boolean {
  checkDepth(depth)
  let at = start
  while (at < end) {
    at += 1 + bytes.readUInt8(at)
    at = checkValue(bytes, at, end, depth)
  }
  return at === end
}

function checkItems(bytes: Buffer, start: number, end: number, depth: number): boolean {
  checkDepth(depth)
  let at = start
  while (at < end) at = checkValue(bytes, at, end, depth)
  return at === end
}

/** Where the value ends; beyond `end` if it does not fit. */
function checkValue(bytes: Buffer, at: number, end: number, depth: number): number {
  if (at >= end) return end + 1
  const letter = bytes.readUInt8(at)
  const width = widths[letter] as number
  if (width >= 0) return at + 1 + width
  if (width === unknownLetter) throw unknownType(letter)
  const start = at + 5
  if (start > end) return end + 1
  const valueEnd = start + bytes.readUInt32BE(at + 1)
  if (valueEnd > end) return end + 1
  if (letter === letterF && !checkFields(bytes, start, valueEnd, depth + 1)) return end + 1
  if (letter === letterA && !checkItems(bytes, start, valueEnd, depth + 1)) return end + 1
  return valueEnd
}

function unknownType(letter: number): AmqpError {
  const printed = printBinary(Buffer.of(letter))
  return new AmqpError('SYNTAX_ERROR', `field table holds a value of unknown type ${printed}`)
}

// --- read

/** Decodes the fields of a table that `checkTable` has found good. The table holds a copy, not the bytes themselves. */
export function decodeTable(bytes: Buffer, start: number, end: number): FieldTable {
  return new TableReader(Buffer.from(bytes.subarray(start, end))).fields(end - start)
}

class TableReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  fields(length: number): FieldTable {
    const end = this.#at + length
    const fields: TableField[] = []
    while (this.#at < end) fields.push({ key: this.#key(), value: this.#value() })
    return fields
  }

  #items(length: number): FieldArray {
    const end = this.#at + length
    const items: FieldValue[] = []
    while (this.#at < end) items.push(this.#value())
    return items
  }

  #key(): string {
    const start = this.#at + 1
    this.#at = start + this.#bytes.readUInt8(start - 1)
    return readText(this.#bytes, start, this.#at)
  }

  #value(): FieldValue {
    const type = String.fromCharCode(this.#bytes.readUInt8(this.#at++)) as Letter | 'L'
    const bytes = this.#bytes
    switch (type) {
      case 'S':
      case 'x': {
        const start = this.#at + 4
        this.#at = start + this.#length()
        return { type, value: bytes.subarray(start, this.#at) }
      }
      case 'F': {
        const length = this.#length()
        this.#at += 4
        return { type, value: this.fields(length) }
      }
      case 'A': {
        const length = this.#length()
        this.#at += 4
        return { type, value: this.#items(length) }
      }
      case 'V':
        return { type, value: null }
      case 't':
        return { type, value: bytes.readUInt8(this.#pass(1)) !== 0 }
      case 'b':
        return { type, value: bytes.readInt8(this.#pass(1)) }
      case 'B':
        return { type, value: bytes.readUInt8(this.#pass(1)) }
      case 's':
        return { type, value: bytes.readInt16BE(this.#pass(2)) }
      case 'u':
        return { type, value: bytes.readUInt16BE(this.#pass(2)) }
      case 'I':
        return { type, value: bytes.readInt32BE(this.#pass(4)) }
      case 'i':
        return { type, value: bytes.readUInt32BE(this.#pass(4)) }
      case 'f':
        return { type, value: bytes.readFloatBE(this.#pass(4)) }
      case 'd':
        return { type, value: bytes.readDoubleBE(this.#pass(8)) }
      case 'l':
      case 'L':
        return { type: 'l', value: readSigned64(bytes, this.#pass(8)) }
      case 'T':
        return { type, value: readUnsigned64(bytes, this.#pass(8)) }
      case 'D': {
        const at = this.#pass(5)
        return { type, value: { scale: bytes.readUInt8(at), digits: bytes.readUInt32BE(at + 1) } }
      }
    }
  }

  #length(): number {
    return this.#bytes.readUInt32BE(this.#at)
  }

  /** Passes over that many octets and returns where they began. */
  #pass(octets: number): number {
    this.#at += octets
    return this.#at - octets
  }
}

// --- written

/** How many octets the table takes, its length included. */
export function tableSize(table: FieldTable): number {
  let size = 4
  for (const { key, value } of table) size += 1 + textSize(key) + valueSize(value)
  return size
}

function arraySize(array: FieldArray): number {
  let size = 4
  for (const value of array) size += valueSize(value)
  return size
}

function valueSize(field: FieldValue): number {
  switch (field.type) {
    case 'S':
    case 'x':
      return 5 + field.value.length
    case 'F':
      return 1 + tableSize(field.value)
    case 'A':
      return 1 + arraySize(field.value)
    default:
      return 1 + (widths[field.type.charCodeAt(0)] as number)
  }
}

/** Writes the table, its length first, and returns where it ends. */
export function writeTable(target: Buffer, start: number, table: FieldTable): number {
  let at = start + 4
  for (const { key, value } of table) {
    const end = writeText(target, at + 1, key)
    target.writeUInt8(end - at - 1, at)
    at = writeValue(target, end, value)
  }
  target.writeUInt32BE(at - start - 4, start)
  return at
}

function writeArray(target: Buffer, start: number, array: FieldArray): number {
  let at = start + 4
  for (const value of array) at = writeValue(target, at, value)
  target.writeUInt32BE(at - start - 4, start)
  return at
}

function writeValue(target: Buffer, start: number, field: FieldValue): number {
  const at = target.writeUInt8(field.type.charCodeAt(0), start)
  switch (field.type) {
    case 'S':
    case 'x':
      target.writeUInt32BE(field.value.length, at)
      return at + 4 + field.value.copy(target, at + 4)
    case 'F':
      return writeTable(target, at, field.value)
    case 'A':
      return writeArray(target, at, field.value)
    case 'V':
      return at
    case 't':
      return target.writeUInt8(field.value ? 1 : 0, at)
    case 'b':
      return target.writeInt8(field.value, at)
    case 'B':
      return target.writeUInt8(field.value, at)
    case 's':
      return target.writeInt16BE(field.value, at)
    case 'u':
      return target.writeUInt16BE(field.value, at)
    case 'I':
      return target.writeInt32BE(field.value, at)
    case 'i':
      return target.writeUInt32BE(field.value, at)
    case 'f':
      return target.writeFloatBE(field.value, at)
    case 'd':
      return target.writeDoubleBE(field.value, at)
    case 'l':
    case 'T':
      return writeInteger64(target, at, field.value)
    case 'D':
      return target.writeUInt32BE(field.value.digits, target.writeUInt8(field.value.scale, at))
  }
}

// --- compared

/**
 * The class within which arguments are compared: integers of any width and timestamps are one, so are both widths of
 * floats, so are strings and byte arrays; every other type is its own. (RabbitMQ 3.10 holds I 5 and T 5 equivalent.)
 */
export function equivalenceClass(type: Letter): 'integer' | 'float' | 'bytes' | Letter {
  switch (type) {
    case 'b':
    case 'B':
    case 's':
    case 'u':
    case 'I':
    case 'i':
    case 'l':
    case 'T':
      return 'integer'
    case 'f':
    case 'd':
      return 'float'
    case 'S':
    case 'x':
      return 'bytes'
    default:
      return type
  }
}

/** Whether RabbitMQ takes two arguments for the same when a queue or exchange is declared again. */
export function equivalent(a: FieldValue, b: FieldValue): boolean {
  return equivalenceClass(a.type) === equivalenceClass(b.type) && sameContents(a, b)
}

/** Inside tables and arrays the letters must agree too, and the order of fields counts. */
function same(a: FieldValue, b: FieldValue): boolean {
  return a.type === b.type && sameContents(a, b)
}

function sameContents(a: FieldValue, b: FieldValue): boolean {
  if (Buffer.isBuffer(a.value) && Buffer.isBuffer(b.value)) return a.value.equals(b.value)
  if (a.type === 'A' && b.type === 'A')
    return (
      a.value.length === b.value.length &&
      a.value.every((v, i) => same(v, b.value[i] as FieldValue))
    )
  if (a.type === 'F' && b.type === 'F')
    return (
      a.value.length === b.value.length &&
      a.value.every((f, i) => sameField(f, b.value[i] as TableField))
    )
  if (a.type === 'D' && b.type === 'D')
    return a.value.scale === b.value.scale && a.value.digits === b.value.digits
  return a.value === b.value
}

function sameField(a: TableField, b: TableField): boolean {
  return a.key === b.key && same(a.value, b.value)
}

// --- printed

/**
 * How two arguments differ, as RabbitMQ says it after "inequivalent arg 'x' for queue 'q' in vhost '/': ". The type is
 * told only where the other side has no such argument.
 */
export function describeDifference(
  received: FieldValue | undefined,
  current: FieldValue | undefined,
): string {
  if (received !== undefined && current !== undefined)
    return `received '${printValue(received)}' but current is '${printValue(current)}'`
  return `received ${withType(received)} but current is ${withType(current)}`
}

function withType(field: FieldValue | undefined): string {
  if (field === undefined) return 'none'
  return `the value '${printValue(field)}' of type '${typeNames[field.type]}'`
}

/** A value as RabbitMQ prints it in reply texts: strings bare, everything else as an Erlang term. */
export function printValue(field: FieldValue): string {
  return field.type === 'S' || field.type === 'x' ? field.value.toString() : printTerm(field)
}

/** A value as an Erlang term. */
export function printTerm(field: FieldValue): string {
  switch (field.type) {
    case 'S':
    case 'x':
      return printBinary(field.value)
    case 'A':
      return `[${field.value.map(v => `{${typeNames[v.type]},${printTerm(v)}}`).join(',')}]`
    case 'F':
      return `[${field.value.map(printField).join(',')}]`
    case 'D':
      return `{${field.value.scale},${field.value.digits}}`
    case 'f':
    case 'd':
      return Number.isInteger(field.value) ? field.value.toFixed(1) : String(field.value)
    case 'V':
      return 'undefined'
    default:
      return String(field.value)
  }
}

/** A field as an Erlang term: `{<<"key">>,longstr,<<"value">>}`. */
export function printField({ key, value }: TableField): string {
  const name = Buffer.alloc(textSize(key))
  writeText(name, 0, key)
  return `{${printBinary(name)},${typeNames[value.type]},${printTerm(value)}}`
}
