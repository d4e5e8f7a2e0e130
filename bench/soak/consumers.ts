// The consumers of the soak: each checks what it gets, and acknowledges, rejects, returns or keeps
// it; or carries it on to another queue in a transaction.

import { sleep } from '../clock.js'
import { BODY, FrameWriter, HEADER, METHOD, methods } from '../frames.js'
import { type Address, Link } from '../link.js'
import { type Ledger, SETTLE_MS, type Track } from './ledger.js'
import { bodyOf, named, publish, type Route } from './message.js'
import type { Party } from './publishers.js'
import type { Random } from './random.js'
import { isRejected, onward } from './topology.js'

const PREFETCH = 500
/** Deliveries that a consumer may keep to itself. */
const KEPT_MAX = 50
/** Bits of basic.nack. */
const REQUEUE = 2

export interface World {
  readonly address: Address
  readonly ledger: Ledger
  readonly random: Random
  /** The route of a stream's messages, by its number. */
  readonly routes: readonly Route[]
  /** Milliseconds of the monotonic clock. */
  now(): number
}

interface Delivery {
  readonly tag: number
  readonly track: Track
  readonly stream: number
  readonly sequence: number
}

export abstract class Consumer implements Party {
  readonly ended: Promise<void>
  /** Settles all that it has, and whatever comes at once. */
  draining = false
  protected readonly world: World
  protected readonly link: Link
  protected readonly queue: string
  protected open = true
  #tag = 0
  #redelivered = false
  #body = Buffer.alloc(0)
  #filled = 0
  readonly #running: Promise<void>

  constructor(world: World, link: Link, queue: string) {
    this.world = world
    this.link = link
    this.queue = queue
    const ended = new Promise<void>(resolve => {
      link.onFail = () => resolve()
    })
    link.onFrame = (type, at, length) => this.#frame(type, at, length)
    this.#running = this.#run()
    this.ended = ended.then(() => {
      this.open = false
      return this.#running
    })
  }

  static async open<C>(
    make: new (world: World, link: Link, queue: string) => C,
    world: World,
    queue: string,
    setUp: (link: Link) => Promise<void>,
  ): Promise<C> {
    const link = await Link.open(world.address)
    await setUp(link)
    await link.call(qos(), methods.qosOk)
    const consumer = new make(world, link, queue)
    const consume = new FrameWriter().method(1, methods.consume).u16(0).shortString(queue)
    link.write(consume.shortString('c').u8(0).table({}).end().take())
    return consumer
  }

  async close(): Promise<void> {
    this.open = false
    await this.#running
    await this.link.close()
  }

  /** Nothing is kept, and the broker has seen every settlement. */
  abstract get isIdle(): boolean
  protected abstract take(delivery: Delivery): void
  /** Called every few milliseconds. */
  protected abstract tick(): void
  /** A method other than basic.deliver. */
  protected abstract hear(methodId: number): void

  async #run(): Promise<void> {
    while (this.open) {
      await sleep(this.world.random.between(1, 15))
      if (this.open) this.tick()
    }
  }

  #frame(type: number, at: number, length: number): void {
    const { input, view } = this.link
    if (type === METHOD) {
      const methodId = view.getUint32(at)
      if (methodId === methods.deliver) {
        const tagAt = at + 5 + (input[at + 4] as number)
        this.#tag = Number(view.getBigUint64(tagAt))
        this.#redelivered = input[tagAt + 8] !== 0
      } else if (methodId !== methods.consumeOk && !this.link.unasked(at)) this.hear(methodId)
    } else if (type === HEADER) {
      this.#body = Buffer.allocUnsafe(Number(view.getBigUint64(at + 4)))
      this.#filled = 0
    } else if (type === BODY) {
      input.copy(this.#body, this.#filled, at, at + length)
      this.#filled += length
      if (this.#filled === this.#body.length) this.#delivered()
    }
  }

  #delivered(): void {
    const { ledger, routes } = this.world
    const message = named(this.#body)
    const stream = message === null ? undefined : ledger.numbered(message.stream)
    const track = stream?.tracks.get(this.queue)
    const route = routes[stream?.number ?? -1]
    const known = message !== null && route !== undefined && message.sequence < (stream?.sent ?? 0)
    if (!known || track === undefined || !bodyOf(message, route).equals(this.#body)) {
      const start = this.#body.subarray(0, 16).toString('hex')
      const what = `${this.#body.length} bytes ${start} in ${this.queue}`
      ledger.find('damaged', what)
      return
    }
    track.deliver(message.sequence, this.#redelivered, this.world.now())
    this.take({ ...message, tag: this.#tag, track })
  }
}

function qos(): FrameWriter {
  return new FrameWriter().method(1, methods.qos).u32(0).u16(PREFETCH).u8(0).end()
}

/** Acknowledges some at a time; rejects what is to be rejected, returns a few, keeps a few for long. */
export class Acknowledger extends Consumer {
  #waiting: Delivery[] = []
  readonly #kept: Delivery[] = []
  /** Settled; the broker may have seen it, and will have when basic.qos-ok comes. */
  #sent: Delivery[] = []
  #probed: Delivery[] | null = null

  static start(world: World, queue: string): Promise<Acknowledger> {
    return Consumer.open(Acknowledger, world, queue, async () => {})
  }

  get isIdle(): boolean {
    return [this.#waiting, this.#kept, this.#sent, this.#probed ?? []].every(a => a.length === 0)
  }

  protected override take(delivery: Delivery): void {
    const { random } = this.world
    if (!this.draining && random.oneIn(300) && this.#kept.length < KEPT_MAX)
      this.#kept.push(delivery)
    else if (!this.draining && random.oneIn(100)) this.#nack(delivery, REQUEUE)
    else if (isRejected(this.queue, delivery.sequence)) {
      this.#settled(delivery)
      this.#nack(delivery, 0)
    } else {
      this.#waiting.push(delivery)
      if (random.oneIn(20)) this.#acknowledge()
    }
  }

  protected override tick(): void {
    if (this.draining) this.#waiting.push(...this.#kept.splice(0))
    if (this.draining || this.world.random.oneIn(3)) this.#acknowledge()
    if (this.#probed !== null || this.#sent.length === 0) return
    this.#probed = this.#sent
    this.#sent = []
    this.link.write(qos().take())
  }

  protected override hear(methodId: number): void {
    if (methodId !== methods.qosOk) throw new Error('no basic.qos-ok')
    const durableMs = this.world.now() + SETTLE_MS
    for (const { track, sequence } of this.#probed ?? []) track.settleDurably(sequence, durableMs)
    this.#probed = null
  }

  /** All that waits: at once if nothing older is kept, else one by one. */
  #acknowledge(): void {
    const waiting = this.#waiting
    if (waiting.length === 0) return
    this.#waiting = []
    const highest = waiting.reduce((most, { tag }) => Math.max(most, tag), 0)
    const multiple = this.#kept.every(({ tag }) => tag > highest)
    const out = new FrameWriter()
    for (const delivery of waiting) {
      this.#settled(delivery)
      if (!multiple) out.method(1, methods.ack).u64(delivery.tag).u8(0).end()
    }
    if (multiple) out.method(1, methods.ack).u64(highest).u8(1).end()
    this.link.write(out.take())
  }

  #nack({ tag }: Delivery, bits: number): void {
    this.link.write(new FrameWriter().method(1, methods.nack).u64(tag).u8(bits).end().take())
  }

  #settled(delivery: Delivery): void {
    delivery.track.settle(delivery.sequence, this.world.now())
    this.#sent.push(delivery)
  }
}

/** Publishes what it gets to another queue and acknowledges it, both in one transaction. */
export class Carrier extends Consumer {
  #waiting: Delivery[] = []
  #committing: Delivery[] | null = null

  static start(world: World, queue: string): Promise<Carrier> {
    return Consumer.open(Carrier, world, queue, async link => {
      await link.call(new FrameWriter().method(1, methods.txSelect).end(), methods.txSelectOk)
    })
  }

  get isIdle(): boolean {
    return this.#waiting.length === 0 && this.#committing === null
  }

  protected override take(delivery: Delivery): void {
    this.#waiting.push(delivery)
  }

  protected override tick(): void {
    if (this.#committing !== null || this.#waiting.length === 0) return
    const some = this.#waiting.splice(0, this.world.random.between(1, 40))
    this.#committing = some
    const out = new FrameWriter()
    for (const delivery of some) {
      delivery.track.settle(delivery.sequence, this.world.now())
      publish(out, delivery, onward, true, this.link.frameMax)
      out.method(1, methods.ack).u64(delivery.tag).u8(0).end()
    }
    this.link.write(out.method(1, methods.txCommit).end().take())
  }

  protected override hear(methodId: number): void {
    if (methodId !== methods.txCommitOk) throw new Error('no tx.commit-ok')
    for (const { track, sequence } of this.#committing ?? [])
      track.settleDurably(sequence, this.world.now())
    this.#committing = null
  }
}
