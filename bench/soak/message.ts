// The bodies of the soak: stream and number in the first 8 bytes, then bytes that follow from them,
// so that whoever gets one can tell what it must look like.

import { BODY, FRAME_OVERHEAD, type FrameWriter, HEADER, methods } from '../frames.js'
import { Random } from './random.js'

const HEAD_BYTES = 8
const POOL_BYTES = 1024 * 1024
/** Property flags of a content header. */
const DELIVERY_MODE = 0x1000
const PRIORITY = 0x0800

const pool = Buffer.allocUnsafeSlow(POOL_BYTES)
const random = new Random(1)
for (let at = 0; at < POOL_BYTES; at += 4) pool.writeUInt32LE(random.share() * 2 ** 32, at)

/** Where messages of a stream go, and what they look like. */
export interface Route {
  readonly exchange: string
  readonly routingKey: string
  readonly leastBytes: number
  readonly mostBytes: number
  readonly priorities: number
}

export interface Named {
  readonly stream: number
  readonly sequence: number
}

/** The body of a message. */
export function bodyOf({ stream, sequence }: Named, route: Route): Buffer {
  const mixed = Math.imul(sequence + 1, 0x9e3779b1) >>> 0
  const bytes = route.leastBytes + (mixed % (route.mostBytes - route.leastBytes + 1))
  const body = Buffer.allocUnsafe(HEAD_BYTES + bytes)
  body.writeUInt32BE(stream, 0)
  body.writeUInt32BE(sequence, 4)
  const from = (mixed >>> 8) % (POOL_BYTES - bytes)
  pool.copy(body, HEAD_BYTES, from, from + bytes)
  return body
}

/** Which message a body says it is; null if it is too short to say so. */
export function named(body: Buffer): Named | null {
  if (body.length < HEAD_BYTES) return null
  return { stream: body.readUInt32BE(0), sequence: body.readUInt32BE(4) }
}

export const priorityOf = (sequence: number, { priorities }: Route): number =>
  priorities === 0 ? 0 : sequence % priorities

/** Writes a basic.publish with its content to channel 1. */
export function publish(
  out: FrameWriter,
  message: Named,
  route: Route,
  persistent: boolean,
  frameMax: number,
): void {
  const body = bodyOf(message, route)
  out.method(1, methods.publish).u16(0).shortString(route.exchange).shortString(route.routingKey)
  out.u8(0).end()
  out
    .begin(HEADER, 1)
    .u32(60 << 16)
    .u64(body.length)
  out.u16(DELIVERY_MODE | (route.priorities > 0 ? PRIORITY : 0)).u8(persistent ? 2 : 1)
  if (route.priorities > 0) out.u8(priorityOf(message.sequence, route))
  out.end()
  for (let at = 0; at < body.length; at += frameMax - FRAME_OVERHEAD) {
    out
      .begin(BODY, 1)
      .raw(body.subarray(at, at + frameMax - FRAME_OVERHEAD))
      .end()
  }
}
