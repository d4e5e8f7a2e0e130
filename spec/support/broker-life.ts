/**
 * A broker from one start to its end, on a simulated disk and without sockets: publishers with
 * confirms, consumers that remember what they hold, and transactions.
 */
import { Confirms } from '../../src/amqp/confirms.js'
import { Broker } from '../../src/broker/broker.js'
import type { Journal, LogWaiter } from '../../src/broker/journal.js'
import { Consumer } from '../../src/broker/queues/consumer.js'
import { Got, type Queue } from '../../src/broker/queues/queue.js'
import type { Vhost } from '../../src/broker/vhost.js'
import type { Files } from '../../src/platform/files.js'
import { type LogFields, silence } from '../../src/platform/log.js'
import { Turn } from '../../src/platform/turn.js'
import type { FileLog } from '../../src/store/file-log.js'
import { Mark } from '../../src/store/message-table.js'
import { ChunkPool } from '../../src/structures/chunk-pool.js'
import { decodeMethod } from '../../src/wire/codec.js'
import { fieldTable, type PlainTable } from '../../src/wire/field-table.js'
import { FrameParser } from '../../src/wire/frame-parser.js'
import { FrameWriter } from '../../src/wire/frame-writer.js'
import type { Message } from '../../src/wire/message.js'
import { decodeProperties, type Properties } from '../../src/wire/properties.js'
import { FakeClock } from './fake-clock.js'
import { FakeSocket } from './fake-socket.js'
import { contentOf, messageBytes } from './messages.js'
import { type LogLine, SeededRandom } from './simulated-world.js'
import { owner } from './vhosts.js'

export const segmentBytes = 16 * 1024

/** What is large enough to stand apart from its message's head. */
const largeBody = 65_536

export const tick = () => new Promise<void>(resolve => setImmediate(resolve))

/** What confirms need of the journal. */
export type LogProgress = Pick<Journal, 'durableUpTo' | 'wait'>

/** A message to be published. */
export interface Publish {
  readonly exchange?: string
  /** The queue's name, on the default exchange. */
  readonly key: string
  readonly body: Buffer
  readonly properties?: Properties
  /** True unless told otherwise. */
  readonly persistent?: boolean
}

/** A message in somebody's hands, with what the queue gave with it. */
export interface Delivery {
  readonly queue: Queue
  readonly exchange: string
  readonly key: string
  readonly properties: Properties
  readonly body: Buffer
  readonly redelivered: boolean
  readonly returns: number
  /** Milliseconds until it expires; Infinity: never. */
  readonly ttlMs: number
  /** The message's number; -1 if it needs no acknowledgement. */
  readonly number: number
  readonly slot: number
  readonly deadline: number
}

export type Settlement = 'complete' | 'requeue' | 'discard' | 'fail'

/** Takes messages until it has `limit` in hands. */
export class Taker extends Consumer {
  readonly exclusive = false
  readonly priority = 0
  readonly noAck: boolean
  readonly held: Delivery[] = []
  readonly taken: Delivery[] = []
  readonly #life: BrokerLife
  readonly queue: Queue
  readonly #limit: number
  readonly #heard: (delivery: Delivery) => void

  constructor(
    life: BrokerLife,
    queue: Queue,
    { noAck = false, limit = 0 } = {},
    heard: (delivery: Delivery) => void = () => {},
  ) {
    super()
    this.#life = life
    this.queue = queue
    this.noAck = noAck
    this.#limit = limit
    this.#heard = heard
    queue.addConsumer(this)
    queue.resume(this)
  }

  deliver(
    message: Message,
    slot: number,
    redelivered: boolean,
    deadline: number,
    returns: number,
  ): void {
    const delivery = this.#life.delivery(this.queue, message, slot, redelivered, deadline, returns)
    this.taken.push(delivery)
    if (!this.noAck) this.held.push(delivery)
    if (this.held.length === this.#limit && this.#limit > 0) this.queue.consumers.pause(this)
    this.#heard(delivery)
  }

  cancelled(): void {}

  settle(place: number, how: Settlement): Delivery {
    const [delivery] = this.held.splice(place, 1) as [Delivery]
    settle(delivery, how)
    if (this.held.length + 1 === this.#limit) this.queue.resume(this)
    return delivery
  }

  /** Everything in hands goes back, and no more comes: its connection ends. */
  end(): void {
    this.queue.removeConsumer(this)
    while (this.held.length > 0) settle(this.held.shift() as Delivery, 'fail')
  }
}

export function settle({ queue, slot, deadline, returns }: Delivery, how: Settlement): void {
  if (how === 'complete') queue.complete(slot)
  else if (how === 'discard') queue.discard(slot)
  else queue.giveBack(slot, deadline, returns, how === 'fail')
}

/** A channel that publishes and is told of its confirms; `progress` stands in for the journal. */
export class ConfirmingChannel {
  published = 0
  /** Sequence numbers. */
  readonly acked = new Set<number>()
  readonly nacked = new Set<number>()
  readonly #life: BrokerLife
  readonly #socket = new FakeSocket()
  readonly #confirms: Confirms
  #seen = 0
  #told = 0

  constructor(life: BrokerLife, progress: LogProgress) {
    const nobody = { congested: () => {}, relieved: () => {} }
    this.#life = life
    const writer = new FrameWriter(new ChunkPool(), life.turn, this.#socket, nobody)
    this.#confirms = new Confirms(life.turn, progress, writer, 1)
  }

  /** Returns the sequence number. */
  publish(publish: Publish): number {
    const refused = !this.#life.publish(publish)
    this.#confirms.add(refused, this.#life.vhost.arrival.loggedAs)
    return ++this.published
  }

  /** Takes note of what was told so far. */
  listen(): void {
    const bytes = this.#socket.received
    if (bytes.length === this.#seen) return
    const parser = new FrameParser(4096)
    parser.feed(bytes, this.#seen, bytes.length)
    this.#seen = bytes.length
    while (parser.next()) {
      const method = decodeMethod(parser.bytes, parser.start, parser.end)
      if (method.name !== 'basic.ack' && method.name !== 'basic.nack') throw new Error(method.name)
      const into = method.name === 'basic.ack' ? this.acked : this.nacked
      const last = Number(method.args.deliveryTag)
      if (!method.args.multiple && last !== this.#told + 1) throw new Error('confirms have a gap')
      while (this.#told < last) into.add(++this.#told)
    }
  }
}

/** Somebody who waits for a commit. */
export class PendingCommit implements LogWaiter {
  outcome: 'waiting' | 'done' | 'failed' = 'waiting'
  readonly #journal: Journal
  readonly #awaited: number
  readonly #logged: readonly number[]

  constructor(journal: Journal, awaited: number, logged: readonly number[]) {
    this.#journal = journal
    this.#awaited = awaited
    this.#logged = logged
    if (awaited <= journal.durableUpTo) this.outcome = 'done'
    else journal.wait(this)
  }

  durable(): boolean {
    if (this.#journal.durableUpTo < this.#awaited) return true
    this.outcome = 'done'
    return false
  }

  failed(from: number, refused: Set<number>): boolean {
    if (this.#awaited < from) return true
    for (const number of this.#logged) if (number >= from) refused.add(number)
    this.outcome = 'failed'
    return false
  }
}

/** Makes what is there from the beginning; called again at every start. */
export type Declare = (life: BrokerLife) => void

export class BrokerLife {
  readonly clock = new FakeClock()
  readonly turn: Turn
  readonly broker: Broker
  readonly lines: LogLine[] = []
  /** The machine has crashed, or the process was killed: nothing that still runs here counts. */
  dead = false
  /** Opening has ended, well or not. */
  opened = false
  readonly #declare: Declare

  /** `wallMs`: what the machine's clock shows, unless it is that of all tests. */
  constructor(files: Files, declare: Declare, wallMs?: number) {
    if (wallMs !== undefined) this.clock.stepWall(wallMs - this.clock.wallMs())
    this.turn = new Turn(setImmediate, error => {
      throw error
    })
    this.#declare = declare
    const { clock, turn } = this
    const log = {
      ...silence,
      info: (fields: LogFields, message: string) =>
        this.lines.push({ level: 'info', fields, message }),
      error: (fields: LogFields, message: string) =>
        this.lines.push({ level: 'error', fields, message }),
    }
    const users = [{ name: 'guest', password: 'secret' }]
    this.broker = new Broker(
      { vhosts: ['/'], users, loopbackUsers: [] },
      { clock, turn, log, random: new SeededRandom(), files },
      { files, folder: 'data', segmentBytes },
    )
  }

  async open(): Promise<void> {
    const opening = this.broker.open(() => {})
    void opening
      .catch(() => {})
      .finally(() => {
        this.opened = true
      })
    while (!this.opened && !this.dead) {
      await tick()
      this.clock.advance(0)
    }
    if (this.dead) return
    await opening
    this.#declare(this)
  }

  /** Ends it properly; rejects if the disk does not take what is to be kept. */
  async close(): Promise<void> {
    let closing = true
    const closed = this.broker.close()
    void closed
      .catch(() => {})
      .finally(() => {
        closing = false
      })
    while (closing) {
      await tick()
      this.clock.advance(1)
    }
    await closed
  }

  get vhost(): Vhost {
    return this.broker.vhost('/') as Vhost
  }

  get journal(): Journal {
    return this.broker.journal
  }

  get log(): FileLog {
    return this.journal.log as FileLog
  }

  declareQueue(name: string, args: PlainTable = {}, durable = true): Queue {
    return this.vhost.declareQueue({
      name,
      durable,
      exclusive: false,
      autoDelete: false,
      arguments: fieldTable(args),
      owner,
    })
  }

  bind(source: string, queue: string, key = ''): void {
    this.vhost.bindings.bind(source, { kind: 'queue', name: queue }, key, [], owner)
  }

  queue(name: string): Queue {
    return this.vhost.queue(name, owner)
  }

  confirming(progress: LogProgress = this.journal): ConfirmingChannel {
    return new ConfirmingChannel(this, progress)
  }

  /** False: it was refused. */
  publish({ exchange = '', key, body, properties = {}, persistent = true }: Publish): boolean {
    const { arrival, router } = this.vhost
    const mode = persistent ? { deliveryMode: 2 } : {}
    const content = contentOf({
      exchange,
      routingKey: key,
      properties: { ...properties, ...mode },
      body,
    })
    const bytes = messageBytes(content)
    if (body.length < largeBody) {
      arrival.message.at(bytes, 0, bytes.length, null)
    } else {
      const head = bytes.subarray(0, bytes.length - body.length - 1)
      arrival.message.at(head, 0, head.length, [body.subarray(0, 1000), body.subarray(1000)])
    }
    const { expiration, priority } = properties
    const expirationMs = expiration === undefined ? -1 : Number(expiration)
    const given = priority === undefined ? 0 : priority | Mark.prioritised
    const marks = given | (persistent ? Mark.persistent : 0)
    arrival.begin(marks, expirationMs, body.length >= largeBody)
    return (this.vhost.publish(router.route(arrival.message, null), arrival, null) & 2) === 0
  }

  /** Takes the next message of a queue, which it keeps in hands; null: there is none, or it must be read first. */
  get(name: string, noAck = false): Delivery | null {
    return this.#get(name, noAck).delivery
  }

  /** Takes the next message of a queue, wherever it is; there must be one. */
  async take(name: string): Promise<Delivery> {
    const delivery = await this.#next(name)
    if (delivery === null) throw new Error(`${name} is empty`)
    return delivery
  }

  /** Takes all messages of a queue. */
  async getAll(name: string): Promise<Delivery[]> {
    const all: Delivery[] = []
    for (let next = await this.#next(name); next !== null; next = await this.#next(name))
      all.push(next)
    return all
  }

  async #next(name: string): Promise<Delivery | null> {
    for (let waited = 0; ; waited++) {
      const { got, delivery } = this.#get(name, false)
      if (got !== Got.later) return delivery
      await this.turns(1)
      // A read that failed is tried again, some time later.
      if (waited > 50) this.clock.advance(10)
    }
  }

  #get(name: string, noAck: boolean): { got: number; delivery: Delivery | null } {
    const queue = this.queue(name)
    let delivery: Delivery | null = null
    const got = queue.get(noAck, (message, slot, redelivered, deadline, returns) => {
      delivery = this.delivery(queue, message, slot, redelivered, deadline, returns)
    })
    return { got, delivery }
  }

  delivery(
    queue: Queue,
    message: Message,
    slot: number,
    redelivered: boolean,
    deadline: number,
    returns: number,
  ): Delivery {
    const { bytes, exchange, routingKey, end, bodySize, parts } = message
    const octets = Buffer.from(bytes.subarray(message.propertiesStart, message.propertiesEnd))
    const body =
      parts !== null
        ? Buffer.concat(parts)
        : Buffer.from(bytes.subarray(end - 1 - bodySize, end - 1))
    return {
      queue,
      exchange,
      key: routingKey,
      properties: decodeProperties(octets, 0, octets.length),
      body,
      redelivered,
      returns,
      ttlMs: deadline === 0 ? Number.POSITIVE_INFINITY : deadline - this.clock.monotonicMs(),
      number: slot < 0 ? -1 : this.broker.messages.number(slot),
      slot,
      deadline,
    }
  }

  /** Everything that the next turns bring, and what is due at this moment. */
  async turns(count = 20): Promise<void> {
    for (let i = 0; i < count; i++) {
      await tick()
      this.clock.advance(0)
    }
  }

  /** Resolves when everything appended so far is durable. */
  async flushed(): Promise<void> {
    // What gathers until the end of the turn is appended then.
    await this.turns(2)
    let waiting = 2
    const done = () => {
      waiting--
    }
    void this.log.flushed().then(done)
    const { definitions } = this.broker
    definitions.whenDurable(definitions.last, done)
    while (waiting > 0) {
      await tick()
      this.clock.advance(10)
    }
    await this.turns(2)
  }
}
