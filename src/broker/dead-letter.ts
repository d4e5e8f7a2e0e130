/**
 * Messages that leave a queue for its dead letter exchange, with the record of their deaths in
 * `x-death`. They wait for the end of the turn, so that a queue never publishes while it is in
 * the middle of something, and go in the order in which they left.
 */
import { Stage, type TurnParty } from '../platform/turn.js'
import {
  type FieldTable,
  type FieldValue,
  lookup,
  tableSize,
  textOf,
  writeTable,
} from '../wire/field-table.js'
import { buildMessage, Message } from '../wire/message.js'
import { decodeProperties, expirationAt, headersAt, withoutExpiration } from '../wire/properties.js'
import { Dying } from './dying.js'
import { Decider, type Exchange } from './exchanges/exchange.js'
import { HeldLetters } from './held-letters.js'
import { settle } from './queues/disposal.js'
import type { DeathReason } from './queues/host.js'
import type { Queue } from './queues/queue.js'
import { ReadAhead } from './queues/read-ahead.js'
import { isAt } from './router.js'
import { keysIn, withoutBcc } from './sender-selected.js'
import type { Vhost } from './vhost.js'

/** Time for burials in one turn: a queue that expires as a whole does not hold the loop. */
const burialMs = 3

/** With so many waiting a flood makes more of them than the usual share buries: then it is larger. */
const manyLetters = 16_384
const manyBurialsMs = 8

/** Letters sent in one turn however long it takes; one to several queues counts for each. */
const lettersPerTurn = 256

/** What is the same for messages that leave one queue alike: where their letters go, and with what. */
interface Burial {
  readonly queue: Queue
  readonly reason: DeathReason
  readonly timeSeconds: number
  readonly generation: number
  readonly diedBefore: boolean
  /** Of the message; without headers or expiration these are empty. */
  readonly address: Buffer
  readonly headers: Buffer
  readonly expiration: Buffer
  /** Of the letter. */
  readonly exchange: Buffer
  readonly key: Buffer
  readonly newHeaders: Buffer
  readonly queues: readonly Queue[]
  /** The next one may go elsewhere though it is the same in all this. */
  readonly unique: boolean
}

export class DeadLetters implements TurnParty {
  /** Those that stay with their queues until they have arrived. */
  readonly held: HeldLetters
  readonly #vhost: Vhost
  readonly #dying = new Dying()
  /** Its turn is to come, or a content that must be read first. */
  #waits = false
  #loading = false
  readonly #readAhead: ReadAhead
  readonly #view = new Message()
  /** The last burial: in a flood the next one is most often the same. */
  #last: Burial | null = null

  constructor(vhost: Vhost) {
    this.#vhost = vhost
    this.held = new HeldLetters(vhost, this)
    this.#readAhead = new ReadAhead(vhost.messages, vhost.paging, () => this.#contentCame())
  }

  /** Takes over a reference to a message that leaves its queue, or that it never took (`entered` is false). */
  add(queue: Queue, slot: number, reason: DeathReason, entered: boolean): void {
    if (entered && queue.keepsLetters) {
      this.held.add(queue, slot, reason)
      return
    }
    const exchange = queue.settings.deadLetterExchange
    if (exchange === null || !this.#vhost.exchanges.has(exchange)) {
      if (entered) settle(queue, slot, this.#vhost)
      else this.#vhost.messages.release(slot)
      return
    }
    this.#dying.push(queue, slot, reason, entered)
    if (this.#waits) return
    this.#waits = true
    this.#vhost.journal.leaving++
    this.#vhost.turn.add(Stage.deliver, this)
  }

  endTurn(): void {
    const { clock, journal, messages, paging, turn } = this.#vhost
    const share = this.#dying.count > manyLetters ? manyBurialsMs : burialMs
    const until = clock.monotonicMs() + share
    const failures: unknown[] = []
    let letters = 0
    const bury = (queue: Queue, slot: number, reason: DeathReason, entered: boolean) => {
      const logged = entered && queue.logs(slot)
      let sent = 0
      try {
        if (messages.inMemory(slot)) sent = this.#bury(queue, slot, reason, logged)
        else paging.lose(slot, queue.name)
      } catch (error) {
        failures.push(error)
      }
      letters += Math.max(1, sent)
      if (sent === 0 && logged) journal.settle(queue, slot)
      messages.release(slot)
    }
    // What dies on the way waits for the next turn.
    for (let left = this.#dying.count; left > 0; left--) {
      if (letters >= lettersPerTurn && clock.monotonicMs() >= until) break
      const { slot } = this.#dying
      if (!messages.inMemory(slot) && !paging.isLost(slot)) {
        this.#readAhead.request(this.#dying)
        this.#loading = true
        break
      }
      this.#dying.shift(bury)
    }
    this.#readAhead.advance(this.#dying)
    this.#waits = this.#dying.count > 0
    if (!this.#waits) journal.leaving--
    else if (!this.#loading) turn.add(Stage.deliver, this)
    if (failures.length > 0) throw failures[0]
  }

  #contentCame(): void {
    if (!this.#loading) return
    this.#loading = false
    this.#vhost.turn.add(Stage.deliver, this)
  }

  /** Sends the letter of a message, which is `logged` or not; returns to how many queues. */
  #bury(queue: Queue, slot: number, reason: DeathReason, logged: boolean): number {
    const burial = this.#burialOf(queue, slot, reason)
    if (burial === null) return 0
    return this.#send(burial, burial.queues, slot, logged ? queue : null)
  }

  /**
   * Sends the letter of a message to those of its queues that have room and not `had` it. True: now
   * all have it, and the message has left its queue. False: it has not, and `had` has grown.
   */
  post(queue: Queue, slot: number, reason: DeathReason, had: Set<Queue>): boolean {
    const burial = this.#burialOf(queue, slot, reason)
    if (burial === null) return false
    const { bodySize } = this.#view
    const missing = burial.queues.filter(to => !had.has(to))
    const taking = missing.filter(to => !to.isFullFor(bodySize))
    const all = taking.length === missing.length
    if (taking.length === 0 && (!all || had.size === 0)) return false
    const logged = queue.logs(slot)
    if (taking.length > 0) this.#send(burial, taking, slot, all && logged ? queue : null)
    // Who had not taken it is no longer meant.
    else if (logged) this.#vhost.journal.settle(queue, slot)
    if (!all) for (const to of taking) had.add(to)
    return all
  }

  /** The burial of a message, which is in view then; null: there is no exchange for it. */
  #burialOf(queue: Queue, slot: number, reason: DeathReason): Burial | null {
    const { messages, exchanges } = this.#vhost
    if (!exchanges.has(queue.settings.deadLetterExchange as string)) return null
    const view = this.#view
    messages.locate(slot)
    view.at(messages.bytes, messages.start, messages.end, messages.parts)
    this.#last = this.#burial(queue, reason, messages.diedBefore(slot))
    return this.#last
  }

  /** Sends the letter of the message in view to these queues; returns to how many. */
  #send(burial: Burial, queues: readonly Queue[], slot: number, from: Queue | null): number {
    const { router } = this.#vhost
    const view = this.#view
    const remembered = burial.unique && router.remembers
    if (queues.length === 0 && !remembered) return 0
    const properties = withoutExpiration(
      view.bytes,
      view.propertiesStart,
      view.propertiesEnd,
      burial.newHeaders,
    )
    const built = buildMessage(burial.exchange, burial.key, properties, view)
    if (remembered) {
      const letter = new Message()
      letter.at(built.bytes, 0, built.bytes.length, built.parts)
      router.remember(letter, decodeProperties(properties, 0, properties.length))
      if (queues.length === 0) return 0
    }
    this.#vhost.made.enqueueDead(queues, built.bytes, built.parts, slot, from)
    return queues.length
  }

  /** The burial of the message in view. */
  #burial(queue: Queue, reason: DeathReason, diedBefore: boolean): Burial {
    const { clock, exchanges, router } = this.#vhost
    const view = this.#view
    const { bytes, propertiesStart } = view
    const timeSeconds = Math.floor(clock.wallMs() / 1000)
    const headersStart = headersAt(bytes, propertiesStart)
    const headersEnd = headersStart < 0 ? -1 : headersStart + 4 + bytes.readUInt32BE(headersStart)
    const expirationStart = expirationAt(bytes, propertiesStart)
    const expirationEnd =
      expirationStart < 0 ? -1 : expirationStart + 1 + bytes.readUInt8(expirationStart)
    const last = this.#last
    if (
      last !== null &&
      !last.unique &&
      last.queue === queue &&
      last.reason === reason &&
      last.timeSeconds === timeSeconds &&
      last.generation === router.generation &&
      last.diedBefore === diedBefore &&
      isAt(last.address, view) &&
      stands(last.headers, bytes, headersStart, headersEnd) &&
      stands(last.expiration, bytes, expirationStart, expirationEnd)
    )
      return last

    const octets = Buffer.from(bytes.subarray(propertiesStart, view.propertiesEnd))
    const properties = decodeProperties(octets, 0, octets.length)
    const { headers = [], expiration } = properties
    const key = view.routingKey
    const carbonCopies = keysIn(headers, 'CC')
    const deaths = deathsWith(diedBefore ? deathsIn(headers) : [], {
      queue: queue.name,
      reason,
      exchange: view.exchange,
      keys: [key, ...carbonCopies],
      expiration,
      timeSeconds,
    })
    const exchange = queue.settings.deadLetterExchange as string
    const target = queue.settings.deadLetterRoutingKey
    const keys = target === null ? [key, ...carbonCopies, ...keysIn(headers, 'BCC')] : [target]
    const queues = router
      .walk(exchanges.get(exchange) as Exchange, keys, properties)
      .filter(to => !isCycle(to.name, deaths, reason))
    const newHeaders = headersWith(withoutBcc(headers), deaths, diedBefore)
    const newOctets = Buffer.allocUnsafe(tableSize(newHeaders))
    writeTable(newOctets, 0, newHeaders)
    return {
      queue,
      reason,
      timeSeconds,
      generation: router.generation,
      diedBefore,
      address: Buffer.from(bytes.subarray(view.start, view.addressEnd)),
      headers: Buffer.from(bytes.subarray(headersStart, headersEnd)),
      expiration: Buffer.from(bytes.subarray(expirationStart, expirationEnd)),
      exchange: Buffer.from(exchange),
      key: Buffer.from(target ?? key),
      newHeaders: newOctets,
      queues,
      unique: router.decidedBy === Decider.message,
    }
  }
}

/** Whether these octets stand at `bytes[start..end)`. */
function stands(octets: Buffer, bytes: Buffer, start: number, end: number): boolean {
  if (end - start !== octets.length) return false
  return octets.length === 0 || octets.compare(bytes, start, end) === 0
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
