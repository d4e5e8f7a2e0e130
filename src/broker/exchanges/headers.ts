/**
 * A headers exchange: the arguments of a binding are compared with the headers of the message.
 * `x-match` says whether all or any must agree, and whether keys that begin with `x-` count.
 */
import {
  equivalenceClass,
  type FieldTable,
  type FieldValue,
  lookup,
  printValue,
  typeNames,
} from '../../wire/field-table.js'
import type { Properties } from '../../wire/properties.js'
import { AmqpError } from '../../wire/replies.js'
import type { Binding } from '../binding.js'
import { Decider, Exchange, type Found } from './exchange.js'

/** A binding as it is compared: its keys without those that do not count. */
interface Pattern {
  readonly all: boolean
  readonly fields: FieldTable
}

const modes = ['all', 'any', 'all-with-x', 'any-with-x']

export class HeadersExchange extends Exchange {
  readonly type = 'headers'
  readonly #patterns = new Map<Binding, Pattern>()

  override get decidedBy(): Decider {
    return Decider.headers
  }

  override check(_key: string, table: FieldTable): void {
    const mode = lookup(table, 'x-match')
    if (mode === undefined) return
    if (mode.type !== 'S')
      throw new AmqpError(
        'PRECONDITION_FAILED',
        `Invalid x-match field type ${typeNames[mode.type]} (value ${printValue(mode)}); expected longstr`,
      )
    const text = mode.value.toString()
    if (!modes.includes(text))
      throw new AmqpError(
        'PRECONDITION_FAILED',
        `Invalid x-match field value <<"${text}">>; expected all, any, all-with-x, or any-with-x`,
      )
  }

  override add(binding: Binding): void {
    const mode = lookup(binding.arguments, 'x-match')?.value?.toString() ?? 'all'
    const withX = mode.endsWith('-with-x')
    this.#patterns.set(binding, {
      all: mode.startsWith('all'),
      fields: binding.arguments.filter(({ key }) =>
        withX ? key !== 'x-match' : !key.startsWith('x-'),
      ),
    })
  }

  override remove(binding: Binding): void {
    this.#patterns.delete(binding)
  }

  match(_keys: readonly string[], { headers = [] }: Properties, found: Found): void {
    for (const [binding, { all, fields }] of this.#patterns) {
      const matches = all
        ? fields.every(field => agrees(field.value, lookup(headers, field.key)))
        : fields.some(field => agrees(field.value, lookup(headers, field.key)))
      if (matches) found(binding.destination)
    }
  }
}

/** A void in the binding asks only for presence. */
function agrees(wanted: FieldValue, actual: FieldValue | undefined): boolean {
  if (actual === undefined) return false
  return wanted.type === 'V' || sameValue(wanted, actual)
}

/** Numbers are equal by value whatever their width (RabbitMQ 3.x), strings by their bytes, the rest by structure. */
function sameValue(a: FieldValue, b: FieldValue): boolean {
  if ((a.type === 'S' || a.type === 'x') && (b.type === 'S' || b.type === 'x'))
    return a.value.equals(b.value)
  if (a.type === 'A' && b.type === 'A')
    return (
      a.value.length === b.value.length &&
      a.value.every((value, i) => sameValue(value, b.value[i] as FieldValue))
    )
  if (a.type === 'F' && b.type === 'F') {
    const { value } = b
    return (
      a.value.length === value.length &&
      a.value.every((field, i) => {
        const other = value[i] as (typeof value)[number]
        return field.key === other.key && sameValue(field.value, other.value)
      })
    )
  }
  if (a.type === 'D' && b.type === 'D')
    return a.value.scale === b.value.scale && a.value.digits === b.value.digits
  if (isNumber(a) && isNumber(b)) return Number(a.value) === Number(b.value)
  return a.type === b.type && a.value === b.value
}

function isNumber(value: FieldValue): boolean {
  const kind = equivalenceClass(value.type)
  return (kind === 'integer' && value.type !== 'D') || kind === 'float'
}
