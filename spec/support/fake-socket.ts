/** A socket without a network: takes as much as the test allows, and watches over the bytes it has not taken yet. */
import { Peer } from '../../src/platform/peer.js'
import type { Socket, SocketOwner } from '../../src/platform/sockets.js'
import type { TlsSession } from '../../src/platform/tls-session.js'

interface Held {
  readonly bytes: Uint8Array
  readonly asGiven: Buffer
}

export class FakeSocket implements Socket {
  readonly peer = new Peer({
    remoteAddress: '127.0.0.1',
    remotePort: 50_000,
    localAddress: '127.0.0.1',
    localPort: 5672,
  })
  tls: TlsSession | null = null
  /** Bytes it will still take before it holds the rest back. */
  room = Number.POSITIVE_INFINITY
  /** Calls of write and writeAll. */
  writes = 0
  ended = false
  destroyed = false
  paused = false
  owner: SocketOwner | null = null
  #taken: Buffer[] = []
  #held: Held[] = []

  /** All bytes that reached the peer. */
  get received(): Buffer {
    const all = Buffer.concat(this.#taken)
    this.#taken = [all]
    return all
  }

  /** True while it has bytes that it did not take. */
  get holds(): boolean {
    return this.#held.length > 0
  }

  /** Takes what it held back, which must be as it was given, and says so to its owner. */
  drain(): void {
    const held = this.#held
    this.#held = []
    for (const { bytes, asGiven } of held) {
      if (!asGiven.equals(bytes)) throw new Error('bytes were changed before they were taken')
      this.#taken.push(asGiven)
    }
    if (held.length > 0) this.owner?.drained()
  }

  attach(owner: SocketOwner): void {
    this.owner = owner
  }

  write(bytes: Uint8Array): boolean {
    return this.writeAll([bytes])
  }

  writeAll(stretches: readonly Uint8Array[]): boolean {
    if (this.ended) throw new Error('written to after the end')
    if (this.holds) throw new Error('written to while it held bytes back')
    this.writes++
    for (const bytes of stretches) {
      const taken = Math.min(this.room, bytes.length)
      this.room -= taken
      this.#taken.push(Buffer.from(bytes.subarray(0, taken)))
      if (taken === bytes.length) continue
      const rest = bytes.subarray(taken)
      this.#held.push({ bytes: rest, asGiven: Buffer.from(rest) })
    }
    return !this.holds
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    this.paused = false
  }

  end(): void {
    if (this.ended) throw new Error('ended twice')
    if (this.holds) throw new Error('ended before the last byte')
    this.ended = true
  }

  destroy(): void {
    this.destroyed = true
  }
}
