/** What a message says of its own time to live. */
import { AmqpError } from '../wire/replies.js'
import { longestTtlMs } from './queues/arguments.js'

/** Milliseconds of an expiration; refuses what Erlang's string:to_integer and RabbitMQ's limit refuse, in its words. */
export function expirationMsOf(text: string): number {
  const digits = /^[+-]?\d+/.exec(text)?.[0]
  let reason = ''
  if (digits === undefined) reason = 'no_integer'
  else if (digits.length < text.length) reason = `{leftover_string,"${text.slice(digits.length)}"}`
  else if (BigInt(digits) < 0) reason = `{value_negative,${BigInt(digits)}}`
  else if (BigInt(digits) > longestTtlMs) reason = `{value_too_large,${BigInt(digits)}}`
  if (reason !== '')
    throw new AmqpError('PRECONDITION_FAILED', `invalid expiration '${text}': ${reason}`)
  return Number(digits)
}
