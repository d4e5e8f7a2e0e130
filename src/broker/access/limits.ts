/** How much a vhost may hold and a user may open. */
import type { FieldTable } from '../../wire/field-table.js'
import { AmqpError } from '../../wire/replies.js'

/** Limits by name; absent or below 0: none. */
export type Limits = Readonly<Record<string, number>>

export const userLimitNames = ['max-connections', 'max-channels'] as const
export const vhostLimitNames = ['max-connections', 'max-queues'] as const

/** Refuses limits that are none of the known ones, in RabbitMQ's words (406). */
export function checkedLimits(limits: Limits, known: readonly string[]): Limits {
  for (const [name, value] of Object.entries(limits)) {
    if (!known.includes(name))
      throw new AmqpError('PRECONDITION_FAILED', `Unrecognised terms [${name}] in limits`)
    if (!Number.isSafeInteger(value))
      throw new AmqpError(
        'PRECONDITION_FAILED',
        `${name} should be a number, actually was ${value}`,
      )
  }
  return limits
}

/** Limits as they stand in a command. */
export function limitsIn(table: FieldTable): Limits {
  return Object.fromEntries(table.map(({ key, value }) => [key, Number(value.value)]))
}

/** The limit of this name, Infinity if there is none. */
export function limitOf(limits: Limits, name: string): number {
  const limit = limits[name] ?? -1
  return limit < 0 ? Number.POSITIVE_INFINITY : limit
}
