/**
 * The name of a binding among those between the same two ends: `properties_key` in answers, and
 * the last segment of its path. It is the routing key, quoted as in a form, and for one with
 * arguments a `~` and a hash of them. Clients take it as it is; only that it stays the same counts.
 */
import { hash } from 'node:crypto'
import { type FieldTable, tableSize, writeTable } from '../wire/field-table.js'

const hashBytes = 4

export function bindingKey(routingKey: string, table: FieldTable): string {
  const key = quoted(routingKey)
  if (table.length > 0) return `${key}~${hashOf(table)}`
  return key === '' ? '~' : key
}

/**
 * Whether a path's segment, decoded once, names this binding. Clients encode the name once more
 * or do not: then it comes as the routing key itself.
 */
export function names(segment: string, routingKey: string, table: FieldTable): boolean {
  return segment === bindingKey(routingKey, table) || (table.length === 0 && segment === routingKey)
}

/** As a form quotes a value: a space is a plus, and `~` is not left as it is. */
function quoted(text: string): string {
  return encodeURIComponent(text)
    .replaceAll('%20', '+')
    .replace(/[!'()*~]/g, char => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
}

/** The same for the same arguments in any order. */
function hashOf(table: FieldTable): string {
  const sorted = [...table].sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
  const bytes = Buffer.alloc(tableSize(sorted))
  writeTable(bytes, 0, sorted)
  return hash('sha256', bytes, 'buffer').subarray(0, hashBytes).toString('base64url')
}
