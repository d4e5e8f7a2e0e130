/** Exchanges by the name of their type. */

import type { Random } from '../../platform/random.js'
import type { MessageTable } from '../../store/message-table.js'
import { AmqpError } from '../../wire/replies.js'
import type { Definitions } from '../definitions.js'
import { exchangeIn } from '../names.js'
import { ConsistentHashExchange } from './consistent-hash.js'
import { DelayedExchange, delayedType, wrappedType } from './delayed.js'
import type { DelayHost } from './delayed-messages.js'
import { DirectExchange } from './direct.js'
import type { Exchange, ExchangeDeclaration } from './exchange.js'
import { FanoutExchange } from './fanout.js'
import { HeadersExchange } from './headers.js'
import { ModulusHashExchange } from './modulus-hash.js'
import { LocalRandomExchange, RandomExchange } from './random.js'
import { RecentHistoryExchange } from './recent-history.js'
import { TopicExchange } from './topic.js'

/** What exchanges need of their vhost. */
export interface ExchangeHost extends DelayHost {
  readonly name: string
  readonly random: Random
  readonly messages: MessageTable
  readonly definitions: Definitions
}

/** Makes an exchange of a type; `called` names it in the refusal of its arguments. */
type Maker = (declaration: ExchangeDeclaration, host: ExchangeHost, called: string) => Exchange

const makers = new Map<string, Maker>([
  ['direct', declaration => new DirectExchange(declaration)],
  ['fanout', declaration => new FanoutExchange(declaration)],
  ['topic', declaration => new TopicExchange(declaration)],
  ['headers', declaration => new HeadersExchange(declaration)],
  [
    'x-consistent-hash',
    (declaration, _host, called) => new ConsistentHashExchange(declaration, called),
  ],
  ['x-modulus-hash', declaration => new ModulusHashExchange(declaration)],
  ['x-random', (declaration, { random }) => new RandomExchange(declaration, random)],
  ['x-local-random', (declaration, { random }) => new LocalRandomExchange(declaration, random)],
  [
    'x-recent-history',
    (declaration, host) => new RecentHistoryExchange(declaration, host.messages),
  ],
  [
    delayedType,
    (declaration, host) => {
      const routing = newExchange(
        { ...declaration, type: wrappedType(declaration.arguments) },
        host,
      )
      const { durable, number } = declaration
      const named = durable ? number || host.definitions.takeQueueNumber() : 0
      return new DelayedExchange(declaration, routing, named, host)
    },
  ],
])

/** The names of all types. */
export const exchangeTypes: readonly string[] = [...makers.keys()]

/** What exchange.declare asks for. */
export interface ExchangeRequest extends ExchangeDeclaration {
  readonly type: string
}

/** Refuses a type that does not exist (AmqpError). */
export function checkExchangeType(type: string): void {
  if (!makers.has(type))
    throw new AmqpError('PRECONDITION_FAILED', `unknown exchange type '${type}'`)
}

/** An exchange of the type that is asked for. Throws AmqpError if its arguments are wrong. */
export function newExchange(request: ExchangeRequest, host: ExchangeHost): Exchange {
  checkExchangeType(request.type)
  const make = makers.get(request.type) as Maker
  return make(request, host, exchangeIn(host.name, request.name))
}
