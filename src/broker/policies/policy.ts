/**
 * A policy: which queues and exchanges of a vhost it is for, and what it says. What is none is
 * refused with RabbitMQ's texts (rabbit_policy, rabbit_parameter_validation), of which the
 * management API makes "Validation failed".
 */
import { Pattern, PatternError } from '../../structures/pattern.js'
import { AmqpError } from '../../wire/replies.js'
import type { QueueType } from '../queues/arguments.js'
import {
  type Definition,
  type DefinitionValue,
  type PolicyKind,
  refusalOf,
  term,
} from './definition.js'

/** What a policy is for. */
const targets = [
  'all',
  'exchanges',
  'queues',
  'classic_queues',
  'quorum_queues',
  'streams',
] as const
export type ApplyTo = (typeof targets)[number]

/** What somebody asks for, of which nothing is checked; without a value: 0 and `all`. */
export interface PolicyRequest {
  readonly pattern: unknown
  readonly definition: unknown
  readonly priority?: unknown
  readonly applyTo?: unknown
}

/** RabbitMQ's limit (rabbit_re). */
const longestPattern = 1024

/** Keys with which a policy is not for queues of a type at all (RabbitMQ's unsupported_policies). */
const unsupported: Readonly<Record<QueueType, readonly string[]>> = {
  classic: [
    'max-age',
    'stream-max-segment-size-bytes',
    'initial-cluster-size',
    'delivery-limit',
    'dead-letter-strategy',
    'max-in-memory-length',
    'max-in-memory-bytes',
    'target-group-size',
  ],
  quorum: [
    'queue-mode',
    'ha-mode',
    'ha-params',
    'ha-sync-mode',
    'ha-promote-on-shutdown',
    'ha-promote-on-failure',
    'queue-master-locator',
    'max-age',
    'stream-max-segment-size-bytes',
    'initial-cluster-size',
  ],
  stream: [
    'expires',
    'message-ttl',
    'dead-letter-exchange',
    'dead-letter-routing-key',
    'dead-letter-strategy',
    'max-length',
    'max-in-memory-length',
    'max-in-memory-bytes',
    'overflow',
    'queue-mode',
    'delivery-limit',
    'ha-mode',
    'ha-params',
    'ha-sync-mode',
    'ha-promote-on-shutdown',
    'ha-promote-on-failure',
    'queue-master-locator',
    'target-group-size',
  ],
}

const targetOfType: Readonly<Record<QueueType, ApplyTo>> = {
  classic: 'classic_queues',
  quorum: 'quorum_queues',
  stream: 'streams',
}

export class Policy {
  readonly name: string
  readonly applyTo: ApplyTo
  /** The highest one that matches rules. */
  readonly priority: number
  readonly definition: Definition
  readonly #pattern: Pattern

  /** Throws PRECONDITION_FAILED, with a line for each thing that is wrong. */
  constructor(kind: PolicyKind, name: string, request: PolicyRequest) {
    const { pattern, definition, priority = 0, applyTo = 'all' } = request
    const compiled = patternOf(pattern)
    const refusals = [
      refusalOf(kind, definition),
      targets.includes(applyTo as ApplyTo)
        ? null
        : `apply-to '${applyTo}' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', 'streams', 'exchanges', or 'all'`,
      compiled instanceof Pattern ? null : compiled,
      Number.isFinite(priority)
        ? null
        : `priority should be a number, actually was ${term(priority as DefinitionValue)}`,
    ].filter(refusal => refusal !== null)
    if (refusals.length > 0) throw new AmqpError('PRECONDITION_FAILED', refusals.join('\n'))
    this.name = name
    this.applyTo = applyTo as ApplyTo
    this.priority = priority as number
    this.definition = new Map(Object.entries(definition as Record<string, DefinitionValue>))
    this.#pattern = compiled as Pattern
  }

  get pattern(): string {
    return this.#pattern.source
  }

  /** Whether it is for the queue of this name and type. */
  isForQueue(name: string, type: QueueType): boolean {
    const { applyTo, definition } = this
    if (applyTo !== 'all' && applyTo !== 'queues' && applyTo !== targetOfType[type]) return false
    return !unsupported[type].some(key => definition.has(key)) && this.#pattern.matches(name)
  }

  isForExchange(name: string): boolean {
    const { applyTo } = this
    return (applyTo === 'all' || applyTo === 'exchanges') && this.#pattern.matches(name)
  }
}

/** The pattern, or why it is none. */
function patternOf(pattern: unknown): Pattern | string {
  if (typeof pattern !== 'string')
    return `pattern should be a binary but was ${term(pattern as DefinitionValue)}`
  if (Buffer.byteLength(pattern) > longestPattern)
    return `pattern must not exceed ${longestPattern} bytes`
  try {
    return new Pattern(pattern)
  } catch (error) {
    if (!(error instanceof PatternError)) throw error
    const reason = error.message.replaceAll('\\', '\\\\')
    return `pattern should be regular expression but is invalid: {"${reason}",${error.at}}`
  }
}
