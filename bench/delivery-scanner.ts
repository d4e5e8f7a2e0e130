// The cursor over what a consumer's socket reads. Of each delivery it reads the frame types and
// lengths, consumer tag, delivery tag, body size and the stamp in the first 16 body bytes.

import { BODY, FRAME_END, FRAME_HEAD, FRAME_OVERHEAD, HEADER, METHOD, methods } from './frames.js'
import type { Histogram } from './histogram.js'
import type { Ledger } from './ledger.js'
import type { Link } from './link.js'
import { STAMP_BYTES } from './message-ring.js'

const ZERO = 0x30

export class DeliveryScanner {
  /** Whole messages seen. */
  delivered = 0
  redelivered = 0
  deliveryTag = 0
  /** Answers to basic.consume; deliveries may come between them. */
  consuming = 0
  #link: Link
  #ledger: Ledger
  #latencies: Histogram
  #streams: number
  #queue = 0
  #bodyLeft = 0
  /** Bytes left of a body frame, its end octet included. */
  #skip = 0
  #stampDue = false

  constructor(link: Link, ledger: Ledger, streams: number, latencies: Histogram) {
    this.#link = link
    this.#ledger = ledger
    this.#streams = streams
    this.#latencies = latencies
  }

  /** Scans the link's input, which was read at `nowNs`. */
  scan(nowNs: number, timed: boolean): void {
    const { input, view, end } = this.#link
    let at = this.#link.start
    for (;;) {
      if (this.#skip > 0) {
        const bytes = Math.min(this.#skip, end - at)
        at += bytes
        this.#skip -= bytes
        if (this.#skip > 0) break
        if (input[at - 1] !== FRAME_END) throw new Error('no frame end')
        if (this.#bodyLeft === 0) this.delivered++
        continue
      }
      if (end - at < FRAME_HEAD) break
      const type = input[at]
      const length = view.getUint32(at + 3)
      if (type === BODY) {
        if (this.#stampDue) {
          if (end - at < FRAME_HEAD + STAMP_BYTES) break
          this.#stamp(view, at + FRAME_HEAD, nowNs, timed)
          this.#stampDue = false
        }
        this.#bodyLeft -= length
        if (this.#bodyLeft < 0) throw new Error('a body longer than announced')
        this.#skip = length + 1
        at += FRAME_HEAD
        continue
      }
      const next = at + length + FRAME_OVERHEAD
      if (next > end) break
      if (input[next - 1] !== FRAME_END) throw new Error('no frame end')
      if (type === HEADER) {
        this.#bodyLeft = view.getUint32(at + 15)
        this.#stampDue = true
      } else if (type === METHOD) {
        if (view.getUint32(at + 7) === methods.deliver) this.#deliver(input, view, at + 11)
        else if (view.getUint32(at + 7) === methods.consumeOk) this.consuming++
        else if (!this.#link.unasked(at + 7)) throw new Error('an unexpected method')
      }
      at = next
    }
    this.#link.start = at
  }

  /** Consumer tag (c and five digits), delivery tag and redelivered of a deliver method. */
  #deliver(input: Buffer, view: DataView, at: number): void {
    if (input[at] !== 6) throw new Error('a consumer tag that is not ours')
    let queue = 0
    for (let digit = at + 2; digit < at + 7; digit++) {
      queue = queue * 10 + (input[digit] as number) - ZERO
    }
    this.#queue = queue
    this.deliveryTag = view.getUint32(at + 7) * 2 ** 32 + view.getUint32(at + 11)
    if (input[at + 15] !== 0) this.redelivered++
  }

  #stamp(view: DataView, at: number, nowNs: number, timed: boolean): void {
    const stream = view.getUint32(at + 8)
    if (stream >= this.#streams) throw new Error(`a message of another run (stream ${stream})`)
    this.#ledger.mark(this.#queue * this.#streams + stream, view.getUint32(at + 12))
    if (timed) this.#latencies.record(nowNs - view.getFloat64(at))
  }
}
