/**
 * Publisher confirms of a channel. Publishes are numbered from 1; what became of them is gathered
 * during the turn and told at its end, runs of the same answer in one method with `multiple`.
 */
import { Stage, type Turn, type TurnParty } from '../platform/turn.js'
import type { FrameWriter } from '../wire/frame-writer.js'
import { writeAck, writeNack } from '../wire/hot-methods.js'

export class Confirms implements TurnParty {
  readonly #turn: Turn
  readonly #writer: FrameWriter
  readonly #channel: number
  /** The last publish, the last one told, and the last one before the current run of answers. */
  #last = 0
  #told = 0
  /** Ends of earlier runs of this turn, refused and accepted in turn; most often there is none. */
  readonly #runs: { readonly last: number; readonly refused: boolean }[] = []
  #refused = false
  #waitsForTurn = false
  #closed = false

  constructor(turn: Turn, writer: FrameWriter, channel: number) {
    this.#turn = turn
    this.#writer = writer
    this.#channel = channel
  }

  /** The next publish was taken responsibility for, or refused. */
  add(refused: boolean): void {
    if (refused !== this.#refused) {
      const ended = this.#runs[this.#runs.length - 1]?.last ?? this.#told
      if (this.#last > ended) this.#runs.push({ last: this.#last, refused: this.#refused })
      this.#refused = refused
    }
    this.#last++
    if (this.#waitsForTurn) return
    this.#waitsForTurn = true
    this.#turn.add(Stage.confirm, this)
  }

  /** The channel is closed: nothing more is told. */
  close(): void {
    this.#closed = true
  }

  endTurn(): void {
    this.#waitsForTurn = false
    if (this.#closed) return
    for (const { last, refused } of this.#runs) this.#tell(last, refused)
    this.#runs.length = 0
    this.#tell(this.#last, this.#refused)
  }

  #tell(last: number, refused: boolean): void {
    const multiple = last - this.#told > 1
    if (refused) writeNack(this.#writer, this.#channel, last, multiple)
    else writeAck(this.#writer, this.#channel, last, multiple)
    this.#told = last
  }
}
