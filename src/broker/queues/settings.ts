/**
 * How a queue behaves: what its arguments ask for, and what a policy does. Where both say
 * something the stricter counts for limits, and for the rest the argument, unless RabbitMQ decides
 * otherwise (args_policy_lookup of its queue types).
 */
import { type FieldTable, lookup } from '../../wire/field-table.js'
import {
  type Definition,
  type DefinitionValue,
  type Merge,
  otherFirst,
  smaller,
  smallerLimit,
} from '../policies/definition.js'
import {
  type deadLetterStrategies,
  type delayedRetryTypes,
  longestTtlMs,
  type overflows,
  type QueueType,
  queueTypeOf,
} from './arguments.js'

/** What happens to a message for which a queue has no room. */
export type Overflow = (typeof overflows)[number]

/** Whether a dead letter stays with its queue until it has arrived. */
export type DeadLetterStrategy = (typeof deadLetterStrategies)[number]

/** Which returned messages have to wait before they are delivered again. */
export type DelayedRetryType = (typeof delayedRetryTypes)[number]

/** Absent numbers are -1, absent names null, unless said otherwise. */
export interface QueueSettings {
  readonly type: QueueType
  readonly messageTtlMs: number
  readonly expiresMs: number
  readonly maxLength: number
  readonly maxLengthBytes: number
  readonly overflow: Overflow
  readonly deadLetterExchange: string | null
  readonly deadLetterRoutingKey: string | null
  readonly deadLetterStrategy: DeadLetterStrategy
  /** How often a message may come back; below 0 as often as it will; null: nobody said. */
  readonly deliveryLimit: number | null
  /** How long a delivery may stay unsettled. */
  readonly consumerTimeoutMs: number
  readonly delayedRetryType: DelayedRetryType
  readonly delayedRetryMinMs: number
  readonly delayedRetryMaxMs: number
  /** Only one consumer at a time is given messages. No policy changes that. */
  readonly singleActiveConsumer: boolean
  /** 0: a plain queue. No policy changes that. */
  readonly maxPriority: number
}

const policyFirst: Merge = policy => policy

/** The settings of a queue with these arguments, which `checkArguments` has passed, under a policy. */
export function settingsOf(table: FieldTable, policy: Definition): QueueSettings {
  const type = queueTypeOf(table)
  const value = (name: string, merge: Merge): DefinitionValue | undefined => {
    const argument = argumentOf(table, `x-${name}`)
    const ruled = policy.get(name)
    if (argument === undefined || ruled === undefined) return argument ?? ruled
    return merge(ruled, argument)
  }
  const number = (name: string) => (value(name, smaller) ?? -1) as number
  const text = (name: string, merge = otherFirst) => value(name, merge) as string | undefined
  return {
    type,
    messageTtlMs: Math.min(number('message-ttl'), longestTtlMs),
    expiresMs: Math.min(number('expires'), longestTtlMs),
    maxLength: number('max-length'),
    maxLengthBytes: number('max-length-bytes'),
    overflow: (text('overflow', type === 'classic' ? otherFirst : policyFirst) ??
      'drop-head') as Overflow,
    deadLetterExchange: text('dead-letter-exchange') ?? null,
    deadLetterRoutingKey: text('dead-letter-routing-key') ?? null,
    deadLetterStrategy: (text('dead-letter-strategy') ?? 'at-most-once') as DeadLetterStrategy,
    deliveryLimit: (value('delivery-limit', smallerLimit) ?? null) as number | null,
    consumerTimeoutMs: number('consumer-timeout'),
    delayedRetryType: (text('delayed-retry-type', policyFirst) ?? 'disabled') as DelayedRetryType,
    delayedRetryMinMs: number('delayed-retry-min'),
    delayedRetryMaxMs: number('delayed-retry-max'),
    singleActiveConsumer: argumentOf(table, 'x-single-active-consumer') === true,
    maxPriority: (argumentOf(table, 'x-max-priority') ?? 0) as number,
  }
}

/** An argument's value as a policy would have it. */
function argumentOf(table: FieldTable, name: string): DefinitionValue | undefined {
  const value = lookup(table, name)
  if (value === undefined) return undefined
  if (value.type === 'S') return value.value.toString()
  return typeof value.value === 'boolean' ? value.value : Number(value.value)
}
