/**
 * An AMQP 0-9-1 encoder and decoder for the probe, written from the method layouts alone. It shares nothing
 * with src/wire: a codec that is wrong the same way in both directions would pass every test of its own.
 */

export const METHOD = 1
export const HEADER = 2
export const BODY = 3
export const HEARTBEAT = 8

/** One entry of a field table: key, type letter, value. */
export type Entry = readonly [key: string, letter: string, value: unknown]
export type Table = readonly Entry[]

interface Wire {
  o: number
  s: number
  l: number
  q: bigint
  str: string
  lstr: string
  T: Table
  b: boolean
}
type Input<T extends keyof Wire> = T extends 'q'
  ? bigint | number
  : T extends 'str' | 'lstr'
    ? string | Buffer
    : Wire[T]

export const methods = {
  'connection.start': {
    id: [10, 10],
    fields: {
      versionMajor: 'o',
      versionMinor: 'o',
      serverProperties: 'T',
      mechanisms: 'lstr',
      locales: 'lstr',
    },
  },
  'connection.start-ok': {
    id: [10, 11],
    fields: { clientProperties: 'T', mechanism: 'str', response: 'lstr', locale: 'str' },
  },
  'connection.secure': { id: [10, 20], fields: { challenge: 'lstr' } },
  'connection.secure-ok': { id: [10, 21], fields: { response: 'lstr' } },
  'connection.tune': { id: [10, 30], fields: { channelMax: 's', frameMax: 'l', heartbeat: 's' } },
  'connection.tune-ok': {
    id: [10, 31],
    fields: { channelMax: 's', frameMax: 'l', heartbeat: 's' },
  },
  'connection.open': { id: [10, 40], fields: { vhost: 'str', capabilities: 'str', insist: 'b' } },
  'connection.open-ok': { id: [10, 41], fields: { knownHosts: 'str' } },
  'connection.close': {
    id: [10, 50],
    fields: { replyCode: 's', replyText: 'str', classId: 's', methodId: 's' },
  },
  'connection.close-ok': { id: [10, 51], fields: {} },
  'connection.blocked': { id: [10, 60], fields: { reason: 'str' } },
  'connection.unblocked': { id: [10, 61], fields: {} },
  'connection.update-secret': { id: [10, 70], fields: { newSecret: 'lstr', reason: 'str' } },
  'connection.update-secret-ok': { id: [10, 71], fields: {} },
  'channel.open': { id: [20, 10], fields: { outOfBand: 'str' } },
  'channel.open-ok': { id: [20, 11], fields: { channelId: 'lstr' } },
  'channel.flow': { id: [20, 20], fields: { active: 'b' } },
  'channel.flow-ok': { id: [20, 21], fields: { active: 'b' } },
  'channel.close': {
    id: [20, 40],
    fields: { replyCode: 's', replyText: 'str', classId: 's', methodId: 's' },
  },
  'channel.close-ok': { id: [20, 41], fields: {} },
  'access.request': {
    id: [30, 10],
    fields: { realm: 'str', exclusive: 'b', passive: 'b', active: 'b', write: 'b', read: 'b' },
  },
  'access.request-ok': { id: [30, 11], fields: { ticket: 's' } },
  'exchange.declare': {
    id: [40, 10],
    fields: {
      ticket: 's',
      exchange: 'str',
      type: 'str',
      passive: 'b',
      durable: 'b',
      autoDelete: 'b',
      internal: 'b',
      nowait: 'b',
      arguments: 'T',
    },
  },
  'exchange.declare-ok': { id: [40, 11], fields: {} },
  'exchange.delete': {
    id: [40, 20],
    fields: { ticket: 's', exchange: 'str', ifUnused: 'b', nowait: 'b' },
  },
  'exchange.delete-ok': { id: [40, 21], fields: {} },
  'exchange.bind': {
    id: [40, 30],
    fields: {
      ticket: 's',
      destination: 'str',
      source: 'str',
      routingKey: 'str',
      nowait: 'b',
      arguments: 'T',
    },
  },
  'exchange.bind-ok': { id: [40, 31], fields: {} },
  'exchange.unbind': {
    id: [40, 40],
    fields: {
      ticket: 's',
      destination: 'str',
      source: 'str',
      routingKey: 'str',
      nowait: 'b',
      arguments: 'T',
    },
  },
  'exchange.unbind-ok': { id: [40, 51], fields: {} },
  'queue.declare': {
    id: [50, 10],
    fields: {
      ticket: 's',
      queue: 'str',
      passive: 'b',
      durable: 'b',
      exclusive: 'b',
      autoDelete: 'b',
      nowait: 'b',
      arguments: 'T',
    },
  },
  'queue.declare-ok': { id: [50, 11], fields: { queue: 'str', messages: 'l', consumers: 'l' } },
  'queue.bind': {
    id: [50, 20],
    fields: {
      ticket: 's',
      queue: 'str',
      exchange: 'str',
      routingKey: 'str',
      nowait: 'b',
      arguments: 'T',
    },
  },
  'queue.bind-ok': { id: [50, 21], fields: {} },
  'queue.purge': { id: [50, 30], fields: { ticket: 's', queue: 'str', nowait: 'b' } },
  'queue.purge-ok': { id: [50, 31], fields: { messages: 'l' } },
  'queue.delete': {
    id: [50, 40],
    fields: { ticket: 's', queue: 'str', ifUnused: 'b', ifEmpty: 'b', nowait: 'b' },
  },
  'queue.delete-ok': { id: [50, 41], fields: { messages: 'l' } },
  'queue.unbind': {
    id: [50, 50],
    fields: { ticket: 's', queue: 'str', exchange: 'str', routingKey: 'str', arguments: 'T' },
  },
  'queue.unbind-ok': { id: [50, 51], fields: {} },
  'basic.qos': { id: [60, 10], fields: { prefetchSize: 'l', prefetchCount: 's', global: 'b' } },
  'basic.qos-ok': { id: [60, 11], fields: {} },
  'basic.consume': {
    id: [60, 20],
    fields: {
      ticket: 's',
      queue: 'str',
      consumerTag: 'str',
      noLocal: 'b',
      noAck: 'b',
      exclusive: 'b',
      nowait: 'b',
      arguments: 'T',
    },
  },
  'basic.consume-ok': { id: [60, 21], fields: { consumerTag: 'str' } },
  'basic.cancel': { id: [60, 30], fields: { consumerTag: 'str', nowait: 'b' } },
  'basic.cancel-ok': { id: [60, 31], fields: { consumerTag: 'str' } },
  'basic.publish': {
    id: [60, 40],
    fields: { ticket: 's', exchange: 'str', routingKey: 'str', mandatory: 'b', immediate: 'b' },
  },
  'basic.return': {
    id: [60, 50],
    fields: { replyCode: 's', replyText: 'str', exchange: 'str', routingKey: 'str' },
  },
  'basic.deliver': {
    id: [60, 60],
    fields: {
      consumerTag: 'str',
      deliveryTag: 'q',
      redelivered: 'b',
      exchange: 'str',
      routingKey: 'str',
    },
  },
  'basic.get': { id: [60, 70], fields: { ticket: 's', queue: 'str', noAck: 'b' } },
  'basic.get-ok': {
    id: [60, 71],
    fields: {
      deliveryTag: 'q',
      redelivered: 'b',
      exchange: 'str',
      routingKey: 'str',
      messages: 'l',
    },
  },
  'basic.get-empty': { id: [60, 72], fields: { clusterId: 'str' } },
  'basic.ack': { id: [60, 80], fields: { deliveryTag: 'q', multiple: 'b' } },
  'basic.reject': { id: [60, 90], fields: { deliveryTag: 'q', requeue: 'b' } },
  'basic.recover-async': { id: [60, 100], fields: { requeue: 'b' } },
  'basic.recover': { id: [60, 110], fields: { requeue: 'b' } },
  'basic.recover-ok': { id: [60, 111], fields: {} },
  'basic.nack': { id: [60, 120], fields: { deliveryTag: 'q', multiple: 'b', requeue: 'b' } },
  'confirm.select': { id: [85, 10], fields: { nowait: 'b' } },
  'confirm.select-ok': { id: [85, 11], fields: {} },
  'tx.select': { id: [90, 10], fields: {} },
  'tx.select-ok': { id: [90, 11], fields: {} },
  'tx.commit': { id: [90, 20], fields: {} },
  'tx.commit-ok': { id: [90, 21], fields: {} },
  'tx.rollback': { id: [90, 30], fields: {} },
  'tx.rollback-ok': { id: [90, 31], fields: {} },
} as const satisfies Record<
  string,
  { id: readonly [number, number]; fields: Readonly<Record<string, keyof Wire>> }
>

export type MethodName = keyof typeof methods
type Layout<M extends MethodName> = (typeof methods)[M]['fields']
/** The fields of a received method. */
export type Fields<M extends MethodName> = {
  readonly [K in keyof Layout<M>]: Layout<M>[K] extends keyof Wire ? Wire[Layout<M>[K]] : never
}
/** The fields of a method to send; what is left out is zero or empty. */
export type Values<M extends MethodName> = {
  readonly [K in keyof Layout<M>]?: Layout<M>[K] extends keyof Wire ? Input<Layout<M>[K]> : never
}

const nameOfId = new Map<number, MethodName>(
  (Object.keys(methods) as MethodName[]).map(name => {
    const [classId, methodId] = methods[name].id
    return [classId * 65536 + methodId, name]
  }),
)

export interface Properties {
  readonly contentType?: string | Buffer
  readonly contentEncoding?: string
  readonly headers?: Table
  readonly deliveryMode?: number
  readonly priority?: number
  readonly correlationId?: string
  readonly replyTo?: string
  readonly expiration?: string
  readonly messageId?: string
  readonly timestamp?: bigint
  readonly type?: string
  readonly userId?: string
  readonly appId?: string
  readonly clusterId?: string
}

const propertyLayout: readonly (readonly [keyof Properties, number, 'str' | 'T' | 'o' | 'q'])[] = [
  ['contentType', 0x8000, 'str'],
  ['contentEncoding', 0x4000, 'str'],
  ['headers', 0x2000, 'T'],
  ['deliveryMode', 0x1000, 'o'],
  ['priority', 0x0800, 'o'],
  ['correlationId', 0x0400, 'str'],
  ['replyTo', 0x0200, 'str'],
  ['expiration', 0x0100, 'str'],
  ['messageId', 0x0080, 'str'],
  ['timestamp', 0x0040, 'q'],
  ['type', 0x0020, 'str'],
  ['userId', 0x0010, 'str'],
  ['appId', 0x0008, 'str'],
  ['clusterId', 0x0004, 'str'],
]

// ------------------------------------------------------------------------------------------------- encode

function uint(width: 1 | 2 | 4 | 8, value: number | bigint): Buffer {
  const bytes = Buffer.alloc(width)
  if (width === 8) bytes.writeBigUInt64BE(BigInt.asUintN(64, BigInt(value)))
  else bytes.writeUIntBE(Number(value), 0, width)
  return bytes
}

const int = (width: 1 | 2 | 4 | 8, value: unknown): Buffer =>
  uint(width, BigInt.asUintN(width * 8, BigInt(value as number | bigint)))

const bytesOf = (text: unknown): Buffer =>
  Buffer.isBuffer(text) ? text : Buffer.from(String(text), 'utf8')

export function shortstr(text: string | Buffer): Buffer {
  const bytes = bytesOf(text)
  return Buffer.concat([uint(1, bytes.length), bytes])
}

export function longstr(text: string | Buffer): Buffer {
  const bytes = bytesOf(text)
  return Buffer.concat([uint(4, bytes.length), bytes])
}

/** A table of the common types: strings as S, integers as I (l when wide), booleans as t, objects as F. */
export function table(values: Readonly<Record<string, unknown>>): Table {
  return Object.entries(values).map(([key, value]): Entry => {
    if (typeof value === 'string' || Buffer.isBuffer(value)) return [key, 'S', value]
    if (typeof value === 'boolean') return [key, 't', value]
    if (typeof value === 'bigint') return [key, 'l', value]
    if (typeof value === 'number') return [key, Math.abs(value) < 2 ** 31 ? 'I' : 'l', value]
    return [key, 'F', table(value as Record<string, unknown>)]
  })
}

function encodeValue(letter: string, value: unknown): Buffer {
  switch (letter) {
    case 't':
      return uint(1, typeof value === 'number' ? value : value ? 1 : 0)
    case 'b':
    case 'B':
      return int(1, value)
    case 's':
    case 'u':
      return int(2, value)
    case 'I':
    case 'i':
      return int(4, value)
    case 'l':
    case 'L':
    case 'T':
      return int(8, value)
    case 'f': {
      const bytes = Buffer.alloc(4)
      bytes.writeFloatBE(value as number)
      return bytes
    }
    case 'd': {
      const bytes = Buffer.alloc(8)
      bytes.writeDoubleBE(value as number)
      return bytes
    }
    case 'D': {
      const [scale, number] = value as readonly [number, number]
      return Buffer.concat([uint(1, scale), uint(4, number)])
    }
    case 'S':
    case 'x':
      return longstr(value as string | Buffer)
    case 'A':
      return encodeArray(value as readonly (readonly [string, unknown])[])
    case 'F':
      return encodeTable(value as Table)
    case 'V':
      return Buffer.alloc(0)
    default:
      return bytesOf(value)
  }
}

export function encodeArray(items: readonly (readonly [letter: string, value: unknown])[]): Buffer {
  return longstr(
    Buffer.concat(
      items.flatMap(([letter, value]) => [Buffer.from(letter), encodeValue(letter, value)]),
    ),
  )
}

/** The entries of a table without the length before them: an AMQPLAIN response. */
export function encodeEntries(entries: Table): Buffer {
  return Buffer.concat(
    entries.flatMap(([key, letter, value]) => [
      shortstr(key),
      Buffer.from(letter, 'latin1'),
      encodeValue(letter, value),
    ]),
  )
}

export const encodeTable = (entries: Table): Buffer => longstr(encodeEntries(entries))

/** The payload of a method frame. */
export function encodeMethod<M extends MethodName>(name: M, values: Values<M>): Buffer {
  const layout = methods[name]
  const given = values as Readonly<Record<string, unknown>>
  const parts = [uint(2, layout.id[0]), uint(2, layout.id[1])]
  let bits = 0
  let bit = 0
  const flush = () => {
    if (bit > 0) parts.push(uint(1, bits))
    bits = 0
    bit = 0
  }
  for (const [field, type] of Object.entries<keyof Wire>(layout.fields)) {
    const value = given[field]
    if (type === 'b') {
      if (value === true) bits |= 1 << bit
      bit++
      continue
    }
    flush()
    if (type === 'o') parts.push(uint(1, (value ?? 0) as number))
    else if (type === 's') parts.push(uint(2, (value ?? 0) as number))
    else if (type === 'l') parts.push(uint(4, (value ?? 0) as number))
    else if (type === 'q') parts.push(uint(8, (value ?? 0) as number | bigint))
    else if (type === 'str') parts.push(shortstr((value ?? '') as string | Buffer))
    else if (type === 'lstr') parts.push(longstr((value ?? '') as string | Buffer))
    else parts.push(encodeTable((value ?? []) as Table))
  }
  flush()
  return Buffer.concat(parts)
}

/** Property flags and the properties present, in the order of the flags. */
export function encodeProperties(properties: Properties): Buffer {
  let flags = 0
  const parts: Buffer[] = []
  for (const [name, flag, type] of propertyLayout) {
    const value = properties[name]
    if (value === undefined) continue
    flags |= flag
    if (type === 'str') parts.push(shortstr(value as string | Buffer))
    else if (type === 'T') parts.push(encodeTable(value as Table))
    else parts.push(uint(type === 'o' ? 1 : 8, value as number | bigint))
  }
  return Buffer.concat([uint(2, flags), ...parts])
}

export interface HeaderInput {
  readonly size: number | bigint
  readonly properties?: Properties | Buffer
  readonly classId?: number
  readonly weight?: number
}

/** The payload of a content header frame. */
export function encodeHeader(input: HeaderInput): Buffer {
  const { size, properties = {}, classId = 60, weight = 0 } = input
  const encoded = Buffer.isBuffer(properties) ? properties : encodeProperties(properties)
  return Buffer.concat([uint(2, classId), uint(2, weight), uint(8, size), encoded])
}

export function frame(type: number, channel: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  return Buffer.concat([
    uint(1, type),
    uint(2, channel),
    uint(4, payload.length),
    payload,
    uint(1, 0xce),
  ])
}

export const methodFrame = <M extends MethodName>(
  channel: number,
  name: M,
  values: Values<M> = {},
): Buffer => frame(METHOD, channel, encodeMethod(name, values))

/** Header frame and one body frame (none for an empty body). */
export function contentFrames(channel: number, body: Buffer, properties: Properties = {}): Buffer {
  const header = frame(HEADER, channel, encodeHeader({ size: body.length, properties }))
  return body.length === 0 ? header : Buffer.concat([header, frame(BODY, channel, body)])
}

// ------------------------------------------------------------------------------------------------- decode

class Reader {
  at = 0
  readonly bytes: Buffer

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  get left(): number {
    return this.bytes.length - this.at
  }

  take(length: number): Buffer {
    if (length > this.left)
      throw new Error(
        `${length} bytes wanted, ${this.left} left in ${this.bytes.toString('hex').slice(0, 400)}`,
      )
    this.at += length
    return this.bytes.subarray(this.at - length, this.at)
  }

  uint(width: 1 | 2 | 4): number {
    return this.take(width).readUIntBE(0, width)
  }

  long(): bigint {
    return this.take(8).readBigUInt64BE()
  }

  shortstr(): string {
    return this.take(this.uint(1)).toString('utf8')
  }

  longstr(): Buffer {
    return this.take(this.uint(4))
  }

  table(): Table {
    const entries = new Reader(this.longstr())
    const result: Entry[] = []
    while (entries.left > 0) {
      const key = entries.shortstr()
      const letter = String.fromCharCode(entries.uint(1))
      result.push([key, letter, entries.value(letter)])
    }
    return result
  }

  value(letter: string): unknown {
    switch (letter) {
      case 't':
        return this.uint(1) !== 0
      case 'b':
        return this.take(1).readInt8()
      case 'B':
        return this.uint(1)
      case 's':
        return this.take(2).readInt16BE()
      case 'u':
        return this.uint(2)
      case 'I':
        return this.take(4).readInt32BE()
      case 'i':
        return this.uint(4)
      case 'l':
      case 'L':
        return this.take(8).readBigInt64BE()
      case 'f':
        return this.take(4).readFloatBE()
      case 'd':
        return this.take(8).readDoubleBE()
      case 'D':
        return [this.uint(1), this.uint(4)]
      case 'S':
        return this.longstr().toString('utf8')
      case 'x':
        return Buffer.from(this.longstr())
      case 'A': {
        const items = new Reader(this.longstr())
        const result: [string, unknown][] = []
        while (items.left > 0) {
          const type = String.fromCharCode(items.uint(1))
          result.push([type, items.value(type)])
        }
        return result
      }
      case 'F':
        return this.table()
      case 'T':
        return this.long()
      case 'V':
        return null
      default:
        throw new Error(`the broker sent a field of type ${JSON.stringify(letter)}`)
    }
  }
}

export interface Frame {
  readonly type: number
  readonly channel: number
  readonly payload: Buffer
  /** Set for method frames that appendix A of the catalogue knows. */
  readonly name?: MethodName
  readonly fields?: Readonly<Record<string, unknown>>
}

/** Decodes one method; every byte must be used up. */
export function decodeMethod(payload: Buffer): {
  name: MethodName
  fields: Readonly<Record<string, unknown>>
} {
  const reader = new Reader(payload)
  const id = reader.uint(2) * 65536 + reader.uint(2)
  const name = nameOfId.get(id)
  if (name === undefined) throw new Error(`the broker sent method ${id >> 16}.${id & 0xffff}`)
  const fields: Record<string, unknown> = {}
  let octet = 0
  let bit = 8
  for (const [field, type] of Object.entries<keyof Wire>(methods[name].fields)) {
    if (type === 'b') {
      if (bit === 8) {
        octet = reader.uint(1)
        bit = 0
      }
      fields[field] = ((octet >> bit) & 1) === 1
      bit++
      continue
    }
    bit = 8
    if (type === 'o') fields[field] = reader.uint(1)
    else if (type === 's') fields[field] = reader.uint(2)
    else if (type === 'l') fields[field] = reader.uint(4)
    else if (type === 'q') fields[field] = reader.long()
    else if (type === 'str') fields[field] = reader.shortstr()
    else if (type === 'lstr') fields[field] = reader.longstr().toString('utf8')
    else fields[field] = reader.table()
  }
  if (reader.left > 0) throw new Error(`${reader.left} bytes left over in ${name}`)
  return { name, fields }
}

export interface Header {
  readonly classId: number
  readonly weight: number
  readonly size: bigint
  readonly properties: Properties
  /** Flags and properties as they came. */
  readonly raw: Buffer
}

export function decodeHeader(payload: Buffer): Header {
  const reader = new Reader(payload)
  const classId = reader.uint(2)
  const weight = reader.uint(2)
  const size = reader.long()
  const raw = payload.subarray(reader.at)
  const flags = reader.uint(2)
  const properties: Record<string, unknown> = {}
  for (const [name, flag, type] of propertyLayout) {
    if ((flags & flag) === 0) continue
    if (type === 'str') properties[name] = reader.shortstr()
    else if (type === 'T') properties[name] = reader.table()
    else properties[name] = type === 'o' ? reader.uint(1) : reader.long()
  }
  if (reader.left > 0) throw new Error(`${reader.left} bytes left over in a content header`)
  return { classId, weight, size, properties: properties as Properties, raw }
}

/** Cuts whole frames off the front of `bytes`; `rest` is what is not yet a frame. */
export function cutFrames(bytes: Buffer): { frames: Frame[]; rest: Buffer } {
  const frames: Frame[] = []
  let at = 0
  while (bytes.length - at >= 8) {
    const size = bytes.readUInt32BE(at + 3)
    if (bytes.length - at < size + 8) break
    const type = bytes.readUInt8(at)
    const channel = bytes.readUInt16BE(at + 1)
    const payload = bytes.subarray(at + 7, at + 7 + size)
    if (bytes.readUInt8(at + 7 + size) !== 0xce)
      throw new Error(
        `a frame of type ${type} without its end octet: ${bytes.toString('hex', 0, at)} then ${bytes.toString('hex', at, at + 200)}`,
      )
    frames.push(
      type === METHOD
        ? { type, channel, payload, ...decodeMethod(payload) }
        : { type, channel, payload },
    )
    at += size + 8
  }
  return { frames, rest: bytes.subarray(at) }
}
