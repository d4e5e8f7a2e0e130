/**
 * A socket straight on Node's handle, without the streams that Node puts around one: they are made
 * for every connection and taken down again, which took a seventh of the time of opening and
 * closing one.
 *
 * Handles are Node's own affair and may change: where they are not as they are known here,
 * `handleInternals` finds none, and `NodeSocket` does the same by the public way.
 */
import type { Peer } from './peer.js'
import type { Handle, ReadBuffer, Socket, SocketOwner } from './sockets.js'

/** What a handle is asked for, kept until it is done. */
interface Request {
  oncomplete: (status: number) => void
  /** Bytes that must stay where they are until then. */
  bytes?: unknown
}

/** A handle as far as it is used here; calls answer 0 or a negative error number. */
interface StreamHandle extends Handle {
  onread: () => Uint8Array | undefined
  useUserBuffer(buffer: Uint8Array): void
  readStart(): number
  readStop(): number
  writeBuffer(request: Request, bytes: Uint8Array): number
  writev(request: Request, stretches: readonly Uint8Array[], allBuffers: true): number
  shutdown(request: Request): number
}

/** What goes with handles: the requests, and an array in which each call leaves what became of it. */
export interface HandleInternals {
  readonly WriteWrap: new () => Request
  readonly ShutdownWrap: new () => Request
  readonly streamBaseState: Int32Array
  readonly kReadBytesOrError: number
  readonly kLastWriteWasAsync: number
}

/** libuv's number for the end of the input. */
const endOfFile = -4095

/** What `HandleSocket` needs of this Node, or null if it has something else in its place. */
export function handleInternals(handle: object): HandleInternals | null {
  const { binding } = process as unknown as { binding?: (name: string) => HandleInternals }
  const methods = ['useUserBuffer', 'readStart', 'readStop', 'writeBuffer', 'writev', 'shutdown']
  try {
    const internals = binding?.('stream_wrap')
    return internals?.streamBaseState instanceof Int32Array &&
      typeof internals.WriteWrap === 'function' &&
      typeof internals.ShutdownWrap === 'function' &&
      internals.kReadBytesOrError in internals.streamBaseState &&
      internals.kLastWriteWasAsync in internals.streamBaseState &&
      methods.every(name => typeof (handle as Record<string, unknown>)[name] === 'function')
      ? internals
      : null
  } catch {
    return null
  }
}

export class HandleSocket implements Socket {
  readonly tls = null
  readonly peer: Peer
  readonly #handle: StreamHandle
  readonly #internals: HandleInternals
  readonly #buffer: ReadBuffer
  /** What the next read fills. */
  #share: Buffer
  #owner: SocketOwner | null = null
  /** For the next write: used up only by one that the kernel does not take at once. */
  #request: Request | null = null
  #reading = false
  /** The peer's FIN has come. */
  #ended = false
  /** Our own has gone. */
  #finished = false
  #destroyed = false

  constructor(handle: Handle, peer: Peer, buffer: ReadBuffer, internals: HandleInternals) {
    this.peer = peer
    this.#handle = handle as StreamHandle
    this.#internals = internals
    this.#buffer = buffer
    this.#share = buffer.share
  }

  attach(owner: SocketOwner): void {
    const first = this.#owner === null
    this.#owner = owner
    if (!first) return
    this.#handle.onread = () => this.#read()
    this.#handle.useUserBuffer(this.#share)
    this.resume()
  }

  write(bytes: Uint8Array): boolean {
    if (this.#destroyed) return true
    const request = this.#nextRequest()
    return this.#written(this.#handle.writeBuffer(request, bytes), bytes)
  }

  writeAll(stretches: readonly Uint8Array[]): boolean {
    if (this.#destroyed) return true
    const request = this.#nextRequest()
    return this.#written(this.#handle.writev(request, stretches, true), stretches)
  }

  pause(): void {
    if (!this.#reading) return
    this.#reading = false
    this.#check(this.#handle.readStop())
  }

  resume(): void {
    if (this.#reading || this.#ended || this.#destroyed) return
    this.#reading = true
    this.#check(this.#handle.readStart())
  }

  end(): void {
    if (this.#destroyed) return
    const request = new this.#internals.ShutdownWrap()
    request.oncomplete = () => this.#finish()
    // A peer that is gone already needs no FIN.
    if (this.#handle.shutdown(request) !== 0) this.#finish()
  }

  destroy(): void {
    if (this.#destroyed) return
    this.#destroyed = true
    this.#reading = false
    this.#handle.close(() => this.#owner?.closed())
  }

  /** The handle has read; returns where the next read goes, if not to where this one went. */
  #read(): Uint8Array | undefined {
    const { streamBaseState, kReadBytesOrError } = this.#internals
    const length = streamBaseState[kReadBytesOrError] as number
    if (length > 0) {
      this.#buffer.count()
      this.#owner?.received(this.#share, length)
    } else if (length === endOfFile) {
      this.#reading = false
      this.#ended = true
      this.#owner?.ended()
      if (this.#finished) this.destroy()
    } else {
      this.#check(length)
    }
    if (this.#share === this.#buffer.share) return undefined
    this.#share = this.#buffer.share
    return this.#share
  }

  #nextRequest(): Request {
    if (this.#request === null) {
      this.#request = new this.#internals.WriteWrap()
      this.#request.oncomplete = status => {
        if (status < 0) this.destroy()
        else if (!this.#destroyed) this.#owner?.drained()
      }
    }
    return this.#request
  }

  /** Whether a write is done with its bytes. */
  #written(status: number, bytes: unknown): boolean {
    this.#check(status)
    const { streamBaseState, kLastWriteWasAsync } = this.#internals
    if (status !== 0 || streamBaseState[kLastWriteWasAsync] === 0) return true
    ;(this.#request as Request).bytes = bytes
    this.#request = null
    return false
  }

  #finish(): void {
    this.#finished = true
    if (this.#ended) this.destroy()
  }

  /** A handle on which something failed is of no more use. */
  #check(status: number): void {
    if (status < 0) this.destroy()
  }
}
