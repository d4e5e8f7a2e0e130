/**
 * Puts the content of a publish together when it comes in pieces, in the form that message.ts
 * draws. Memory is taken as bytes arrive, never because they are announced: at most eight times
 * what has come.
 */

import { largeBytes } from '../store/message-table.js'
import {
  type FrameParser,
  frameEnd,
  frameHead,
  frameOverhead,
  unknownFrame,
} from '../wire/frame-parser.js'
import { headerFieldsBytes, type Message } from '../wire/message.js'
import { AmqpError } from '../wire/replies.js'

/** RabbitMQ's ceiling for a body, whatever max_message_size says. */
const bodyMax = 536_870_912

/** A large body is kept in parts of at most this size. */
const partBytes = 1024 * 1024

/** Memory taken at first, and how much of it may be empty. */
const firstBytes = 4096
const slack = 8

const nothing = Buffer.alloc(0)
const classBasic = 60

/** Where it is counted what half-received contents take. */
export interface IntakeMemory {
  intakeBytes: number
}

export class Content {
  readonly #memory: IntakeMemory
  /** Bytes it takes, of which `#memory` knows. */
  #held = 0
  /** Bytes of the body still to come; 0 once the message is complete. */
  bodyLeft = 0
  bodySize = 0

  #bytes = nothing
  /** Filled so far. */
  #at = 0
  #parts: Buffer[] | null = null
  #partAt = 0
  #received = 0

  constructor(memory: IntakeMemory) {
    this.#memory = memory
  }

  /** A publish came: its exchange, routing key, bits and end octet stand at `bytes[start..end)`. */
  begin(bytes: Buffer, start: number, end: number): void {
    this.#bytes = Buffer.allocUnsafe(end - start + 256)
    this.#holds(this.#bytes.length)
    this.#at = bytes.copy(this.#bytes, 0, start, end)
    this.#parts = null
    this.#received = 0
  }

  /** The content header came; `maxBytes` is the largest body allowed. Throws AmqpError. */
  header(frame: FrameParser, maxBytes: number): void {
    const { bytes, start, end } = frame
    if (end - start < headerFieldsBytes + 2) throw unknownFrame(frame)
    const classId = bytes.readUInt16BE(start)
    if (classId !== classBasic)
      throw new AmqpError(
        'UNEXPECTED_FRAME',
        `expected content header for class 60, got one for class ${classId} instead`,
      )
    if (bytes.readUInt16BE(start + 2) !== 0)
      throw new AmqpError(
        'UNEXPECTED_FRAME',
        'expected content header for class 60, got non content header frame instead',
      )
    const size = bytes.readBigUInt64BE(start + 4)
    if (size > bodyMax)
      throw new AmqpError(
        'FRAME_ERROR',
        `content body size ${size} exceeds maximum allowed size ${bodyMax}`,
      )
    // RabbitMQ checks when all of it has come; here a body that is refused is never kept.
    if (size > maxBytes)
      throw new AmqpError(
        'PRECONDITION_FAILED',
        `message size ${size} is larger than configured max size ${maxBytes}`,
      )
    this.bodySize = Number(size)
    this.bodyLeft = this.bodySize
    const payload = end - start
    this.#grow(frameOverhead + payload + frameHead)
    this.#frameHead(2, payload)
    this.#at += bytes.copy(this.#bytes, this.#at, start, end)
    this.#bytes[this.#at++] = frameEnd
    if (this.bodySize === 0) return
    this.#frameHead(3, this.bodySize)
    if (this.bodySize >= largeBytes) {
      this.#parts = []
      this.#partAt = 0
    }
  }

  /** A piece of the body came. */
  body(bytes: Buffer, start: number, end: number): void {
    const size = end - start
    if (size > this.bodyLeft)
      throw new AmqpError('FRAME_ERROR', 'content body frame exceeds remaining content size')
    this.bodyLeft -= size
    this.#received += size
    if (this.#parts !== null) this.#addToParts(this.#parts, bytes, start, end)
    else {
      // With room for the end octet, which take() sets.
      this.#grow(size + 1)
      bytes.copy(this.#bytes, this.#at, start, end)
      this.#at += size
    }
  }

  /** Shows the complete message and lets go of it; its memory is nobody else's. */
  take(message: Message): void {
    if (this.bodySize > 0 && this.#parts === null) this.#bytes[this.#at++] = frameEnd
    message.at(this.#bytes, 0, this.#at, this.#parts)
    this.drop()
  }

  /** Forgets what has come. */
  drop(): void {
    this.#bytes = nothing
    this.#at = 0
    this.#parts = null
    this.#holds(0)
  }

  #holds(bytes: number): void {
    this.#memory.intakeBytes += bytes - this.#held
    this.#held = bytes
  }

  #frameHead(type: number, size: number): void {
    this.#bytes[this.#at] = type
    this.#bytes.writeUInt16BE(0, this.#at + 1)
    this.#bytes.writeUInt32BE(size, this.#at + 3)
    this.#at += frameHead
  }

  /** Makes room for `bytes` more, and for what is to come if that is not much more. */
  #grow(bytes: number): void {
    const needed = this.#at + bytes
    if (needed <= this.#bytes.length) return
    const whole = this.#at + bytes + (this.bodyLeft < largeBytes ? this.bodyLeft : 0) + 1
    const capacity = Math.max(needed, Math.min(whole, allowance(needed)))
    const larger = Buffer.allocUnsafe(capacity)
    this.#bytes.copy(larger, 0, 0, this.#at)
    this.#holds(this.#held + capacity - this.#bytes.length)
    this.#bytes = larger
  }

  #addToParts(parts: Buffer[], bytes: Buffer, start: number, end: number): void {
    let at = start
    while (at < end) {
      let part = parts[parts.length - 1]
      if (part === undefined || this.#partAt === part.length) {
        const wanted = end - at + this.bodyLeft
        const full = this.#received - (end - at)
        part = Buffer.allocUnsafeSlow(
          Math.min(
            partBytes,
            wanted,
            Math.max(end - at, allowance(this.#at + this.#received) - full),
          ),
        )
        parts.push(part)
        this.#holds(this.#held + part.length)
        this.#partAt = 0
      }
      const taken = bytes.copy(part, this.#partAt, at, end)
      this.#partAt += taken
      at += taken
    }
  }
}

/** Memory that so many bytes justify. */
function allowance(arrived: number): number {
  return Math.max(firstBytes, slack * arrived)
}
