/** A binding: from an exchange to a queue or to another exchange. */
import { type FieldTable, tableSize, writeTable } from '../wire/field-table.js'
import type { Exchange } from './exchanges/exchange.js'
import type { Queue } from './queues/queue.js'

export interface Binding {
  /** Its key among those of its source with its destination, made once by `bindingIdentity`. */
  readonly identity: string
  readonly source: Exchange
  readonly destination: Queue | Exchange
  readonly key: string
  readonly arguments: FieldTable
  /** Log number of its command. */
  definedAt: number
}

/**
 * The bindings of one source with one destination, by identity. Both ends share it, so that either
 * can be taken away without looking at every binding.
 */
export type BindingGroup = Map<string, Binding>

/** What makes two bindings of one source with one destination the same: the key, and the arguments whatever their order. */
export function bindingIdentity(key: string, table: FieldTable): string {
  if (table.length === 0) return key
  const sorted = [...table].sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
  const bytes = Buffer.alloc(tableSize(sorted))
  writeTable(bytes, 0, sorted)
  return JSON.stringify([key, bytes.toString('latin1')])
}
