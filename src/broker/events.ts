/**
 * What happens in a broker, told as messages to the topic exchange `amq.rabbitmq.event` of its
 * first vhost: an empty body, the facts in headers, delivery mode 2 (RabbitMQ's plugin
 * rabbitmq_event_exchange). While nothing is bound to that exchange nothing is made.
 *
 * Facts stand in headers as RabbitMQ has them: integers as `l`, and field tables (the arguments of
 * a queue, a client's properties) as an array of texts, each a field as an Erlang term.
 */
import type { Clock } from '../platform/clock.js'
import {
  type FieldTable,
  type FieldValue,
  fieldValue,
  type PlainValue,
  printField,
} from '../wire/field-table.js'
import { blankMessage } from '../wire/message.js'
import { encodeProperties } from '../wire/properties.js'
import type { Exchange } from './exchanges/exchange.js'
import type { Vhost } from './vhost.js'

export const eventExchange = 'amq.rabbitmq.event'

/** Who did what nobody asked for, such as the removal of an auto-delete queue. */
export const internalUser = 'rmq-internal'

/** The routing keys of events. */
export type EventKey =
  | 'alarm.cleared'
  | 'alarm.set'
  | 'binding.created'
  | 'binding.deleted'
  | 'channel.closed'
  | 'channel.created'
  | 'connection.closed'
  | 'connection.created'
  | 'consumer.created'
  | 'consumer.deleted'
  | 'exchange.created'
  | 'exchange.deleted'
  | 'operator.policy.cleared'
  | 'parameter.cleared'
  | 'parameter.set'
  | 'permission.created'
  | 'permission.deleted'
  | 'policy.cleared'
  | 'policy.set'
  | 'queue.created'
  | 'queue.deleted'
  | 'queue.policy.cleared'
  | 'queue.policy.updated'
  | 'topic.permission.created'
  | 'topic.permission.deleted'
  | 'user.authentication.failure'
  | 'user.authentication.success'
  | 'user.created'
  | 'user.deleted'
  | 'user.limits.cleared'
  | 'user.limits.set'
  | 'user.password.changed'
  | 'user.password.cleared'
  | 'user.tags.set'
  | 'vhost.created'
  | 'vhost.deleted'
  | 'vhost.limits.cleared'
  | 'vhost.limits.set'

/** What is told of an event, by RabbitMQ's names. */
export interface Facts {
  readonly [name: string]: PlainValue
}

export class Events {
  readonly nodeName: string
  readonly #clock: Clock
  #vhost: Vhost | null = null
  #exchange: Exchange | null = null

  /** `nodeName` is what the broker calls itself, like RabbitMQ's `rabbit@host`. */
  constructor(clock: Clock, nodeName: string) {
    this.#clock = clock
    this.nodeName = nodeName
  }

  /** From now on events go to this vhost, which gets the exchange for them. */
  attach(vhost: Vhost): void {
    this.#vhost = vhost
    this.#exchange = vhost.addSystemExchange(eventExchange, 'topic')
  }

  /** The vhost is gone; nothing happens if it is another one. */
  detach(vhost: Vhost): void {
    if (vhost !== this.#vhost) return
    this.#vhost = null
    this.#exchange = null
  }

  /** Somebody may hear of events. */
  get heard(): boolean {
    return this.#exchange !== null && this.#exchange.bindings.size > 0
  }

  /** Tells of an event, if anybody may hear of it; only then are the facts asked for. */
  emit(key: EventKey, facts: () => Facts): void {
    if (!this.heard) return
    const now = this.#clock.wallMs()
    const headers = Object.entries(facts()).map(([name, fact]) => ({
      key: name,
      value: long(fact),
    }))
    headers.push({ key: 'timestamp_in_ms', value: { type: 'l', value: Math.floor(now) } })
    const properties = { deliveryMode: 2, timestamp: Math.floor(now / 1000), headers }
    const octets = encodeProperties(properties)
    this.#vhost?.ownMessages.add(eventExchange, key, octets, blankMessage)
  }
}

/** A field table as a fact. */
export function printedFields(table: FieldTable): string[] {
  return table.map(printField)
}

/** A value of which every integer is a long. */
function long(plain: PlainValue): FieldValue {
  const value = fieldValue(plain)
  return value.type === 'I' ? { type: 'l', value: value.value } : value
}
