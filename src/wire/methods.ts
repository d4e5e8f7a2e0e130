// The table of all AMQP 0-9-1 methods with RabbitMQ's additions: id, who may send it, fields in the order of the wire.
// codec.ts interprets it; hot-methods.ts writes out by hand the few that make up the traffic.

import type { FieldTable } from './field-table.js'
import type { Integer64 } from './integer64.js'

/** What a field of each type is in JavaScript. */
interface ValueOf {
  bit: boolean
  octet: number
  short: number
  long: number
  longlong: Integer64
  shortstr: string
  longstr: Buffer
  table: FieldTable
}

/** The type of a method's field on the wire. */
export type FieldType = keyof ValueOf

/** Who may send a method. */
export type Side = 'client' | 'server'

/** One row of the table. A reserved field is written as zero or empty, and skipped when read. */
interface MethodRow {
  id: number
  sentBy: Side | 'both'
  content?: true
  fields: Record<string, FieldType | `reserved ${FieldType}`>
}

/** Every method by name. Consecutive bits share an octet, the first is 0x01. */
export const methods = {
  'connection.start': {
    id: 0x000a000a,
    sentBy: 'server',
    fields: {
      versionMajor: 'octet',
      versionMinor: 'octet',
      serverProperties: 'table',
      mechanisms: 'longstr',
      locales: 'longstr',
    },
  },
  'connection.start-ok': {
    id: 0x000a000b,
    sentBy: 'client',
    fields: {
      clientProperties: 'table',
      mechanism: 'shortstr',
      response: 'longstr',
      locale: 'shortstr',
    },
  },
  'connection.secure': { id: 0x000a0014, sentBy: 'server', fields: { challenge: 'longstr' } },
  'connection.secure-ok': { id: 0x000a0015, sentBy: 'client', fields: { response: 'longstr' } },
  'connection.tune': {
    id: 0x000a001e,
    sentBy: 'server',
    fields: { channelMax: 'short', frameMax: 'long', heartbeat: 'short' },
  },
  'connection.tune-ok': {
    id: 0x000a001f,
    sentBy: 'client',
    fields: { channelMax: 'short', frameMax: 'long', heartbeat: 'short' },
  },
  'connection.open': {
    id: 0x000a0028,
    sentBy: 'client',
    fields: {
      vhost: 'shortstr',
      capabilities: 'reserved shortstr',
      insist: 'reserved bit',
    },
  },
  'connection.open-ok': {
    id: 0x000a0029,
    sentBy: 'server',
    fields: { knownHosts: 'reserved shortstr' },
  },
  'connection.close': {
    id: 0x000a0032,
    sentBy: 'both',
    fields: { replyCode: 'short', replyText: 'shortstr', classId: 'short', methodId: 'short' },
  },
  'connection.close-ok': { id: 0x000a0033, sentBy: 'both', fields: {} },
  'connection.blocked': { id: 0x000a003c, sentBy: 'server', fields: { reason: 'shortstr' } },
  'connection.unblocked': { id: 0x000a003d, sentBy: 'server', fields: {} },
  'connection.update-secret': {
    id: 0x000a0046,
    sentBy: 'client',
    fields: { newSecret: 'longstr', reason: 'shortstr' },
  },
  'connection.update-secret-ok': { id: 0x000a0047, sentBy: 'server', fields: {} },

  'channel.open': { id: 0x0014000a, sentBy: 'client', fields: { outOfBand: 'reserved shortstr' } },
  'channel.open-ok': {
    id: 0x0014000b,
    sentBy: 'server',
    fields: { channelId: 'reserved longstr' },
  },
  'channel.flow': { id: 0x00140014, sentBy: 'both', fields: { active: 'bit' } },
  'channel.flow-ok': { id: 0x00140015, sentBy: 'both', fields: { active: 'bit' } },
  'channel.close': {
    id: 0x00140028,
    sentBy: 'both',
    fields: { replyCode: 'short', replyText: 'shortstr', classId: 'short', methodId: 'short' },
  },
  'channel.close-ok': { id: 0x00140029, sentBy: 'both', fields: {} },

  'access.request': {
    id: 0x001e000a,
    sentBy: 'client',
    fields: {
      realm: 'shortstr',
      exclusive: 'bit',
      passive: 'bit',
      active: 'bit',
      write: 'bit',
      read: 'bit',
    },
  },
  'access.request-ok': { id: 0x001e000b, sentBy: 'server', fields: { ticket: 'short' } },

  'exchange.declare': {
    id: 0x0028000a,
    sentBy: 'client',
    fields: {
      ticket: 'reserved short',
      exchange: 'shortstr',
      type: 'shortstr',
      passive: 'bit',
      durable: 'bit',
      autoDelete: 'bit',
      internal: 'bit',
      nowait: 'bit',
      arguments: 'table',
    },
  },
  'exchange.declare-ok': { id: 0x0028000b, sentBy: 'server', fields: {} },
  'exchange.delete': {
    id: 0x00280014,
    sentBy: 'client',
    fields: { ticket: 'reserved short', exchange: 'shortstr', ifUnused: 'bit', nowait: 'bit' },
  },
  'exchange.delete-ok': { id: 0x00280015, sentBy: 'server', fields: {} },
  'exchange.bind': {
    id: 0x0028001e,
    sentBy: 'client',
    fields: {
      ticket: 'reserved short',
      destination: 'shortstr',
      source: 'shortstr',
      routingKey: 'shortstr',
      nowait: 'bit',
      arguments: 'table',
    },
  },
  'exchange.bind-ok': { id: 0x0028001f, sentBy: 'server', fields: {} },
  'exchange.unbind': {
    id: 0x00280028,
    sentBy: 'client',
    fields: {
      ticket: 'reserved short',
      destination: 'shortstr',
      source: 'shortstr',
      routingKey: 'shortstr',
      nowait: 'bit',
      arguments: 'table',
    },
  },
  // 51, not 41: an accident in RabbitMQ's definition that everybody has copied since.
  'exchange.unbind-ok': { id: 0x00280033, sentBy: 'server', fields: {} },

  'queue.declare': {
    id: 0x0032000a,
    sentBy: 'client',
    fields: {
      ticket: 'reserved short',
      queue: 'shortstr',
      passive: 'bit',
      durable: 'bit',
      exclusive: 'bit',
      autoDelete: 'bit',
      nowait: 'bit',
      arguments: 'table',
    },
  },
  'queue.declare-ok': {
    id: 0x0032000b,
    sentBy: 'server',
    fields: { queue: 'shortstr', messageCount: 'long', consumerCount: 'long' },
  },
  'queue.bind': {
    id: 0x00320014,
    sentBy: 'client',
    fields: {
      ticket: 'reserved short',
      queue: 'shortstr',
      exchange: 'shortstr',
      routingKey: 'shortstr',
      nowait: 'bit',
      arguments: 'table',
    },
  },
  'queue.bind-ok': { id: 0x00320015, sentBy: 'server', fields: {} },
  'queue.purge': {
    id: 0x0032001e,
    sentBy: 'client',
    fields: { ticket: 'reserved short', queue: 'shortstr', nowait: 'bit' },
  },
  'queue.purge-ok': { id: 0x0032001f, sentBy: 'server', fields: { messageCount: 'long' } },
  'queue.delete': {
    id: 0x00320028,
    sentBy: 'client',
    fields: {
      ticket: 'reserved short',
      queue: 'shortstr',
      ifUnused: 'bit',
      ifEmpty: 'bit',
      nowait: 'bit',
    },
  },
  'queue.delete-ok': { id: 0x00320029, sentBy: 'server', fields: { messageCount: 'long' } },
  'queue.unbind': {
    id: 0x00320032,
    sentBy: 'client',
    fields: {
      ticket: 'reserved short',
      queue: 'shortstr',
      exchange: 'shortstr',
      routingKey: 'shortstr',
      arguments: 'table',
    },
  },
  'queue.unbind-ok': { id: 0x00320033, sentBy: 'server', fields: {} },

  'basic.qos': {
    id: 0x003c000a,
    sentBy: 'client',
    fields: { prefetchSize: 'long', prefetchCount: 'short', global: 'bit' },
  },
  'basic.qos-ok': { id: 0x003c000b, sentBy: 'server', fields: {} },
  'basic.consume': {
    id: 0x003c0014,
    sentBy: 'client',
    fields: {
      ticket: 'reserved short',
      queue: 'shortstr',
      consumerTag: 'shortstr',
      noLocal: 'bit',
      noAck: 'bit',
      exclusive: 'bit',
      nowait: 'bit',
      arguments: 'table',
    },
  },
  'basic.consume-ok': { id: 0x003c0015, sentBy: 'server', fields: { consumerTag: 'shortstr' } },
  'basic.cancel': {
    id: 0x003c001e,
    sentBy: 'both',
    fields: { consumerTag: 'shortstr', nowait: 'bit' },
  },
  'basic.cancel-ok': { id: 0x003c001f, sentBy: 'both', fields: { consumerTag: 'shortstr' } },
  'basic.publish': {
    id: 0x003c0028,
    sentBy: 'client',
    content: true,
    fields: {
      ticket: 'reserved short',
      exchange: 'shortstr',
      routingKey: 'shortstr',
      mandatory: 'bit',
      immediate: 'bit',
    },
  },
  'basic.return': {
    id: 0x003c0032,
    sentBy: 'server',
    content: true,
    fields: {
      replyCode: 'short',
      replyText: 'shortstr',
      exchange: 'shortstr',
      routingKey: 'shortstr',
    },
  },
  'basic.deliver': {
    id: 0x003c003c,
    sentBy: 'server',
    content: true,
    fields: {
      consumerTag: 'shortstr',
      deliveryTag: 'longlong',
      redelivered: 'bit',
      exchange: 'shortstr',
      routingKey: 'shortstr',
    },
  },
  'basic.get': {
    id: 0x003c0046,
    sentBy: 'client',
    fields: { ticket: 'reserved short', queue: 'shortstr', noAck: 'bit' },
  },
  'basic.get-ok': {
    id: 0x003c0047,
    sentBy: 'server',
    content: true,
    fields: {
      deliveryTag: 'longlong',
      redelivered: 'bit',
      exchange: 'shortstr',
      routingKey: 'shortstr',
      messageCount: 'long',
    },
  },
  'basic.get-empty': {
    id: 0x003c0048,
    sentBy: 'server',
    fields: { clusterId: 'reserved shortstr' },
  },
  'basic.ack': {
    id: 0x003c0050,
    sentBy: 'both',
    fields: { deliveryTag: 'longlong', multiple: 'bit' },
  },
  'basic.reject': {
    id: 0x003c005a,
    sentBy: 'client',
    fields: { deliveryTag: 'longlong', requeue: 'bit' },
  },
  'basic.recover-async': { id: 0x003c0064, sentBy: 'client', fields: { requeue: 'bit' } },
  'basic.recover': { id: 0x003c006e, sentBy: 'client', fields: { requeue: 'bit' } },
  'basic.recover-ok': { id: 0x003c006f, sentBy: 'server', fields: {} },
  'basic.nack': {
    id: 0x003c0078,
    sentBy: 'both',
    fields: { deliveryTag: 'longlong', multiple: 'bit', requeue: 'bit' },
  },

  'confirm.select': { id: 0x0055000a, sentBy: 'client', fields: { nowait: 'bit' } },
  'confirm.select-ok': { id: 0x0055000b, sentBy: 'server', fields: {} },

  'tx.select': { id: 0x005a000a, sentBy: 'client', fields: {} },
  'tx.select-ok': { id: 0x005a000b, sentBy: 'server', fields: {} },
  'tx.commit': { id: 0x005a0014, sentBy: 'client', fields: {} },
  'tx.commit-ok': { id: 0x005a0015, sentBy: 'server', fields: {} },
  'tx.rollback': { id: 0x005a001e, sentBy: 'client', fields: {} },
  'tx.rollback-ok': { id: 0x005a001f, sentBy: 'server', fields: {} },
} as const satisfies Record<string, MethodRow>

/** The name of a method, `class.method`. */
export type MethodName = keyof typeof methods

type Fields<M extends MethodName> = (typeof methods)[M]['fields']

/** The arguments of a method: its fields without the reserved ones. */
export type Arguments<M extends MethodName> = {
  -readonly [F in keyof Fields<M> as Fields<M>[F] extends FieldType
    ? F
    : never]: ValueOf[Fields<M>[F] & FieldType]
}

/** A method with its arguments; the name tells which. */
export type Method = { [M in MethodName]: { name: M; args: Arguments<M> } }[MethodName]

const rows: Record<MethodName, MethodRow> = methods

const namesById = new Map(methodNames().map(name => [methods[name].id as number, name]))

/** The names of all methods, in the order of the table. */
export function methodNames(): MethodName[] {
  return Object.keys(methods) as MethodName[]
}

/** Finds a method by its class id (upper 16 bits) and method id (lower 16 bits). */
export function methodById(id: number): MethodName | undefined {
  return namesById.get(id)
}

/** Whether this side of a connection may send the method at all. */
export function maySend(side: Side, name: MethodName): boolean {
  const { sentBy } = rows[name]
  return sentBy === side || sentBy === 'both'
}

/** Whether a content header and body frames follow the method. */
export function carriesContent(name: MethodName): boolean {
  return rows[name].content === true
}

/** A field as codec.ts reads and writes it. */
export interface Field {
  readonly name: string
  readonly type: FieldType
  readonly reserved: boolean
  /** Which bit of its octet a bit is; the next octet begins where this is 0. */
  readonly bit: number
}

const fieldsByName = new Map(methodNames().map(name => [name, fieldsIn(rows[name])]))

/** The fields of a method in the order of the wire. */
export function fieldsOf(name: MethodName): readonly Field[] {
  return fieldsByName.get(name) as readonly Field[]
}

function fieldsIn(row: MethodRow): Field[] {
  const fields: Field[] = []
  for (const [name, rowType] of Object.entries(row.fields)) {
    const type = rowType.replace('reserved ', '') as FieldType
    const before = fields.at(-1)
    const bit = type === 'bit' && before?.type === 'bit' ? before.bit + 1 : 0
    fields.push({ name, type, reserved: type !== rowType, bit })
  }
  return fields
}
