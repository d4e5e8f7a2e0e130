/** Waiting with an answer until what was changed is there for good. */
import type { Broker } from '../broker/broker.js'

/** Resolves with an answer once the definitions are durable up to this log number. */
export function settled<T>({ definitions }: Broker, number: number, answer: T): Promise<T> | T {
  if (number <= definitions.durableUpTo) return answer
  return new Promise(resolve => definitions.whenDurable(number, () => resolve(answer)))
}
