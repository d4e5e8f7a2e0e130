/** One object of a document in JSON: its fields are asked for by name and kind, and what is wrong is noted with its path. */
import { type FieldTable, fieldTable, type PlainTable } from '../../wire/field-table.js'
import { AmqpError } from '../../wire/replies.js'

export type JsonObject = Readonly<Record<string, unknown>>

export class JsonItem {
  /** Where it stands, such as `file.json: queues[3]`. */
  readonly path: string
  readonly fields: JsonObject
  readonly #problems: string[]

  constructor(path: string, value: unknown, problems: string[]) {
    this.path = path
    this.#problems = problems
    this.fields = isObject(value) ? value : {}
    if (!isObject(value)) problems.push(`${path}: must be an object`)
  }

  /** The same place with other fields. */
  with(fields: JsonObject): JsonItem {
    return new JsonItem(this.path, fields, this.#problems)
  }

  has(field: string): boolean {
    return this.fields[field] !== undefined
  }

  /** Notes what is wrong with a field, or with all of it. */
  problem(field: string | null, message: string): void {
    this.#problems.push(`${this.path}${field === null ? '' : `.${field}`}: ${message}`)
  }

  /** Does what may be refused with an AmqpError, which then is a problem of this item. */
  attempt(field: string | null, act: () => void): void {
    try {
      act()
    } catch (error) {
      if (!(error instanceof AmqpError)) throw error
      this.problem(field, error.message.replace(/^[A-Z_]+ - /, ''))
    }
  }

  /** A text; `absent` stands for one that is not there, without it there must be one. */
  text(field: string, absent?: string): string {
    return this.#value(field, 'a text', absent, value => typeof value === 'string') ?? ''
  }

  flag(field: string, absent: boolean): boolean {
    return (
      this.#value(field, 'true or false', absent, value => typeof value === 'boolean') ?? absent
    )
  }

  number(field: string, absent: number): number {
    return this.#value(field, 'a whole number', absent, Number.isSafeInteger) ?? absent
  }

  /** An object; an empty list is taken for an empty one, as RabbitMQ exports some. */
  object(field: string): JsonObject {
    const value = this.fields[field] ?? {}
    if (isObject(value)) return value
    if (!Array.isArray(value) || value.length > 0) this.problem(field, 'must be an object')
    return {}
  }

  /** Arguments as a field table. */
  table(field: string): FieldTable {
    const object = this.object(field)
    try {
      return fieldTable(object as PlainTable)
    } catch (error) {
      this.problem(field, (error as Error).message)
      return []
    }
  }

  /** Numbers by name. */
  numbers(field: string): Readonly<Record<string, number>> {
    const object = this.object(field)
    const numbers: Record<string, number> = {}
    for (const [name, value] of Object.entries(object))
      if (typeof value === 'number') numbers[name] = value
      else this.problem(`${field}.${name}`, 'must be a number')
    return numbers
  }

  /** Words as a list, or as one text with commas (RabbitMQ up to 3.8). */
  words(field: string): readonly string[] {
    const value = this.fields[field] ?? []
    const words = typeof value === 'string' ? value.split(',').map(word => word.trim()) : value
    if (Array.isArray(words) && words.every(word => typeof word === 'string'))
      return words.filter(word => word !== '')
    this.problem(field, 'must be a list of texts')
    return []
  }

  #value<T>(
    field: string,
    kind: string,
    absent: T | undefined,
    isOne: (value: unknown) => boolean,
  ): T | undefined {
    const value = this.fields[field] ?? absent
    if (isOne(value)) return value as T
    this.problem(field, value === undefined ? 'is missing' : `must be ${kind}`)
    return absent
  }
}

/** The items of a section, which need not be there. */
export function itemsOf(document: JsonItem, section: string, problems: string[]): JsonItem[] {
  const list = document.fields[section] ?? []
  if (Array.isArray(list))
    return list.flatMap((value, i) => {
      const path = `${document.path}: ${section}[${i}]`
      if (isObject(value)) return new JsonItem(path, value, problems)
      problems.push(`${path}: must be an object`)
      return []
    })
  problems.push(`${document.path}: ${section}: must be a list`)
  return []
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
