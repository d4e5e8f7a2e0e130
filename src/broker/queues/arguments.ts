/**
 * The arguments of queue.declare: one table of those that are known, by which types of queue, and
 * with which values, with the texts of RabbitMQ's refusals (406). An argument that is not in the
 * table is kept with the queue and never looked at; one that only other types know is refused.
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

/** Types of queue that arguments and policies tell apart; there are no streams yet. */
export type QueueType = 'classic' | 'quorum' | 'stream'

/** Types that are known and not built. */
const missing: readonly QueueType[] = ['stream']

/** RabbitMQ's longest time to live: ten years and a bit, in milliseconds. */
export const longestTtlMs = 315_360_000_000

/** A routing key is a shortstr on the wire. */
const longestKeyBytes = 255

const segmentBytesMax = 3_000_000_000

/** Null, or the reason of the refusal. */
type Check = (value: FieldValue, all: FieldTable) => string | null

/** One argument. */
interface Row {
  readonly types: readonly QueueType[]
  readonly check: Check
}

/** An integer of any width, between `smallest` and `largest`. */
function whole(
  smallest: number,
  largest = Number.POSITIVE_INFINITY,
  tooLarge = (number: number | bigint) => `{value_too_large,${number}}`,
): Check {
  return value => {
    if (!isInteger(value)) return `"expected integer, got ${typeNames[value.type]}"`
    const number = value.value as number | bigint
    if (number >= smallest) return number > largest ? tooLarge(number) : null
    return number < 0 ? `{value_negative,${number}}` : `{value_zero,${number}}`
  }
}

function isInteger({ type }: FieldValue): boolean {
  return equivalenceClass(type) === 'integer' && type !== 'T'
}

/** A text for which `refusal` has none. */
function text(refusal: (text: string, all: FieldTable) => string | null): Check {
  return (value, all) => {
    if (value.type !== 'S') return unacceptable(value)
    return refusal(value.value.toString(), all)
  }
}

function oneOf(texts: readonly string[], refusal: (text: string) => string): Check {
  return text(given => (texts.includes(given) ? null : refusal(given)))
}

function unacceptable(value: FieldValue): string {
  return `{unacceptable_type,${typeNames[value.type]}}`
}

const flag: Check = value => (value.type === 't' ? null : unacceptable(value))

/** How the values of policies are called too. */
export const overflows = ['drop-head', 'reject-publish', 'reject-publish-dlx'] as const
export const deadLetterStrategies = ['at-most-once', 'at-least-once'] as const
export const delayedRetryTypes = ['disabled', 'all', 'failed', 'returned'] as const
export const leaderLocators = [
  'client-local',
  'balanced',
  'random',
  'least-leaders',
  'min-masters',
] as const

/** What max-age may be: a number, not 0, and a unit (RabbitMQ's check_max_age). */
export function isMaxAge(text: string): boolean {
  return /^0*[1-9][0-9]*[YMDhms]$/.test(text)
}

const invalidFilterSize = '"Invalid value"'

const classic: readonly QueueType[] = ['classic']
const quorum: readonly QueueType[] = ['quorum']
const stream: readonly QueueType[] = ['stream']
const notStream: readonly QueueType[] = ['classic', 'quorum']
const all: readonly QueueType[] = ['classic', 'quorum', 'stream']

/**
 * RabbitMQ 4.3's table, in the order in which it checks. Ours: delivery limit and consumer timeout
 * also on classic queues; values of 3.x that no longer mean anything are accepted, not refused.
 */
const rows: Readonly<Record<string, Row>> = {
  'x-expires': { types: notStream, check: whole(1, longestTtlMs) },
  'x-message-ttl': { types: notStream, check: whole(0, longestTtlMs) },
  // A wrong type was refused before, with words of its own.
  'x-dead-letter-exchange': { types: notStream, check: text(() => null) },
  'x-dead-letter-routing-key': {
    types: notStream,
    check: text((key, all) => {
      if (Buffer.byteLength(key) > longestKeyBytes)
        return `{value_too_large,${Buffer.byteLength(key)}}`
      const exchange = lookup(all, 'x-dead-letter-exchange')
      return exchange === undefined ? 'routing_key_but_no_dlx_defined' : null
    }),
  },
  'x-dead-letter-strategy': {
    types: quorum,
    check: oneOf(deadLetterStrategies, () => 'invalid_dlx_strategy'),
  },
  'x-max-length': { types: notStream, check: whole(0) },
  'x-max-length-bytes': { types: all, check: whole(0) },
  'x-max-in-memory-length': { types: quorum, check: whole(0) },
  'x-max-in-memory-bytes': { types: quorum, check: whole(0) },
  'x-max-priority': {
    types: classic,
    check: whole(0, 255, number => `{max_value_exceeded,${number}}`),
  },
  'x-overflow': { types: notStream, check: oneOf(overflows, () => 'invalid_overflow') },
  'x-queue-mode': {
    types: classic,
    check: oneOf(['default', 'lazy'], mode => `"unsupported queue mode '${mode}'"`),
  },
  'x-queue-version': {
    types: classic,
    check: value => {
      const reason = whole(0)(value, [])
      if (reason !== null || value.value === 1 || value.value === 2) return reason
      return `"unsupported queue version '${value.value}'"`
    },
  },
  'x-single-active-consumer': { types: notStream, check: flag },
  'x-delivery-limit': { types: notStream, check: whole(Number.NEGATIVE_INFINITY) },
  'x-consumer-timeout': { types: notStream, check: whole(0) },
  'x-consumer-disconnected-timeout': { types: quorum, check: whole(0) },
  'x-delayed-retry-type': {
    types: quorum,
    check: oneOf(delayedRetryTypes, () => 'invalid_delayed_retry_type'),
  },
  'x-delayed-retry-min': { types: quorum, check: whole(1) },
  'x-delayed-retry-max': { types: quorum, check: whole(1) },
  'x-quorum-initial-group-size': { types: quorum, check: whole(1) },
  'x-max-age': {
    types: stream,
    check: text(age => (isMaxAge(age) ? null : 'invalid_max_age')),
  },
  'x-stream-max-segment-size-bytes': {
    types: stream,
    check: whole(0, segmentBytesMax, () => `"Exceeded max value"`),
  },
  'x-stream-filter-size-bytes': {
    types: stream,
    check: value => {
      const reason = whole(0, 255, () => invalidFilterSize)(value, [])
      return reason === null && (value.value as number) < 16 ? invalidFilterSize : reason
    },
  },
  'x-initial-cluster-size': { types: stream, check: whole(1) },
  'x-queue-leader-locator': {
    types: all,
    check: oneOf(leaderLocators, () => 'invalid_queue_locator_arg'),
  },
  'x-queue-master-locator': { types: classic, check: () => null },
  'x-member-placement-tag': {
    types: quorum,
    check: text(tag => (tag === '' ? 'invalid_member_placement_tag_arg' : null)),
  },
  'x-queue-type': { types: all, check: () => null },
}

/** The same as a map: a client may name an argument like anything that every object has. */
const known: ReadonlyMap<string, Row> = new Map(Object.entries(rows))

/** Names of the arguments that count when a queue of this type is declared again. */
export const knownArguments: Readonly<Record<QueueType, readonly string[]>> = {
  classic: namesOf('classic'),
  quorum: namesOf('quorum'),
  stream: namesOf('stream'),
}

function namesOf(type: QueueType): string[] {
  return [...known].filter(([, { types }]) => types.includes(type)).map(([name]) => name)
}

/** The type of a queue with these arguments, of which nobody need have checked any. */
export function queueTypeOf(table: FieldTable): QueueType {
  const type = textOf(lookup(table, 'x-queue-type'))
  return type === 'quorum' || type === 'stream' ? type : 'classic'
}

/** Refuses arguments with which a queue cannot be; `queue` names it. */
export function checkArguments(table: FieldTable, queue: string): void {
  const exchange = lookup(table, 'x-dead-letter-exchange')
  if (exchange !== undefined && exchange.type !== 'S')
    throw new AmqpError(
      'PRECONDITION_FAILED',
      `invalid type '${typeNames[exchange.type]}' for arg 'x-dead-letter-exchange' in ${queue}`,
    )
  const typeValue = lookup(table, 'x-queue-type')
  if (typeValue !== undefined) refuse('x-queue-type', checkType(typeValue, table), queue)
  const type = queueTypeOf(table)
  for (const [name, { types, check }] of known) {
    const value = types.includes(type) ? lookup(table, name) : undefined
    if (value !== undefined) refuse(name, check(value, table), queue)
  }
  for (const { key } of table)
    if (known.get(key)?.types.includes(type) === false)
      throw new AmqpError(
        'PRECONDITION_FAILED',
        `invalid arg '${key}' for ${queue} of queue type rabbit_${type}_queue`,
      )
  if (missing.includes(type)) refuse('x-queue-type', unsupported(type), queue)
}

/** An empty type, and "undefined", stand for the default. */
const checkType = oneOf([...all, '', 'undefined'], unsupported)

function unsupported(type: string): string {
  return `"unsupported queue type '${type}'"`
}

function refuse(name: string, reason: string | null, queue: string): void {
  if (reason !== null)
    throw new AmqpError('PRECONDITION_FAILED', `invalid arg '${name}' for ${queue}: ${reason}`)
}
