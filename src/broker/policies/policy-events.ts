/** Policies that are set and removed, told as events by RabbitMQ's names. Each is a parameter too. */
import type { Events } from '../events.js'
import type { PolicyKind } from './definition.js'
import type { Policy } from './policy.js'

export class PolicyEvents {
  readonly #events: Events
  readonly #vhost: string

  constructor(events: Events, vhost: string) {
    this.#events = events
    this.#vhost = vhost
  }

  set(kind: PolicyKind, policy: Policy, by: string): void {
    if (!this.#events.heard) return
    const { name, pattern, applyTo, priority } = policy
    const definition = Object.fromEntries(policy.definition)
    const value = { pattern, definition, priority, 'apply-to': applyTo }
    const [vhost, user_who_performed_action] = [this.#vhost, by]
    this.#events.emit('parameter.set', () => ({
      component: kind,
      name,
      value,
      vhost,
      user_who_performed_action,
    }))
    this.#events.emit('policy.set', () => ({ name, vhost, user_who_performed_action, ...value }))
  }

  removed(kind: PolicyKind, name: string, by: string): void {
    const facts = { name, vhost: this.#vhost, user_who_performed_action: by }
    this.#events.emit('parameter.cleared', () => ({ component: kind, ...facts }))
    this.#events.emit(kind === 'policy' ? 'policy.cleared' : 'operator.policy.cleared', () => facts)
  }
}
