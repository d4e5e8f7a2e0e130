/**
 * What every exchange is: a name, its flags, and bindings, of which it finds those that match a
 * message. A type of exchange is a class in a file of its own.
 */
import { type FieldTable, lookup, textOf } from '../../wire/field-table.js'
import type { Binding } from '../binding.js'
import type { Queue } from '../queues/queue.js'

/** How an exchange was declared. */
export interface ExchangeDeclaration {
  readonly name: string
  readonly durable: boolean
  readonly autoDelete: boolean
  readonly internal: boolean
  readonly arguments: FieldTable
}

/** Receives the destinations that match. */
export type Found = (destination: Queue | Exchange) => void

export abstract class Exchange {
  abstract readonly type: string
  readonly name: string
  readonly durable: boolean
  readonly autoDelete: boolean
  readonly internal: boolean
  readonly arguments: FieldTable
  /** Where messages go that match nothing here. */
  readonly alternate: string | null
  /** Its own bindings by identity, and those in which it is the destination. */
  readonly bindings = new Map<string, Binding>()
  readonly inbound = new Set<Binding>()
  /** The routing that last came by: cycles end where it was already. */
  routing = 0
  /** Log number of the command that declared it; 0: it is not in the log, or was before a restart. */
  definedAt = 0
  deleted = false

  constructor(declaration: ExchangeDeclaration) {
    this.name = declaration.name
    this.durable = declaration.durable
    this.autoDelete = declaration.autoDelete
    this.internal = declaration.internal
    this.arguments = declaration.arguments
    this.alternate = textOf(lookup(declaration.arguments, 'alternate-exchange')) ?? null
  }

  /** True if more than the routing key decides, so that a route cannot be kept for the next message. */
  get readsHeaders(): boolean {
    return false
  }

  /** Refuses a binding that this type cannot have (AmqpError). */
  check(_key: string, _arguments: FieldTable): void {}

  /** Takes a binding into what `match` looks at, and out again. */
  abstract add(binding: Binding): void
  abstract remove(binding: Binding): void

  /** Calls `found` for each destination that matches one of the keys or the headers; one may come twice. */
  abstract match(keys: readonly string[], headers: FieldTable, found: Found): void
}
