/**
 * Listens for connections on which something stands before the first octet of AMQP that the plain
 * path of sockets.ts does not know: a TLS handshake, the upgrade to a WebSocket, or both, each
 * behind the header of a proxy if there is one. A stream passes from one stage to the next:
 *
 *     net.Server → proxy header → tls.Server → http.Server → WebSocket
 *
 * and whoever has not got through all of them in time is dropped.
 */
import net from 'node:net'
import tls from 'node:tls'
import type { Clock } from './clock.js'
import { Peer } from './peer.js'
import { ProxyHeader } from './proxy-header.js'
import {
  type Acceptor,
  type ListenOptions,
  notTrusted,
  ReadBuffer,
  type SocketListener,
} from './sockets.js'
import { StreamSocket } from './stream-socket.js'
import type { Turn } from './turn.js'
import { WebSocketDoor, type WebSocketOptions } from './web-socket.js'

/** How TLS is spoken. */
export interface TlsOptions extends tls.SecureContextOptions {
  /** Clients are asked for a certificate, and one that is not good is refused. */
  readonly verifyPeer: boolean
  /** So are those that have none. */
  readonly failIfNoPeerCert: boolean
}

export interface StreamListenOptions extends ListenOptions {
  readonly tls: TlsOptions | null
  /** Null: AMQP stands in the stream as it is. */
  readonly webSocket: WebSocketOptions | null
}

export interface StreamListener extends SocketListener {
  /** Certificates for handshakes that begin from now on. */
  renew(options: TlsOptions): void
}

/** A connection on its way in. */
interface Entering {
  readonly stream: net.Socket
  readonly peer: Peer
  readonly cancelTimer: () => void
  /** It has got in, or is gone. */
  left: boolean
}

/** Listens, and hands sockets on that got through. Rejects with the system's error. */
export function listenForStreams(
  options: StreamListenOptions,
  world: { readonly turn: Turn; readonly clock: Clock },
  acceptor: Acceptor,
): Promise<StreamListener> {
  return new Stages(options, world, acceptor).listen()
}

class Stages {
  readonly #options: StreamListenOptions
  readonly #clock: Clock
  readonly #acceptor: Acceptor
  readonly #buffer: ReadBuffer
  readonly #entering = new Map<string, Entering>()
  readonly #server: net.Server
  readonly #tls: tls.Server | null = null
  readonly #door: WebSocketDoor | null = null

  constructor(
    options: StreamListenOptions,
    { turn, clock }: { readonly turn: Turn; readonly clock: Clock },
    acceptor: Acceptor,
  ) {
    this.#options = options
    this.#clock = clock
    this.#acceptor = acceptor
    this.#buffer = new ReadBuffer(turn)
    // Who ends its side before it has got in is gone; TLS streams take this over from the one below.
    this.#server = net.createServer({ allowHalfOpen: false }, stream => this.#begin(stream))
    if (options.tls !== null) this.#tls = this.#makeTls(options.tls)
    if (options.webSocket !== null) this.#door = new WebSocketDoor(options.webSocket, this.#buffer)
  }

  listen(): Promise<StreamListener> {
    const { port, host, backlog } = this.#options
    const server = this.#server
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen({ port, host, backlog }, () => {
        server.removeListener('error', reject)
        server.on('error', error => this.#acceptor.failed(error))
        const address = server.address() as net.AddressInfo
        resolve({
          host: address.address,
          port: address.port,
          renew: options => this.#tls?.setSecureContext(options),
          close: () => this.#close(),
        })
      })
    })
  }

  #close(): Promise<void> {
    for (const { stream } of [...this.#entering.values()]) stream.destroy()
    return new Promise(resolve => this.#server.close(() => resolve()))
  }

  #begin(stream: net.Socket): void {
    const { remoteAddress, remotePort, localAddress, localPort } = stream
    stream.on('error', () => {})
    if (remoteAddress === undefined || !this.#acceptor.admits) {
      stream.destroy()
      return
    }
    const { noDelay, keepAlive, proxies, enteringTimeoutMs } = this.#options
    if (noDelay) stream.setNoDelay(true)
    if (keepAlive) stream.setKeepAlive(true, 0)
    const peer = new Peer({
      remoteAddress,
      remotePort: remotePort ?? 0,
      localAddress: localAddress ?? '',
      localPort: localPort ?? 0,
    })
    const cancelTimer = this.#clock.after(enteringTimeoutMs, () =>
      this.#refuse(stream, 'handshake timeout'),
    )
    const name = nameOf(stream)
    const entering = { stream, peer, cancelTimer, left: false }
    this.#entering.set(name, entering)
    this.#acceptor.entering(1)
    stream.on('close', () => this.#leave(name, entering))
    if (proxies === null) this.#secure(stream)
    else if (proxies.trusts(remoteAddress)) this.#readHeader(stream, peer)
    else this.#refuse(stream, notTrusted)
  }

  #readHeader(stream: net.Socket, peer: Peer): void {
    const header = new ProxyHeader()
    const read = (bytes: Buffer) => {
      let taken = 0
      try {
        taken = header.read(bytes, bytes.length)
      } catch (error) {
        this.#refuse(stream, `bad PROXY header: ${(error as Error).message}`)
        return
      }
      if (!header.complete) return
      stream.removeListener('data', read)
      stream.pause()
      if (taken < bytes.length) stream.unshift(bytes.subarray(taken))
      peer.standFor(header)
      this.#secure(stream)
    }
    stream.on('data', read)
    stream.once('end', () => {
      if (!header.complete) stream.destroy()
    })
  }

  #secure(stream: net.Socket): void {
    if (this.#tls === null) this.#speak(stream)
    else this.#tls.emit('connection', stream)
  }

  #makeTls({ verifyPeer, failIfNoPeerCert, ...context }: TlsOptions): tls.Server {
    const server = tls.createServer({
      ...context,
      requestCert: verifyPeer,
      rejectUnauthorized: verifyPeer && failIfNoPeerCert,
    })
    server.on('secureConnection', stream => {
      const unverified = stream.getPeerX509Certificate() !== undefined && !stream.authorized
      if (verifyPeer && unverified)
        this.#refuse(stream, `bad client certificate: ${stream.authorizationError}`)
      else this.#speak(stream)
    })
    server.on('tlsClientError', (error, stream) => {
      this.#refuse(stream, `TLS handshake failed: ${error.message}`)
    })
    return server
  }

  /** The stream is open: AMQP is spoken in it, or HTTP until that has led to a WebSocket. */
  #speak(stream: net.Socket): void {
    const entering = this.#entering.get(nameOf(stream))
    if (entering === undefined) {
      stream.destroy()
    } else if (this.#door !== null) {
      this.#door.enter(stream, entering.peer, socket => {
        this.#leave(nameOf(stream), entering)
        this.#acceptor.accept(socket)
      })
    } else {
      this.#leave(nameOf(stream), entering)
      stream.allowHalfOpen = true
      this.#acceptor.accept(new StreamSocket(stream, entering.peer, this.#buffer))
    }
  }

  #refuse(stream: net.Socket, reason: string): void {
    const entering = this.#entering.get(nameOf(stream))
    if (entering !== undefined) this.#acceptor.refused(entering.peer, reason)
    stream.destroy()
    entering?.stream.destroy()
  }

  #leave(name: string, entering: Entering): void {
    if (entering.left) return
    entering.left = true
    entering.cancelTimer()
    if (this.#entering.get(name) === entering) this.#entering.delete(name)
    this.#acceptor.entering(-1)
  }
}

/** The ends of a stream, which are the same at every stage: as long as it is open, no other has them. */
function nameOf({ remoteAddress, remotePort, localAddress, localPort }: net.Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`
}
