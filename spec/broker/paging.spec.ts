/** A whole broker with hardly any memory for contents: its log, its scratch file, and its starts. */
import { deepStrictEqual, ok } from 'node:assert'
import t from 'tap'
import { Got, type Queue } from '../../src/broker/queues/queue.js'
import { Mark } from '../../src/store/message-table.js'
import type { Message } from '../../src/wire/message.js'
import { contentOf, messageBytes, octetsOf } from '../support/messages.js'
import { Dice, SimulatedDisk } from '../support/simulated-disk.js'
import { inTurns, mainVhost, storedBroker, tick } from '../support/stored-broker.js'
import { owner } from '../support/vhosts.js'

const steps = 400
const most = 60_000

interface Held {
  readonly id: number
  readonly slot: number
  readonly deadline: number
  readonly returns: number
}

/** Lives of a broker on one disk, and what should wait in its queue. */
class Bench {
  readonly disk: SimulatedDisk
  readonly dice: Dice
  /** Ids of the messages that wait, oldest first, and which of them are persistent. */
  readonly waiting: number[] = []
  readonly persistent = new Set<number>()
  readonly held: Held[] = []
  readonly sizes: number[] = []
  /** What came out that was not in memory before, and messages that went to the scratch file. */
  read = 0
  scratched = 0
  #life!: ReturnType<typeof storedBroker>
  #queue!: Queue

  constructor(seed: number) {
    this.disk = new SimulatedDisk(seed)
    this.dice = new Dice(seed)
  }

  async start(): Promise<void> {
    this.#life = storedBroker(this.disk)
    const { broker, clock } = this.#life
    broker.paging.leastBytes = 0
    broker.paging.limit = 0
    await inTurns(
      clock,
      broker.open(() => {}),
    )
    this.#queue = mainVhost(broker).declareQueue({
      name: 'q',
      durable: true,
      exclusive: false,
      autoDelete: false,
      arguments: [],
      owner,
    })
  }

  async stop(): Promise<void> {
    while (this.held.length > 0) this.settle('giveBack')
    const { broker, clock } = this.#life
    await inTurns(clock, broker.close())
    this.waiting.splice(0, Number.POSITIVE_INFINITY, ...this.#lasting())
  }

  publish(): void {
    const { broker } = this.#life
    const { arrival, router } = mainVhost(broker)
    const id = this.sizes.length
    const size = this.dice.chance(0.1) ? 2 * most : 1 + this.dice.below(most)
    const bytes = messageBytes(contentOf({ routingKey: 'q', body: octetsOf(size, id) }))
    const persistent = this.dice.chance(0.5)
    arrival.message.at(bytes, 0, bytes.length, null)
    arrival.begin(persistent ? Mark.persistent : 0, -1, false)
    mainVhost(broker).publish(router.route(arrival.message, null), arrival, null)
    this.sizes.push(size)
    this.waiting.push(id)
    if (persistent) this.persistent.add(id)
  }

  /** Takes the oldest message, which may have to be read first. */
  async get(): Promise<void> {
    const take = (
      message: Message,
      slot: number,
      _: boolean,
      deadline: number,
      returns: number,
    ) => {
      const id = this.waiting.shift() as number
      const at = message.body + 7
      const body = message.bytes.subarray(at, at + message.bodySize)
      ok(body.equals(octetsOf(this.sizes[id] as number, id)), `message ${id}`)
      this.held.push({ id, slot, deadline, returns })
    }
    let got: number = Got.later
    const attempt = () => {
      got = this.#queue.get(false, take)
      if (got === Got.later) this.#queue.whenRead(attempt)
    }
    attempt()
    if (got === Got.nothing) deepStrictEqual(this.waiting, [])
    if (got === Got.later) this.read++
    for (let turns = 0; got === Got.later; turns++) {
      ok(turns < 1000, 'the content comes')
      await this.pass(1)
    }
  }

  settle(how: 'complete' | 'giveBack'): void {
    const [held] = this.held.splice(this.dice.below(this.held.length), 1) as [Held]
    if (how === 'complete') {
      this.#queue.complete(held.slot)
      return
    }
    this.#queue.giveBack(held.slot, held.deadline, held.returns, false)
    this.waiting.push(held.id)
    this.waiting.sort((a, b) => a - b)
  }

  async pass(turns: number): Promise<void> {
    for (let i = 0; i < turns; i++) {
      this.#life.clock.advance(20)
      await tick()
    }
    this.scratched = Math.max(this.scratched, this.#life.broker.paging.scratchBytes)
  }

  check(): void {
    const { broker } = this.#life
    deepStrictEqual(this.#queue.readyCount, this.waiting.length)
    const sizes = this.waiting.map(id => this.sizes[id] as number)
    deepStrictEqual(
      this.#queue.readyBytes,
      sizes.reduce((a, b) => a + b, 0),
    )
    deepStrictEqual(broker.messages.count, this.waiting.length + this.held.length)
  }

  #lasting(): number[] {
    return this.waiting.filter(id => this.persistent.has(id))
  }
}

for (const seed of [1, 2, 3, 4, 5])
  t.test(`order and contents stay, in memory or not, over restarts (seed ${seed})`, async t => {
    const bench = new Bench(seed)
    await bench.start()
    const { dice } = bench
    let starts = 0
    for (let i = 0; i < steps; i++) {
      const roll = dice.next()
      if (roll < 0.45) for (let n = dice.below(4); n > 0; n--) bench.publish()
      else if (roll < 0.65) await bench.get()
      else if (roll < 0.8 && bench.held.length > 0)
        bench.settle(dice.chance(0.7) ? 'complete' : 'giveBack')
      else if (roll < 0.99) await bench.pass(dice.below(4))
      else {
        await bench.stop()
        await bench.start()
        starts++
      }
      bench.check()
    }
    t.ok(starts > 0)
    t.ok(bench.read > 10, `${bench.read} had to be read`)
    t.ok(bench.scratched > 0, 'transient ones were in the scratch file')
    while (bench.waiting.length > 0) await bench.get()
    while (bench.held.length > 0) bench.settle('complete')
    bench.check()
    await bench.stop()
    t.same(
      bench.disk.paths().filter(path => path.includes('scratch')),
      [],
    )
  })
