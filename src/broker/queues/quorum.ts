/**
 * What is peculiar to a quorum queue, of which a single node is all members: how it may be
 * declared, and in which order its messages stand. RabbitMQ 4.3 (rabbit_quorum_queue, rabbit_fifo).
 */
import { Mark } from '../../store/message-table.js'
import { AmqpError } from '../../wire/replies.js'
import type { QueueType } from './arguments.js'

/** Its priorities go from 0 to this one, and higher ones count as it. */
export const highestPriority = 31
const defaultPriority = 4

/** The priority of a message with these marks in a quorum queue. */
export function quorumPriority(marks: number): number {
  return (marks & Mark.prioritised) === 0 ? defaultPriority : Math.min(marks & 255, highestPriority)
}

interface Declaration {
  readonly name: string
  readonly durable: boolean
  readonly exclusive: boolean
  readonly autoDelete: boolean
}

/** Refuses what a queue of this type cannot be (406); `queue` names it. */
export function checkType(type: QueueType, declaration: Declaration, queue: string): void {
  if (type === 'classic') return
  if (declaration.name === '')
    throw new AmqpError(
      'PRECONDITION_FAILED',
      `Cannot declare a server-named queue for type rabbit_${type}_queue`,
    )
  const invalid = (property: string) =>
    new AmqpError('PRECONDITION_FAILED', `invalid property '${property}' for ${queue}`)
  if (declaration.autoDelete) throw invalid('auto-delete')
  if (declaration.exclusive) throw invalid('exclusive-owner')
  if (!declaration.durable) throw invalid('non-durable')
}

/** Refuses to delete a quorum queue only under conditions (540); `queue` names it. */
export function refuseConditions(
  { ifUnused, ifEmpty }: { readonly ifUnused: boolean; readonly ifEmpty: boolean },
  queue: string,
): void {
  if (!ifUnused && !ifEmpty) return
  throw new AmqpError(
    'NOT_IMPLEMENTED',
    `cannot delete ${queue}. queue.delete operations with ${ifUnused ? 'if-unused' : 'if-empty'} flag set are not supported by quorum queues`,
  )
}
