/**
 * An x-delayed-message exchange: an exchange of the type that its argument `x-delayed-type` names,
 * which holds a message with a header `x-delay` back for so many milliseconds before it routes it
 * (RabbitMQ's community plugin of that name). The delayed copy carries the delay negated, so
 * another such exchange behind it does not delay it again.
 */
import { type FieldTable, lookup } from '../../wire/field-table.js'
import type { Properties } from '../../wire/properties.js'
import { AmqpError } from '../../wire/replies.js'
import type { Binding } from '../binding.js'
import { delayOf } from '../delay-header.js'
import type { Queue } from '../queues/queue.js'
import { DelayedMessages, type DelayHost } from './delayed-messages.js'
import { Decider, Exchange, type ExchangeDeclaration, type Found } from './exchange.js'

export const delayedType = 'x-delayed-message'

export class DelayedExchange extends Exchange {
  readonly type = delayedType
  override readonly bindings: Exchange['bindings']
  override readonly delayed: DelayedMessages
  /** What it would be without delays. */
  readonly #routing: Exchange

  /** `routing` is the same exchange as one of the wrapped type, `number` names it in the log (0: it is not there). */
  constructor(
    declaration: ExchangeDeclaration,
    routing: Exchange,
    number: number,
    host: DelayHost,
  ) {
    super(declaration)
    this.#routing = routing
    this.bindings = routing.bindings
    this.delayed = new DelayedMessages(this, number, host)
  }

  override get decidedBy(): Decider {
    return this.#routing.decidedBy === Decider.message ? Decider.message : Decider.headers
  }

  override check(key: string, table: FieldTable, destination: Queue | Exchange): void {
    this.#routing.check(key, table, destination)
  }

  override add(binding: Binding): void {
    this.#routing.add(binding)
  }

  override remove(binding: Binding): void {
    this.#routing.remove(binding)
  }

  override changed(): void {
    this.#routing.changed()
  }

  match(keys: readonly string[], properties: Properties, found: Found): void {
    if (delayOf(properties.headers ?? []) > 0) found(this.delayed)
    else this.#routing.match(keys, properties, found)
  }

  override end(): void {
    this.delayed.end()
  }
}

/** The type that is to be wrapped; refuses a declaration without one (406). */
export function wrappedType(table: FieldTable): string {
  const type = lookup(table, 'x-delayed-type')
  if (type?.type === 'S' && type.value.toString() !== delayedType) return type.value.toString()
  throw new AmqpError(
    'PRECONDITION_FAILED',
    "Invalid argument, 'x-delayed-type' must be an existing exchange type",
  )
}
