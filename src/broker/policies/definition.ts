/**
 * What a policy says: the one table of its keys, with the check of each value, whether an operator
 * policy may have it, and what comes of it where both say something. Texts of refusals and merging
 * are those of RabbitMQ 4.3 (rabbit_policies, rabbit_quorum_queue, rabbit_classic_queue). Keys of
 * 3.x and of plug-ins are taken, kept and ignored, so that their definitions load.
 */
import { printBinary } from '../../wire/erlang-term.js'
import {
  deadLetterStrategies,
  delayedRetryTypes,
  isMaxAge,
  overflows,
} from '../queues/arguments.js'

/** A value as JSON has it. */
export type DefinitionValue =
  | string
  | number
  | boolean
  | null
  | readonly DefinitionValue[]
  | { readonly [key: string]: DefinitionValue }

/** Values by key. */
export type Definition = ReadonlyMap<string, DefinitionValue>

/** Users' policies and the operator's, of which one each rules a queue or an exchange. */
export type PolicyKind = 'policy' | 'operator_policy'

/** Decides between a policy's value and the other's: the operator policy's, or an argument's. */
export type Merge = (policy: DefinitionValue, other: DefinitionValue) => DefinitionValue

export const smaller: Merge = (one, other) => Math.min(one as number, other as number)
const larger: Merge = (one, other) => Math.max(one as number, other as number)
export const otherFirst: Merge = (_one, other) => other

/** Of two delivery limits the smaller; but below 0 is none at all, and then the other counts. */
export const smallerLimit: Merge = (one, other) =>
  (one as number) < 0 || (other as number) < 0 ? larger(one, other) : smaller(one, other)

interface Key {
  readonly valid: (value: DefinitionValue) => boolean
  /** What stands behind "V is not a valid ". */
  readonly what: string
  /** Only keys that have it may stand in an operator policy. */
  readonly merge?: Merge
}

const isText = (value: DefinitionValue): boolean => typeof value === 'string'
const isAnything = () => true

function whole(smallest: number, largest = Number.POSITIVE_INFINITY): Key['valid'] {
  return value =>
    Number.isInteger(value) && (value as number) >= smallest && (value as number) <= largest
}

function oneOf(...values: readonly DefinitionValue[]): Key['valid'] {
  return value => values.includes(value)
}

/** A routing key is a shortstr on the wire. */
const isKey = (value: DefinitionValue) =>
  typeof value === 'string' && Buffer.byteLength(value) < 256

const ignored: Key = { valid: isAnything, what: '', merge: otherFirst }

const keys: ReadonlyMap<string, Key> = new Map(
  Object.entries<Key>({
    'alternate-exchange': { valid: isText, what: 'alternate exchange name' },
    'consumer-disconnected-timeout': { valid: whole(0), what: 'consumer disconnected timeout' },
    'consumer-timeout': { valid: whole(0), what: 'consumer timeout' },
    'dead-letter-exchange': { valid: isText, what: 'dead letter exchange name' },
    'dead-letter-routing-key': { valid: isKey, what: 'dead letter routing key' },
    'dead-letter-strategy': { valid: oneOf(...deadLetterStrategies), what: 'dead letter strategy' },
    'delayed-retry-max': {
      valid: whole(1),
      what: 'delayed retry maximum delay. Must be a positive integer',
      merge: smaller,
    },
    'delayed-retry-min': {
      valid: whole(1),
      what: 'delayed retry minimum delay. Must be a positive integer',
      merge: larger,
    },
    'delayed-retry-type': {
      valid: oneOf(...delayedRetryTypes),
      what: 'delayed retry type. Must be one of: all, failed, returned, disabled',
      merge: otherFirst,
    },
    'delivery-limit': {
      valid: whole(Number.NEGATIVE_INFINITY),
      what: 'delivery limit',
      merge: smallerLimit,
    },
    expires: { valid: whole(1), what: 'queue expiry', merge: smaller },
    'initial-cluster-size': { valid: whole(0), what: 'cluster size' },
    'max-age': {
      valid: value => typeof value === 'string' && isMaxAge(value),
      what: 'max age',
    },
    'max-in-memory-bytes': { valid: whole(0), what: 'maximum memory in bytes', merge: smaller },
    'max-in-memory-length': { valid: whole(0), what: 'maximum memory in bytes', merge: smaller },
    'max-length': { valid: whole(0), what: 'maximum length', merge: smaller },
    'max-length-bytes': { valid: whole(0), what: 'maximum length in bytes', merge: smaller },
    'member-placement-tag': {
      valid: value => isText(value) && value !== '',
      what: 'member-placement-tag value. Must be a non-empty string',
      merge: otherFirst,
    },
    'message-ttl': { valid: whole(0), what: 'message TTL', merge: smaller },
    overflow: { valid: oneOf(...overflows), what: 'overflow value', merge: otherFirst },
    'queue-leader-locator': {
      valid: oneOf('client-local', 'balanced', 'random', 'least-leaders'),
      what: 'queue leader locator value',
    },
    'queue-mode': { valid: oneOf('default', 'lazy'), what: 'queue-mode value' },
    'queue-version': { valid: oneOf(1, 2), what: 'queue-version value', merge: otherFirst },
    'stream-filter-size-bytes': {
      valid: whole(16, 255),
      what: 'filter size. Valid range is 16-255',
    },
    'stream-max-segment-size-bytes': { valid: whole(0, 3_000_000_000), what: 'segment size' },
    'target-group-size': { valid: whole(1), what: 'qq target count value', merge: larger },
    'federation-upstream': { valid: isText, what: 'federation upstream' },
    'federation-upstream-pattern': { valid: isText, what: 'federation upstream pattern' },
    'federation-upstream-set': { valid: isText, what: 'federation upstream set' },
    'ha-mode': ignored,
    'ha-params': ignored,
    'ha-promote-on-failure': ignored,
    'ha-promote-on-shutdown': ignored,
    'ha-sync-batch-size': ignored,
    'ha-sync-mode': ignored,
    'queue-master-locator': ignored,
  }),
)

/** Why no policy of this kind can say this, or null; `definition` is what JSON.parse makes of it. */
export function refusalOf(kind: PolicyKind, definition: unknown): string | null {
  if (typeof definition !== 'object' || definition === null || Array.isArray(definition))
    return `definition must be a dictionary: ${term(definition as DefinitionValue)}`
  const entries = Object.entries(definition as Record<string, DefinitionValue>).sort(([a], [b]) =>
    a < b ? -1 : 1,
  )
  if (entries.length === 0) return 'no policy provided'
  const unknown: string[] = []
  for (const [name, value] of entries) {
    const key = keys.get(name)
    if (key === undefined || (kind === 'operator_policy' && key.merge === undefined))
      unknown.push(`{${term(name)},${term(value)}}`)
    else if (!key.valid(value)) return `${term(value)} is not a valid ${key.what}`
  }
  const retry = refusalOfRetry(new Map(entries))
  if (retry !== null) return retry
  return unknown.length > 0 ? `[${unknown.join(',')}] are not recognised policy settings` : null
}

/** The keys of delayed retry hang together. */
function refusalOfRetry(definition: Definition): string | null {
  const type = definition.get('delayed-retry-type')
  const min = definition.get('delayed-retry-min')
  const max = definition.get('delayed-retry-max')
  if (type !== undefined && type !== 'disabled' && min === undefined)
    return `delayed-retry-min is required when delayed-retry-type is ${type}`
  if (min !== undefined && max !== undefined && (max as number) < (min as number))
    return `delayed-retry-max (${max}) must not be smaller than delayed-retry-min (${min})`
  return null
}

/** What a policy and an operator policy say together. */
export function merged(policy: Definition, operatorPolicy: Definition): Definition {
  const both = new Map(policy)
  for (const [name, value] of operatorPolicy) {
    const own = both.get(name)
    both.set(name, own === undefined ? value : (keys.get(name)?.merge ?? otherFirst)(own, value))
  }
  return both
}

/** A value as Erlang prints what was read from JSON. */
export function term(value: DefinitionValue): string {
  if (typeof value === 'string') return printBinary(Buffer.from(value))
  if (typeof value !== 'object' || value === null) return String(value)
  if (Array.isArray(value)) return `[${value.map(term).join(',')}]`
  const fields = Object.entries(value).map(([key, field]) => `${term(key)} => ${term(field)}`)
  return `#{${fields.join(',')}}`
}
