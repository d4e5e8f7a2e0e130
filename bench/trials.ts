// The kinds of measurement a scenario can be. Each drives one broker once and gives its figures,
// and what the broker did wrong.

import { createHash, randomFillSync } from 'node:crypto'
import type { Broker } from './brokers.js'
import { nanoseconds, sleep } from './clock.js'
import { medianSyncMicros } from './disk.js'
import { BODY, FRAME_OVERHEAD, FrameWriter, HEADER, methods } from './frames.js'
import { Histogram } from './histogram.js'
import { Link } from './link.js'
import { type Load, load } from './load.js'
import { busySeconds, readProcesses, resetPeaks } from './processes.js'
import { Run, runLoad } from './run.js'
import { declare, readyMessages, remove } from './topology.js'

export type Figure =
  | 'perSecond'
  | 'measuredPerSecond'
  | 'floodPerSecond'
  | 'ratePercent'
  | 'mebibytesPerSecond'
  | 'p50Micros'
  | 'p99Micros'
  | 'maxMicros'
  | 'lateMicros'
  | 'confirmP50Micros'
  | 'confirmP99Micros'
  | 'syncMicros'
  | 'longestPauseMs'
  | 'cpuMicros'
  | 'diskBytes'
  | 'brokerCores'
  | 'benchCores'
  | 'otherCores'
  | 'rssMiB'
  | 'rssBeforeMiB'
  | 'peakMiB'
  | 'peakWhileStartingMiB'
  | 'drainedPerSecond'
  | 'publishedPercent'
  | 'drainedPercent'
  | 'longestStepMs'
  | 'longestStepAtStartMs'
  | 'declaredPerSecond'
  | 'startAfterStopMs'
  | 'startAfterKillMs'
  | 'folderMiB'

export type Figures = Partial<Record<Figure, number>>

export interface TrialResult {
  figures: Figures
  faults: string[]
}

export type Trial = (broker: Broker, seconds: number) => Promise<TrialResult>

/** Part of what is published and counted, as in other load generators, but without latencies. */
const WARM_UP_MS = 1000
const INTACT_TIMEOUT_MS = 60_000
const INTAKE_POLL_MS = 20
/** A queue that grows no more for so long has all it will have. */
const INTAKE_IDLE_MS = 5000
/** After a backlog has been taken in: what was only passing through is given back by then. */
export const SETTLE_MS = 2000

/** As much as the broker takes, or a fixed rate if the load has one. */
export function traffic(wanted: Partial<Load>): Trial {
  return async (broker, seconds) => {
    const figures: Figures = {}
    if (wanted.persistent && broker.folder !== null) {
      figures.syncMicros = medianSyncMicros(broker.folder)
    }
    const meter = new Meter(broker.pids)
    const times = { warmUpMs: WARM_UP_MS, measureMs: seconds * 1000 }
    const result = await runLoad(broker.address, load('bench', wanted), times, () => meter.start())
    const { published, lateMicros, confirmP50Micros, confirmP99Micros } = result.producers
    Object.assign(figures, meter.figures(published), {
      perSecond: result.perSecond,
      measuredPerSecond: result.measuredPerSecond,
    })
    if (wanted.confirmWindow !== undefined) {
      figures.confirmP50Micros = confirmP50Micros
      figures.confirmP99Micros = confirmP99Micros
    }
    if (wanted.rate !== undefined && result.consumers !== null) {
      figures.p50Micros = result.consumers.p50Micros
      figures.p99Micros = result.consumers.p99Micros
      figures.maxMicros = result.consumers.maxMicros
      figures.lateMicros = lateMicros
    }
    return { figures, faults: result.faults }
  }
}

/** A pair at a fixed rate beside producers that flood another queue, whose consumer acknowledges:
 * with a prefetch limit a delivery there proves that an acknowledgement took effect. */
export function fairness(pair: Partial<Load>, flood: Partial<Load>): Trial {
  return async (broker, seconds) => {
    const floodRun = await Run.prepare(broker.address, load('flood', flood))
    const pairRun = await Run.prepare(broker.address, load('pair', pair))
    try {
      floodRun.begin()
      pairRun.begin()
      await sleep(WARM_UP_MS)
      floodRun.measure()
      pairRun.measure()
      await sleep(seconds * 1000)
      const [flooded, paced] = await Promise.all([floodRun.stop(false), pairRun.stop(true)])
      await pairRun.close()
      await floodRun.close()
      return {
        figures: {
          ratePercent: (paced.measuredPerSecond * 100) / pairRun.load.rate,
          p50Micros: paced.consumers?.p50Micros ?? 0,
          p99Micros: paced.consumers?.p99Micros ?? 0,
          longestPauseMs: flooded.consumers?.longestPauseMs ?? 0,
          floodPerSecond: flooded.measuredPerSecond,
        },
        faults: [...paced.faults, ...flooded.faults.map(fault => `flood: ${fault}`)],
      }
    } catch (error) {
      await pairRun.abandon()
      await floodRun.abandon()
      throw error
    }
  }
}

/** A backlog that nobody consumes, and the memory the broker keeps it in. */
export function backlog(wanted: Partial<Load> & { messages: number }): Trial {
  return async broker => {
    await broker.renew()
    const before = readProcesses(broker.pids)
    const meter = new Meter(broker.pids)
    const run = await Run.prepare(broker.address, load('bench', { ...wanted, consumers: 0 }))
    try {
      meter.start()
      run.begin()
      const begun = nanoseconds()
      const result = await run.finish(await run.publishedAll(), false)
      const ready = await takenIn(broker, run.load)
      const seconds = (nanoseconds() - begun) / 1e9
      const cpu = meter.figures(wanted.messages)
      await sleep(SETTLE_MS)
      const { rssMiB, peakMiB } = readProcesses(broker.pids)
      await run.close()
      const faults = [...result.faults]
      if (ready !== wanted.messages) faults.push(`${wanted.messages - ready} lost`)
      const figures = { ...cpu, perSecond: ready / seconds, rssMiB, peakMiB }
      return { figures: { ...figures, rssBeforeMiB: before.rssMiB }, faults }
    } catch (error) {
      await run.abandon()
      throw error
    }
  }
}

/** Waits until all published messages stand in the queue, or no more come; gives their number. */
export async function takenIn(broker: Broker, load: Load): Promise<number> {
  let ready = -1
  for (let idleMs = 0; ready < load.messages && idleMs < INTAKE_IDLE_MS; idleMs += INTAKE_POLL_MS) {
    const now = await readyMessages(broker.address, load)
    if (now !== ready) idleMs = 0
    ready = now
    if (ready < load.messages) await sleep(INTAKE_POLL_MS)
  }
  return ready
}

/** Opens a connection and a channel and closes both, again and again, one at a time. Some 250 µs of
 * a cycle are this process's own, so the ratio of two brokers is rather understated. */
export const openClose: Trial = async (broker, seconds) => {
  const cycles = new Histogram()
  const input = Buffer.allocUnsafeSlow(16_384)
  const meter = new Meter(broker.pids)
  meter.start()
  const begun = nanoseconds()
  let now = begun
  while (now - begun < seconds * 1e9) {
    const link = await Link.open(broker.address, input)
    await link.close()
    const then = now
    now = nanoseconds()
    cycles.record(now - then)
  }
  const figures = {
    ...meter.figures(cycles.count),
    perSecond: (cycles.count * 1e9) / (now - begun),
    p50Micros: cycles.quantileMicros(0.5),
    p99Micros: cycles.quantileMicros(0.99),
  }
  return { figures, faults: [] }
}

/** One body of so many random bytes, published and consumed; compares hashes. */
export function intact(bytes: number): Trial {
  return async broker => {
    const queue = load('bench', { size: bytes })
    await declare(broker.address, queue)
    const link = await Link.open(broker.address)
    try {
      const body = randomFillSync(Buffer.allocUnsafeSlow(bytes))
      const begun = nanoseconds()
      const digest = await throughQueue(link, `${queue.name}.00000`, body)
      const seconds = (nanoseconds() - begun) / 1e9
      const same = digest === createHash('sha256').update(body).digest('hex')
      const figures = { mebibytesPerSecond: bytes / 2 ** 20 / seconds }
      return { figures, faults: same ? [] : [`a body of ${bytes} bytes arrived changed`] }
    } finally {
      link.destroy()
      await remove(broker.address, queue)
    }
  }
}

/** Publishes a body to a queue and consumes it; gives the SHA-256 of what came. */
async function throughQueue(link: Link, queue: string, body: Buffer): Promise<string> {
  const consume = new FrameWriter().method(1, methods.consume).u16(0)
  consume.shortString(queue).shortString('c00000').u8(2).table({}).end()
  await link.call(consume, methods.consumeOk)
  const digest = new Promise<string>((resolve, reject) => {
    const hash = createHash('sha256')
    let left = Number.POSITIVE_INFINITY
    setTimeout(() => reject(new Error('the body did not come')), INTACT_TIMEOUT_MS).unref()
    link.onFail = reject
    link.onFrame = (type, at, length) => {
      if (type === HEADER) left = link.view.getUint32(at + 8)
      else if (type !== BODY) return void link.unasked(at)
      else hash.update(link.input.subarray(at, at + length))
      if (type === BODY) left -= length
      if (left === 0) resolve(hash.digest('hex'))
    }
  })
  const publish = new FrameWriter().method(1, methods.publish).u16(0).shortString('')
  publish.shortString(queue).u8(0).end()
  link.write(
    publish
      .begin(HEADER, 1)
      .u32(60 << 16)
      .u64(body.length)
      .u16(0)
      .end()
      .take(),
  )
  const most = link.frameMax - FRAME_OVERHEAD
  for (let at = 0; at < body.length; at += most) {
    link.write(
      new FrameWriter()
        .begin(BODY, 1)
        .raw(body.subarray(at, at + most))
        .end()
        .take(),
    )
  }
  return digest
}

/** CPU time and memory of the broker over a trial. */
export class Meter {
  #pids: readonly number[]
  #before = { broker: 0, written: 0, self: 0, busy: 0, atNs: 0 }

  constructor(pids: readonly number[]) {
    this.#pids = pids
  }

  start(): void {
    resetPeaks(this.#pids)
    this.#before = this.#read()
  }

  figures(messages: number): Figures {
    const now = this.#read()
    const broker = now.broker - this.#before.broker
    const self = now.self - this.#before.self
    const seconds = (now.atNs - this.#before.atNs) / 1e9
    const { rssMiB, peakMiB } = readProcesses(this.#pids)
    const written = now.written - this.#before.written
    return {
      ...(Number.isNaN(written) ? {} : { diskBytes: written / messages }),
      cpuMicros: (broker * 1e6) / messages,
      brokerCores: broker / seconds,
      benchCores: self / seconds,
      otherCores: (now.busy - this.#before.busy - broker - self) / seconds,
      rssMiB,
      peakMiB,
    }
  }

  #read() {
    const { user, system } = process.cpuUsage()
    const { cpuSeconds, writtenBytes } = readProcesses(this.#pids)
    return {
      broker: cpuSeconds,
      written: writtenBytes,
      self: (user + system) / 1e6,
      busy: busySeconds(),
      atNs: nanoseconds(),
    }
  }
}
