/**
 * Heartbeats of one connection. Half an interval without output sends one; two whole intervals
 * without input mean that the peer is gone. Silence is judged only after the input that is at
 * hand has been read: a stall of ours is not the peer's.
 */
import type { Clock } from '../platform/clock.js'
import { Stage, type Turn, type TurnParty } from '../platform/turn.js'
import { Frame, frameEnd } from '../wire/frame-parser.js'

export const heartbeatFrame = Buffer.of(Frame.heartbeat, 0, 0, 0, 0, 0, 0, frameEnd)

/** What the heartbeat watches. */
export interface Watched {
  readonly bytesReceived: number
  readonly bytesSent: number
  /** True while the broker itself does not read: then silence means nothing. */
  readonly notReading: boolean
  /** True while nothing is read until the peer takes what it was sent: what it takes is its sign of life. */
  readonly waitsForReader: boolean
  sendHeartbeat(): void
  peerIsSilent(): void
}

export class Heartbeat implements TurnParty {
  readonly #watched: Watched
  readonly #clock: Clock
  readonly #turn: Turn
  readonly #intervalMs: number
  #sent = -1
  #received = 0
  #taken = 0
  #silentIntervals = 0
  #cancelSender: () => void
  #cancelMonitor: () => void
  #stopped = false

  constructor(watched: Watched, clock: Clock, turn: Turn, seconds: number) {
    this.#watched = watched
    this.#clock = clock
    this.#turn = turn
    this.#intervalMs = seconds * 1000
    this.#received = watched.bytesReceived
    this.#cancelSender = clock.after(this.#intervalMs / 2, this.#beat)
    this.#cancelMonitor = clock.after(this.#intervalMs, this.#listen)
  }

  stop(): void {
    this.#stopped = true
    this.#cancelSender()
    this.#cancelMonitor()
  }

  readonly #beat = () => {
    this.#cancelSender = this.#clock.after(this.#intervalMs / 2, this.#beat)
    const { bytesSent } = this.#watched
    const idle = bytesSent === this.#sent || this.#sent < 0
    if (idle) this.#watched.sendHeartbeat()
    // A heartbeat of our own is no reason to leave the next one out.
    this.#sent = bytesSent + (idle ? heartbeatFrame.length : 0)
  }

  readonly #listen = () => {
    this.#cancelMonitor = this.#clock.after(this.#intervalMs, this.#listen)
    this.#turn.add(Stage.read, this)
  }

  endTurn(): void {
    if (this.#stopped) return
    const { bytesReceived, bytesSent, notReading, waitsForReader } = this.#watched
    const taken = waitsForReader && bytesSent !== this.#taken
    const heard = bytesReceived !== this.#received || notReading || taken
    this.#received = bytesReceived
    this.#taken = bytesSent
    this.#silentIntervals = heard ? 0 : this.#silentIntervals + 1
    if (this.#silentIntervals >= 2) this.#watched.peerIsSilent()
  }
}
