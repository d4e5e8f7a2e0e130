/** Exchanges by the name of their type. */

import type { Random } from '../../platform/random.js'
import { AmqpError } from '../../wire/replies.js'
import { exchangeIn } from '../names.js'
import { ConsistentHashExchange } from './consistent-hash.js'
import { DirectExchange } from './direct.js'
import type { Exchange, ExchangeDeclaration } from './exchange.js'
import { FanoutExchange } from './fanout.js'
import { HeadersExchange } from './headers.js'
import { ModulusHashExchange } from './modulus-hash.js'
import { LocalRandomExchange, RandomExchange } from './random.js'
import { TopicExchange } from './topic.js'

/** What exchanges need of their vhost. */
export interface ExchangeHost {
  readonly name: string
  readonly random: Random
}

/** A type of exchange; `called` names the exchange in the refusal of its arguments. */
type ExchangeClass = new (
  declaration: ExchangeDeclaration,
  called: string,
  random: Random,
) => Exchange

const classes = new Map<string, ExchangeClass>([
  ['direct', DirectExchange],
  ['fanout', FanoutExchange],
  ['topic', TopicExchange],
  ['headers', HeadersExchange],
  ['x-consistent-hash', ConsistentHashExchange],
  ['x-modulus-hash', ModulusHashExchange],
  ['x-random', RandomExchange],
  ['x-local-random', LocalRandomExchange],
])

/** What exchange.declare asks for. */
export interface ExchangeRequest extends ExchangeDeclaration {
  readonly type: string
}

/** Refuses a type that does not exist (AmqpError). */
export function checkExchangeType(type: string): void {
  if (!classes.has(type))
    throw new AmqpError('PRECONDITION_FAILED', `unknown exchange type '${type}'`)
}

/** An exchange of the type that is asked for. Throws AmqpError if its arguments are wrong. */
export function newExchange(request: ExchangeRequest, host: ExchangeHost): Exchange {
  checkExchangeType(request.type)
  const Class = classes.get(request.type) as ExchangeClass
  return new Class(request, exchangeIn(host.name, request.name), host.random)
}
