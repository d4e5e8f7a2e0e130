import { connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import {
  BODY,
  contentFrames,
  cutFrames,
  decodeHeader,
  encodeHeader,
  encodeMethod,
  type Fields,
  type Frame,
  frame,
  HEADER,
  HEARTBEAT,
  type Header,
  METHOD,
  type MethodName,
  type Properties,
  type Table,
  table,
  type Values,
} from './raw-codec.js'

/** How a socket ended. */
export interface Ending {
  readonly how: 'FIN' | 'RST'
  /** performance.now() when it happened. */
  readonly at: number
}

/** A message as it was delivered, got or returned. */
export interface Received<M extends MethodName> {
  readonly fields: Fields<M>
  readonly header: Header
  readonly properties: Properties
  readonly body: Buffer
  /** Payload sizes of the body frames. */
  readonly sizes: readonly number[]
}

export interface LoginOptions {
  readonly user?: string
  readonly password?: string
  readonly vhost?: string
  readonly channelMax?: number
  readonly frameMax?: number
  readonly heartbeat?: number
  /** The client's `capabilities` table. */
  readonly capabilities?: Table
  readonly clientProperties?: Table
  readonly mechanism?: string
  readonly response?: string | Buffer
  readonly locale?: string
}

export interface Publish {
  readonly exchange?: string
  readonly key: string
  readonly body?: string | Buffer
  readonly properties?: Properties
  readonly mandatory?: boolean
}

export const AMQP_091 = Buffer.from('AMQP\x00\x00\x09\x01', 'latin1')

export const everyCapability = table({
  publisher_confirms: true,
  exchange_exchange_bindings: true,
  'basic.nack': true,
  consumer_cancel_notify: true,
  'connection.blocked': true,
  authentication_failure_close: true,
})

const patience = 10_000

const after = (ms: number): Promise<undefined> =>
  new Promise(resolve => setTimeout(resolve, ms, undefined).unref())

/** One line that says what a frame is, for the messages of failed tests. */
export function describe(f: Frame | undefined): string {
  if (f === undefined) return 'the end of the connection'
  if (f.name === undefined) return `a frame of type ${f.type} on channel ${f.channel}`
  const fields = JSON.stringify(f.fields, (_, value) =>
    typeof value === 'bigint' ? `${value}` : value,
  )
  return `${f.name} ${fields} on channel ${f.channel}`
}

/** An AMQP client with no opinions: sends any bytes, shows every frame, knows how the socket ended. */
export class RawClient {
  /** Every byte sent so far, in the pieces in which it was sent. */
  readonly sent: Buffer[] = []
  /** Every byte received so far that was not a frame (the header of a refusal). */
  stray: Buffer = Buffer.alloc(0)
  /** Heartbeats are counted, and never appear among the frames. */
  readonly heartbeats: number[] = []
  /** Resolves when the broker has closed. */
  readonly ended: Promise<Ending>
  bytesReceived = 0
  readonly #socket: Socket
  readonly #inbox: Frame[] = []
  #ending: Ending | undefined
  #wake: (() => void)[] = []
  #parsing = true
  #opened = false
  #broken: unknown

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay?.(true)
    this.ended = new Promise(resolve => {
      const finish = (how: Ending['how']) => {
        if (this.#ending !== undefined) return
        this.#ending = { how, at: performance.now() }
        resolve(this.#ending)
        this.#notify()
      }
      socket.on('end', () => finish('FIN'))
      socket.on('error', () => finish('RST'))
      socket.on('close', () => finish('RST'))
    })
    socket.on('data', (bytes: Buffer) => this.#receive(bytes))
  }

  static connect(target: { host: string; port: number }): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: target.host, port: target.port, allowHalfOpen: true })
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(new RawClient(socket))
      })
    })
  }

  /** Speaks in a stream that somebody else has made: TLS, a WebSocket. */
  static over(stream: Duplex): RawClient {
    return new RawClient(stream as Socket)
  }

  /** Logged in, tuned and opened. */
  static async open(
    target: { host: string; port: number },
    options: LoginOptions = {},
  ): Promise<RawClient> {
    const client = await RawClient.connect(target)
    await client.login(options)
    return client
  }

  #receive(bytes: Buffer): void {
    this.bytesReceived += bytes.length
    this.stray = this.stray.length === 0 ? bytes : Buffer.concat([this.stray, bytes])
    if (this.#parsing && this.stray.length >= 4 && this.stray.toString('latin1', 0, 4) === 'AMQP')
      this.#parsing = false
    if (this.#parsing) {
      try {
        const { frames, rest } = cutFrames(this.stray)
        this.stray = rest
        for (const f of frames) {
          if (f.type === HEARTBEAT && f.channel === 0) this.heartbeats.push(performance.now())
          else this.#inbox.push(f)
        }
      } catch (error) {
        this.#broken = error
      }
    }
    this.#notify()
  }

  #notify(): void {
    const waiting = this.#wake
    this.#wake = []
    for (const wake of waiting) wake()
  }

  // ------------------------------------------------------------------------------------------------ send

  /** Sends these bytes, whatever they are. */
  write(bytes: Buffer): void {
    this.sent.push(bytes)
    if (!this.#socket.destroyed) this.#socket.write(bytes)
  }

  /** Sends the bytes in pieces, each in its own packet. */
  async writeSplit(bytes: Buffer, sizes: readonly number[]): Promise<void> {
    let at = 0
    for (const size of sizes) {
      if (at >= bytes.length) return
      this.write(bytes.subarray(at, at + size))
      at += size
      await new Promise(resolve => setImmediate(resolve))
    }
    if (at < bytes.length) this.write(bytes.subarray(at))
  }

  send<M extends MethodName>(channel: number, name: M, values: Values<M> = {}): void {
    this.write(frame(METHOD, channel, encodeMethod(name, values)))
  }

  frame(type: number, channel: number, payload: Buffer | string = Buffer.alloc(0)): void {
    this.write(frame(type, channel, Buffer.isBuffer(payload) ? payload : Buffer.from(payload)))
  }

  header(channel: number, size: number | bigint, properties: Properties | Buffer = {}): void {
    this.frame(HEADER, channel, encodeHeader({ size, properties }))
  }

  body(channel: number, bytes: Buffer | string): void {
    this.frame(BODY, channel, bytes)
  }

  /** basic.publish with its header and one body frame. */
  publish(channel: number, message: Publish): void {
    const { exchange = '', key, body = '', properties = {}, mandatory = false } = message
    const bytes = Buffer.isBuffer(body) ? body : Buffer.from(body)
    this.write(
      Buffer.concat([
        frame(
          METHOD,
          channel,
          encodeMethod('basic.publish', { exchange, routingKey: key, mandatory }),
        ),
        contentFrames(channel, bytes, properties),
      ]),
    )
  }

  /** Sends FIN and goes on reading. */
  halfClose(): void {
    this.#socket.end()
  }

  /** Drops the connection with RST. */
  reset(): void {
    this.#socket.resetAndDestroy()
  }

  /** Drops the connection without a word. */
  destroy(): void {
    this.#socket.destroy()
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** Bytes this side has written and the broker's side has not yet taken. */
  get unsent(): number {
    return this.#socket.writableLength
  }

  // ------------------------------------------------------------------------------------------------ read

  get isOpen(): boolean {
    return this.#ending === undefined && !this.#socket.destroyed
  }

  get ending(): Ending | undefined {
    return this.#ending
  }

  /** The next frame; undefined when the connection has ended. */
  async next(ms: number = patience): Promise<Frame | undefined> {
    const deadline = performance.now() + ms
    for (;;) {
      const f = this.#inbox.shift()
      if (f !== undefined) return f
      if (this.#broken !== undefined) throw this.#broken
      if (this.#ending !== undefined) return undefined
      const left = deadline - performance.now()
      if (left <= 0) throw new Error(`nothing from the broker within ${ms} ms`)
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, left)
        this.#wake.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
  }

  /** The frame that must come next. */
  async expect<M extends MethodName>(
    channel: number,
    name: M,
    ms: number = patience,
  ): Promise<Fields<M>> {
    const f = await this.next(ms)
    if (f === undefined || f.channel !== channel || f.name !== name)
      throw new Error(`${name} on channel ${channel} expected, got ${describe(f)}`)
    return f.fields as Fields<M>
  }

  /** Sends a method and expects its answer. */
  async call<M extends MethodName, R extends `${M}-ok` & MethodName>(
    channel: number,
    name: M,
    values: Values<M> = {},
  ): Promise<Fields<R>> {
    this.send(channel, name, values)
    return this.expect(channel, `${name}-ok` as R)
  }

  /** The method that must come next, with its header and its whole body. */
  async content<M extends MethodName>(
    channel: number,
    name: M,
    ms: number = patience,
  ): Promise<Received<M>> {
    const fields = await this.expect(channel, name, ms)
    const f = await this.next(ms)
    if (f?.type !== HEADER || f.channel !== channel)
      throw new Error(`the header of ${name} expected, got ${describe(f)}`)
    const header = decodeHeader(f.payload)
    const pieces: Buffer[] = []
    let left = Number(header.size)
    while (left > 0) {
      const piece = await this.next(ms)
      if (piece?.type !== BODY || piece.channel !== channel)
        throw new Error(`a body of ${left} more bytes expected, got ${describe(piece)}`)
      pieces.push(piece.payload)
      left -= piece.payload.length
    }
    return {
      fields,
      header,
      properties: header.properties,
      body: Buffer.concat(pieces),
      sizes: pieces.map(piece => piece.length),
    }
  }

  /** Everything that arrives until the connection ends. */
  async collect(ms: number = patience): Promise<{ frames: Frame[]; ending: Ending }> {
    const frames: Frame[] = []
    for (let f = await this.next(ms); f !== undefined; f = await this.next(ms)) frames.push(f)
    return { frames, ending: await this.ended }
  }

  /** Everything that arrives within `ms`: for what must not come. */
  async within(ms: number): Promise<Frame[]> {
    await after(ms)
    return this.#inbox.splice(0)
  }

  /** What has arrived on this channel before the answer to a harmless question asked now. */
  async fence(channel: number): Promise<Frame[]> {
    this.send(channel, 'channel.flow', { active: true })
    const before: Frame[] = []
    for (;;) {
      const f = await this.next()
      if (f?.name === 'channel.flow-ok' && f.channel === channel) return before
      if (f === undefined || f.name === 'connection.close')
        throw new Error(`an open channel ${channel} expected, got ${describe(f)}`)
      before.push(f)
    }
  }

  /**
   * How the broker answered, in one line: `channel 404 50,10 NOT_FOUND - …`, `connection 501 0,0 FRAME_ERROR …`,
   * `dropped` when the socket ended without a close, `silence` when nothing came in time, or the name of any other
   * method. Closes are answered.
   */
  async outcome(ms: number = patience): Promise<string> {
    const f = await this.next(ms).catch(() => 'silence' as const)
    if (f === 'silence') return f
    if (f === undefined) return this.stray.length > 0 ? this.stray.toString('latin1') : 'dropped'
    if (f.name !== 'connection.close' && f.name !== 'channel.close')
      return f.name ?? `frame ${f.type}`
    const { replyCode, replyText, classId, methodId } = f.fields as Fields<'channel.close'>
    if (f.name === 'connection.close') {
      this.send(0, 'connection.close-ok')
      this.#opened = false
    } else this.send(f.channel, 'channel.close-ok')
    const level = f.name === 'connection.close' ? 'connection' : 'channel'
    return `${level} ${replyCode} ${classId},${methodId} ${replyText}`
  }

  // ----------------------------------------------------------------------------------------------- login

  /** Protocol header and start. */
  async start(): Promise<Fields<'connection.start'>> {
    this.write(AMQP_091)
    return this.expect(0, 'connection.start')
  }

  startOk(options: LoginOptions = {}): void {
    const { user = 'guest', password = 'guest', capabilities = everyCapability } = options
    this.send(0, 'connection.start-ok', {
      clientProperties: [
        ['product', 'S', 'probe'],
        ['capabilities', 'F', capabilities],
        ...(options.clientProperties ?? []),
      ],
      mechanism: options.mechanism ?? 'PLAIN',
      response: options.response ?? `\0${user}\0${password}`,
      locale: options.locale ?? 'en_US',
    })
  }

  async login(options: LoginOptions = {}): Promise<void> {
    await this.start()
    this.startOk(options)
    const tune = await this.expect(0, 'connection.tune')
    this.send(0, 'connection.tune-ok', {
      channelMax: options.channelMax ?? tune.channelMax,
      frameMax: options.frameMax ?? tune.frameMax,
      heartbeat: options.heartbeat ?? 0,
    })
    this.send(0, 'connection.open', { vhost: options.vhost ?? '/' })
    await this.expect(0, 'connection.open-ok')
    this.#opened = true
  }

  async channel(number: number): Promise<number> {
    await this.call(number, 'channel.open')
    return number
  }

  /** Closes in the proper way if there is something to close, else just the socket. */
  async close(): Promise<void> {
    if (this.isOpen && this.#opened) {
      this.resume()
      this.send(0, 'connection.close', { replyCode: 200, replyText: 'OK' })
      await Promise.race([this.#closed(), after(2_000)])
    }
    this.#socket.destroy()
  }

  async #closed(): Promise<void> {
    for (let f = await this.next(); f !== undefined; f = await this.next())
      if (f.name === 'connection.close-ok' || f.name === 'connection.close') return
  }
}
