/** Whether something is declared again as it was: RabbitMQ's comparison, and the words of its refusals (406). */
import {
  describeDifference,
  equivalent,
  type FieldTable,
  type FieldValue,
  lookup,
} from '../wire/field-table.js'
import { AmqpError } from '../wire/replies.js'

/** Compares a property of `what`. */
export function compare<T>(what: string, property: string, received: T, current: T): void {
  if (received === current) return
  throw new AmqpError(
    'PRECONDITION_FAILED',
    `inequivalent arg '${property}' for ${what}: received '${received}' but current is '${current}'`,
  )
}

/** Compares an argument, which may be absent on either side. */
export function compareArgument(
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

/** An absent queue type and "classic" are the same. */
function argumentOf(table: FieldTable, name: string): FieldValue | undefined {
  const value = lookup(table, name)
  const isDefault = name === 'x-queue-type' && value?.value?.toString() === 'classic'
  return isDefault ? undefined : value
}
