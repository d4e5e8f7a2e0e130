/** How RabbitMQ names things in its reply texts, and the names that it keeps for itself. */
import { type FieldTable, lookup } from '../wire/field-table.js'
import { AmqpError } from '../wire/replies.js'

/** The pseudo-queue of direct reply-to. */
export const replyQueue = 'amq.rabbitmq.reply-to'

export function queueIn(vhost: string, name: string): string {
  return `queue '${name}' in vhost '${vhost}'`
}

export function exchangeIn(vhost: string, name: string): string {
  return `exchange '${name}' in vhost '${vhost}'`
}

const namePrefix = 'x-name-prefix'
const longestPrefixBytes = 64

/** What the name of a queue begins with that is to be named here (4.3); of another type or empty: as ever. */
export function namePrefixIn(table: FieldTable): string {
  const prefix = lookup(table, namePrefix)
  if (prefix?.type !== 'S' || prefix.value.length === 0) return 'amq.gen'
  const text = stripped(prefix.value.toString())
  if (prefix.value.length > longestPrefixBytes)
    throw new AmqpError(
      'PRECONDITION_FAILED',
      `Queue name prefix '${text}' exceeds the ${longestPrefixBytes}-byte limit`,
    )
  return text
}

/** The prefix is in the queue's name, and no argument of it. */
export function withoutNamePrefix(table: FieldTable): FieldTable {
  return table.filter(({ key }) => key !== namePrefix)
}

/** Names lose their line breaks everywhere before use. */
export function stripped(name: string): string {
  return name.replace(/[\r\n]/g, '')
}

/** Refuses what nobody may do to the default exchange. */
export function refuseDefault(name: string): void {
  if (name === '')
    throw new AmqpError('ACCESS_REFUSED', 'operation not permitted on the default exchange')
}
