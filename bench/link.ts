// One AMQP connection with one channel on a plain socket. Set-up and tear-down wait for answers
// (`expect`); under load `scan` is replaced by a cursor that reads the input in place.

import { connect, type Socket } from 'node:net'
import { FRAME_END, FRAME_HEAD, FRAME_OVERHEAD, FrameWriter, METHOD, methods } from './frames.js'

export interface Address {
  host: string
  port: number
  user: string
  password: string
  vhost: string
}

const PROTOCOL_HEADER = Buffer.from('AMQP\x00\x00\x09\x01', 'latin1')
const FRAME_MAX = 131_072
const INPUT_BYTES = 256 * 1024
const CLIENT_PROPERTIES = {
  product: 'bench',
  capabilities: {
    publisher_confirms: true,
    'basic.nack': true,
    'connection.blocked': true,
    consumer_cancel_notify: true,
    authentication_failure_close: true,
  },
}

const CHANNEL_OPEN = new FrameWriter().method(1, methods.channelOpen).shortString('').end().take()
const CLOSE = new FrameWriter()
  .method(0, methods.close)
  .u16(200)
  .shortString('bye')
  .u32(0)
  .end()
  .take()

/** What a login sends, encoded once for each address: connections are opened by the thousand. */
const greetings = new Map<Address, { login: Buffer; open: Buffer }>()

function greetingOf(address: Address): { login: Buffer; open: Buffer } {
  const known = greetings.get(address)
  if (known !== undefined) return known
  const login = new FrameWriter()
    .method(0, methods.startOk)
    .table(CLIENT_PROPERTIES)
    .shortString('PLAIN')
    .longString(`\0${address.user}\0${address.password}`)
    .shortString('en_US')
    .end()
    .take()
  const open = new FrameWriter()
    .method(0, methods.open)
    .shortString(address.vhost)
    .shortString('')
    .u8(0)
    .end()
    .take()
  greetings.set(address, { login, open })
  return { login, open }
}

interface Waiting {
  methodId: number
  resolve(payload: Buffer): void
  reject(error: Error): void
}

/** An AMQP connection. Bytes read and not yet taken are `input[start, end)`. */
export class Link {
  readonly input: Buffer
  readonly view: DataView
  start = 0
  end = 0
  frameMax = FRAME_MAX
  /** The broker asked publishers to wait (connection.blocked). */
  blocked = false
  /** Takes what it can of the input and moves `start` on. */
  scan: () => void = () => this.#scanFrames()
  /** Called for each whole frame; its payload is `input[at, at + length)`. */
  onFrame: (type: number, at: number, length: number) => void = (type, at, length) => {
    if (type === METHOD) this.#arrive(at, length)
  }
  /** What a broken connection does when nobody waits for an answer. */
  onFail: (error: Error) => void = () => {}
  #socket: Socket
  #failed: Error | null = null
  #closing = false
  #waiting: Waiting | null = null
  #arrived: { methodId: number; payload: Buffer }[] = []

  constructor(address: Address, input: Buffer) {
    this.input = input
    this.view = new DataView(this.input.buffer, this.input.byteOffset, this.input.byteLength)
    this.#socket = connect({
      host: address.host,
      port: address.port,
      noDelay: true,
      onread: {
        buffer: () => (this.end === 0 ? this.input : this.input.subarray(this.end)),
        callback: bytesRead => this.#take(bytesRead),
      },
    })
    this.#socket.on('error', error => this.#fail(error))
    this.#socket.on('close', () => this.#fail(new Error('the broker closed the socket')))
  }

  /** Connects, logs in and opens channel 1; without heartbeats, since no run is long. */
  static async open(address: Address, input = Buffer.allocUnsafeSlow(INPUT_BYTES)): Promise<Link> {
    const link = new Link(address, input)
    await link.greet()
    const greeting = greetingOf(address)
    const tune = await link.call(greeting.login, methods.tune)
    const frameMax = tune.readUInt32BE(6)
    if (frameMax > 0 && frameMax < FRAME_MAX) link.frameMax = frameMax
    const open = new FrameWriter()
      .method(0, methods.tuneOk)
      .u16(Math.min(tune.readUInt16BE(4) || 2047, 2047))
      .u32(link.frameMax)
      .u16(0)
      .end()
      .raw(greeting.open)
      .take()
    await link.call(open, methods.openOk)
    await link.call(CHANNEL_OPEN, methods.channelOpenOk)
    return link
  }

  /** Sends the protocol header and waits for connection.start. */
  greet(): Promise<Buffer> {
    this.write(PROTOCOL_HEADER)
    return this.expect(methods.start)
  }

  write(bytes: Uint8Array, done?: () => void): void {
    this.#socket.write(bytes, done)
  }

  /** Sends a request and waits for its answer; gives the answer's payload. */
  call(request: FrameWriter | Uint8Array, answer: number): Promise<Buffer> {
    this.write(request instanceof FrameWriter ? request.take() : request)
    return this.expect(answer)
  }

  /** The payload of the next method, which must be the one named. */
  expect(methodId: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (this.#failed !== null) return reject(this.#failed)
      this.#waiting = { methodId, resolve, reject }
      const next = this.#arrived.shift()
      if (next !== undefined) this.#answer(next.methodId, next.payload)
    })
  }

  async close(): Promise<void> {
    this.#closing = true
    this.#arrived = []
    this.scan = () => this.#scanFrames()
    this.onFrame = (type, at, length) => {
      const isAnswer = type === METHOD && this.view.getUint32(at) === methods.closeOk
      if (isAnswer) this.#arrive(at, length)
    }
    await this.call(CLOSE, methods.closeOk)
    this.destroy()
  }

  destroy(): void {
    this.#closing = true
    this.#socket.destroy()
  }

  /** Handles what may come at any time; true if the method was one of those. */
  unasked(at: number): boolean {
    const methodId = this.view.getUint32(at)
    if (methodId === methods.close || methodId === methods.channelClose) {
      const length = this.input[at + 6] as number
      const text = this.input.toString('utf8', at + 7, at + 7 + length)
      this.#fail(new Error(`closed by the broker: ${this.view.getUint16(at + 4)} ${text}`))
      this.destroy()
    } else if (methodId === methods.cancel) {
      this.#fail(new Error('the broker cancelled a consumer'))
    } else if (methodId === methods.blocked) {
      this.blocked = true
    } else if (methodId === methods.unblocked) {
      this.blocked = false
    } else {
      return false
    }
    return true
  }

  #take(bytesRead: number): boolean {
    this.end += bytesRead
    this.scan()
    if (this.start === this.end) {
      this.start = 0
      this.end = 0
    } else if (this.start > 0) {
      this.input.copyWithin(0, this.start, this.end)
      this.end -= this.start
      this.start = 0
    }
    return true
  }

  #scanFrames(): void {
    while (this.end - this.start >= FRAME_HEAD) {
      const at = this.start
      const length = this.view.getUint32(at + 3)
      if (length + FRAME_OVERHEAD > this.input.length) throw new Error(`a frame of ${length} bytes`)
      if (this.end - at < length + FRAME_OVERHEAD) return
      if (this.input[at + FRAME_HEAD + length] !== FRAME_END) throw new Error('no frame end')
      this.start += length + FRAME_OVERHEAD
      this.onFrame(this.input[at] as number, at + FRAME_HEAD, length)
    }
  }

  #arrive(at: number, length: number): void {
    if (this.unasked(at)) return
    const methodId = this.view.getUint32(at)
    const payload = Buffer.from(this.input.subarray(at, at + length))
    if (this.#waiting === null) this.#arrived.push({ methodId, payload })
    else this.#answer(methodId, payload)
  }

  #answer(methodId: number, payload: Buffer): void {
    const waiting = this.#waiting
    this.#waiting = null
    if (waiting === null) return
    if (methodId === waiting.methodId) {
      waiting.resolve(payload)
    } else {
      const [expected, got] = [waiting.methodId, methodId].map(n => `${n >>> 16}.${n & 0xffff}`)
      waiting.reject(new Error(`expected method ${expected}, got ${got}`))
    }
  }

  #fail(error: Error): void {
    if (this.#failed !== null) return
    this.#failed = error
    const waiting = this.#waiting
    this.#waiting = null
    if (waiting !== null) waiting.reject(error)
    else if (!this.#closing) this.onFail(error)
  }
}
