/** What is said of damage in a log: where it is, and what may be missing. */
import type { Damage } from './log.js'

/**
 * For example `segment 2 from byte 64 to 23196: batch 5, what was lost has numbers from 1 to 165;
 * in the queues 'orders', number 7`. `nameOf` knows queues by their numbers.
 */
export function damageText(
  damage: Damage,
  nameOf: (queue: number) => string | undefined = () => undefined,
): string {
  const { segment, from, to, firstBatch, lastBatch, numbers, queues } = damage
  const place = from === to ? `from byte ${from} on` : `from byte ${from} to ${to}`
  const batches =
    firstBatch === lastBatch ? `batch ${firstBatch}` : `batches ${firstBatch} to ${lastBatch}`
  const names = queues.map(queue => nameOf(queue) ?? `number ${queue}`)
  const concerned = names.length === 0 ? '' : `; in the queues ${names.join(', ')}`
  return `segment ${segment} ${place}: ${batches}, ${missingText(numbers)}${concerned}`
}

function missingText(numbers: Damage['numbers']): string {
  if (numbers === null) return 'no number is missing'
  const [first, last] = numbers
  return `what was lost has numbers from ${first} ${Number.isFinite(last) ? `to ${last}` : 'on'}`
}

/** What is said of a torn tail behind the news that a log was recovered. */
export function cutText(cutBytes: number): string {
  return cutBytes === 0 ? '' : `; a torn tail of ${cutBytes} bytes was cut off`
}
