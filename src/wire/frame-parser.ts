/**
 * Frames out of the bytes of a connection: a cursor that stands on one frame at a time and makes
 * no object per frame. Method and header frames are shown whole; a body frame is shown in the
 * pieces in which it arrives, so that a large body is copied only once, to where it stays.
 *
 *      0      1         3             7                  size+7
 *     +------+---------+-------------+------------------+------+
 *     | type | channel |    size     |     payload      | 0xCE |
 *     +------+---------+-------------+------------------+------+
 *       u8      u16        u32           size octets
 */
import { printSnippet } from './erlang-term.js'
import { AmqpError } from './replies.js'

/** Frame types. */
export const Frame = { method: 1, header: 2, body: 3, heartbeat: 8 } as const

/** Octets around a payload: type, channel, size, and the end octet. */
export const frameOverhead = 8

/** What stands in front of a payload. */
export const frameHead = 7

/** The last octet of every frame. */
export const frameEnd = 0xce

/** Id of the method that a frame holds; 0 if it is none. */
export function methodIdOf(frame: FrameParser): number {
  const isMethod = frame.type === Frame.method && frame.end - frame.start >= 4
  return isMethod ? frame.bytes.readUInt32BE(frame.start) : 0
}

/** What is wrong with a frame of a type that does not exist, or too short for its type. */
export function unknownFrame(frame: FrameParser): AmqpError {
  const octets = printSnippet(frame.bytes.subarray(frame.start, frame.end))
  return new AmqpError('FRAME_ERROR', `type ${frame.type}, ${octets}: unknown_frame`, 0)
}

/** Refuses frames of types that do not exist, and heartbeats where there can be none. */
export function checkType(frame: FrameParser): void {
  const { type } = frame
  if (type === Frame.method || type === Frame.header || type === Frame.body) return
  if (type !== Frame.heartbeat || frame.end > frame.start) throw unknownFrame(frame)
  if (frame.channel !== 0) throw unexpectedFrame(frame)
}

/** What is wrong with a frame that cannot come on its channel. */
export function unexpectedFrame(frame: FrameParser): AmqpError {
  const octets = printSnippet(frame.bytes.subarray(frame.start, frame.end))
  return new AmqpError('UNEXPECTED_FRAME', `type ${frame.type}, ${octets}`, 0)
}

const nothing = Buffer.alloc(0)
const snippetBytes = 16

export class FrameParser {
  /** Largest payload taken; RabbitMQ grants a payload of exactly frame_max. */
  payloadMax: number

  /** The bytes under the cursor; the payload of the frame is `bytes[start..end)`. */
  bytes: Buffer = nothing
  start = 0
  end = 0
  type = 0
  channel = 0
  /** False while more pieces of this body frame are to come. */
  complete = true

  /** The chunk last fed, where the cursor stands in it, and where it ends. */
  chunk: Buffer = nothing
  at = 0
  limit = 0

  /** The beginning of a frame whose rest has not come yet. */
  #carry: Buffer = nothing
  #carried = 0
  /** Octets of the open body frame still to come, the end octet included. */
  #bodyLeft = 0
  #snippet = nothing

  constructor(payloadMax: number) {
    this.payloadMax = payloadMax
  }

  /** Gives the next bytes of the connection; valid until the next call. */
  feed(chunk: Buffer, start: number, end: number): void {
    this.chunk = chunk
    this.at = start
    this.limit = end
  }

  /**
   * Moves to the next frame, or piece of a body frame. False: the rest has not come yet.
   * Throws FRAME_ERROR for a frame that is too large or does not end in 0xCE.
   */
  next(): boolean {
    if (this.#bodyLeft > 0) return this.#nextPiece()
    if (this.#carried > 0) return this.#nextCarried()
    const chunk = this.chunk
    const at = this.at
    if (this.limit - at < frameHead) return this.#keep()
    const size = chunk.readUInt32BE(at + 3)
    if (size > this.payloadMax) throw this.#tooLarge(chunk.readUInt8(at), size)
    const end = at + frameHead + size
    if (end >= this.limit) {
      if (chunk[at] !== Frame.body) return this.#keep()
      this.#openBody(chunk, at, size)
      this.at = at + frameHead
      return this.#nextPiece()
    }
    this.bytes = chunk
    this.type = chunk[at] as number
    this.channel = ((chunk[at + 1] as number) << 8) | (chunk[at + 2] as number)
    this.start = at + frameHead
    this.end = end
    this.complete = true
    if (chunk[end] !== frameEnd)
      throw this.#badEnd(chunk.subarray(this.start, end), chunk[end] as number)
    this.at = end + 1
    return true
  }

  /** The frame under the cursor, with bytes of its own, for somebody who takes it up later. */
  copy(): FrameParser {
    const copy = new FrameParser(this.payloadMax)
    // With the end octet, which becomes part of a message that begins with a method.
    copy.bytes = Buffer.from(this.bytes.subarray(this.start, this.end + 1))
    copy.end = this.end - this.start
    copy.type = this.type
    copy.channel = this.channel
    copy.complete = this.complete
    return copy
  }

  /** True while a frame has begun whose end has not come. */
  get midFrame(): boolean {
    return this.#carried > 0 || this.#bodyLeft > 0
  }

  /** Remembers the beginning of a frame until the rest comes. */
  #keep(): boolean {
    const left = this.limit - this.at
    if (left > 0) {
      this.#room(left)
      this.chunk.copy(this.#carry, 0, this.at, this.limit)
      this.#carried = left
      this.at = this.limit
    }
    return false
  }

  /** Completes the frame whose beginning was kept. */
  #nextCarried(): boolean {
    if (!this.#fill(frameHead)) return false
    const carry = this.#carry
    const type = carry.readUInt8(0)
    const size = carry.readUInt32BE(3)
    if (size > this.payloadMax) throw this.#tooLarge(type, size)
    if (type === Frame.body) {
      this.#openBody(carry, 0, size)
      this.#carried = 0
      return this.#nextPiece()
    }
    if (!this.#fill(size + frameOverhead)) return false
    this.bytes = this.#carry
    this.type = type
    this.channel = this.#carry.readUInt16BE(1)
    this.start = frameHead
    this.end = frameHead + size
    this.complete = true
    // The cursor still shows these bytes, so the memory is let go, not used again.
    this.#carry = nothing
    this.#carried = 0
    const end = this.bytes.readUInt8(this.end)
    if (end !== frameEnd) throw this.#badEnd(this.bytes.subarray(this.start, this.end), end)
    return true
  }

  /** Brings the kept bytes up to `wanted`; false if not so many have come. */
  #fill(wanted: number): boolean {
    const missing = wanted - this.#carried
    if (missing <= 0) return true
    const taken = Math.min(missing, this.limit - this.at)
    const kept = this.#carried + taken
    // Memory for what has come and as much again: a frame that is only announced costs nothing.
    if (kept > this.#carry.length) this.#room(Math.min(wanted, kept * 2))
    this.chunk.copy(this.#carry, this.#carried, this.at, this.at + taken)
    this.#carried += taken
    this.at += taken
    return taken === missing
  }

  #room(bytes: number): void {
    if (this.#carry.length >= bytes) return
    const larger = Buffer.allocUnsafe(Math.max(64, bytes))
    this.#carry.copy(larger, 0, 0, this.#carried)
    this.#carry = larger
  }

  #openBody(head: Buffer, at: number, size: number): void {
    this.type = Frame.body
    this.channel = head.readUInt16BE(at + 1)
    this.#bodyLeft = size + 1
    this.#snippet = nothing
  }

  #nextPiece(): boolean {
    const available = this.limit - this.at
    if (available === 0) return false
    const chunk = this.chunk
    const payload = Math.min(this.#bodyLeft - 1, available)
    this.bytes = chunk
    this.start = this.at
    this.end = this.at + payload
    if (this.#snippet.length <= snippetBytes && payload > 0)
      this.#snippet = Buffer.concat([
        this.#snippet,
        chunk.subarray(this.start, this.end).subarray(0, snippetBytes + 1),
      ])
    this.complete = available >= this.#bodyLeft
    if (this.complete && chunk[this.end] !== frameEnd)
      throw this.#badEnd(this.#snippet, chunk[this.end] as number)
    const taken = payload + (this.complete ? 1 : 0)
    this.#bodyLeft -= taken
    this.at += taken
    return true
  }

  #tooLarge(type: number, size: number): AmqpError {
    const limit = this.payloadMax - frameOverhead
    return new AmqpError(
      'FRAME_ERROR',
      `type ${type}, all octets = <<>>: {frame_too_large,${size},${limit}}`,
    )
  }

  #badEnd(payload: Uint8Array, octet: number): AmqpError {
    return new AmqpError(
      'FRAME_ERROR',
      `type ${this.type}, ${printSnippet(payload)}: {invalid_frame_end_marker,${octet}}`,
    )
  }
}
