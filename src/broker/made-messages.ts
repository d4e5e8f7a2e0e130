/**
 * Messages on their way into queues that no client publishes at this moment: dead letters, delayed
 * messages whose time has come, and what an exchange remembers for a new binding.
 */
import { Mark } from '../store/message-table.js'
import { lookup } from '../wire/field-table.js'
import type { Made } from '../wire/message.js'
import { decodeProperties, type Properties } from '../wire/properties.js'
import { Arrival } from './arrival.js'
import type { Exchange } from './exchanges/exchange.js'
import type { History } from './exchanges/recent-history.js'
import { Queue } from './queues/queue.js'
import { senderSelectedKeys } from './sender-selected.js'
import type { Vhost } from './vhost.js'

export class MadeMessages {
  readonly #vhost: Vhost
  readonly #arrival: Arrival

  constructor(vhost: Vhost) {
    this.#vhost = vhost
    this.#arrival = new Arrival(vhost.messages, vhost.journal)
  }

  /** Puts a dead letter, made from the message in `slot`, into queues; `from` is its queue if it is logged there. */
  enqueueDead(
    queues: readonly Queue[],
    bytes: Buffer,
    parts: readonly Buffer[] | null,
    slot: number,
    from: Queue | null,
  ): void {
    const arrival = this.#arrival
    arrival.beginMade({ bytes, parts }, Mark.died)
    this.#vhost.enqueue(queues, arrival)
    if (from === null) this.#vhost.journal.append(arrival)
    else this.#vhost.journal.move(from, slot, arrival)
  }

  /** Sends a message on from an exchange, made from the one in `slot`; `from` is where that was if it is logged there. */
  route(made: Made, exchange: Exchange, slot: number, from: Queue | null): void {
    const { messages, router } = this.#vhost
    const properties = this.#begin(made, messages.diedBefore(slot) ? Mark.died : 0)
    const queues = this.#walk(exchange, properties)
    router.remember(this.#arrival.message, properties)
    this.#enqueue(queues, properties)
    if (from === null) this.#vhost.journal.append(this.#arrival)
    else this.#vhost.journal.move(from, slot, this.#arrival)
  }

  /** Something is newly bound to an exchange that remembers messages. */
  replay(history: History, to: Queue | Exchange): void {
    for (const made of history) {
      const properties = this.#begin(made, 0)
      this.#enqueue(to instanceof Queue ? [to] : this.#walk(to, properties), properties)
      this.#vhost.journal.append(this.#arrival)
    }
  }

  #begin(made: Made, marks: number): Properties {
    this.#arrival.beginMade(made, marks)
    const { bytes, propertiesStart, propertiesEnd } = this.#arrival.message
    return decodeProperties(bytes, propertiesStart, propertiesEnd)
  }

  #walk(exchange: Exchange, properties: Properties): Queue[] {
    const { routingKey } = this.#arrival.message
    const keys = [routingKey, ...senderSelectedKeys(properties.headers ?? [])]
    return this.#vhost.router.walk(exchange, keys, properties)
  }

  #enqueue(queues: readonly Queue[], { headers = [] }: Properties): void {
    if (lookup(headers, 'BCC') !== undefined) this.#arrival.hideBcc()
    this.#vhost.enqueue(queues, this.#arrival)
  }
}
