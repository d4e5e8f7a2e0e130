/** The first owner of a socket that a proxy connects: reads the proxy's header, then makes way. */
import type { Clock } from './clock.js'
import { ProxyHeader } from './proxy-header.js'
import type { Socket, SocketOwner } from './sockets.js'

export class ProxyIntake implements SocketOwner {
  readonly isStranger = true
  readonly #socket: Socket
  readonly #header = new ProxyHeader()
  readonly #passed: (socket: Socket) => SocketOwner
  readonly #refused: (reason: string) => void
  readonly #left: () => void
  readonly #cancelTimer: () => void

  /**
   * `passed` is called once the header has come: it attaches the next owner, and returns it.
   * `refused` hears why that will not happen, and `left` that the socket is no longer here.
   */
  constructor(
    socket: Socket,
    clock: Clock,
    timeoutMs: number,
    passed: (socket: Socket) => SocketOwner,
    refused: (reason: string) => void,
    left: () => void,
  ) {
    this.#socket = socket
    this.#passed = passed
    this.#refused = refused
    this.#left = left
    this.#cancelTimer = clock.after(timeoutMs, () => this.#refuse('PROXY header timeout'))
    socket.attach(this)
  }

  received(bytes: Buffer, length: number): void {
    let taken = 0
    try {
      taken = this.#header.read(bytes, length)
    } catch (error) {
      this.#refuse(`bad PROXY header: ${(error as Error).message}`)
      return
    }
    if (!this.#header.complete) return
    this.#cancelTimer()
    this.#left()
    this.#socket.peer.standFor(this.#header)
    const owner = this.#passed(this.#socket)
    if (taken === length) return
    bytes.copyWithin(0, taken, length)
    owner.received(bytes, length - taken)
  }

  drained(): void {}

  /** Who looks whether the port is open says nothing, and hears nothing. */
  ended(): void {
    this.#socket.destroy()
  }

  closed(): void {
    this.#cancelTimer()
    this.#left()
  }

  #refuse(reason: string): void {
    this.#refused(reason)
    this.#socket.destroy()
  }
}
