// One load on one broker: declares its queues, starts a thread of producers and a thread of
// consumers, and takes them through warming up, measuring, stopping and draining.

import { Worker } from 'node:worker_threads'
import { nanoseconds, sleep } from './clock.js'
import type { Address } from './link.js'
import {
  Cell,
  type ConsumerReport,
  deliveries,
  type Load,
  Phase,
  type ProducerReport,
  type StopOrder,
  type WorkerTask,
} from './load.js'
import { declare, remove } from './topology.js'

/** A backlog that does not move for so long is lost. */
const DRAIN_IDLE_MS = 10_000
/** Waited after the last message, for a duplicate that may follow. */
const AFTERMATH_MS = 50

export interface RunResult {
  producers: ProducerReport
  consumers: ConsumerReport | null
  /** Deliveries per second over the time from the first publish to the last delivery. */
  perSecond: number
  /** Deliveries per second while measuring. */
  measuredPerSecond: number
  faults: string[]
}

export class Run {
  readonly load: Load
  #address: Address
  #cells = new Int32Array(new SharedArrayBuffer(Cell.count * 4))
  #producers: Thread<ProducerReport>
  #consumers: Thread<ConsumerReport> | null = null
  #begunNs = 0
  #measured: StopOrder = { measuredFromNs: 0, measuredToNs: 0 }
  #consumedThen = 0
  #consumedWhileMeasuring = 0

  private constructor(address: Address, load: Load) {
    this.load = load
    this.#address = address
    this.#producers = new Thread('./producer.js', this.#task)
  }

  /** Declares, connects and consumes; publishing begins with `begin`. */
  static async prepare(address: Address, load: Load): Promise<Run> {
    await declare(address, load)
    const run = new Run(address, load)
    if (load.consumers > 0) await run.#consume(load)
    await run.#producers.ready
    return run
  }

  get #task(): WorkerTask {
    return { address: this.#address, load: this.load, cells: this.#cells }
  }

  async #consume(load: Load): Promise<Thread<ConsumerReport>> {
    this.#consumers = new Thread('./consumer.js', { ...this.#task, load })
    await this.#consumers.ready
    return this.#consumers
  }

  get published(): number {
    return Atomics.load(this.#cells, Cell.published)
  }

  get #consumed(): number {
    return Atomics.load(this.#cells, Cell.consumed)
  }

  begin(): void {
    this.#begunNs = nanoseconds()
    this.#producers.post('begin')
  }

  measure(): void {
    this.#measured.measuredFromNs = nanoseconds()
    this.#consumedThen = this.#consumed
    Atomics.store(this.#cells, Cell.phase, Phase.measuring)
  }

  /** Ends measuring and publishing; gives the threads' reports once the queue has drained. */
  async stop(drain: boolean): Promise<RunResult> {
    this.#measured.measuredToNs = nanoseconds()
    this.#consumedWhileMeasuring = this.#consumed - this.#consumedThen
    Atomics.store(this.#cells, Cell.phase, Phase.stopped)
    const producers = await this.#producers.report
    return this.finish(producers, drain)
  }

  /** Waits until a load of a fixed number of messages is published. */
  publishedAll(): Promise<ProducerReport> {
    return this.#producers.report
  }

  async finish(producers: ProducerReport, drain: boolean): Promise<RunResult> {
    const faults: string[] = []
    if (producers.nacked > 0) faults.push(`${producers.nacked} nacked`)
    if (this.#consumers === null) {
      const perSecond = (producers.published * 1e9) / (nanoseconds() - this.#begunNs)
      return { producers, consumers: null, perSecond, measuredPerSecond: 0, faults }
    }
    if (drain) {
      await this.#drained(deliveries(this.load, producers.published))
      await sleep(AFTERMATH_MS)
    }
    this.#consumers.post(this.#measured)
    const consumers = await this.#consumers.report
    const lost = deliveries(this.load, producers.published) - consumers.unique
    if (drain && lost !== 0) faults.push(`${lost} lost`)
    if (!drain && consumers.passedOver > 0) faults.push(`${consumers.passedOver} passed over`)
    if (consumers.duplicates > 0) faults.push(`${consumers.duplicates} duplicated`)
    if (consumers.disordered > 0) faults.push(`${consumers.disordered} out of order`)
    if (consumers.redelivered > 0) faults.push(`${consumers.redelivered} redelivered`)
    const seconds = (consumers.lastAtNs - this.#begunNs) / 1e9
    const { measuredFromNs, measuredToNs } = this.#measured
    return {
      producers,
      consumers,
      perSecond: this.#consumed / seconds,
      measuredPerSecond: (this.#consumedWhileMeasuring * 1e9) / (measuredToNs - measuredFromNs),
      faults,
    }
  }

  /** Consumes the backlog that a load without consumers has left; gives what one of `finish` gives. */
  async drain(producers: ProducerReport): Promise<RunResult> {
    this.#begunNs = nanoseconds()
    await this.#consume({ ...this.load, consumers: 1 })
    return this.finish(producers, true)
  }

  /** Closes what is open and leaves the queues, with what is in them. */
  async leave(): Promise<void> {
    this.#producers.post('close')
    await this.#producers.ended
    await this.#consumers?.ended
  }

  /** Closes what is open and removes the queues. */
  async close(): Promise<void> {
    await this.leave()
    await remove(this.#address, this.load)
  }

  /** After a failure: ends the threads without ado. */
  async abandon(): Promise<void> {
    await this.#producers.terminate()
    await this.#consumers?.terminate()
    await remove(this.#address, this.load).catch(() => {})
  }

  async #drained(expected: number): Promise<void> {
    let before = -1
    let idleSince = nanoseconds()
    while (this.#consumed < expected) {
      const consumed = this.#consumed
      if (consumed !== before) idleSince = nanoseconds()
      else if (nanoseconds() - idleSince > DRAIN_IDLE_MS * 1e6) return
      before = consumed
      await sleep(1)
    }
  }
}

/** Takes a load through all its phases; calls `begins` right before the first publish. */
export async function runLoad(
  address: Address,
  load: Load,
  times: { warmUpMs: number; measureMs: number },
  begins: () => void,
): Promise<RunResult> {
  const run = await Run.prepare(address, load)
  try {
    begins()
    run.begin()
    await sleep(times.warmUpMs)
    run.measure()
    await sleep(times.measureMs)
    const result = await run.stop(true)
    await run.close()
    return result
  } catch (error) {
    await run.abandon()
    throw error
  }
}

/** A worker: says 'ready', takes orders, posts one report, ends. */
class Thread<Report> {
  readonly ready: Promise<void>
  readonly report: Promise<Report>
  readonly ended: Promise<void>
  #worker: Worker

  constructor(file: string, task: WorkerTask) {
    this.#worker = new Worker(new URL(file, import.meta.url), { workerData: task })
    const failed = new Promise<never>((_, reject) => this.#worker.once('error', reject))
    const first = new Promise<void>(resolve => this.#worker.once('message', () => resolve()))
    this.ready = Promise.race([first, failed])
    const second = first.then(
      () => new Promise<Report>(resolve => this.#worker.once('message', resolve)),
    )
    this.report = Promise.race([second, failed])
    this.ended = new Promise(resolve => this.#worker.once('exit', () => resolve()))
    this.report.catch(() => {}) // whoever waits for it hears of it
    this.ready.catch(() => {})
  }

  post(order: 'begin' | 'close' | StopOrder): void {
    this.#worker.postMessage(order)
  }

  async terminate(): Promise<void> {
    await this.#worker.terminate()
  }
}
