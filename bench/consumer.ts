// The worker thread that consumes: all consumers of one load, with their acknowledgements and the
// check that every message comes once and in order.

import { parentPort, workerData } from 'node:worker_threads'
import { nanoseconds, sleep } from './clock.js'
import { DeliveryScanner } from './delivery-scanner.js'
import { FrameWriter, methods } from './frames.js'
import { Histogram } from './histogram.js'
import { Ledger } from './ledger.js'
import { Link } from './link.js'
import {
  Cell,
  type ConsumerReport,
  Phase,
  queueName,
  type StopOrder,
  streams,
  type WorkerTask,
} from './load.js'

const { address, load, cells } = workerData as WorkerTask
const port = parentPort as NonNullable<typeof parentPort>
/** Deliveries that are acknowledged together in random order. */
const SHUFFLED = 500
/** A basic.ack of channel 1 with multiple set; its delivery tag stands at octet 11. */
const ACK = new FrameWriter().method(1, methods.ack).u64(0).u8(1).end().take()

const ledger = new Ledger(load.queues * streams(load))
const latencies = new Histogram()
let lastAtNs = 0
let longestPauseNs = 0
/** The pause that lasted when publishing stopped has been counted. */
let lastPauseCounted = false

class Consumer {
  readonly scanner: DeliveryScanner
  #link: Link
  /** The delivery tag up to which all is acknowledged. */
  #acknowledged = 0

  constructor(link: Link) {
    this.#link = link
    this.scanner = new DeliveryScanner(link, ledger, streams(load), latencies)
    link.scan = () => this.#read()
    link.onFail = error => {
      throw error
    }
  }

  /** Consumes from queues; a backlog may come at once. */
  async consume(queues: readonly number[]): Promise<void> {
    const requests = new FrameWriter()
    for (const queue of queues) {
      requests
        .method(1, methods.consume)
        .u16(0)
        .shortString(queueName(load, queue))
        .shortString(`c${String(queue).padStart(5, '0')}`)
        .u8(load.ack > 0 ? 0 : 2)
        .table({})
        .end()
    }
    this.#link.write(requests.take())
    while (this.scanner.consuming < queues.length) await sleep(1)
  }

  async close(): Promise<void> {
    if (load.ack > 0 && this.scanner.deliveryTag > this.#acknowledged) {
      this.#acknowledge([this.scanner.deliveryTag], true)
    }
    await this.#link.close()
  }

  #read(): void {
    const nowNs = nanoseconds()
    const phase = Atomics.load(cells, Cell.phase)
    const before = this.scanner.delivered
    this.scanner.scan(nowNs, load.rate > 0 && phase !== Phase.warmingUp)
    const delivered = this.scanner.delivered - before
    if (delivered === 0) return
    Atomics.add(cells, Cell.consumed, delivered)
    if (phase !== Phase.warmingUp && !lastPauseCounted && lastAtNs > 0) {
      longestPauseNs = Math.max(longestPauseNs, nowNs - lastAtNs)
      lastPauseCounted = phase === Phase.stopped
    }
    lastAtNs = nowNs
    if (load.shuffled) this.#acknowledgeShuffled()
    else if (load.ack > 0) this.#acknowledgeDue()
  }

  /** One acknowledgement for every `load.ack` deliveries, all of a read in one write. */
  #acknowledgeDue(): void {
    const tags: number[] = []
    while (this.scanner.delivered - this.#acknowledged >= load.ack) {
      this.#acknowledged += load.ack
      tags.push(this.#acknowledged)
    }
    if (tags.length > 0) this.#acknowledge(tags, true)
  }

  #acknowledgeShuffled(): void {
    while (this.scanner.delivered - this.#acknowledged >= SHUFFLED) {
      const from = this.#acknowledged
      const tags = Array.from({ length: SHUFFLED }, (_, i) => from + 1 + i)
      for (let i = SHUFFLED - 1; i > 0; i--) {
        const other = Math.floor(Math.random() * (i + 1))
        const tag = tags[i] as number
        tags[i] = tags[other] as number
        tags[other] = tag
      }
      this.#acknowledged += SHUFFLED
      this.#acknowledge(tags, false)
    }
  }

  #acknowledge(tags: number[], multiple: boolean): void {
    const bytes = Buffer.allocUnsafe(tags.length * ACK.length)
    for (const [index, tag] of tags.entries()) {
      bytes.set(ACK, index * ACK.length)
      bytes.writeBigUInt64BE(BigInt(tag), index * ACK.length + 11)
      bytes.writeUInt8(multiple ? 1 : 0, index * ACK.length + 19)
    }
    this.#link.write(bytes)
  }
}

async function open(id: number): Promise<Consumer> {
  const link = await Link.open(address)
  if (load.prefetch > 0) {
    const qos = new FrameWriter().method(1, methods.qos).u32(0).u16(load.prefetch).u8(0).end()
    await link.call(qos, methods.qosOk)
  }
  const queues: number[] = []
  for (
    let queue = id % load.queues;
    queue < load.queues - load.undrained;
    queue += load.consumers
  ) {
    queues.push(queue)
  }
  const consumer = new Consumer(link)
  await consumer.consume(queues)
  return consumer
}

const consumers: Consumer[] = []
for (let id = 0; id < load.consumers; id++) consumers.push(await open(id))
port.once('message', async ({ measuredFromNs, measuredToNs }: StopOrder) => {
  if (!lastPauseCounted) {
    longestPauseNs = Math.max(longestPauseNs, measuredToNs - (lastAtNs || measuredFromNs))
  }
  let redelivered = 0
  for (const consumer of consumers) {
    await consumer.close()
    redelivered += consumer.scanner.redelivered
  }
  const report: ConsumerReport = {
    unique: ledger.unique,
    duplicates: ledger.duplicates,
    disordered: ledger.disordered,
    redelivered,
    passedOver: ledger.passedOver,
    lastAtNs,
    p50Micros: latencies.quantileMicros(0.5),
    p99Micros: latencies.quantileMicros(0.99),
    maxMicros: latencies.maxMicros(),
    longestPauseMs: longestPauseNs / 1e6,
  }
  port.postMessage(report)
  port.close()
})
port.postMessage('ready')
