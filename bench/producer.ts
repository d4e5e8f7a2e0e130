// The worker thread that publishes: all producers of one load. A flood writes a batch whenever the
// one before has gone; a fixed rate writes what is due, sleeping less than a millisecond at a time.

import { readlinkSync, writeFileSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { nanoseconds } from './clock.js'
import { FrameWriter, METHOD, methods } from './frames.js'
import { Histogram } from './histogram.js'
import { Link } from './link.js'
import { Cell, Phase, type ProducerReport, type WorkerTask } from './load.js'
import { MessageRing } from './message-ring.js'

const { address, load, cells } = workerData as WorkerTask
const port = parentPort as NonNullable<typeof parentPort>
/** Never notified: waiting on it is sleeping. */
const never = new Int32Array(new SharedArrayBuffer(4))
const MAX_SLEEP_MS = 1
/** While a confirm is awaited: how late it may be seen to come. */
const CONFIRM_SLEEP_MS = 0.03
/** Nothing large is sent to a publisher, and there may be a thousand. */
const INPUT_BYTES = 16 * 1024
const confirmTimes = new Histogram()

class Producer {
  published = 0
  nacked = 0
  lateMicros = 0
  #link: Link
  #ring: MessageRing
  #finished: () => void
  #encoded = 0
  #writing = false
  #ended = false
  #outstanding = 0
  /** When the messages that are outstanding were sent, by confirm number modulo the array's length;
   * 0 for those that are not; and the lowest number that is. */
  #sentNs = new Float64Array(Math.max(load.confirmWindow * 8, 1024))
  #lowest = 1
  #startedNs = 0
  /** Messages due before this were kept by back pressure: their time is when they were due. */
  #heldUntilNs = 0

  constructor(link: Link, id: number, finished: () => void) {
    this.#link = link
    this.#ring = new MessageRing(load, id, link.frameMax)
    this.#finished = finished
    link.onFail = error => {
      throw error
    }
    link.onFrame = (type, at) => {
      if (type === METHOD) this.#hear(at)
    }
  }

  start(): void {
    this.#startedNs = nanoseconds()
    if (load.rate > 0) this.#pace()
    else this.#flood()
  }

  close(): Promise<void> {
    return this.#link.close()
  }

  #stopping(): boolean {
    if (load.messages > 0 && this.#encoded >= load.messages) return true
    return Atomics.load(cells, Cell.phase) === Phase.stopped
  }

  #flood = (): void => {
    if (this.#writing || this.#ended) return
    if (this.#stopping()) {
      this.#endWhenConfirmed()
      return
    }
    if (this.#link.blocked) return
    let wanted = this.#ring.batch
    if (load.messages > 0) wanted = Math.min(wanted, load.messages - this.#encoded)
    if (load.confirmWindow > 0) {
      const room = this.#room()
      // refill when an eighth is free; the next confirm comes back here
      if (this.#outstanding > 0 && room < load.confirmWindow / 8) return
      wanted = Math.min(wanted, room)
    }
    this.#send(this.#ring.run(wanted), nanoseconds())
  }

  /** How many messages may be sent until one is confirmed. */
  #room(): number {
    if (load.confirmWindow === 0) return Number.POSITIVE_INFINITY
    const remembered = this.#lowest + this.#sentNs.length - 1 - this.#encoded
    return Math.min(load.confirmWindow - this.#outstanding, remembered)
  }

  #send(count: number, stampNs: number): void {
    const bytes = this.#ring.take(count, stampNs)
    if (load.confirmWindow > 0) {
      for (let message = 0; message < count; message++) {
        this.#sentNs[(this.#encoded + 1 + message) % this.#sentNs.length] = stampNs
      }
    }
    this.#encoded += count
    this.#outstanding += count
    this.#writing = true
    this.#link.write(bytes, () => {
      this.#writing = false
      this.published += count
      Atomics.add(cells, Cell.published, count)
      // by way of the event loop, so that what has come is read between two writes
      if (load.rate === 0) setImmediate(this.#flood)
    })
  }

  #pace = (): void => {
    if (this.#stopping()) {
      if (!this.#writing) this.#endWhenConfirmed()
      if (this.#ended) return
    } else {
      const now = nanoseconds()
      const gapNs = 1e9 / load.rate
      const due = Math.floor((now - this.#startedNs) / gapNs) + 1
      if (due > this.#encoded) {
        const room = this.#room()
        if (this.#writing || room === 0) {
          this.#heldUntilNs = now
        } else {
          const dueNs = this.#startedNs + Math.floor(this.#encoded * gapNs)
          this.lateMicros = Math.max(this.lateMicros, (now - dueNs) / 1000)
          const held = dueNs < this.#heldUntilNs
          const wanted = held ? 1 : Math.min(due - this.#encoded, room)
          this.#send(this.#ring.run(wanted), held ? dueNs : now)
        }
      }
      const nextNs = this.#startedNs + this.#encoded * gapNs - nanoseconds()
      const awaiting = load.confirmWindow > 0 && this.#outstanding > 0
      const sleepMs = Math.min(nextNs / 1e6, awaiting ? CONFIRM_SLEEP_MS : MAX_SLEEP_MS)
      if (sleepMs > 0) Atomics.wait(never, 0, 0, sleepMs)
    }
    setImmediate(this.#pace)
  }

  #hear(at: number): void {
    const methodId = this.#link.view.getUint32(at)
    if (methodId === methods.ack || methodId === methods.nack) {
      const tag = this.#link.view.getUint32(at + 4) * 2 ** 32 + this.#link.view.getUint32(at + 8)
      const confirmed = this.#confirm(tag, ((this.#link.input[at + 12] as number) & 1) === 1)
      if (methodId === methods.nack) this.nacked += confirmed
    } else if (!this.#link.unasked(at)) {
      throw new Error(`a producer got method ${methodId >>> 16}.${methodId & 0xffff}`)
    }
    if (load.rate === 0) this.#flood()
  }

  #confirm(tag: number, multiple: boolean): number {
    if (tag > this.#encoded) throw new Error(`confirm of ${tag}, published ${this.#encoded}`)
    const { length } = this.#sentNs
    const nowNs = Atomics.load(cells, Cell.phase) === Phase.measuring ? nanoseconds() : 0
    let confirmed = 0
    for (let number = multiple ? this.#lowest : tag; number <= tag; number++) {
      const sentNs = this.#sentNs[number % length] as number
      if (sentNs === 0) continue
      confirmed++
      this.#sentNs[number % length] = 0
      if (nowNs > 0) confirmTimes.record(nowNs - sentNs)
    }
    if (confirmed === 0) throw new Error(`confirm of ${tag}, which was confirmed before`)
    this.#outstanding -= confirmed
    while (this.#lowest <= this.#encoded && this.#sentNs[this.#lowest % length] === 0) {
      this.#lowest++
    }
    return confirmed
  }

  #endWhenConfirmed(): void {
    if (load.confirmWindow > 0 && this.#outstanding > 0) return
    this.#ended = true
    this.#finished()
  }
}

/** Lets this thread's sleeps end on time rather than up to 50 microseconds later. */
function sleepPrecisely(): void {
  const thread = readlinkSync('/proc/thread-self').split('/').at(-1)
  writeFileSync(`/proc/${thread}/timerslack_ns`, '1')
}

if (load.rate > 0) sleepPrecisely()
const producers: Producer[] = []
let running = load.producers
function finished(): void {
  if (--running > 0) return
  const total = { published: 0, nacked: 0, lateMicros: 0 }
  for (const producer of producers) {
    total.published += producer.published
    total.nacked += producer.nacked
    total.lateMicros = Math.max(total.lateMicros, producer.lateMicros)
  }
  const report: ProducerReport = {
    ...total,
    confirmP50Micros: confirmTimes.quantileMicros(0.5),
    confirmP99Micros: confirmTimes.quantileMicros(0.99),
  }
  port.postMessage(report)
}
for (let id = 0; id < load.producers; id++) {
  const link = await Link.open(address, Buffer.allocUnsafeSlow(INPUT_BYTES))
  if (load.confirmWindow > 0) {
    await link.call(
      new FrameWriter().method(1, methods.confirmSelect).u8(0).end(),
      methods.confirmSelectOk,
    )
  }
  producers.push(new Producer(link, id, finished))
}
port.on('message', async (order: 'begin' | 'close') => {
  if (order === 'begin') {
    for (const producer of producers) producer.start()
  } else {
    for (const producer of producers) await producer.close()
    port.close()
  }
})
port.postMessage('ready')
