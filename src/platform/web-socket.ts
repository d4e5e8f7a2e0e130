/**
 * AMQP in a WebSocket, as amqp-client.js speaks it in a browser: the octets of the protocol in
 * binary messages, whose borders mean nothing. Whatever path is asked for will do, as LavinMQ has
 * it; the subprotocol is `amqp`, for clients that name any.
 *
 * A page in a browser can connect to whatever the browser can reach, and so to a broker that
 * listens to this machine only. Therefore a page of another host must be allowed, and no page from
 * elsewhere makes the browser's machine count as the client.
 */
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { WebSocket, WebSocketServer } from 'ws'
import { Inflow } from './inflow.js'
import { isLoopback, type Peer } from './peer.js'
import type { ReadBuffer, Socket, SocketOwner } from './sockets.js'
import { type TlsSession, tlsSession } from './tls-session.js'

const subprotocol = 'amqp'

/** So much of a message is kept for somebody who has not logged in: more than a login takes. */
const strangerBytesMax = 256 * 1024

/** Codes of a close: as it should be, and for a message that is text. */
const normalClosure = 1000
const unsupportedData = 1003

export interface WebSocketOptions {
  /** Those of pages from other hosts that may connect, such as https://app.example.com; `*` is every one. */
  readonly allowOrigins: readonly string[]
  /** The largest message taken. amqp-client.js sends all frames of a publish in one. */
  readonly messageBytesMax: number
}

interface Guest {
  readonly peer: Peer
  readonly opened: (socket: Socket) => void
}

export class WebSocketDoor {
  readonly #allowOrigins: readonly string[]
  readonly #buffer: ReadBuffer
  readonly #http: Server
  readonly #upgrades: WebSocketServer
  readonly #guests = new WeakMap<Duplex, Guest>()

  constructor({ allowOrigins, messageBytesMax }: WebSocketOptions, buffer: ReadBuffer) {
    this.#allowOrigins = allowOrigins
    this.#buffer = buffer
    this.#http = createServer((_, response) => {
      response.writeHead(426, { Connection: 'close', Upgrade: 'websocket' })
      response.end('AMQP over WebSocket is spoken here\n')
    })
    this.#http.on('clientError', (_, stream) => stream.destroy())
    this.#http.on('upgrade', (request, stream, head) => this.#upgrade(request, stream, head))
    this.#upgrades = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: messageBytesMax,
      handleProtocols: offered => offered.has(subprotocol) && subprotocol,
    })
    this.#upgrades.on('wsClientError', (_, stream) => stream.destroy())
  }

  /** Speaks HTTP in a stream until it is a WebSocket, and calls `opened` then. */
  enter(stream: Duplex, peer: Peer, opened: (socket: Socket) => void): void {
    this.#guests.set(stream, { peer, opened })
    this.#http.emit('connection', stream)
    // Whoever has read a proxy's header has stopped it there.
    stream.resume()
  }

  #upgrade(request: IncomingMessage, stream: Duplex, head: Buffer): void {
    const guest = this.#guests.get(stream)
    stream.on('error', () => {})
    if (guest === undefined || !this.#allows(request, guest.peer)) {
      stream.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
      return
    }
    this.#upgrades.handleUpgrade(request, stream, head, webSocket => {
      guest.opened(new WebSocketSocket(webSocket, stream, guest.peer, this.#buffer))
    })
  }

  #allows({ headers }: IncomingMessage, peer: Peer): boolean {
    const { origin, host } = headers
    // Only browsers tell it, and they always do.
    if (origin === undefined) return true
    const page = hostOf(origin)
    if (!isLocal(page)) peer.fromLoopback = false
    return (
      this.#allowOrigins.includes('*') ||
      this.#allowOrigins.includes(origin) ||
      (page !== '' && page === hostOf(`http://${host}`))
    )
  }
}

function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).hostname : ''
}

function isLocal(host: string): boolean {
  return host === 'localhost' || isLoopback(host.replace(/^\[|\]$/g, ''))
}

class WebSocketSocket implements Socket {
  readonly peer: Peer
  readonly #webSocket: WebSocket
  readonly #stream: Duplex
  readonly #inflow: Inflow
  #owner: SocketOwner | null = null
  #busy = false
  /** Bytes of a message whose end has not come. */
  #unfinished = 0

  constructor(webSocket: WebSocket, stream: Duplex, peer: Peer, buffer: ReadBuffer) {
    this.peer = peer
    this.#webSocket = webSocket
    this.#stream = stream
    this.#inflow = new Inflow(webSocket, buffer)
  }

  get tls(): TlsSession | null {
    return this.#stream instanceof TLSSocket ? tlsSession(this.#stream) : null
  }

  attach(owner: SocketOwner): void {
    this.#owner = owner
    const webSocket = this.#webSocket
    this.#stream.on('data', (bytes: Buffer) => {
      this.#unfinished += bytes.length
      if (this.#unfinished > strangerBytesMax && owner.isStranger) this.destroy()
    })
    webSocket.on('message', (data, isBinary) => {
      this.#unfinished = 0
      if (isBinary) this.#inflow.push(data as Buffer)
      else webSocket.close(unsupportedData, 'AMQP is binary')
    })
    // 'close' follows.
    webSocket.on('error', () => {})
    webSocket.on('close', () => this.#inflow.end(() => owner.closed()))
    this.#inflow.attach(owner)
  }

  write(bytes: Uint8Array): boolean {
    this.#send(bytes, true)
    return this.#taken()
  }

  /** As one message: only what is handed over at once is whole frames, and clients like those best. */
  writeAll(stretches: readonly Uint8Array[]): boolean {
    const last = stretches.length - 1
    for (const [i, bytes] of stretches.entries()) this.#send(bytes, i === last)
    return this.#taken()
  }

  pause(): void {
    this.#inflow.pause()
  }

  resume(): void {
    this.#inflow.resume()
  }

  end(): void {
    this.#webSocket.close(normalClosure)
  }

  destroy(): void {
    this.#inflow.drop()
    this.#webSocket.terminate()
  }

  #send(bytes: Uint8Array, fin: boolean): void {
    this.#webSocket.send(bytes, { binary: true, fin }, this.#written)
  }

  get #open(): boolean {
    return this.#webSocket.readyState === WebSocket.OPEN
  }

  #taken(): boolean {
    this.#busy = this.#webSocket.bufferedAmount > 0 && this.#open
    return !this.#busy
  }

  readonly #written = () => {
    if (!this.#busy || this.#webSocket.bufferedAmount > 0) return
    this.#busy = false
    this.#owner?.drained()
  }
}
