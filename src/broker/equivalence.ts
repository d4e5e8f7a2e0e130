/** Whether something is declared again as it was: RabbitMQ's comparison, and the words of its refusals (406). */
import {
  describeDifference,
  equivalent,
  type FieldTable,
  type FieldValue,
  lookup,
} from '../wire/field-table.js'
import { AmqpError } from '../wire/replies.js'
import type { ExchangeRequest } from './exchanges/by-type.js'
import type { Exchange } from './exchanges/exchange.js'
import { knownArguments, queueTypeOf } from './queues/arguments.js'
import type { Queue } from './queues/queue.js'

/** Compares an exchange with what is asked for under its name; `what` names it. */
export function compareExchange(what: string, existing: Exchange, request: ExchangeRequest): void {
  compare(what, 'type', request.type, existing.type)
  compare(what, 'durable', request.durable, existing.durable)
  compare(what, 'auto_delete', request.autoDelete, existing.autoDelete)
  compare(what, 'internal', request.internal, existing.internal)
  compareArgument(what, 'alternate-exchange', request.arguments, existing.arguments)
}

/** Compares a queue with what is asked for under its name, but for the owner; `what` names it. */
export function compareQueue(
  what: string,
  existing: Queue,
  request: {
    readonly durable: boolean
    readonly autoDelete: boolean
    readonly arguments: FieldTable
  },
): void {
  compare(what, 'durable', request.durable, existing.durable)
  compare(what, 'auto_delete', request.autoDelete, existing.autoDelete)
  for (const name of knownArguments[queueTypeOf(existing.arguments)])
    compareArgument(what, name, request.arguments, existing.arguments)
}

/** Compares a property of `what`. */
function compare<T>(what: string, property: string, received: T, current: T): void {
  if (received === current) return
  throw new AmqpError(
    'PRECONDITION_FAILED',
    `inequivalent arg '${property}' for ${what}: received '${received}' but current is '${current}'`,
  )
}

/** Compares an argument, which may be absent on either side. */
function compareArgument(
  what: string,
  name: string,
  received: FieldTable,
  current: FieldTable,
): void {
  const wanted = argumentOf(received, name)
  const actual = argumentOf(current, name)
  if (wanted === undefined && actual === undefined) return
  if (wanted !== undefined && actual !== undefined && equivalent(wanted, actual)) return
  throw new AmqpError(
    'PRECONDITION_FAILED',
    `inequivalent arg '${name}' for ${what}: ${describeDifference(wanted, actual)}`,
  )
}

/** What stands for the type of a queue of which nothing is said. */
const defaultTypes = ['classic', '', 'undefined']

/** An absent queue type, an empty one and "classic" are the same. */
function argumentOf(table: FieldTable, name: string): FieldValue | undefined {
  const value = lookup(table, name)
  const isDefault = name === 'x-queue-type' && defaultTypes.includes(String(value?.value))
  return isDefault ? undefined : value
}
