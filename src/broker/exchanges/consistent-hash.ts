/**
 * An x-consistent-hash exchange: every message goes to one destination, chosen by a hash of its
 * routing key, a header or a property; the binding key is the weight of a destination, a decimal
 * number. Of several bindings of one destination the first counts.
 *
 * The choice is by weighted rendezvous: each destination draws a number for each message from
 * both their hashes, and the best one has it. So a destination's share is its part of all
 * weights, a binding more or less moves only the messages that this destination takes or gives
 * up, and the choice depends on nothing but the bindings that there are: not on their order, nor
 * on a restart. A message costs about 20 ns for each destination.
 */
import { hashText, mix } from '../../structures/hash.js'
import { printBinary } from '../../wire/erlang-term.js'
import { lookup, printValue } from '../../wire/field-table.js'
import type { Properties } from '../../wire/properties.js'
import { AmqpError } from '../../wire/replies.js'
import type { Queue } from '../queues/queue.js'
import {
  Decider,
  Exchange,
  type ExchangeDeclaration,
  type Found,
  textArgument,
} from './exchange.js'

const weightMax = 10_000

const hashed = {
  correlation_id: 'correlationId',
  message_id: 'messageId',
  timestamp: 'timestamp',
} as const satisfies Record<string, keyof Properties>

/** The same as a map: a client may ask for anything that every object has. */
const properties = new Map<string, (typeof hashed)[keyof typeof hashed]>(Object.entries(hashed))

interface Share {
  readonly destination: Queue | Exchange
  readonly seed: number
  readonly weight: number
}

export class ConsistentHashExchange extends Exchange {
  readonly type = 'x-consistent-hash'
  readonly #header: string | null
  readonly #property: (typeof hashed)[keyof typeof hashed] | null
  /** Null: the bindings have changed since. */
  #shares: readonly Share[] | null = null

  /** Refuses arguments with the texts of RabbitMQ's plugin; LavinMQ's name of the header is understood too. */
  constructor(declaration: ExchangeDeclaration, called: string) {
    super(declaration)
    const { arguments: table } = declaration
    this.#header =
      textArgument(table, 'hash-header', called) ?? textArgument(table, 'x-hash-on', called)
    const property = lookup(table, 'hash-property')
    if (this.#header !== null && property !== undefined)
      throw refused('hash-header and hash-property are mutually exclusive')
    this.#property = property === undefined ? null : (properties.get(printValue(property)) ?? null)
    if (property !== undefined && this.#property === null)
      throw refused(`Unsupported property: ${printValue(property)}`)
  }

  override get decidedBy(): Decider {
    if (this.#header !== null) return Decider.headers
    return this.#property === null ? Decider.keys : Decider.message
  }

  override check(key: string): void {
    if (!/^[+-]?\d+$/.test(key))
      throw refused(`The binding key must be an integer: ${printBinary(Buffer.from(key))}`)
    if (Number(key) < 1) throw refused('The binding key must be greater than 0')
    if (Number(key) > weightMax) throw refused(`The binding key must not exceed ${weightMax}`)
  }

  override changed(): void {
    this.#shares = null
  }

  match(keys: readonly string[], properties: Properties, found: Found): void {
    this.#shares ??= this.#newShares()
    const hash = mix(this.#hash(keys, properties))
    let best: Share | null = null
    let bestScore = Number.POSITIVE_INFINITY
    for (const share of this.#shares) {
      // Exponentially distributed with the weight as its rate: the smallest of several is each one's with its share.
      const score = -Math.log((mix(hash ^ share.seed) + 0.5) / 2 ** 32) / share.weight
      if (score >= bestScore) continue
      bestScore = score
      best = share
    }
    if (best !== null) found(best.destination)
  }

  #newShares(): Share[] {
    const shares = new Map<Queue | Exchange, Share>()
    for (const { destination, key } of this.allBindings())
      if (!shares.has(destination)) {
        const kind = destination instanceof Exchange ? 'exchange' : 'queue'
        const seed = mix(hashText(destination.name, hashText(kind)))
        shares.set(destination, { destination, seed, weight: Number(key) })
      }
    return [...shares.values()]
  }

  /** Messages without the header or property are all alike. */
  #hash(keys: readonly string[], properties: Properties): number {
    if (this.#header !== null) {
      const value = lookup(properties.headers ?? [], this.#header)
      return value === undefined ? 0 : hashText(printValue(value), value.type.charCodeAt(0))
    }
    if (this.#property !== null) {
      const value = properties[this.#property]
      return value === undefined ? 0 : hashText(String(value))
    }
    return hashTexts(keys)
  }
}

/** The hash of several routing keys together. */
export function hashTexts(texts: readonly string[]): number {
  let hash: number | undefined
  for (const text of texts) hash = hashText(text, hash)
  return hash ?? 0
}

function refused(explanation: string): AmqpError {
  return new AmqpError('PRECONDITION_FAILED', explanation)
}
