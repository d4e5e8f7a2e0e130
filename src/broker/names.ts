/** How RabbitMQ names things in its reply texts, and the names that it keeps for itself. */
import { AmqpError } from '../wire/replies.js'

/** The pseudo-queue of direct reply-to. */
export const replyQueue = 'amq.rabbitmq.reply-to'

export function queueIn(vhost: string, name: string): string {
  return `queue '${name}' in vhost '${vhost}'`
}

export function exchangeIn(vhost: string, name: string): string {
  return `exchange '${name}' in vhost '${vhost}'`
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
