/** A socket on a stream of Node's, for what cannot be had without: TLS. */
import type { Socket as Stream } from 'node:net'
import { TLSSocket } from 'node:tls'
import { Inflow } from './inflow.js'
import type { Peer } from './peer.js'
import type { ReadBuffer, Socket, SocketOwner } from './sockets.js'
import { type TlsSession, tlsSession } from './tls-session.js'

export class StreamSocket implements Socket {
  readonly peer: Peer
  readonly #stream: Stream
  readonly #inflow: Inflow
  #owner: SocketOwner | null = null
  /** A write was not taken at once, and the owner waits to hear that it was. */
  #busy = false

  constructor(stream: Stream, peer: Peer, buffer: ReadBuffer) {
    this.peer = peer
    this.#stream = stream
    this.#inflow = new Inflow(stream, buffer)
  }

  get tls(): TlsSession | null {
    return this.#stream instanceof TLSSocket ? tlsSession(this.#stream) : null
  }

  attach(owner: SocketOwner): void {
    this.#owner = owner
    const stream = this.#stream
    stream.on('data', (bytes: Buffer) => this.#inflow.push(bytes))
    stream.on('end', () => owner.ended())
    // 'close' follows.
    stream.on('error', () => {})
    stream.on('close', () => owner.closed())
    this.#inflow.attach(owner)
  }

  write(bytes: Uint8Array): boolean {
    this.#stream.write(bytes, this.#written)
    return this.#taken()
  }

  writeAll(stretches: readonly Uint8Array[]): boolean {
    this.#stream.cork()
    for (const bytes of stretches) this.#stream.write(bytes, this.#written)
    this.#stream.uncork()
    return this.#taken()
  }

  pause(): void {
    this.#inflow.pause()
  }

  resume(): void {
    this.#inflow.resume()
  }

  end(): void {
    this.#stream.end()
  }

  destroy(): void {
    this.#stream.destroy()
  }

  #taken(): boolean {
    this.#busy = this.#stream.writableLength > 0 && !this.#stream.destroyed
    return !this.#busy
  }

  readonly #written = () => {
    if (!this.#busy || this.#stream.writableLength > 0 || this.#stream.destroyed) return
    this.#busy = false
    this.#owner?.drained()
  }
}
