/** A binding: from an exchange to a queue or to another exchange. */
import { type FieldTable, tableSize, writeTable } from '../wire/field-table.js'
import type { Exchange } from './exchanges/exchange.js'
import type { Queue } from './queues/queue.js'

export interface Binding {
  /** Its key among the bindings of its source, made once by `bindingIdentity`. */
  readonly identity: string
  readonly source: Exchange
  readonly destination: Queue | Exchange
  readonly key: string
  readonly arguments: FieldTable
  /** Log number of its command. */
  definedAt: number
}

/**
 * What makes two bindings of one source the same: destination with its kind, key, and the
 * arguments whatever their order.
 */
export function bindingIdentity(
  kind: 'queue' | 'exchange',
  destination: string,
  key: string,
  table: FieldTable,
): string {
  const sorted = [...table].sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
  const bytes = Buffer.alloc(tableSize(sorted))
  writeTable(bytes, 0, sorted)
  return JSON.stringify([kind, destination, key, bytes.toString('latin1')])
}
