/** Who waits for replies (direct reply-to), by the name made for each. */
import type { Message } from '../wire/message.js'
import { type Route, replyPrefix } from './router.js'

/** Who gets the replies sent to the name made for it. */
export interface ReplyTarget {
  deliver(message: Message): void
}

export class Requesters extends Map<string, ReplyTarget> {
  /**
   * Gives a message to those whose names are among its keys. True if there is such a name: whoever
   * it is may be gone, and the message counts as routed all the same (since RabbitMQ 4.2).
   */
  reply(
    { exchange, key }: Route,
    message: Message,
    furtherKeys: readonly string[] | null,
  ): boolean {
    if (exchange.name !== '') return false
    const names = [key, ...(furtherKeys ?? [])].filter(name => name.startsWith(replyPrefix))
    for (const name of names) this.get(name)?.deliver(message)
    return names.length > 0
  }
}
