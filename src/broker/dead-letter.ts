/**
 * Messages that leave a queue for its dead letter exchange, with the record of their deaths in
 * `x-death`. They wait for the end of the turn, so that a queue never publishes while it is in
 * the middle of something, and go in the order in which they left.
 */
import { Stage, type TurnParty } from '../platform/turn.js'
import { type FieldTable, type FieldValue, lookup, textOf } from '../wire/field-table.js'
import { buildMessage, Message } from '../wire/message.js'
import { decodeProperties, withHeaders } from '../wire/properties.js'
import type { DeathReason, Queue } from './queues/queue.js'
import { keysIn, withoutBcc } from './sender-selected.js'
import type { Vhost } from './vhost.js'

/** Buried in one turn; a queue that expires as a whole does not hold the loop. */
const burialsPerTurn = 1024

interface Death {
  readonly queue: Queue
  readonly slot: number
  readonly reason: DeathReason
}

export class DeadLetters implements TurnParty {
  readonly #vhost: Vhost
  #waiting: Death[] = []
  readonly #view = new Message()

  constructor(vhost: Vhost) {
    this.#vhost = vhost
  }

  /** Takes over a reference to a message that leaves its queue. */
  add(queue: Queue, slot: number, reason: DeathReason): void {
    const exchange = queue.settings.deadLetterExchange
    if (exchange === null || !this.#vhost.exchanges.has(exchange)) {
      this.#vhost.messages.release(slot)
      return
    }
    if (this.#waiting.push({ queue, slot, reason }) === 1) this.#vhost.turn.add(Stage.deliver, this)
  }

  endTurn(): void {
    const deaths = this.#waiting
    this.#waiting = deaths.splice(burialsPerTurn)
    if (this.#waiting.length > 0) this.#vhost.turn.add(Stage.deliver, this)
    const failures: unknown[] = []
    for (const death of deaths) {
      try {
        this.#bury(death)
      } catch (error) {
        failures.push(error)
      }
      this.#vhost.messages.release(death.slot)
    }
    if (failures.length > 0) throw failures[0]
  }

  #bury({ queue, slot, reason }: Death): void {
    const { messages, exchanges, clock } = this.#vhost
    const name = queue.settings.deadLetterExchange as string
    const exchange = exchanges.get(name)
    if (exchange === undefined) return
    const view = this.#view
    messages.locate(slot)
    view.at(messages.bytes, messages.start, messages.end, messages.parts)
    const octets = Buffer.from(view.bytes.subarray(view.propertiesStart, view.propertiesEnd))
    const properties = decodeProperties(octets, 0, octets.length)
    const headers = properties.headers ?? []
    const key = view.routingKey
    const carbonCopies = keysIn(headers, 'CC')
    const deaths = deathsWith(messages.diedBefore(slot) ? deathsIn(headers) : [], {
      queue: queue.name,
      reason,
      exchange: view.exchange,
      keys: [key, ...carbonCopies],
      expiration: properties.expiration,
      timeSeconds: Math.floor(clock.wallMs() / 1000),
    })
    const target = queue.settings.deadLetterRoutingKey
    const keys = target === null ? [key, ...carbonCopies, ...keysIn(headers, 'BCC')] : [target]
    const queues = this.#vhost.router
      .walk(exchange, keys, headers)
      .filter(to => !isCycle(to.name, deaths, reason))
    if (queues.length === 0) return
    const newHeaders = headersWith(withoutBcc(headers), deaths, messages.diedBefore(slot))
    const built = buildMessage(
      Buffer.from(name),
      Buffer.from(target ?? key),
      withHeaders(octets, newHeaders, { dropExpiration: true }),
      view,
    )
    this.#vhost.enqueueDead(queues, built.bytes, built.parts, slot)
  }
}

interface NewDeath {
  readonly queue: string
  readonly reason: DeathReason
  readonly exchange: string
  readonly keys: readonly string[]
  readonly expiration: string | undefined
  readonly timeSeconds: number
}

/** The entries of x-death, newest first. */
function deathsIn(headers: FieldTable): FieldTable[] {
  const value = lookup(headers, 'x-death')
  if (value?.type !== 'A') return []
  return value.value.flatMap(entry => (entry.type === 'F' ? [entry.value] : []))
}

function deathsWith(deaths: readonly FieldTable[], death: NewDeath): FieldTable[] {
  const same = deaths.find(
    entry =>
      textOf(lookup(entry, 'queue')) === death.queue &&
      textOf(lookup(entry, 'reason')) === death.reason,
  )
  if (same === undefined) return [firstDeath(death), ...deaths]
  const counted = same.map(({ key, value }) =>
    key === 'count' ? { key, value: long(Number(value.value) + 1) } : { key, value },
  )
  return [counted, ...deaths.filter(entry => entry !== same)]
}

function firstDeath(death: NewDeath): FieldTable {
  const expiration =
    death.expiration === undefined
      ? []
      : [{ key: 'original-expiration', value: text(death.expiration) }]
  return [
    ...expiration,
    { key: 'count', value: long(1) },
    { key: 'reason', value: text(death.reason) },
    { key: 'queue', value: text(death.queue) },
    { key: 'time', value: { type: 'T', value: death.timeSeconds } },
    { key: 'exchange', value: text(death.exchange) },
    { key: 'routing-keys', value: { type: 'A', value: death.keys.map(text) } },
  ]
}

/** The headers of a dead letter: sorted, as RabbitMQ does whenever it changes headers. */
function headersWith(
  headers: FieldTable,
  deaths: readonly FieldTable[],
  diedBefore: boolean,
): FieldTable {
  const [last] = deaths as [FieldTable]
  const changed = new Map<string, FieldValue>()
  for (const { key, value } of headers) if (!changed.has(key)) changed.set(key, value)
  for (const detail of ['reason', 'queue', 'exchange']) {
    const value = lookup(last, detail) as FieldValue
    const first = `x-first-death-${detail}`
    if (!diedBefore || !changed.has(first)) changed.set(first, value)
    changed.set(`x-last-death-${detail}`, value)
  }
  changed.set('x-death', { type: 'A', value: deaths.map(value => ({ type: 'F', value })) })
  return [...changed]
    .map(([key, value]) => ({ key, value }))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
}

/**
 * A message that came round to a queue where it died, without anybody rejecting it on the way,
 * would go round for ever (rule of rabbit_dead_letter).
 */
function isCycle(queue: string, deaths: readonly FieldTable[], reason: DeathReason): boolean {
  if (reason === 'rejected') return false
  const before = deaths.findIndex(entry => textOf(lookup(entry, 'queue')) === queue)
  if (before < 0) return false
  return deaths.slice(0, before + 1).every(entry => textOf(lookup(entry, 'reason')) !== 'rejected')
}

function text(value: string): FieldValue {
  return { type: 'S', value: Buffer.from(value) }
}

function long(value: number): FieldValue {
  return { type: 'l', value }
}
