/**
 * What every exchange is: a name, its flags, and bindings, of which it finds those that match a
 * message. A type of exchange is a class in a file of its own.
 */
import { type FieldTable, lookup, textOf, typeNames } from '../../wire/field-table.js'
import type { Properties } from '../../wire/properties.js'
import { AmqpError } from '../../wire/replies.js'
import type { Binding, BindingGroup } from '../binding.js'
import { Ruling } from '../policies/ruling.js'
import type { Queue } from '../queues/queue.js'
import type { DelayedMessages } from './delayed-messages.js'
import type { History } from './recent-history.js'

/** How an exchange was declared. */
export interface ExchangeDeclaration {
  readonly name: string
  readonly durable: boolean
  readonly autoDelete: boolean
  readonly internal: boolean
  readonly arguments: FieldTable
  /** Names the messages that it keeps in the log, as it was before a restart; 0 or absent: it needs a new one, if any. */
  readonly number?: number
}

/** What decides where an exchange sends a message, besides its bindings: the less, the longer it can be remembered. */
export const Decider = {
  /** The routing keys alone. */
  keys: 0,
  /** The headers too. */
  headers: 1,
  /** Other properties, chance, or what came before: it may be different each time. */
  message: 2,
} as const
export type Decider = (typeof Decider)[keyof typeof Decider]

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
  alternate: string | null
  /** What policies say of it. */
  ruling = Ruling.none
  /** Its own bindings by destination, and those in which it is the destination by source. */
  readonly bindings = new Map<Queue | Exchange, BindingGroup>()
  readonly inbound = new Map<Exchange, BindingGroup>()
  /** The routing that last came by: cycles end where it was already. */
  routing = 0
  /** Log number of the command that declared it; 0: it is not in the log, or was before a restart. */
  definedAt = 0
  deleted = false
  /** The messages that it holds back, and those that it remembers, if it does so. */
  readonly delayed: DelayedMessages | null = null
  readonly history: History | null = null

  constructor(declaration: ExchangeDeclaration) {
    this.name = declaration.name
    this.durable = declaration.durable
    this.autoDelete = declaration.autoDelete
    this.internal = declaration.internal
    this.arguments = declaration.arguments
    this.alternate = textOf(lookup(declaration.arguments, 'alternate-exchange')) ?? null
  }

  get decidedBy(): Decider {
    return Decider.keys
  }

  /** Refuses a binding that this type cannot have (AmqpError). */
  check(_key: string, _arguments: FieldTable, _destination: Queue | Exchange): void {}

  *allBindings(): Iterable<Binding> {
    for (const group of this.bindings.values()) yield* group.values()
  }

  /** What it is bound to, each once. */
  destinations(): (Queue | Exchange)[] {
    return [...this.bindings.keys()]
  }

  /**
   * Takes a binding that is now among `bindings` into what `match` looks at. One that is not there
   * any more is taken out again; if its destination is deleted that may be some turns later.
   */
  add(_binding: Binding): void {}
  remove(_binding: Binding): void {}

  /** `bindings` have changed. */
  changed(): void {}

  /** It is no more. */
  end(): void {}

  /** Calls `found` for each destination that matches one of the keys or the properties; one may come twice. */
  abstract match(keys: readonly string[], properties: Properties, found: Found): void
}

/** The text of an argument, null without it; refuses one that is no text (406) with RabbitMQ's words for such. */
export function textArgument(table: FieldTable, name: string, exchange: string): string | null {
  const value = lookup(table, name)
  if (value === undefined) return null
  if (value.type === 'S') return value.value.toString()
  throw new AmqpError(
    'PRECONDITION_FAILED',
    `invalid type '${typeNames[value.type]}' for arg '${name}' in ${exchange}`,
  )
}
