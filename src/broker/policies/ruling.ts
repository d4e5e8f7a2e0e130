/** The policies that rule a queue or an exchange together; one for all that the same ones rule. */
import type { FieldTable } from '../../wire/field-table.js'
import type { QueueType } from '../queues/arguments.js'
import { type QueueSettings, settingsOf } from '../queues/settings.js'
import { type Definition, merged } from './definition.js'
import type { Policy } from './policy.js'

const nothing: Definition = new Map()

export class Ruling {
  /** No policy. */
  static readonly none = new Ruling(null, null)

  readonly policy: Policy | null
  readonly operatorPolicy: Policy | null
  /** What both say together: the effective policy definition. */
  readonly definition: Definition
  /** Settings of queues with no arguments of their own, but for their type. */
  readonly #plain = new Map<QueueType, QueueSettings>()

  constructor(policy: Policy | null, operatorPolicy: Policy | null) {
    this.policy = policy
    this.operatorPolicy = operatorPolicy
    this.definition = merged(policy?.definition ?? nothing, operatorPolicy?.definition ?? nothing)
  }

  /** How a queue with these arguments behaves; alike ones share what this returns. */
  settingsOf(table: FieldTable): QueueSettings {
    if (table.some(({ key }) => key !== 'x-queue-type')) return settingsOf(table, this.definition)
    const settings = settingsOf(table, this.definition)
    const known = this.#plain.get(settings.type)
    if (known === undefined) this.#plain.set(settings.type, settings)
    return known ?? settings
  }
}
