// The worker thread that publishes: all producers of one load. A flood writes a batch whenever the
// one before has gone; a fixed rate writes what is due, sleeping less than a millisecond at a time.

import { readlinkSync, writeFileSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { nanoseconds } from './clock.js'
import { FrameWriter, METHOD, methods } from './frames.js'
import { Link } from './link.js'
import { Cell, Phase, type ProducerReport, type WorkerTask } from './load.js'
import { MessageRing } from './message-ring.js'

const { address, load, cells } = workerData as WorkerTask
const port = parentPort as NonNullable<typeof parentPort>
/** Never notified: waiting on it is sleeping. */
const never = new Int32Array(new SharedArrayBuffer(4))
const MAX_SLEEP_MS = 1

class Producer {
  readonly report: ProducerReport = { published: 0, nacked: 0, lateMicros: 0 }
  #link: Link
  #ring: MessageRing
  #finished: () => void
  #encoded = 0
  #writing = false
  #ended = false
  #outstanding = 0
  /** Confirm numbers that are outstanding, modulo the array's length, and the lowest of them. */
  #unconfirmed = new Uint8Array(load.confirmWindow * 8 + 65_536)
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
      const room = load.confirmWindow - this.#outstanding
      // refill when an eighth is free; the next confirm comes back here
      if (this.#outstanding > 0 && room < load.confirmWindow / 8) return
      wanted = Math.min(wanted, room)
    }
    this.#send(this.#ring.run(wanted), nanoseconds())
  }

  #send(count: number, stampNs: number): void {
    const bytes = this.#ring.take(count, stampNs)
    if (load.confirmWindow > 0) {
      for (let message = 0; message < count; message++) {
        this.#unconfirmed[(this.#encoded + 1 + message) % this.#unconfirmed.length] = 1
      }
    }
    this.#encoded += count
    this.#outstanding += count
    this.#writing = true
    this.#link.write(bytes, () => {
      this.#writing = false
      this.report.published += count
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
        if (this.#writing) {
          this.#heldUntilNs = now
        } else {
          const dueNs = this.#startedNs + Math.floor(this.#encoded * gapNs)
          this.report.lateMicros = Math.max(this.report.lateMicros, (now - dueNs) / 1000)
          const held = dueNs < this.#heldUntilNs
          this.#send(this.#ring.run(held ? 1 : due - this.#encoded), held ? dueNs : now)
        }
      }
      const nextNs = this.#startedNs + this.#encoded * gapNs - nanoseconds()
      if (nextNs > 0) Atomics.wait(never, 0, 0, Math.min(nextNs / 1e6, MAX_SLEEP_MS))
    }
    setImmediate(this.#pace)
  }

  #hear(at: number): void {
    const methodId = this.#link.view.getUint32(at)
    if (methodId === methods.ack || methodId === methods.nack) {
      const tag = this.#link.view.getUint32(at + 4) * 2 ** 32 + this.#link.view.getUint32(at + 8)
      const confirmed = this.#confirm(tag, ((this.#link.input[at + 12] as number) & 1) === 1)
      if (methodId === methods.nack) this.report.nacked += confirmed
    } else if (!this.#link.unasked(at)) {
      throw new Error(`a producer got method ${methodId >>> 16}.${methodId & 0xffff}`)
    }
    if (load.rate === 0) this.#flood()
  }

  #confirm(tag: number, multiple: boolean): number {
    if (tag > this.#encoded) throw new Error(`confirm of ${tag}, published ${this.#encoded}`)
    const { length } = this.#unconfirmed
    let confirmed = 0
    for (let number = multiple ? this.#lowest : tag; number <= tag; number++) {
      confirmed += this.#unconfirmed[number % length] as number
      this.#unconfirmed[number % length] = 0
    }
    if (confirmed === 0) throw new Error(`confirm of ${tag}, which was confirmed before`)
    this.#outstanding -= confirmed
    while (this.#lowest <= this.#encoded && this.#unconfirmed[this.#lowest % length] === 0) {
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
  const report: ProducerReport = { published: 0, nacked: 0, lateMicros: 0 }
  for (const producer of producers) {
    report.published += producer.report.published
    report.nacked += producer.report.nacked
    report.lateMicros = Math.max(report.lateMicros, producer.report.lateMicros)
  }
  port.postMessage(report)
}
for (let id = 0; id < load.producers; id++) {
  const link = await Link.open(address)
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
