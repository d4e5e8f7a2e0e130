/**
 * What a queue's arguments ask of it: the one table of the arguments that are known, with the
 * check of each and the texts of RabbitMQ's refusals. Arguments that are not known are kept with
 * the queue and never looked at.
 */
import {
  equivalenceClass,
  type FieldTable,
  type FieldValue,
  lookup,
  textOf,
  typeNames,
} from '../../wire/field-table.js'
import { AmqpError } from '../../wire/replies.js'

/** What happens to a message for which a queue has no room. */
export type Overflow = 'drop-head' | 'reject-publish' | 'reject-publish-dlx'

/** Absent limits are -1, absent names null. */
export interface QueueSettings {
  readonly messageTtlMs: number
  readonly expiresMs: number
  readonly maxLength: number
  readonly maxLengthBytes: number
  readonly overflow: Overflow
  readonly deadLetterExchange: string | null
  readonly deadLetterRoutingKey: string | null
  /** Only one consumer at a time is given messages. */
  readonly singleActiveConsumer: boolean
  /** 0: a plain queue. */
  readonly maxPriority: number
}

/** RabbitMQ's longest time to live: ten years and a bit, in milliseconds. */
export const longestTtlMs = 315_360_000_000

/** A routing key is a shortstr on the wire. */
const longestKeyBytes = 255

type Check = (value: FieldValue, all: FieldTable) => string | null

const whole =
  (smallest: number, largest: number, largestText = 'value_too_large'): Check =>
  value => {
    if (equivalenceClass(value.type) !== 'integer' || value.type === 'D')
      return `"expected integer, got ${typeNames[value.type]}"`
    const number = value.value as number | bigint
    if (number < 0) return `{value_negative,${number}}`
    if (number < smallest) return `{value_zero,${number}}`
    if (number > largest) return `{${largestText},${number}}`
    return null
  }

const oneOf =
  (texts: readonly string[], refusal: (text: string) => string): Check =>
  value => {
    if (value.type !== 'S') return `{unacceptable_type,${typeNames[value.type]}}`
    const text = value.value.toString()
    return texts.includes(text) ? null : refusal(text)
  }

const overflows: readonly Overflow[] = ['drop-head', 'reject-publish', 'reject-publish-dlx']

/** Arguments that a classic queue knows, each with its check: null, or the reason of the refusal. */
const checks: Readonly<Record<string, Check>> = {
  'x-queue-type': oneOf(['classic', '', 'undefined'], text => `"unsupported queue type '${text}'"`),
  'x-message-ttl': whole(0, longestTtlMs),
  'x-expires': whole(1, longestTtlMs),
  'x-max-length': whole(0, Number.MAX_SAFE_INTEGER),
  'x-max-length-bytes': whole(0, Number.MAX_SAFE_INTEGER),
  'x-overflow': oneOf(overflows, () => 'invalid_overflow'),
  'x-dead-letter-exchange': value =>
    value.type === 'S' ? null : `{unacceptable_type,${typeNames[value.type]}}`,
  'x-dead-letter-routing-key': (value, all) => {
    if (value.type !== 'S') return `{unacceptable_type,${typeNames[value.type]}}`
    if (value.value.length > longestKeyBytes) return `{value_too_large,${value.value.length}}`
    return lookup(all, 'x-dead-letter-exchange') === undefined
      ? 'routing_key_but_no_dlx_defined'
      : null
  },
  'x-max-priority': whole(0, 255, 'max_value_exceeded'),
  'x-single-active-consumer': value =>
    value.type === 't' ? null : `{unacceptable_type,${typeNames[value.type]}}`,
}

/** The same as a map: a client may name an argument like anything that every object has. */
const known = new Map(Object.entries(checks))

/** Names of the arguments that count when a queue is declared again. */
export const knownArguments: readonly string[] = [...known.keys()]

/** Arguments of other queue types: on a classic queue they are a mistake. */
const foreign: readonly string[] = [
  'x-max-age',
  'x-stream-max-segment-size-bytes',
  'x-stream-filter-size-bytes',
  'x-initial-cluster-size',
  'x-quorum-initial-group-size',
  'x-dead-letter-strategy',
  'x-delivery-limit',
]

/** Checks a declaration's arguments; `queue` names the queue in the refusal (406). */
export function queueSettings(table: FieldTable, queue: string): QueueSettings {
  for (const { key, value } of table) {
    // Kept apart from other types' errors because it has a text of its own.
    if (key === 'x-dead-letter-exchange' && value.type !== 'S')
      throw new AmqpError(
        'PRECONDITION_FAILED',
        `invalid type '${typeNames[value.type]}' for arg '${key}' in ${queue}`,
      )
    if (foreign.includes(key))
      throw new AmqpError(
        'PRECONDITION_FAILED',
        `invalid arg '${key}' for ${queue} of queue type rabbit_classic_queue`,
      )
    const reason = known.get(key)?.(value, table) ?? null
    if (reason !== null)
      throw new AmqpError('PRECONDITION_FAILED', `invalid arg '${key}' for ${queue}: ${reason}`)
  }
  const number = (key: string, absent: number) => Number(lookup(table, key)?.value ?? absent)
  return {
    messageTtlMs: number('x-message-ttl', -1),
    expiresMs: number('x-expires', -1),
    maxLength: number('x-max-length', -1),
    maxLengthBytes: number('x-max-length-bytes', -1),
    overflow: (textOf(lookup(table, 'x-overflow')) ?? 'drop-head') as Overflow,
    deadLetterExchange: textOf(lookup(table, 'x-dead-letter-exchange')) ?? null,
    deadLetterRoutingKey: textOf(lookup(table, 'x-dead-letter-routing-key')) ?? null,
    maxPriority: number('x-max-priority', 0),
    singleActiveConsumer: lookup(table, 'x-single-active-consumer')?.value === true,
  }
}
