/** A queue on its own: everything it needs from the vhost, and consumers that remember. */
import { Arrival } from '../../src/broker/arrival.js'
import { Deadlines } from '../../src/broker/deadlines.js'
import { Journal } from '../../src/broker/journal.js'
import { Ruling } from '../../src/broker/policies/ruling.js'
import { Consumer } from '../../src/broker/queues/consumer.js'
import {
  type DeathReason,
  type QueueHost,
  type QueueRules,
  standardRules,
} from '../../src/broker/queues/host.js'
import { Got, Queue } from '../../src/broker/queues/queue.js'
import { ReadyPages } from '../../src/broker/queues/ready.js'
import { acquiredCount } from '../../src/broker/queues/return-count.js'
import { largeBytes, Mark, MessageTable } from '../../src/store/message-table.js'
import { Paging } from '../../src/store/paging.js'
import { ChunkPool } from '../../src/structures/chunk-pool.js'
import { fieldTable, type PlainTable } from '../../src/wire/field-table.js'
import type { Message } from '../../src/wire/message.js'
import { encodeProperties } from '../../src/wire/properties.js'
import { contentOf, messageBytes } from './messages.js'
import { SimulatedContents } from './simulated-contents.js'
import { SimulatedWorld } from './simulated-world.js'

/** A message in somebody's hands, with what the queue gave with it. */
export interface Held {
  readonly id: number
  readonly slot: number
  readonly deadline: number
  readonly returns: number
}

/** Messages are known by their routing keys, which are numbers here. */
export class QueueBench implements QueueHost {
  readonly world = new SimulatedWorld()
  readonly messages = new MessageTable(new ChunkPool())
  readonly pages = new ReadyPages()
  readonly turn = this.world.turn
  readonly paging = new Paging(this.messages, this.turn, this.world.clock, this.world.log)
  readonly journal = new Journal(this.messages, this.turn)
  readonly clock = this.world.clock
  readonly rules: QueueRules
  readonly letters = { keep: () => {}, resume: () => {}, drop: () => 0 }
  readonly deadlines = new Deadlines(this.clock, error => {
    throw error
  })
  readonly queue: Queue
  readonly burials: string[] = []
  readonly deliveries: string[] = []
  timesUnused = 0
  readonly log = new SimulatedContents(this.messages, this.paging)
  readonly #arrival = new Arrival(this.messages, this.journal)

  constructor(
    args: PlainTable = {},
    declaration: { readonly autoDelete?: boolean } = {},
    rules = standardRules,
  ) {
    this.rules = rules
    const table = fieldTable(args)
    this.queue = new Queue(
      {
        name: 'q',
        durable: false,
        autoDelete: declaration.autoDelete ?? false,
        owner: null,
        arguments: table,
        number: 0,
      },
      Ruling.none,
      this,
    )
  }

  bury(_queue: Queue, slot: number, reason: DeathReason): void {
    this.burials.push(`${this.#keyIn(slot)} ${reason}`)
    this.messages.release(slot)
  }

  queueUnused(): void {
    this.timesUnused++
  }

  /** A `bulky` message has a body of its size, and headers with which it fills a chunk of its own. */
  publish(
    id: number,
    { priority = null as number | null, expirationMs = -1, size = 0, bulky = false } = {},
  ): boolean {
    const content = contentOf({ routingKey: `${id}`, body: Buffer.alloc(size, id) })
    const bytes = messageBytes(bulky ? { ...content, properties: bulkyProperties } : content)
    this.#arrival.message.at(bytes, 0, bytes.length, null)
    const marks = priority === null ? 0 : priority | Mark.prioritised
    this.#arrival.begin(marks, expirationMs, false)
    return this.queue.publish(this.#arrival)
  }

  get(holder: TestConsumer): void {
    const got = this.queue.get(holder.noAck, (message, slot, _redelivered, deadline, returns) =>
      holder.take(message, slot, deadline, returns),
    )
    if (got === Got.later) this.queue.whenRead(() => this.get(holder))
    if (got === Got.nothing) this.deliveries.push(`${holder.name} nothing`)
  }

  subscribe(consumer: TestConsumer): void {
    this.queue.addConsumer(consumer)
    this.queue.resume(consumer)
  }

  /** Everything that the end of this turn, the present moment and the disk bring. */
  settle(): void {
    do {
      this.world.turns.endAll()
      this.clock.advance(0)
      this.log.answer(3)
    } while (this.world.turns.waiting || this.log.waiting.length > 0)
  }

  #keyIn(slot: number): string {
    if (!this.messages.inMemory(slot)) return keyAt(this.log.content(slot), 0)
    this.messages.locate(slot)
    return keyAt(this.messages.bytes, this.messages.start)
  }
}

function keyAt(bytes: Buffer, start: number): string {
  const key = start + 1 + bytes.readUInt8(start)
  return bytes.toString('utf8', key + 1, key + 1 + bytes.readUInt8(key))
}

const bulkyProperties = encodeProperties({
  headers: [{ key: 'bulk', value: { type: 'x', value: Buffer.alloc(largeBytes, 0xbb) } }],
})

/** Takes messages until it has `limit` in hands; 0 is no limit. */
export class TestConsumer extends Consumer {
  readonly exclusive = false
  readonly held: Held[] = []
  /** Ids in the order in which they came. */
  readonly taken: number[] = []
  timesCancelled = 0
  readonly name: string
  readonly priority: number
  readonly noAck: boolean
  readonly limit: number
  readonly #bench: QueueBench

  constructor(
    bench: QueueBench,
    name: string,
    { priority = 0, noAck = false, limit = 0 }: Partial<TestConsumer> = {},
  ) {
    super()
    this.#bench = bench
    this.name = name
    this.priority = priority
    this.noAck = noAck
    this.limit = limit
  }

  deliver(
    message: Message,
    slot: number,
    redelivered: boolean,
    deadline: number,
    returns: number,
  ): void {
    if (redelivered !== returns > 0) throw new Error('the redelivered flag tells another story')
    this.take(message, slot, deadline, returns)
    if (!this.noAck && this.held.length === this.limit) this.#bench.queue.consumers.pause(this)
  }

  take(message: Message, slot: number, deadline: number, returns: number): void {
    if (slot < 0 !== this.noAck) throw new Error('a slot only for who acknowledges')
    const now = this.#bench.clock.monotonicMs()
    if (deadline !== 0 && deadline <= now && returns > 0) throw new Error('expired, yet delivered')
    const id = Number(message.routingKey)
    const body = message.bytes.subarray(message.end - 1 - message.bodySize, message.end - 1)
    if (message.bodySize > 0 && !body.every(octet => octet === (id & 255)))
      throw new Error('the body of another message')
    this.#bench.deliveries.push(`${this.name} ${id} ${acquiredCount(returns)}`)
    this.taken.push(id)
    if (!this.noAck) this.outstanding = this.held.push({ id, slot, deadline, returns })
  }

  settle(place: number, how: 'complete' | 'requeue' | 'discard' | 'fail'): void {
    const { queue } = this.#bench
    const [{ slot, deadline, returns }] = this.held.splice(place, 1) as [Held]
    this.outstanding = this.held.length
    if (this.held.length + 1 === this.limit) queue.resume(this)
    if (how === 'complete') queue.complete(slot)
    else if (how === 'discard') queue.discard(slot)
    else queue.giveBack(slot, deadline, returns, how === 'fail')
    if (this.yields) queue.handOver()
  }

  /** Everything in hands goes back, and no more comes. */
  lose(): void {
    this.#bench.queue.removeConsumer(this)
    while (this.held.length > 0) this.settle(0, 'requeue')
  }

  cancelled(): void {
    this.timesCancelled++
  }
}
