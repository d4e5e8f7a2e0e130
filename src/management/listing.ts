/**
 * What a query asks of a list: which columns, in which order, which page. RabbitMQ's rules: only
 * `page` switches to the paged form, and only with it `name` selects; a column that an item does
 * not have is left out of it, and counts as 0 in sorting.
 */
import { badRequest, Refusal } from './refusal.js'

export interface Item {
  readonly [column: string]: unknown
  readonly name?: unknown
  readonly vhost?: unknown
  readonly source?: unknown
  readonly destination?: unknown
  readonly destination_type?: unknown
}

/** The query of a request; a key that stands twice has an array. */
export type Query = { readonly [key: string]: string | readonly string[] | undefined }

/** A page of a list. */
export interface Page {
  readonly total_count: number
  readonly item_count: number
  readonly filtered_count: number
  readonly page: number
  readonly page_size: number
  readonly page_count: number
  readonly items: readonly Item[]
}

const pageSizeMax = 500
const defaultPageSize = 100

/** What a key of the query has; its last value, if there are several. */
export function parameter(query: Query, key: string): string | undefined {
  const value = query[key]
  return typeof value === 'object' ? value.at(-1) : value
}

/** A list as the query wants it; items come sorted by what they are sorted by without a query. */
export function listed(items: readonly Item[], query: Query): readonly Item[] | Page {
  const range = pageOf(query)
  if (range === null) return projectedAll(sorted(items, query), query)
  const selected = items.filter(selector(query))
  const { page, size } = range
  const pages = Math.ceil(selected.length / size)
  if (page > Math.max(1, pages))
    throw new Refusal(
      400,
      'page_out_of_range',
      `Page out of range, page: ${page} page size: ${size}, len: ${selected.length}`,
    )
  const shown = sorted(selected, query).slice((page - 1) * size, page * size)
  return {
    total_count: items.length,
    item_count: shown.length,
    filtered_count: selected.length,
    page,
    page_size: size,
    page_count: pages,
    items: projectedAll(shown, query),
  }
}

/** The columns of one item that the query asks for. */
export function projected(item: Item, query: Query): Item {
  const columns = parameter(query, 'columns')
  if (columns === undefined || columns === '') return item
  const chosen: Record<string, unknown> = {}
  for (const column of columns.split(',')) take(chosen, item, column.split('.'))
  return chosen
}

function projectedAll(items: readonly Item[], query: Query): readonly Item[] {
  const columns = parameter(query, 'columns')
  if (columns === undefined || columns === '') return items
  return items.map(item => projected(item, query))
}

/** Copies what stands at a path, with all that it stands in. */
function take(into: Record<string, unknown>, from: Item, path: readonly string[]): void {
  const [key = '', ...rest] = path
  if (!Object.hasOwn(from, key)) return
  const value = from[key]
  if (rest.length === 0) {
    define(into, key, value)
  } else if (isItem(value)) {
    const before = Object.hasOwn(into, key) ? into[key] : undefined
    const inner = isItem(before) ? { ...before } : {}
    take(inner, value, rest)
    if (Object.keys(inner).length > 0) define(into, key, inner)
  }
}

/** A column may be called like anything that every object has. */
function define(into: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(into, key, {
    value,
    enumerable: true,
    configurable: true,
    writable: true,
  })
}

function sorted(items: readonly Item[], query: Query): readonly Item[] {
  const column = parameter(query, 'sort')
  const reverse = parameter(query, 'sort_reverse') === 'true'
  if (column === undefined || column === '') return reverse ? items.toReversed() : items
  const path = column.split('.')
  const keyed = items.map(item => ({ item, key: at(item, path) ?? 0 }))
  keyed.sort((a, b) => compare(a.key, b.key))
  if (reverse) keyed.reverse()
  return keyed.map(({ item }) => item)
}

function at(item: unknown, path: readonly string[]): unknown {
  let value = item
  for (const key of path) {
    if (!isItem(value) || !Object.hasOwn(value, key)) return undefined
    value = value[key]
  }
  return value
}

/** Numbers stand before everything else, as in Erlang; the rest is compared as text. */
function compare(a: unknown, b: unknown): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b
  if (typeof a === 'number') return -1
  if (typeof b === 'number') return 1
  const [left, right] = [String(a), String(b)]
  return left < right ? -1 : left > right ? 1 : 0
}

function pageOf(query: Query): { readonly page: number; readonly size: number } | null {
  const page = parameter(query, 'page')
  if (page === undefined) return null
  const size = parameter(query, 'page_size')
  const numbers = [whole(page), size === undefined ? defaultPageSize : whole(size)]
  const [number = 0, perPage = 0] = numbers
  if (number < 1 || perPage < 1 || perPage > pageSizeMax)
    throw new Refusal(
      400,
      'invalid_pagination_parameters',
      `Invalid pagination parameters: page number ${number}, page size ${size === undefined ? 'undefined' : perPage}`,
    )
  return { page: number, size: perPage }
}

const invalid = () => badRequest('Pagination parameters are invalid')

function whole(text: string): number {
  if (!/^-?\d{1,9}$/.test(text)) throw invalid()
  return Number(text)
}

/** Whether an item has the `name` that the query looks for: a part of it, or an expression, in any case. */
function selector(query: Query): (item: Item) => boolean {
  const name = parameter(query, 'name')
  if (name === undefined || name === '') return () => true
  if (parameter(query, 'use_regex') === 'true') {
    const pattern = expression(name)
    return item => pattern.test(String(item.name))
  }
  const part = name.toLowerCase()
  return item => String(item.name).toLowerCase().includes(part)
}

function expression(source: string): RegExp {
  try {
    return new RegExp(source, 'i')
  } catch {
    throw invalid()
  }
}

function isItem(value: unknown): value is Item {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
