// Encodes AMQP 0-9-1 frames for the load generator. The benchmark judges the broker from outside,
// so it shares no code with it: this is a second, smaller encoder.

export const METHOD = 1
export const HEADER = 2
export const BODY = 3
export const FRAME_END = 0xce
/** Type, channel and length before a frame's payload. */
export const FRAME_HEAD = 7
/** What a frame adds to its payload: the head and the end octet. */
export const FRAME_OVERHEAD = 8

const id = (classId: number, methodId: number): number => classId * 65536 + methodId

/** The methods used here, each as class and method in one u32, as it stands on the wire. */
export const methods = {
  start: id(10, 10),
  startOk: id(10, 11),
  tune: id(10, 30),
  tuneOk: id(10, 31),
  open: id(10, 40),
  openOk: id(10, 41),
  close: id(10, 50),
  closeOk: id(10, 51),
  blocked: id(10, 60),
  unblocked: id(10, 61),
  channelOpen: id(20, 10),
  channelOpenOk: id(20, 11),
  channelClose: id(20, 40),
  exchangeDeclare: id(40, 10),
  exchangeDeclareOk: id(40, 11),
  exchangeDelete: id(40, 20),
  exchangeDeleteOk: id(40, 21),
  queueDeclare: id(50, 10),
  queueDeclareOk: id(50, 11),
  queueBind: id(50, 20),
  queueBindOk: id(50, 21),
  queueDelete: id(50, 40),
  queueDeleteOk: id(50, 41),
  qos: id(60, 10),
  qosOk: id(60, 11),
  consume: id(60, 20),
  consumeOk: id(60, 21),
  cancel: id(60, 30),
  publish: id(60, 40),
  deliver: id(60, 60),
  ack: id(60, 80),
  nack: id(60, 120),
  txSelect: id(90, 10),
  txSelectOk: id(90, 11),
  txCommit: id(90, 20),
  txCommitOk: id(90, 21),
  confirmSelect: id(85, 10),
  confirmSelectOk: id(85, 11),
} as const

export type TableValue = number | string | boolean | { readonly [key: string]: TableValue }
export type Table = { readonly [key: string]: TableValue }

/** Writes frames one behind the other; not for the hot path, whose bytes are made once, before. */
export class FrameWriter {
  #bytes = Buffer.allocUnsafe(4096)
  #at = 0
  #frameAt = 0

  /** Begins a frame; what follows until `end` is its payload. */
  begin(type: number, channel: number): this {
    this.#frameAt = this.#at
    return this.u8(type).u16(channel).u32(0)
  }

  end(): this {
    this.#bytes.writeUInt32BE(this.#at - this.#frameAt - FRAME_HEAD, this.#frameAt + 3)
    return this.u8(FRAME_END)
  }

  method(channel: number, methodId: number): this {
    return this.begin(METHOD, channel).u32(methodId)
  }

  u8(value: number): this {
    this.#room(1)
    this.#at = this.#bytes.writeUInt8(value, this.#at)
    return this
  }

  u16(value: number): this {
    this.#room(2)
    this.#at = this.#bytes.writeUInt16BE(value, this.#at)
    return this
  }

  u32(value: number): this {
    this.#room(4)
    this.#at = this.#bytes.writeUInt32BE(value, this.#at)
    return this
  }

  u64(value: number): this {
    return this.u32(Math.floor(value / 2 ** 32)).u32(value >>> 0)
  }

  shortString(text: string): this {
    return this.u8(Buffer.byteLength(text)).raw(Buffer.from(text))
  }

  longString(text: string): this {
    return this.u32(Buffer.byteLength(text)).raw(Buffer.from(text))
  }

  raw(bytes: Uint8Array): this {
    this.#room(bytes.length)
    this.#bytes.set(bytes, this.#at)
    this.#at += bytes.length
    return this
  }

  table(table: Table): this {
    const lengthAt = this.#at
    this.u32(0)
    for (const [key, value] of Object.entries(table)) {
      this.shortString(key)
      if (typeof value === 'number') this.u8(0x49).u32(value)
      else if (typeof value === 'string') this.u8(0x53).longString(value)
      else if (typeof value === 'boolean') this.u8(0x74).u8(value ? 1 : 0)
      else this.u8(0x46).table(value)
    }
    this.#bytes.writeUInt32BE(this.#at - lengthAt - 4, lengthAt)
    return this
  }

  /** A copy of all that was written; the writer is empty afterwards. */
  take(): Buffer {
    const bytes = Buffer.from(this.#bytes.subarray(0, this.#at))
    this.#at = 0
    return bytes
  }

  #room(more: number): void {
    if (this.#at + more <= this.#bytes.length) return
    const larger = Buffer.allocUnsafe((this.#at + more) * 2)
    larger.set(this.#bytes.subarray(0, this.#at))
    this.#bytes = larger
  }
}
