/**
 * When a connection is read from. It is not while any reason stands against it: it has had its
 * share of the turn, it publishes during an alarm or faster than the log is written, it does not
 * read what we send, or what it asked for takes several turns.
 */
import type { Socket } from '../platform/sockets.js'
import { Stage, type Turn, type TurnParty } from '../platform/turn.js'

/** Why a connection is not read from: bits. */
export const Pause = { turn: 1, alarm: 2, output: 4, work: 8, log: 16 } as const

export class Intake implements TurnParty {
  /** Bytes received since the connection opened. */
  bytesReceived = 0
  readonly #socket: Socket
  readonly #turn: Turn
  readonly #resumed: () => void
  #reasons = 0
  #turnBytes = 0
  /** How many have paused it for work. */
  #works = 0
  #waitsForTurn = false

  /** `resumed` is called when the last reason is gone, before the socket is read from again. */
  constructor(socket: Socket, turn: Turn, resumed: () => void) {
    this.#socket = socket
    this.#turn = turn
    this.#resumed = resumed
  }

  /** Bytes came: with a whole share of them it is somebody else's turn. */
  count(bytes: number, share: number): void {
    this.bytesReceived += bytes
    this.#turnBytes += bytes
    this.#awaitTurn()
    if (this.#turnBytes >= share) this.pause(Pause.turn)
  }

  get paused(): boolean {
    return this.#reasons !== 0
  }

  pausedFor(reason: number): boolean {
    return (this.#reasons & reason) !== 0
  }

  /** For `Pause.work` it is resumed as often as it was paused. */
  pause(reason: number): void {
    if (reason === Pause.work) this.#works++
    if (reason === Pause.turn) this.#awaitTurn()
    if (this.#reasons === 0) this.#socket.pause()
    this.#reasons |= reason
  }

  resume(reason: number): void {
    if (!this.pausedFor(reason)) return
    if (reason === Pause.work && --this.#works > 0) return
    this.#reasons &= ~reason
    if (this.#reasons !== 0) return
    this.#resumed()
    if (this.#reasons === 0) this.#socket.resume()
  }

  /** The turn is over: there is a new share. */
  endTurn(): void {
    this.#waitsForTurn = false
    this.#turnBytes = 0
    this.resume(Pause.turn)
  }

  #awaitTurn(): void {
    if (this.#waitsForTurn) return
    this.#waitsForTurn = true
    this.#turn.add(Stage.read, this)
  }
}
