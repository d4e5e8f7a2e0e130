/**
 * The firehose: a copy of every message that clients publish to a vhost or get from it, published
 * to its exchange `amq.rabbitmq.trace` with the key `publish.EXCHANGE` or `deliver.QUEUE`. The
 * body is that of the message, all else stands in headers, by RabbitMQ's names. It is off until
 * somebody turns it on, and after every start; while it is off it costs a comparison for each
 * message. What is published to the trace exchange itself is not traced.
 */
import type { FieldTable, FieldValue, TableField } from '../wire/field-table.js'
import type { Message } from '../wire/message.js'
import { textSize, writeText } from '../wire/opaque-text.js'
import { decodeProperties, encodeProperties, type Properties } from '../wire/properties.js'
import { DelayedMessages } from './exchanges/delayed-messages.js'
import type { OwnMessages } from './own-messages.js'
import type { Queue } from './queues/queue.js'
import { senderSelectedKeys } from './sender-selected.js'

export const traceExchange = 'amq.rabbitmq.trace'

/** Whose channel it was. */
export interface TracedChannel {
  readonly number: number
  readonly user: string
  readonly connection: { readonly name: string }
}

/** RabbitMQ's names of properties, in the order in which it shows them. */
const names: readonly (readonly [keyof Properties, string])[] = [
  ['clusterId', 'cluster_id'],
  ['appId', 'app_id'],
  ['userId', 'user_id'],
  ['type', 'type'],
  ['timestamp', 'timestamp'],
  ['messageId', 'message_id'],
  ['expiration', 'expiration'],
  ['replyTo', 'reply_to'],
  ['correlationId', 'correlation_id'],
  ['priority', 'priority'],
  ['deliveryMode', 'delivery_mode'],
  ['headers', 'headers'],
  ['contentEncoding', 'content_encoding'],
  ['contentType', 'content_type'],
]

export class Firehose {
  readonly #vhost: string
  readonly #node: string
  readonly #out: OwnMessages

  constructor(vhost: string, node: string, out: OwnMessages) {
    this.#vhost = vhost
    this.#node = node
    this.#out = out
  }

  /** A client has published a message, with these further keys, which goes to `queues`. */
  published(
    message: Message,
    furtherKeys: readonly string[],
    queues: readonly Queue[],
    channel: TracedChannel,
  ): void {
    const routed = queues.filter(queue => !(queue instanceof DelayedMessages))
    this.#trace(`publish.${message.exchange}`, message, furtherKeys, channel, {
      key: 'routed_queues',
      value: { type: 'A', value: routed.map(({ name }) => text(name)) },
    })
  }

  /** A client is given a message. */
  delivered(message: Message, queue: string, redelivered: boolean, channel: TracedChannel): void {
    if (message.exchange === traceExchange) return
    this.#trace(`deliver.${queue}`, message, null, channel, {
      key: 'redelivered',
      value: integer(redelivered ? 1 : 0),
    })
  }

  #trace(
    key: string,
    message: Message,
    furtherKeys: readonly string[] | null,
    channel: TracedChannel,
    detail: TableField,
  ): void {
    const { bytes, propertiesStart, propertiesEnd, exchange, routingKey } = message
    const properties = decodeProperties(bytes, propertiesStart, propertiesEnd)
    const further = furtherKeys ?? senderSelectedKeys(properties.headers ?? [])
    const headers = [
      { key: 'exchange_name', value: text(exchange) },
      { key: 'routing_keys', value: texts([routingKey, ...further]) },
      { key: 'properties', value: { type: 'F', value: asTable(properties) } },
      { key: 'node', value: text(this.#node) },
      detail,
      { key: 'vhost', value: text(this.#vhost) },
      { key: 'connection', value: text(channel.connection.name) },
      { key: 'channel', value: integer(channel.number) },
      { key: 'user', value: text(channel.user) },
    ] satisfies FieldTable
    this.#out.add(traceExchange, key, encodeProperties({ headers }), message)
  }
}

/** The properties that a message has. */
function asTable(properties: Properties): FieldTable {
  return names.flatMap(([name, key]) => {
    const value = properties[name]
    return value === undefined ? [] : { key, value: asValue(value) }
  })
}

function asValue(value: NonNullable<Properties[keyof Properties]>): FieldValue {
  if (typeof value === 'string') return text(value)
  if (typeof value === 'object') return { type: 'F', value }
  return integer(value)
}

function text(value: string): FieldValue {
  const octets = Buffer.alloc(textSize(value))
  writeText(octets, 0, value)
  return { type: 'S', value: octets }
}

function texts(values: readonly string[]): FieldValue {
  return { type: 'A', value: values.map(text) }
}

function integer(value: number | bigint): FieldValue {
  return typeof value === 'number' && value === (value | 0)
    ? { type: 'I', value }
    : { type: 'l', value }
}
