/**
 * The policies of a vhost, users' and the operator's, and what they come to: each queue and
 * exchange has at most one of either kind, the matching one of the highest priority. A change is
 * valid at once for all that is declared from then on; what is there already follows in steps, so
 * that a hundred thousand queues do not hold the event loop.
 *
 * The management API calls `set`, `remove`, `all` and `get`; what rules a queue or an exchange
 * stands there, in `ruling`.
 */
import type { Clock } from '../../platform/clock.js'
import { Stage, type Turn, type TurnParty } from '../../platform/turn.js'
import { lookup, textOf } from '../../wire/field-table.js'
import { AmqpError } from '../../wire/replies.js'
import type { Command, CommandOf } from '../command.js'
import type { Definitions } from '../definitions.js'
import { type Events, internalUser } from '../events.js'
import type { Exchange } from '../exchanges/exchange.js'
import type { QueueType } from '../queues/arguments.js'
import type { Queue } from '../queues/queue.js'
import type { Router } from '../router.js'
import type { PolicyKind } from './definition.js'
import { Policy, type PolicyRequest } from './policy.js'
import { PolicyEvents } from './policy-events.js'
import { Ruling } from './ruling.js'

/** Existing queues and exchanges are looked at no longer than this at a time. */
const stepMs = 2

/** What policies need to know of their vhost. */
export interface PoliciesHost {
  readonly name: string
  readonly turn: Turn
  readonly clock: Clock
  readonly definitions: Definitions
  readonly events: Events
  readonly queues: ReadonlyMap<string, Queue>
  readonly exchanges: ReadonlyMap<string, Exchange>
  readonly router: Router
}

export class Policies implements TurnParty {
  readonly #host: PoliciesHost
  readonly #events: PolicyEvents
  readonly #byName: Readonly<Record<PolicyKind, Map<string, Policy>>> = {
    policy: new Map(),
    operator_policy: new Map(),
  }
  /** The same, highest priority first. */
  readonly #sorted: Record<PolicyKind, readonly Policy[]> = { policy: [], operator_policy: [] }
  readonly #rulings = new Map<Policy | null, Map<Policy | null, Ruling>>()
  /** What is still to be looked at, and whether all of it once more after that. */
  #rest: Iterator<Queue | Exchange> | null = null
  #again = false

  constructor(host: PoliciesHost) {
    this.#host = host
    this.#events = new PolicyEvents(host.events, host.name)
  }

  /**
   * Sets a policy, in place of the one that has its name. Throws PRECONDITION_FAILED if it can be
   * none. Returns the log number at which it is there for good.
   */
  set(kind: PolicyKind, name: string, request: PolicyRequest, by = internalUser): number {
    const policy = new Policy(kind, name, request)
    this.#put(kind, name, policy)
    this.#begin()
    this.#events.set(kind, policy, by)
    return this.#host.definitions.append(this.#command(kind, policy))
  }

  /** Removes a policy; NOT_FOUND if there is none. Returns the log number at which it is gone for good. */
  remove(kind: PolicyKind, name: string, by = internalUser): number {
    const { definitions, name: vhost } = this.#host
    if (!this.#byName[kind].has(name))
      throw new AmqpError('NOT_FOUND', `no ${kind} '${name}' in vhost '${vhost}'`)
    this.#put(kind, name, null)
    this.#begin()
    this.#events.removed(kind, name, by)
    return definitions.append({ command: 'policy.removed', vhost, kind, name })
  }

  get(kind: PolicyKind, name: string): Policy | undefined {
    return this.#byName[kind].get(name)
  }

  /** All of one kind, highest priority first. */
  all(kind: PolicyKind): readonly Policy[] {
    return this.#sorted[kind]
  }

  /** What rules a queue of this name and type. */
  rulingOfQueue(name: string, type: QueueType): Ruling {
    return this.#rulingOf(policy => policy.isForQueue(name, type))
  }

  /** What rules an exchange of this name. */
  rulingOfExchange(name: string): Ruling {
    return this.#rulingOf(policy => policy.isForExchange(name))
  }

  /** Rules an exchange; its own argument comes before a policy's. */
  ruleExchange(exchange: Exchange): void {
    const ruling = this.rulingOfExchange(exchange.name)
    if (exchange.ruling === ruling) return
    exchange.ruling = ruling
    // Nothing fails to match at the default exchange: there is nobody else to ask.
    if (exchange.name === '') return
    const argument = textOf(lookup(exchange.arguments, 'alternate-exchange'))
    const ruled = ruling.definition.get('alternate-exchange') as string | undefined
    const alternate = argument ?? ruled ?? null
    if (exchange.alternate === alternate) return
    exchange.alternate = alternate
    this.#host.router.changed()
  }

  /** Rules a queue that is there. */
  ruleQueue(queue: Queue): void {
    const ruling = this.rulingOfQueue(queue.name, queue.settings.type)
    if (queue.ruling === ruling) return
    queue.apply(ruling)
    // Dead letters on their way remember where those before went.
    this.#host.router.changed()
  }

  // --- what survives a restart

  *commands(): Iterable<Command> {
    for (const kind of ['policy', 'operator_policy'] as const)
      for (const policy of this.#byName[kind].values()) yield this.#command(kind, policy)
  }

  /** Does again what a command says; `ruleAll` follows the last. */
  restore(command: CommandOf<'policy.set'> | CommandOf<'policy.removed'>): void {
    const { name } = command
    const kind = command.kind === 'policy' ? 'policy' : 'operator_policy'
    if (command.command === 'policy.removed') {
      this.#put(kind, name, null)
      return
    }
    const definition = JSON.parse(command.definition)
    this.#put(kind, name, new Policy(kind, name, { ...command, definition }))
  }

  /** Forgets all policies without a word to the log: their vhost is gone. */
  clear(): void {
    for (const kind of ['policy', 'operator_policy'] as const) {
      this.#byName[kind].clear()
      this.#sorted[kind] = []
    }
  }

  /** Rules all that is there, however long it takes. */
  ruleAll(): void {
    this.#rest = this.#ruled()
    this.#proceed(Number.POSITIVE_INFINITY)
  }

  /** Rules the next of what is there. */
  endTurn(): void {
    this.#proceed(this.#host.clock.monotonicMs() + stepMs)
    if (this.#rest === null && this.#again) {
      this.#again = false
      this.#rest = this.#ruled()
    }
    if (this.#rest !== null) this.#host.turn.add(Stage.deliver, this)
  }

  #proceed(deadlineMs: number): void {
    const rest = this.#rest as Iterator<Queue | Exchange>
    for (let next = rest.next(); !next.done; next = rest.next())
      if (this.#host.clock.monotonicMs() >= deadlineMs) return
    this.#rest = null
  }

  /** All that is there, ruled one by one. */
  *#ruled(): Iterator<Queue | Exchange> {
    for (const exchange of this.#host.exchanges.values()) {
      this.ruleExchange(exchange)
      yield exchange
    }
    for (const queue of this.#host.queues.values()) {
      this.ruleQueue(queue)
      yield queue
    }
  }

  #begin(): void {
    this.#again = this.#rest !== null
    if (this.#again) return
    this.#rest = this.#ruled()
    this.#host.turn.add(Stage.deliver, this)
  }

  /** The first of each kind for which `isFor` holds, together. */
  #rulingOf(isFor: (policy: Policy) => boolean): Ruling {
    const policy = this.#sorted.policy.find(isFor) ?? null
    const operatorPolicy = this.#sorted.operator_policy.find(isFor) ?? null
    if (policy === null && operatorPolicy === null) return Ruling.none
    const byOperator = this.#rulings.get(policy) ?? new Map<Policy | null, Ruling>()
    this.#rulings.set(policy, byOperator)
    const ruling = byOperator.get(operatorPolicy) ?? new Ruling(policy, operatorPolicy)
    byOperator.set(operatorPolicy, ruling)
    return ruling
  }

  /** Puts a policy, or none, in the place of the one of this name. */
  #put(kind: PolicyKind, name: string, policy: Policy | null): void {
    const byName = this.#byName[kind]
    const former = byName.get(name) ?? null
    if (policy === null) byName.delete(name)
    else byName.set(name, policy)
    this.#sorted[kind] = [...byName.values()].sort(
      (a, b) => b.priority - a.priority || (a.name < b.name ? -1 : 1),
    )
    if (former === null) return
    this.#rulings.delete(former)
    for (const byOperator of this.#rulings.values()) byOperator.delete(former)
  }

  #command(kind: PolicyKind, policy: Policy): Command {
    const { name, pattern, applyTo, priority } = policy
    const definition = JSON.stringify(Object.fromEntries(policy.definition))
    const { name: vhost } = this.#host
    return { command: 'policy.set', vhost, kind, name, pattern, applyTo, priority, definition }
  }
}
