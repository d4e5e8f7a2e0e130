/** Exchanges by the name of their type. */
import { AmqpError } from '../../wire/replies.js'
import { DirectExchange } from './direct.js'
import type { Exchange, ExchangeDeclaration } from './exchange.js'
import { FanoutExchange } from './fanout.js'
import { HeadersExchange } from './headers.js'
import { TopicExchange } from './topic.js'

const classes = new Map<string, new (declaration: ExchangeDeclaration) => Exchange>([
  ['direct', DirectExchange],
  ['fanout', FanoutExchange],
  ['topic', TopicExchange],
  ['headers', HeadersExchange],
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

/** An exchange of the type that is asked for. */
export function newExchange(request: ExchangeRequest): Exchange {
  checkExchangeType(request.type)
  const Class = classes.get(request.type) as new (declaration: ExchangeDeclaration) => Exchange
  return new Class(request)
}
