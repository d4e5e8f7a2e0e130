/**
 * Records, the things a log consists of. Numbers are little-endian; a record begins with
 *
 *      0        4                  11     12
 *     +--------+------------------+------+--- - - -
 *     | size   | number (56 bits) | kind | by kind
 *     +--------+------------------+------+--- - - -
 *
 * where the size counts all of the record. Numbers rise from record to record, but for a message
 * that cleaning copies, which keeps the one it had. By kind there follows
 *
 *     message   marks u32 | queues·4 + form u32 | body u32 | queue u48 each | expiry u48, none, one
 *               or each | content, of which so many bytes are the body
 *     moved     left queue u48 | number there u56, 0 | then as a message
 *     placed    as a message, but for the content: its place u32 and size u32 (only in an index)
 *     settled   queue u48 | first − last before (signed) | last − first | and so on (base-128 numbers)
 *     returned  queue u48 | number u56, 0 | count u32
 *     opaque    any bytes
 *     void      anything: a message withdrawn before it was written; never in a file
 *
 * The form says which expiries follow: 0 none, 1 one for all queues, 2 one per queue (0: never).
 */
import type { LogReplay } from './log.js'
import { Targets } from './targets.js'

export const Kind = {
  void: 0,
  message: 1,
  settled: 2,
  returned: 3,
  moved: 4,
  opaque: 5,
  placed: 6,
} as const

export const headBytes = 12
const queueBytes = 6
const numberBytes = 8
const expiryBytes = 6
const metaBytes = 12
const movedBytes = queueBytes + numberBytes
export const returnedBytes = headBytes + queueBytes + numberBytes + 4
/** Longest number in base 128: 8 bytes hold 56 bits. */
const longestVarint = 8

const Form = { none: 0, one: 1, each: 2 } as const

/** Which expiries a message needs to be written with. */
function formOf(targets: Targets): number {
  const { count, expiries } = targets
  if (count === 0) return Form.none
  const first = expiries[0] as number
  for (let i = 1; i < count; i++) if (expiries[i] !== first) return Form.each
  return first === 0 ? Form.none : Form.one
}

/** Bytes of a message record in front of its content. */
export function messageHeadBytes(targets: Targets): number {
  const form = formOf(targets)
  const expiries = form === Form.each ? targets.count : form
  return headBytes + metaBytes + targets.count * queueBytes + expiries * expiryBytes
}

/** Bytes of the record of a message in so many queues, but for its expiries; `content` bytes of it are content. */
export const recordBytes = (content: number, queues: number) =>
  headBytes + metaBytes + queues * queueBytes + content

export const movedHeadBytes = (targets: Targets) => messageHeadBytes(targets) + movedBytes

export const settledBytesMax = (ranges: number) =>
  headBytes + queueBytes + ranges * 2 * longestVarint

export function sizeAt(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at)
}

export function kindAt(bytes: Buffer, at: number): number {
  return bytes[at + 11] as number
}

export function numberAt(bytes: Buffer, at: number): number {
  return readNumber(bytes, at + 4)
}

export function makeVoid(bytes: Buffer, at: number): void {
  bytes[at + 11] = Kind.void
}

export function writeHead(
  bytes: Buffer,
  at: number,
  size: number,
  number: number,
  kind: number,
): void {
  bytes.writeUInt32LE(size, at)
  writeNumber(bytes, at + 4, number)
  bytes[at + 11] = kind
}

/** Writes all but the content of a message; returns where the content goes. */
export function writeMessageHead(
  bytes: Buffer,
  at: number,
  size: number,
  number: number,
  targets: Targets,
  marks: number,
  bodySize: number,
): number {
  writeHead(bytes, at, size, number, Kind.message)
  return writeMeta(bytes, at + headBytes, targets, marks, bodySize)
}

/** The same for a message that leaves `queue`, where it is called `old`. */
export function writeMovedHead(
  bytes: Buffer,
  at: number,
  size: number,
  number: number,
  queue: number,
  old: number,
  targets: Targets,
  marks: number,
  bodySize: number,
): number {
  writeHead(bytes, at, size, number, Kind.moved)
  bytes.writeUIntLE(queue, at + headBytes, queueBytes)
  writeNumber(bytes, at + headBytes + queueBytes, old)
  return writeMeta(bytes, at + headBytes + movedBytes, targets, marks, bodySize)
}

function writeMeta(
  bytes: Buffer,
  start: number,
  targets: Targets,
  marks: number,
  bodySize: number,
): number {
  const { count, queues, expiries } = targets
  const form = formOf(targets)
  bytes.writeUInt32LE(marks, start)
  bytes.writeUInt32LE(count * 4 + form, start + 4)
  bytes.writeUInt32LE(bodySize, start + 8)
  let at = start + metaBytes
  for (let i = 0; i < count; i++, at += queueBytes)
    bytes.writeUIntLE(queues[i] as number, at, queueBytes)
  const written = form === Form.each ? count : form
  for (let i = 0; i < written; i++, at += expiryBytes)
    bytes.writeUIntLE(expiries[i] as number, at, expiryBytes)
  return at
}

/** Writes a settled record; returns its size. */
export function writeSettled(
  bytes: Buffer,
  start: number,
  number: number,
  queue: number,
  bounds: Float64Array,
  ranges: number,
): number {
  bytes.writeUIntLE(queue, start + headBytes, queueBytes)
  let at = start + headBytes + queueBytes
  let before = 0
  for (let i = 0; i < ranges; i++) {
    const first = bounds[2 * i] as number
    const last = bounds[2 * i + 1] as number
    const step = first - before
    at = writeSigned(bytes, at, step)
    at = writeVarint(bytes, at, last - first)
    before = last
  }
  writeHead(bytes, start, at - start, number, Kind.settled)
  return at - start
}

export function writeReturned(
  bytes: Buffer,
  at: number,
  number: number,
  queue: number,
  returned: number,
  count: number,
): void {
  writeHead(bytes, at, returnedBytes, number, Kind.returned)
  bytes.writeUIntLE(queue, at + headBytes, queueBytes)
  writeNumber(bytes, at + headBytes + queueBytes, returned)
  bytes.writeUInt32LE(count, at + headBytes + queueBytes + numberBytes)
}

/** Where the content of a message begins in its record. */
export function contentAt(bytes: Buffer, start: number): number {
  const meta = metaAt(bytes, start)
  return meta + metaBytes + listBytes(bytes, meta)
}

/** Where that begins which every message has. */
function metaAt(bytes: Buffer, start: number): number {
  return start + headBytes + (kindAt(bytes, start) === Kind.moved ? movedBytes : 0)
}

export const isMessage = (kind: number) => kind === Kind.message || kind === Kind.moved

/** What a record says of a message in front of its content; used again for every record. */
export class MessageHead {
  readonly targets = new Targets()
  marks = 0
  bodySize = 0
  /** Where the content begins. */
  content = 0

  read(bytes: Buffer, start: number): void {
    const meta = metaAt(bytes, start)
    this.marks = bytes.readUInt32LE(meta)
    this.bodySize = bytes.readUInt32LE(meta + 8)
    this.content = readTargets(bytes, meta, this.targets)
  }
}

/** What a record says of a message that came back; used again for every record. */
export class ReturnedRecord {
  queue = 0
  number = 0
  count = 0

  read(bytes: Buffer, start: number): void {
    const body = start + headBytes
    this.queue = bytes.readUIntLE(body, queueBytes)
    this.number = readNumber(bytes, body + queueBytes)
    this.count = bytes.readUInt32LE(body + queueBytes + numberBytes)
  }
}

/** Bytes of an index entry for a record, given the bytes of the record at `start` without the content. */
export function entryBytesMax(bytes: Buffer, start: number): number {
  const kind = kindAt(bytes, start)
  if (!isMessage(kind)) return sizeAt(bytes, start)
  return contentAt(bytes, start) - start + 8 + settledBytesMax(1)
}

/** Writes what an index keeps of a record that stands at `offset` in the file; returns its size. */
export function writeEntry(
  into: Buffer,
  at: number,
  bytes: Buffer,
  start: number,
  offset: number,
): number {
  const kind = kindAt(bytes, start)
  const size = sizeAt(bytes, start)
  if (!isMessage(kind)) return bytes.copy(into, at, start, start + size)
  const number = numberAt(bytes, start)
  let to = at
  let meta = start + headBytes
  if (kind === Kind.moved) {
    oneNumber.fill(readNumber(bytes, meta + queueBytes))
    to += writeSettled(into, to, number, bytes.readUIntLE(meta, queueBytes), oneNumber, 1)
    meta += movedBytes
  }
  const content = contentAt(bytes, start)
  const entry = headBytes + (content - meta) + 8
  writeHead(into, to, entry, number, Kind.placed)
  bytes.copy(into, to + headBytes, meta, content)
  into.writeUInt32LE(offset, to + entry - 8)
  into.writeUInt32LE(size - (content - start), to + entry - 4)
  return to + entry - at
}

const oneNumber = new Float64Array(2)

const message = new MessageHead()
const returned = new ReturnedRecord()

/** Tells what a record says; `segment` and `offset` are its place. */
export function replayRecord(
  bytes: Buffer,
  start: number,
  segment: number,
  offset: number,
  replay: LogReplay,
): void {
  const kind = kindAt(bytes, start)
  const end = start + sizeAt(bytes, start)
  const number = numberAt(bytes, start)
  const body = start + headBytes
  if (isMessage(kind) || kind === Kind.placed) {
    if (kind === Kind.moved) {
      const old = movedFrom(bytes, start)
      replay.settled(bytes.readUIntLE(body, queueBytes), old, old)
    }
    message.read(bytes, start)
    const { targets, marks, bodySize, content } = message
    const placed = kind === Kind.placed
    const place = placed ? placeAt(bytes, start) : offset
    const size = placed ? bytes.readUInt32LE(end - 4) : end - content
    replay.message(number, targets, marks, segment, place, size, bodySize)
  } else if (kind === Kind.settled) {
    replaySettled(bytes, body, end, replay)
  } else if (kind === Kind.returned) {
    returned.read(bytes, start)
    replay.returned(returned.queue, returned.number, returned.count)
  } else if (kind === Kind.opaque) {
    replay.opaque(number, bytes, body, end)
  }
}

/** Where the content of the message stands that an index entry places. */
export function placeAt(bytes: Buffer, start: number): number {
  return bytes.readUInt32LE(start + sizeAt(bytes, start) - 8)
}

/** The message that a moved record settles. */
export function movedFrom(bytes: Buffer, start: number): number {
  return readNumber(bytes, start + headBytes + queueBytes)
}

/** The highest number that a settled record names. */
export function highestSettled(bytes: Buffer, start: number): number {
  let highest = 0
  const end = start + sizeAt(bytes, start)
  let before = 0
  varintEnd = start + headBytes + queueBytes
  while (varintEnd < end) {
    const first = before + readSigned(bytes, varintEnd)
    before = first + readVarint(bytes, varintEnd)
    highest = Math.max(highest, before)
  }
  return highest
}

function replaySettled(bytes: Buffer, start: number, end: number, replay: LogReplay): void {
  const queue = bytes.readUIntLE(start, queueBytes)
  let before = 0
  varintEnd = start + queueBytes
  while (varintEnd < end) {
    const first = before + readSigned(bytes, varintEnd)
    before = first + readVarint(bytes, varintEnd)
    replay.settled(queue, first, before)
  }
}

/** Bytes of the lists of queues and expiries of a message. */
function listBytes(bytes: Buffer, meta: number): number {
  const word = bytes.readUInt32LE(meta + 4)
  const form = word % 4
  const count = (word - form) / 4
  return count * queueBytes + (form === Form.each ? count : form) * expiryBytes
}

/** Reads queues and expiries into `targets`; returns where they end. */
function readTargets(bytes: Buffer, meta: number, targets: Targets): number {
  const word = bytes.readUInt32LE(meta + 4)
  const form = word % 4
  const count = (word - form) / 4
  const expiries = meta + metaBytes + count * queueBytes
  targets.clear()
  for (let i = 0; i < count; i++) {
    const queue = bytes.readUIntLE(meta + metaBytes + i * queueBytes, queueBytes)
    const expiry = expiries + (form === Form.each ? i * expiryBytes : 0)
    targets.add(queue, form === Form.none ? 0 : bytes.readUIntLE(expiry, expiryBytes))
  }
  return expiries + (form === Form.each ? count : form) * expiryBytes
}

function writeNumber(bytes: Buffer, at: number, number: number): void {
  const high = Math.floor(number / 2 ** 32)
  bytes.writeInt32LE(number | 0, at)
  bytes[at + 4] = high
  bytes[at + 5] = high >>> 8
  bytes[at + 6] = high >>> 16
}

function readNumber(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUIntLE(at + 4, 3) * 2 ** 32
}

function writeVarint(bytes: Buffer, start: number, value: number): number {
  let at = start
  let rest = value
  while (rest >= 128) {
    bytes[at++] = (rest % 128) + 128
    rest = Math.floor(rest / 128)
  }
  bytes[at++] = rest
  return at
}

/** The first byte has the sign in its bit 6, so that all safe integers fit. */
function writeSigned(bytes: Buffer, at: number, value: number): number {
  const size = Math.abs(value)
  const sign = value < 0 ? 64 : 0
  if (size < 64) {
    bytes[at] = size + sign
    return at + 1
  }
  bytes[at] = (size % 64) + sign + 128
  return writeVarint(bytes, at + 1, Math.floor(size / 64))
}

function readSigned(bytes: Buffer, at: number): number {
  const octet = bytes[at] as number
  varintEnd = at + 1
  const size = (octet & 63) + (octet < 128 ? 0 : 64 * readVarint(bytes, at + 1))
  return (octet & 64) === 0 ? size : -size
}

/** Where the number that `readVarint` read last ends. */
let varintEnd = 0

function readVarint(bytes: Buffer, start: number): number {
  let at = start
  let value = 0
  let scale = 1
  for (;;) {
    const octet = bytes[at++] as number
    value += (octet & 127) * scale
    if (octet < 128) break
    scale *= 128
  }
  varintEnd = at
  return value
}
