// Encoded publishes in one buffer, sent again and again: per message only the time, the stream
// and the sequence number in the first 16 bytes of its body are written anew.

import { BODY, FRAME_HEAD, FRAME_OVERHEAD, FrameWriter, HEADER, methods } from './frames.js'
import { exchangeName, type Load, routingKey, streams, targets } from './load.js'

/** Most bytes of whole messages in one write. */
const BATCH_BYTES = 256 * 1024
/** Property flags of a content header. */
const HEADERS = 0x2000
const DELIVERY_MODE = 0x1000
const PRIORITY = 0x0800
/** Where in a body: the time (f64, ns), the stream (u32), the sequence number (u32). */
export const STAMP_BYTES = 16

export class MessageRing {
  /** Most messages in one write. */
  readonly batch: number
  #bytes: Buffer
  #view: DataView
  #slotBytes: number
  #slots: number
  #stampAt: number
  #streamOfSlot: Int32Array
  #nextSequence: Uint32Array
  #slot = 0

  constructor(load: Load, producer: number, frameMax: number) {
    const mine = targetsOf(load, producer)
    const priorities = Math.max(load.priorities, 1)
    const cycle = mine.length * priorities
    const first = encode(load, frameMax, mine[0] as number, 0)
    this.#slotBytes = first.bytes.length
    this.#stampAt = first.stampAt
    const window = load.confirmWindow || Number.POSITIVE_INFINITY
    this.batch = Math.max(1, Math.min(window, Math.floor(BATCH_BYTES / this.#slotBytes)))
    // two batches at least, so that what the socket holds is not what is written next
    this.#slots = Math.ceil((2 * this.batch) / cycle + 1) * cycle
    this.#bytes = Buffer.allocUnsafeSlow(this.#slots * this.#slotBytes)
    this.#view = new DataView(this.#bytes.buffer)
    this.#streamOfSlot = new Int32Array(this.#slots)
    this.#nextSequence = new Uint32Array(streams(load))
    for (let slot = 0; slot < this.#slots; slot++) {
      const target = mine[slot % mine.length] as number
      const priority = Math.floor(slot / mine.length) % priorities
      const { bytes } = encode(load, frameMax, target, priority)
      if (bytes.length !== this.#slotBytes) throw new Error('messages of unequal length')
      this.#bytes.set(bytes, slot * this.#slotBytes)
      this.#streamOfSlot[slot] = (producer * targets(load) + target) * priorities + priority
    }
  }

  /** How many of `wanted` messages the next `take` can give without a break. */
  run(wanted: number): number {
    return Math.min(wanted, this.batch, this.#slots - this.#slot)
  }

  /** Stamps the next `count` messages and gives their bytes, valid until the ring has gone round. */
  take(count: number, stampNs: number): Buffer {
    const from = this.#slot * this.#slotBytes
    const view = this.#view
    const next = this.#nextSequence
    let at = from + this.#stampAt
    for (let slot = this.#slot; slot < this.#slot + count; slot++) {
      const stream = this.#streamOfSlot[slot] as number
      const sequence = next[stream] as number
      next[stream] = sequence + 1
      view.setFloat64(at, stampNs)
      view.setUint32(at + 8, stream)
      view.setUint32(at + 12, sequence)
      at += this.#slotBytes
    }
    this.#slot = (this.#slot + count) % this.#slots
    return this.#bytes.subarray(from, from + count * this.#slotBytes)
  }
}

/** Producer p publishes to targets p, p + P, ...; with fewer targets than producers to one. */
function targetsOf(load: Load, producer: number): number[] {
  const all = targets(load)
  if (all <= load.producers) return [producer % all]
  const mine: number[] = []
  for (let target = producer; target < all; target += load.producers) mine.push(target)
  return mine
}

function encode(load: Load, frameMax: number, target: number, priority: number) {
  const out = new FrameWriter()
    .method(1, methods.publish)
    .u16(0)
    .shortString(exchangeName(load))
    .shortString(routingKey(load, target))
    .u8(0)
    .end()
    .begin(HEADER, 1)
    .u32(60 << 16)
    .u64(load.size)
    .u16(
      (load.exchange === 'headers' ? HEADERS : 0) |
        (load.persistent ? DELIVERY_MODE : 0) |
        (load.priorities > 0 ? PRIORITY : 0),
    )
  if (load.exchange === 'headers') out.table({ g: target })
  if (load.persistent) out.u8(2)
  if (load.priorities > 0) out.u8(priority)
  const head = out.end().take()
  const body = Buffer.alloc(load.size, 'leveret ')
  out.raw(head)
  for (let at = 0; at < body.length; at += frameMax - FRAME_OVERHEAD) {
    out
      .begin(BODY, 1)
      .raw(body.subarray(at, at + frameMax - FRAME_OVERHEAD))
      .end()
  }
  return { bytes: out.take(), stampAt: head.length + FRAME_HEAD }
}
