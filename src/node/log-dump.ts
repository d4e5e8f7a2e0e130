/** The records of the logs as plain values, for people and their programs. */
import { isUtf8 } from 'node:buffer'
import { type Command, isTable } from '../broker/command.js'
import type { LogReplay } from '../store/log.js'
import { Mark } from '../store/message-table.js'
import {
  contentAt,
  isMessage,
  Kind,
  kindAt,
  numberAt,
  replayRecord,
  sizeAt,
} from '../store/record.js'
import type { Targets } from '../store/targets.js'
import type { FieldTable, FieldValue } from '../wire/field-table.js'
import { frameHead } from '../wire/frame-parser.js'
import { Message } from '../wire/message.js'
import { decodeProperties } from '../wire/properties.js'
import type { QueueNames } from './queue-names.js'

/** What JSON can say. */
export type Plain = string | number | boolean | null | readonly Plain[] | { [key: string]: Plain }
type PlainObject = Record<string, Plain>

/** Of a body or content that is not wanted whole so much is shown. */
const shownBytes = 64

const kindNames = new Map<number, string>(Object.entries(Kind).map(([name, kind]) => [kind, name]))

/** The name of a record's kind. */
export function kindName(bytes: Buffer, start: number): string {
  const kind = kindAt(bytes, start)
  return kindNames.get(kind) ?? `kind ${kind}`
}

export class RecordPrinter implements LogReplay {
  readonly #queues: QueueNames
  readonly #bodies: boolean
  readonly #record = new Map<string, Plain>()
  #ranges: (readonly [number, number])[] = []

  /** `bodies`: all of each, not only how it begins. */
  constructor(queues: QueueNames, bodies: boolean) {
    this.#queues = queues
    this.#bodies = bodies
  }

  /** What the record at `start` says. */
  print(bytes: Buffer, start: number, segment: number, offset: number): PlainObject {
    const record = this.#record
    record.clear()
    record.set('segment', segment).set('offset', offset).set('number', numberAt(bytes, start))
    record.set('kind', kindName(bytes, start)).set('size', sizeAt(bytes, start))
    this.#ranges = []
    replayRecord(bytes, start, segment, offset, this)
    if (this.#ranges.length > 0) record.set('settled', this.#ranges)
    if (isMessage(kindAt(bytes, start)))
      this.#content(bytes, contentAt(bytes, start), start + sizeAt(bytes, start))
    return Object.fromEntries(record)
  }

  message(_number: number, targets: Targets, marks: number): void {
    const to: Plain[] = []
    for (let i = 0; i < targets.count; i++) {
      const queue = this.#queue(targets.queues[i] as number)
      const expiry = targets.expiries[i] as number
      to.push(expiry === 0 ? queue : { ...queue, expires: new Date(expiry).toISOString() })
    }
    this.#record.set('queues', to)
    const set = Object.entries(Mark).filter(([, mark]) => (marks & mark) !== 0)
    this.#record.set(
      'marks',
      set.map(([name]) => name),
    )
  }

  settled(queue: number, first: number, last: number): void {
    this.#record.set('queue', this.#queue(queue))
    this.#ranges.push([first, last])
  }

  returned(queue: number, number: number, count: number): void {
    this.#record.set('queue', this.#queue(queue))
    this.#record.set('message', number)
    this.#record.set('count', count)
  }

  opaque(_number: number, bytes: Buffer, start: number, end: number): void {
    try {
      this.#record.set('command', plainCommand(this.#queues.learn(bytes, start, end)))
    } catch (error) {
      this.#record.set('unreadable', (error as Error).message)
      this.#put('content', bytes.subarray(start, end))
    }
  }

  #queue(number: number): PlainObject {
    const name = this.#queues.get(number)
    return name === undefined ? { number } : { number, ...name }
  }

  #content(bytes: Buffer, start: number, end: number): void {
    try {
      const message = new Message()
      message.at(bytes, start, end, null)
      const { exchange, routingKey, propertiesStart, propertiesEnd, body, bodySize } = message
      const { headers, timestamp, ...properties } = decodeProperties(
        bytes,
        propertiesStart,
        propertiesEnd,
      )
      this.#record.set('exchange', exchange)
      this.#record.set('routingKey', routingKey)
      this.#record.set('properties', {
        ...properties,
        ...(timestamp === undefined ? {} : { timestamp: plainInteger(timestamp) }),
        ...(headers === undefined ? {} : { headers: plainTable(headers) }),
      })
      this.#record.set('bodySize', bodySize)
      const payload = body + frameHead
      this.#put('body', bytes.subarray(payload, payload + bodySize))
    } catch (error) {
      this.#record.set('unreadable', (error as Error).message)
      this.#put('content', bytes.subarray(start, end))
    }
  }

  /** Text as it is, other bytes as base64 under a name that says so. */
  #put(name: string, bytes: Buffer): void {
    const whole = this.#bodies || bytes.length <= shownBytes
    const shown = whole ? bytes : bytes.subarray(0, shownBytes)
    if (isUtf8(bytes)) {
      // The cut may go through a character.
      const text = shown.toString()
      this.#record.set(name, whole ? text : `${text.replace(/\ufffd$/, '')}…`)
    } else {
      this.#record.set(`${name}Base64`, shown.toString('base64') + (whole ? '' : '…'))
    }
  }
}

function plainCommand(command: Command): Plain {
  const fields = Object.entries(command).map(([key, value]): [string, Plain] => {
    // A hash is good enough to guess passwords from.
    if (key === 'passwordHash') return [key, '***']
    return [key, isTable(command, key) ? plainTable(value) : (value as Plain)]
  })
  return Object.fromEntries(fields)
}

function plainTable(table: FieldTable): Plain {
  return Object.fromEntries(table.map(({ key, value }) => [key, plainValue(value)]))
}

function plainValue(field: FieldValue): Plain {
  switch (field.type) {
    case 'S':
    case 'x':
      return isUtf8(field.value)
        ? field.value.toString()
        : { base64: field.value.toString('base64') }
    case 'A':
      return field.value.map(plainValue)
    case 'F':
      return plainTable(field.value)
    case 'D':
      return { scale: field.value.scale, digits: field.value.digits }
    case 'l':
    case 'T':
      return plainInteger(field.value)
    default:
      return field.value
  }
}

const plainInteger = (value: number | bigint) =>
  typeof value === 'bigint' ? value.toString() : value
