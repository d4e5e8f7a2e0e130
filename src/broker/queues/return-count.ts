/**
 * How often a message came back to its queue, as one number that the log keeps too: returns of any
 * kind in the low 16 bits, those that count as failed deliveries above them. Both stop at their
 * highest value, so that the number never falls. Only queues that count deliveries show it, as
 * RabbitMQ's quorum queues do (add_delivery_count_header of rabbit_fifo_client).
 */
import type { FieldTable } from '../../wire/field-table.js'
import { type Message, rebuild } from '../../wire/message.js'
import { decodeProperties, withHeaders } from '../../wire/properties.js'
import type { DeathReason } from './host.js'

const low = 0xffff
const failure = 0x10000
/** The highest of all says something else. */
const mostFailures = 0xfffe
const dead = 0xffff0000

/** By their places in numbers that are in logs. */
const reasons: readonly DeathReason[] = ['rejected', 'expired', 'maxlen', 'delivery_limit']

/** Instead of a count: the message is dead, and its letter has not arrived. */
export function returnsOfDead(reason: DeathReason): number {
  return dead + reasons.indexOf(reason)
}

/** Of what a message died; null: it is none of those. */
export function deathIn(returns: number): DeathReason | null {
  return returns < dead ? null : (reasons[returns - dead] ?? 'rejected')
}

/** The number of a message that had `returns` and comes back once more. */
export function returnedAgain(returns: number, failed: boolean): number {
  const count = acquiredCount(returns) < low ? returns + 1 : returns
  return failed && deliveryCount(count) < mostFailures ? count + failure : count
}

/** How often it was in somebody's hands and came back. */
export function acquiredCount(returns: number): number {
  return returns & low
}

/** How often its delivery failed. */
export function deliveryCount(returns: number): number {
  return returns >>> 16
}

/**
 * Shows the counts to who gets a message that came back: in memory of its own, with headers sorted
 * and each once, as whenever RabbitMQ changes headers. `withAcquired`: both, else only failures.
 */
export function showCounts(message: Message, returns: number, withAcquired: boolean): void {
  const { bytes, propertiesStart, propertiesEnd } = message
  const octets = Buffer.from(bytes.subarray(propertiesStart, propertiesEnd))
  const { headers = [] } = decodeProperties(octets, 0, octets.length)
  const shown = new Map(headers.toReversed().map(field => [field.key, field]))
  const add = (key: string, value: number) => shown.set(key, { key, value: { type: 'l', value } })
  if (withAcquired) add('x-acquired-count', acquiredCount(returns))
  if (deliveryCount(returns) > 0) add('x-delivery-count', deliveryCount(returns))
  const sorted: FieldTable = [...shown.values()].sort((a, b) => (a.key < b.key ? -1 : 1))
  rebuild(message, withHeaders(octets, sorted))
}
