/**
 * From a message to its queues. The walk over exchanges and bindings is done once for each
 * address (exchange and routing key, compared as bytes) and its result kept until the topology
 * changes; if more than the key decides on the way, or with CC and BCC keys, it is done every time.
 */
import { isUtf8 } from 'node:buffer'
import type { Message } from '../wire/message.js'
import { decodeProperties, type Properties } from '../wire/properties.js'
import { AmqpError } from '../wire/replies.js'
import { Decider, Exchange } from './exchanges/exchange.js'
import type { History } from './exchanges/recent-history.js'
import type { Queue } from './queues/queue.js'

/** Routes kept; a route that falls on the place of another takes it. */
const routesKept = 4096

/** What the kept routes may weigh together (about 2 MiB); beyond, all are forgotten. */
const weightKept = 256 * 1024

const noProperties: Properties = {}

/** Names made for direct reply-to begin so. */
export const replyPrefix = 'amq.rabbitmq.reply-to.'

/** Where messages of one address go. */
export interface Route {
  readonly address: Buffer
  readonly exchange: Exchange
  readonly key: string
  readonly queues: readonly Queue[]
  /** More than the key decides: `queues` is empty, and `walk` must be called for each message. */
  readonly varies: boolean
  /** It varies, or the key is the name of a requester (direct reply-to): more than `queues` is to be looked at. */
  readonly special: boolean
  readonly generation: number
}

export class Router {
  readonly #exchanges: ReadonlyMap<string, Exchange>
  readonly #queues: ReadonlyMap<string, Queue>
  readonly #name: string
  readonly #routes = new Array<Route | undefined>(routesKept).fill(undefined)
  #weight = 0
  #generation = 0
  #walk = 0
  /** What decided in the last walk. */
  decidedBy: Decider = Decider.keys
  /** Those on its way that remember messages. */
  #histories: History[] = []

  constructor(
    vhost: string,
    exchanges: ReadonlyMap<string, Exchange>,
    queues: ReadonlyMap<string, Queue>,
  ) {
    this.#name = vhost
    this.#exchanges = exchanges
    this.#queues = queues
  }

  /** Forgets all routes: an exchange, a queue or a binding has come or gone, or permissions have changed. */
  changed(): void {
    this.#generation++
    this.#forget()
  }

  /** Another number after each change: what was found before may be no longer true. */
  get generation(): number {
    return this.#generation
  }

  /** The route of a message; `last` is the sender's previous one, most often the same. Throws NOT_FOUND, or FRAME_ERROR for names that are not UTF-8. */
  route(message: Message, last: Route | null): Route {
    if (last !== null && last.generation === this.#generation && isAt(last.address, message))
      return last
    const place = hash(message) & (routesKept - 1)
    const kept = this.#routes[place]
    if (kept !== undefined && isAt(kept.address, message)) return kept
    const route = this.#newRoute(message)
    this.#weight += weight(route) - (kept === undefined ? 0 : weight(kept))
    if (this.#weight > weightKept) {
      this.#forget()
      this.#weight = weight(route)
    }
    this.#routes[place] = route
    return route
  }

  /** The queues of a message at this moment, those of its further keys with them if it has any. */
  queuesOf(
    route: Route,
    message: Message,
    furtherKeys: readonly string[] | null,
  ): readonly Queue[] {
    if (!route.varies && furtherKeys === null) return route.queues
    const keys = furtherKeys === null ? [route.key] : [route.key, ...furtherKeys]
    const { bytes, propertiesStart, propertiesEnd } = message
    const properties = decodeProperties(bytes, propertiesStart, propertiesEnd)
    const queues = this.walk(route.exchange, keys, properties)
    this.remember(message, properties)
    return queues
  }

  /** Gives the message, which went the way of the last walk, to the exchanges that remember such. */
  remember(message: Message, properties: Properties): void {
    for (const history of this.#histories) history.remember(message, properties)
  }

  /** Some exchange in the last walk remembers messages. */
  get remembers(): boolean {
    return this.#histories.length > 0
  }

  /** All queues that a message with these keys and properties reaches from `exchange`, each once. */
  walk(exchange: Exchange, keys: readonly string[], properties: Properties): Queue[] {
    const walk = ++this.#walk
    const queues: Queue[] = []
    const exchanges: Exchange[] = [exchange]
    exchange.routing = walk
    this.decidedBy = Decider.keys
    if (this.#histories.length > 0) this.#histories = []
    let matched = false
    const found = (destination: Queue | Exchange) => {
      if (destination.deleted) return
      matched = true
      if (destination.routing === walk) return
      destination.routing = walk
      if (destination instanceof Exchange) exchanges.push(destination)
      else queues.push(destination)
    }
    for (let next = exchanges.shift(); next !== undefined; next = exchanges.shift()) {
      matched = false
      if (next.history !== null) this.#histories.push(next.history)
      if (next.decidedBy > this.decidedBy) this.decidedBy = next.decidedBy
      if (next.name === '') this.#matchDefault(keys, found)
      else next.match(keys, properties, found)
      const alternate = next.alternate
      if (!matched && alternate !== null) {
        const exchange = this.#exchanges.get(alternate)
        if (exchange !== undefined) found(exchange)
      }
    }
    return queues
  }

  #forget(): void {
    if (this.#weight === 0) return
    this.#routes.fill(undefined)
    this.#weight = 0
  }

  /** The default exchange has no bindings: the key is the name of the queue. */
  #matchDefault(keys: readonly string[], found: (queue: Queue) => void): void {
    for (const key of keys) {
      const queue = this.#queues.get(key)
      if (queue !== undefined) found(queue)
    }
  }

  #newRoute(message: Message): Route {
    const address = Buffer.from(message.bytes.subarray(message.start, message.addressEnd))
    if (!isUtf8(address.subarray(1, 1 + address.readUInt8(0))) || !isUtf8(routingKeyOf(address)))
      throw new AmqpError('FRAME_ERROR', 'Malformed UTF-8 in shortstr', 0)
    const { exchange: name, routingKey: key } = message
    const exchange = this.#exchanges.get(name)
    if (exchange === undefined)
      throw new AmqpError('NOT_FOUND', `no exchange '${name}' in vhost '${this.#name}'`)
    const queues = this.walk(exchange, [key], noProperties)
    const varies = this.decidedBy !== Decider.keys
    return {
      address,
      exchange,
      key,
      queues: varies ? [] : queues,
      varies,
      special: varies || (name === '' && key.startsWith(replyPrefix)),
      generation: this.#generation,
    }
  }
}

/** A route weighs one, and one more for each of its queues. */
function weight(route: Route): number {
  return 1 + route.queues.length
}

function routingKeyOf(address: Buffer): Buffer {
  return address.subarray(2 + address.readUInt8(0))
}

/** Whether a message has this address. */
export function isAt(address: Buffer, message: Message): boolean {
  const { bytes, start } = message
  if (message.addressEnd - start !== address.length) return false
  for (let i = 0; i < address.length; i++) if (bytes[start + i] !== address[i]) return false
  return true
}

/** FNV-1a over the address, mixed once more because only the low bits are used. */
function hash(message: Message): number {
  const { bytes } = message
  const end = message.addressEnd
  let h = 0x811c9dc5
  for (let at = message.start; at < end; at++) h = Math.imul(h ^ (bytes[at] as number), 0x01000193)
  return h ^ (h >>> 15)
}
