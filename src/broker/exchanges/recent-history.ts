/**
 * An x-recent-history exchange: a fanout that keeps the last messages and gives them to whatever is
 * newly bound, oldest first. They are kept in memory only and are gone after a restart, as in
 * RabbitMQ (whose plugin has them in a table in memory).
 */
import { equivalenceClass, type FieldTable, lookup, printTerm } from '../../wire/field-table.js'
import type { Made, Message } from '../../wire/message.js'
import type { Properties } from '../../wire/properties.js'
import { AmqpError } from '../../wire/replies.js'
import { Decider, Exchange, type ExchangeDeclaration, type Found } from './exchange.js'

const defaultLength = 20

/** Counts the bytes that are kept. */
export interface HistoryMemory {
  intakeBytes: number
}

export class RecentHistoryExchange extends Exchange {
  readonly type = 'x-recent-history'
  override readonly history: History

  constructor(declaration: ExchangeDeclaration, memory: HistoryMemory) {
    super(declaration)
    this.history = new History(lengthIn(declaration.arguments), memory)
  }

  override get decidedBy(): Decider {
    return Decider.message
  }

  match(_keys: readonly string[], _properties: Properties, found: Found): void {
    for (const destination of this.bindings.keys()) found(destination)
  }

  override end(): void {
    this.history.clear()
  }
}

/** The last messages of an exchange, oldest first. */
export class History {
  readonly #length: number
  readonly #memory: HistoryMemory
  /** A ring once it is full, of which `#next` is the oldest. */
  #kept: Made[] = []
  #next = 0

  constructor(length: number, memory: HistoryMemory) {
    this.#length = length
    this.#memory = memory
  }

  /** Copies a message, unless it asks not to be kept. */
  remember(message: Message, { headers = [] }: Properties): void {
    if (lookup(headers, 'x-recent-history-no-store')?.value === true) return
    const { bytes, start, end, parts } = message
    const made = { bytes: Buffer.from(bytes.subarray(start, end)), parts }
    this.#memory.intakeBytes += sizeOf(made)
    if (this.#kept.length < this.#length) {
      this.#kept.push(made)
      return
    }
    this.#memory.intakeBytes -= sizeOf(this.#kept[this.#next] as Made)
    this.#kept[this.#next] = made
    this.#next = (this.#next + 1) % this.#length
  }

  *[Symbol.iterator](): Iterator<Made> {
    for (let i = 0; i < this.#kept.length; i++)
      yield this.#kept[(this.#next + i) % this.#kept.length] as Made
  }

  clear(): void {
    for (const made of this.#kept) this.#memory.intakeBytes -= sizeOf(made)
    this.#kept = []
    this.#next = 0
  }
}

function sizeOf({ bytes, parts }: Made): number {
  return (parts ?? []).reduce((sum, part) => sum + part.length, bytes.length)
}

function lengthIn(table: FieldTable): number {
  const value = lookup(table, 'x-recent-history-length')
  if (value === undefined) return defaultLength
  const isInteger = equivalenceClass(value.type) === 'integer' && value.type !== 'D'
  if (isInteger && Number(value.value) > 0) return Number(value.value)
  throw new AmqpError(
    'PRECONDITION_FAILED',
    `Invalid argument ${printTerm(value)}, 'x-recent-history-length' must be a positive integer`,
  )
}
