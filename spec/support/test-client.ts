/** Brokers and their AMQP clients without a network: bytes go in when the test says so, what comes back is read as frames. */
import { Connection, type ConnectionHost } from '../../src/amqp/connection.js'
import { startFrame } from '../../src/amqp/handshake.js'
import type { ProtocolSettings } from '../../src/amqp/settings.js'
import { Broker, type Storage } from '../../src/broker/broker.js'

import { decodeMethod, encodeMethodFrame } from '../../src/wire/codec.js'
import { fieldTable, type PlainTable } from '../../src/wire/field-table.js'
import { Frame, FrameParser } from '../../src/wire/frame-parser.js'
import type { Arguments, Method, MethodName } from '../../src/wire/methods.js'
import { encodeProperties, type Properties } from '../../src/wire/properties.js'
import { FakeSocket } from './fake-socket.js'
import { frame, headerPayload } from './messages.js'
import { SimulatedWorld } from './simulated-world.js'

export const protocolSettings: ProtocolSettings = {
  frameMax: 131_072,
  channelMax: 2047,
  heartbeatSeconds: 60,
  maxMessageBytes: 1024 * 1024,
  handshakeTimeoutMs: 10_000,
  shutdownTimeoutMs: 1000,
  maxConnections: 100,
  channelsPerNodeMax: Number.POSITIVE_INFINITY,
  consumersPerChannelMax: 100,
  mechanisms: ['PLAIN', 'AMQPLAIN'],
  anonymous: null,
  certificateLogin: null,
  clusterName: 'test',
  product: 'RabbitMQ',
  productVersion: '4.0.0',
  leveretVersion: '0.0.0',
  platform: 'test',
}

/** A broker whose connections are simulated. */
export class SimulatedBroker {
  readonly world = new SimulatedWorld()
  readonly broker: Broker
  readonly clients: TestClient[] = []
  opened = 0
  closed = 0
  /** No further connection may be opened. */
  full = false

  /** With `storage`, the broker has to be opened. */
  constructor(storage: Storage | null = null) {
    const guest = { name: 'guest', password: 'guest' }
    const settings = { vhosts: ['/'], users: [guest], loopbackUsers: ['guest'] }
    this.broker = new Broker(settings, this.world, storage)
  }

  /** A client whose connection is accepted, and no more. */
  connect(): TestClient {
    const client = new TestClient(this)
    this.clients.push(client)
    return client
  }

  /** A client with an open connection and channel 1. */
  open(options: HandshakeOptions = {}): TestClient {
    const client = this.connect()
    client.give(...handshake(options), method(1, 'channel.open', {}))
    this.settle()
    client.take()
    return client
  }

  /** Ends the turn; clients whose input was held back then get their share. */
  endTurn(): void {
    this.world.turns.end()
    for (const client of this.clients) client.pump()
  }

  /** Ends turns until nothing more happens. */
  settle(): void {
    while (this.world.turns.waiting) this.endTurn()
  }
}

/** What the connections of a simulated broker are told of it. */
export function connectionHost(host: SimulatedBroker): ConnectionHost {
  return {
    startFrame: tls => startFrame(protocolSettings, tls),
    get isFull() {
      return host.full
    },
    opened: () => host.opened++,
    closed: () => host.closed++,
    expectsMore: () => {},
  }
}

/** A frame as the client sees it. */
export interface Received {
  readonly channel: number
  /** The method's name, or header, body or heartbeat. */
  readonly name: MethodName | 'header' | 'body' | 'heartbeat'
  // biome-ignore lint/suspicious/noExplicitAny: tests know what they look for
  readonly args: any
  readonly payload: Buffer
}

export class TestClient {
  readonly socket = new FakeSocket()
  readonly connection: Connection
  /** Given, but not read by the broker. */
  #waiting = Buffer.alloc(0)
  #read = 0
  readonly #shared = Buffer.alloc(256 * 1024)

  constructor(host: SimulatedBroker) {
    this.connection = new Connection(
      this.socket,
      host.broker,
      protocolSettings,
      connectionHost(host),
    )
  }

  /** Bytes that the broker has not read. */
  get unread(): number {
    return this.#waiting.length
  }

  /** Sends bytes, which arrive together unless the broker does not read. */
  give(...bytes: Uint8Array[]): void {
    this.#waiting = Buffer.concat([this.#waiting, ...bytes])
    this.pump()
  }

  send<M extends MethodName>(channel: number, name: M, args: Arguments<M>): void {
    this.give(method(channel, name, args))
  }

  /** Hands over what the broker is willing to read. */
  pump(): void {
    while (this.#waiting.length > 0 && !this.socket.paused && !this.socket.destroyed) {
      const size = Math.min(this.#waiting.length, this.#shared.length)
      this.#waiting.copy(this.#shared, 0, 0, size)
      this.#waiting = this.#waiting.subarray(size)
      this.socket.owner?.received(this.#shared, size)
      // The memory is the socket's: who still looks at it sees this.
      this.#shared.fill(0xdd, 0, size)
    }
  }

  /** The frames that came since the last call. */
  take(): Received[] {
    const bytes = this.socket.received.subarray(this.#read)
    this.#read += bytes.length
    return framesIn(bytes)
  }

  /** The names of what came since the last call. */
  names(): string[] {
    return this.take().map(({ name }) => name)
  }

  /** The network is gone. */
  drop(): void {
    this.socket.owner?.closed()
  }
}

/** Frames one after another; the protocol header may not be among them. */
export function framesIn(bytes: Buffer): Received[] {
  const parser = new FrameParser(0xffffffff)
  parser.feed(bytes, 0, bytes.length)
  const frames: Received[] = []
  while (parser.next()) {
    const { channel, type, start, end } = parser
    const payload = Buffer.from(parser.bytes.subarray(start, end))
    if (type === Frame.method) {
      const { name, args }: Method = decodeMethod(parser.bytes, start, end)
      frames.push({ channel, name, args, payload })
    } else {
      const name = type === Frame.header ? 'header' : type === Frame.body ? 'body' : 'heartbeat'
      frames.push({ channel, name, args: {}, payload })
    }
  }
  return frames
}

export const protocolHeader = Buffer.from('AMQP\0\0\x09\x01', 'latin1')
export const heartbeat: Buffer = frame(8, 0, Buffer.alloc(0))

export function method<M extends MethodName>(channel: number, name: M, args: Arguments<M>): Buffer {
  return encodeMethodFrame(channel, name, args)
}

export interface HandshakeOptions {
  readonly user?: string
  readonly password?: string
  readonly vhost?: string
  /** The name that the client gives the connection. */
  readonly connectionName?: string
  readonly heartbeatSeconds?: number
  readonly frameMax?: number
  readonly capabilities?: PlainTable
}

/** What a client says until its connection is open. */
export function handshake({
  user = 'guest',
  password = 'guest',
  vhost = '/',
  connectionName,
  heartbeatSeconds = 0,
  frameMax = 131_072,
  capabilities = { 'connection.blocked': true, consumer_cancel_notify: true },
}: HandshakeOptions = {}): Buffer[] {
  return [
    protocolHeader,
    method(0, 'connection.start-ok', {
      clientProperties: fieldTable(
        connectionName === undefined
          ? { capabilities }
          : { capabilities, connection_name: connectionName },
      ),
      mechanism: 'PLAIN',
      response: Buffer.from(`\0${user}\0${password}`),
      locale: 'en_US',
    }),
    method(0, 'connection.tune-ok', { channelMax: 2047, frameMax, heartbeat: heartbeatSeconds }),
    method(0, 'connection.open', { vhost }),
  ]
}

export interface PublishOptions {
  readonly exchange?: string
  readonly mandatory?: boolean
  readonly properties?: Properties
  readonly frameMax?: number
}

/** basic.publish with its content. */
export function publish(
  channel: number,
  routingKey: string,
  body: Buffer,
  { exchange = '', mandatory = false, properties = {}, frameMax = 131_072 }: PublishOptions = {},
): Buffer {
  const frames = [
    method(channel, 'basic.publish', { exchange, routingKey, mandatory, immediate: false }),
    frame(2, channel, headerPayload(encodeProperties(properties), body.length)),
  ]
  for (let at = 0; at < body.length; at += frameMax - 8)
    frames.push(frame(3, channel, body.subarray(at, at + frameMax - 8)))
  return Buffer.concat(frames)
}

export function declareQueue(channel: number, queue: string, args: PlainTable = {}): Buffer {
  return method(channel, 'queue.declare', {
    queue,
    passive: false,
    durable: true,
    exclusive: false,
    autoDelete: false,
    nowait: false,
    arguments: fieldTable(args),
  })
}

export function consume(
  channel: number,
  queue: string,
  consumerTag: string,
  noAck = false,
): Buffer {
  return method(channel, 'basic.consume', {
    queue,
    consumerTag,
    noLocal: false,
    noAck,
    exclusive: false,
    nowait: false,
    arguments: [],
  })
}
