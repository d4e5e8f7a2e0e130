/**
 * TCP as the rest of the broker sees it, and its Node version.
 *
 * All sockets of a listener read into one buffer of 256 KiB, whose bytes are valid only during
 * `received`. Measured against Node's own buffer per read on a byte relay: 1.9 times the
 * throughput at 1 KiB and at 64 KiB, even when every byte is then copied once, because the same
 * memory stays in the processor's cache and no page is ever faulted in. Node offers such a buffer
 * (`onread`) only for sockets made from a handle, hence `take` and `takeDirectly`. Where Node lets
 * us, the handle itself is the socket: see `HandleSocket`.
 */
import net from 'node:net'
import type { Clock } from './clock.js'
import { type HandleInternals, HandleSocket, handleInternals } from './handle-socket.js'
import { Peer } from './peer.js'
import type { Proxies } from './proxies.js'
import { ProxyIntake } from './proxy-intake.js'
import type { TlsSession } from './tls-session.js'
import { Stage, type Turn, type TurnParty } from './turn.js'

/** One read takes at most this many bytes. */
const readBufferBytes = 256 * 1024

/** All sockets together take about this much in a turn: with many busy ones, each gets less. */
const turnBytes = 1024 * 1024

/** The least that a read may take, however many sockets are busy. */
const smallestShare = 32 * 1024

/** Who owns a socket hears of it here. */
export interface SocketOwner {
  /** The peer has not said who it is, or not proved it: little is kept for it. */
  readonly isStranger: boolean
  /**
   * Bytes came: `bytes[0..length)`, valid only during the call. The size of `bytes` is what one
   * connection may take in this turn.
   */
  received(bytes: Buffer, length: number): void
  /** All that `write` left behind has gone to the kernel. */
  drained(): void
  /** The peer will send no more (FIN). */
  ended(): void
  /** The socket is gone, as it should or because something failed; nothing follows. */
  closed(): void
}

/** An open connection to a peer. */
export interface Socket {
  readonly peer: Peer
  /** Null: the connection is not one of TLS. */
  readonly tls: TlsSession | null
  /** Says who hears of the socket from now on, and starts reading. */
  attach(owner: SocketOwner): void
  /**
   * Hands bytes to the kernel. True: it took them all, the memory is free again.
   * False: the bytes must stay as they are until `drained`.
   */
  write(bytes: Uint8Array): boolean
  /** The same for several stretches of bytes in one call. */
  writeAll(stretches: readonly Uint8Array[]): boolean
  /** Stops and starts reading. */
  pause(): void
  resume(): void
  /** Sends FIN once everything is written. */
  end(): void
  /** Drops the connection now. */
  destroy(): void
}

/** How to listen; `port` 0 lets the system choose. */
export interface ListenOptions {
  readonly port: number
  readonly host: string
  readonly backlog: number
  readonly noDelay: boolean
  readonly keepAlive: boolean
  /** From whom every connection begins with the header of a proxy; null: none does. */
  readonly proxies: Proxies | null
  /** How long whatever stands before the first octet of AMQP may take. */
  readonly enteringTimeoutMs: number
}

export interface SocketListener {
  readonly host: string
  readonly port: number
  /** Stops accepting; open sockets stay. */
  close(): Promise<void>
}

/** Why somebody else than a proxy is refused where proxies are asked for. */
export const notTrusted = 'it does not come from one of proxy_protocol_trusted_sources'

/** Who takes the sockets of a listener. */
export interface Acceptor {
  /** Whether one more may try to get in. */
  readonly admits: boolean
  /** Somebody has something to say before AMQP begins, or has said it or gone: so many more, or fewer. */
  entering(change: 1 | -1): void
  /** Takes a socket, and returns who owns it from now on. */
  accept(socket: Socket): SocketOwner
  /** Somebody got no further than to what stands before AMQP, and why. */
  refused(peer: Peer, reason: string): void
  /** The system could not accept a connection, for example EMFILE. */
  failed(error: Error): void
}

/** Node's handle of an accepted connection, as far as it is used here. */
export interface Handle {
  getpeername(out: Address): number
  getsockname(out: Address): number
  setNoDelay(on: boolean): void
  setKeepAlive(on: boolean, delaySeconds: number): void
  close(closed?: () => void): void
}

export interface Address {
  address?: string
  port?: number
}

/** The buffer that all sockets of a listener read into, as much of it as each may fill at the moment. */
export class ReadBuffer implements TurnParty {
  /** What the next read of a socket may fill. */
  share: Buffer
  readonly #whole = Buffer.allocUnsafeSlow(readBufferBytes)
  readonly #turn: Turn
  #reads = 0

  constructor(turn: Turn) {
    this.#turn = turn
    this.share = this.#whole
  }

  /** A socket has read: most read once in a turn, so reads tell how many are busy. */
  count(): void {
    if (this.#reads++ === 0) this.#turn.add(Stage.read, this)
  }

  endTurn(): void {
    const fair = Math.floor(turnBytes / this.#reads)
    const bytes = Math.max(smallestShare, Math.min(readBufferBytes, fair))
    if (bytes !== this.share.length) this.share = this.#whole.subarray(0, bytes)
    this.#reads = 0
  }
}

class NodeSocket implements Socket {
  readonly tls = null
  readonly peer: Peer
  readonly #socket: net.Socket
  #owner: SocketOwner | null = null

  constructor(handle: Handle, peer: Peer, buffer: ReadBuffer) {
    this.peer = peer
    this.#socket = new net.Socket({
      handle,
      allowHalfOpen: true,
      pauseOnCreate: true,
      // Every write then ends in 'drain' once nothing is left of it.
      writableHighWaterMark: 1,
      onread: {
        buffer: () => buffer.share,
        callback: (length: number, bytes: Uint8Array) => {
          buffer.count()
          this.#owner?.received(bytes as Buffer, length)
          return true
        },
      },
    } as net.SocketConstructorOpts)
    this.#socket.on('drain', () => this.#owner?.drained())
    this.#socket.on('end', () => this.#owner?.ended())
    // 'close' follows.
    this.#socket.on('error', () => {})
    this.#socket.on('close', () => this.#owner?.closed())
  }

  attach(owner: SocketOwner): void {
    this.#owner = owner
    this.#socket.resume()
  }

  write(bytes: Uint8Array): boolean {
    this.#socket.write(bytes)
    return this.#socket.writableLength === 0
  }

  writeAll(stretches: readonly Uint8Array[]): boolean {
    this.#socket.cork()
    for (const bytes of stretches) this.#socket.write(bytes)
    this.#socket.uncork()
    return this.#socket.writableLength === 0
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  end(): void {
    this.#socket.end()
  }

  destroy(): void {
    this.#socket.destroy()
  }
}

/** Listens, and hands accepted sockets on. Rejects with the system's error, for example EADDRINUSE. */
export function listen(
  options: ListenOptions,
  { turn, clock }: { readonly turn: Turn; readonly clock: Clock },
  acceptor: Acceptor,
): Promise<SocketListener> {
  const buffer = new ReadBuffer(turn)
  let internals: HandleInternals | null = null
  /** Those whose proxy has not said for whom it stands. */
  const entering = new Set<Socket>()
  const failed = (error: Error) => acceptor.failed(error)
  const take = (handle: Handle) => {
    const remote: Address = {}
    const local: Address = {}
    // A peer that is gone already has no address any more.
    const gone = handle.getpeername(remote) !== 0 || handle.getsockname(local) !== 0
    if (gone || !acceptor.admits) {
      handle.close()
      return
    }
    if (options.noDelay) handle.setNoDelay(true)
    if (options.keepAlive) handle.setKeepAlive(true, 0)
    const peer = new Peer({
      remoteAddress: remote.address ?? '',
      remotePort: remote.port ?? 0,
      localAddress: local.address ?? '',
      localPort: local.port ?? 0,
    })
    const socket =
      internals === null
        ? new NodeSocket(handle, peer, buffer)
        : new HandleSocket(handle, peer, buffer, internals)
    if (options.proxies === null) acceptor.accept(socket)
    else if (options.proxies.trusts(peer.remoteAddress)) readHeader(socket)
    else refuse(socket)
  }
  const refuse = (socket: Socket) => {
    acceptor.refused(socket.peer, notTrusted)
    socket.destroy()
  }
  const readHeader = (socket: Socket) => {
    entering.add(socket)
    acceptor.entering(1)
    new ProxyIntake(
      socket,
      clock,
      options.enteringTimeoutMs,
      socket => acceptor.accept(socket),
      reason => acceptor.refused(socket.peer, reason),
      () => {
        entering.delete(socket)
        acceptor.entering(-1)
      },
    )
  }
  const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true }, socket => {
    const holder = socket as unknown as { _handle: Handle | null }
    const handle = holder._handle
    holder._handle = null
    socket.destroy()
    if (handle !== null) take(handle)
  })
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port: options.port, host: options.host, backlog: options.backlog }, () => {
      server.removeListener('error', reject)
      server.on('error', failed)
      internals = takeDirectly(server, take, failed)
      const address = server.address() as net.AddressInfo
      resolve({
        host: address.address,
        port: address.port,
        close: () => {
          for (const socket of entering) socket.destroy()
          return new Promise(done => server.close(() => done()))
        },
      })
    })
  })
}

/**
 * Gets the handles of accepted connections from the server's own, before Node makes sockets of them
 * that would only be taken apart again: a tenth of what opening and closing a connection costs. A
 * Node whose server has no such hook goes the long way. Returns what goes with the handles.
 */
function takeDirectly(
  server: net.Server,
  take: (handle: Handle) => void,
  failed: (error: Error) => void,
): HandleInternals | null {
  const { _handle: listening } = server as unknown as {
    _handle?: { onconnection?: (status: number, handle?: Handle) => void }
  }
  if (typeof listening?.onconnection !== 'function') return null
  listening.onconnection = (status, handle) => {
    if (handle === undefined) failed(new Error(`accept failed with status ${status}`))
    else take(handle)
  }
  return handleInternals(listening)
}
