/** The header `x-delay`: how long an x-delayed-message exchange is to hold a message back. */
import { equivalenceClass, type FieldTable, type FieldValue, lookup } from '../wire/field-table.js'
import { longestTtlMs } from './queues/arguments.js'

/**
 * The longest delay, as of a TTL; one that is longer is none. RabbitMQ's plugin knows none above
 * 2^32 - 1 ms: what was to wait for 60 days it delivers at once.
 */
const delayMaxMs = longestTtlMs

/** How many milliseconds a message is to be held back; 0: it is not. */
export function delayOf(headers: FieldTable): number {
  const value = lookup(headers, 'x-delay')
  const delay = value === undefined ? 0 : milliseconds(value)
  return delay >= 1 && delay <= delayMaxMs ? Math.floor(delay) : 0
}

/** The headers when the delay is over: sorted, as RabbitMQ does whenever it changes headers, and the delay negated. */
export function withoutDelay(headers: FieldTable): FieldTable {
  const kept = new Map<string, FieldTable[number]>()
  for (const field of headers) if (!kept.has(field.key)) kept.set(field.key, field)
  const delay = kept.get('x-delay')
  if (delay !== undefined) kept.set('x-delay', { key: 'x-delay', value: negated(delay.value) })
  return [...kept.values()].sort((a, b) => (a.key < b.key ? -1 : 1))
}

/** NaN for a value that is no number, nor a text of one. */
function milliseconds(value: FieldValue): number {
  if (value.type === 'S' || value.type === 'x') {
    const text = value.value.toString()
    return /^\d+$/.test(text) ? Number(text) : Number.NaN
  }
  const kind = equivalenceClass(value.type)
  return value.type !== 'D' && (kind === 'integer' || kind === 'float')
    ? Number(value.value)
    : Number.NaN
}

function negated(value: FieldValue): FieldValue {
  if (value.type === 'S' || value.type === 'x')
    return { type: value.type, value: Buffer.from(`-${value.value.toString()}`) }
  const number = -milliseconds(value)
  if (value.type === 'f' || value.type === 'd') return { type: value.type, value: number }
  return number >= -(2 ** 31) ? { type: 'I', value: number } : { type: 'l', value: number }
}
