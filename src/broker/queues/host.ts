/** What a queue needs from where it lives, and what it is told about itself. */
import type { Clock } from '../../platform/clock.js'
import type { Turn } from '../../platform/turn.js'
import type { MessageTable } from '../../store/message-table.js'
import type { Paging } from '../../store/paging.js'
import type { FieldTable } from '../../wire/field-table.js'
import type { Deadlines } from '../deadlines.js'
import type { Journal } from '../journal.js'
import type { Owner, Queue } from './queue.js'
import type { ReadyPages } from './ready.js'

/** Why a message is dead-lettered, as x-death says it. */
export type DeathReason = 'rejected' | 'expired' | 'maxlen' | 'delivery_limit'

/** What the node decides for all its queues. */
export interface QueueRules {
  /** How often a message of a quorum queue may come back where nobody says it; below 0 as often as it will. */
  readonly deliveryLimit: number
  /** Any return counts as a failed delivery, as up to RabbitMQ 4.2; else only a reject and the loss of a consumer. */
  readonly everyReturnFails: boolean
  /** How long a delivery may stay unsettled where nobody says it; below 0 for ever. */
  readonly consumerTimeoutMs: number
  /** That is for classic queues too, as up to RabbitMQ 4.2. */
  readonly classicTimesOut: boolean
}

export const standardRules: QueueRules = {
  deliveryLimit: 20,
  everyReturnFails: true,
  consumerTimeoutMs: 1_800_000,
  classicTimesOut: false,
}

/** Where dead letters stay that have not arrived. */
export interface LetterKeeper {
  /** One of an earlier start, which `resume` sends on its way. */
  keep(queue: Queue, slot: number, reason: DeathReason): void
  resume(queue: Queue): void
  /** Throws those of a queue away and returns how many they were. */
  drop(queue: Queue): number
}

/** What a queue needs from the vhost it lives in. */
export interface QueueHost {
  readonly messages: MessageTable
  readonly paging: Paging
  readonly journal: Journal
  readonly pages: ReadyPages
  readonly turn: Turn
  readonly clock: Clock
  readonly deadlines: Deadlines
  readonly rules: QueueRules
  readonly letters: LetterKeeper
  /**
   * Takes over one reference to a message that leaves `queue`, or that it never took (`entered`
   * is false): to its dead letter exchange, or to nowhere.
   */
  bury(queue: Queue, slot: number, reason: DeathReason, entered: boolean): void
  /** The queue has nothing more to exist for (auto-delete, x-expires). */
  queueUnused(queue: Queue): void
}

/** How a queue was declared. */
export interface QueueDeclaration {
  readonly name: string
  readonly durable: boolean
  readonly autoDelete: boolean
  /** The connection that owns an exclusive queue. */
  readonly owner: Owner | null
  readonly arguments: FieldTable
  /** Names a durable queue in the log, and no other ever; 0 for a queue that is not there. */
  readonly number: number
}
