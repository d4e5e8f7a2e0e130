/**
 * Publisher confirms of a channel. Publishes are numbered from 1, and answered in that order: at
 * the end of the turn in which they came, or in which the log has what must survive a crash. Runs
 * of the same answer go in one method with `multiple`.
 */
import type { Journal, LogWaiter } from '../broker/journal.js'
import { Stage, type Turn, type TurnParty } from '../platform/turn.js'
import type { FrameWriter } from '../wire/frame-writer.js'
import { writeAck, writeNack } from '../wire/hot-methods.js'

const firstLength = 32

/** Instead of the number that must be durable: nothing must, or it was refused. */
const accepted = 0
const refused = -1

/** What it needs of the journal. */
type LogProgress = Pick<Journal, 'durableUpTo' | 'wait'>

export class Confirms implements TurnParty, LogWaiter {
  readonly #turn: Turn
  readonly #journal: LogProgress
  readonly #writer: FrameWriter
  readonly #channel: number
  /** The last publish, and the last one answered. */
  #last = 0
  #told = 0
  /** What each publish in between waits for, at its number modulo the length, a power of two. */
  #awaited = new Float64Array(firstLength)
  #waitsForTurn = false
  #waitsForLog = false
  #closed = false

  constructor(turn: Turn, journal: LogProgress, writer: FrameWriter, channel: number) {
    this.#turn = turn
    this.#journal = journal
    this.#writer = writer
    this.#channel = channel
  }

  /** The next publish was refused, or taken responsibility for once the log has `loggedAs` (0: at once). */
  add(wasRefused: boolean, loggedAs: number): void {
    const sequence = ++this.#last
    if (sequence - this.#told > this.#awaited.length) this.#grow()
    this.#awaited[sequence & (this.#awaited.length - 1)] = wasRefused ? refused : loggedAs
    this.#atTurnEnd()
    // At once: a failure before the turn ends must not pass it by.
    if (loggedAs === 0 || this.#waitsForLog) return
    this.#waitsForLog = true
    this.#journal.wait(this)
  }

  /** Publishes that are not answered yet. */
  get waiting(): number {
    return this.#last - this.#told
  }

  /** The channel is closed: nothing more is told. */
  close(): void {
    this.#closed = true
  }

  durable(): boolean {
    this.#waitsForLog = !this.#closed && this.#told < this.#last
    if (this.#waitsForLog) this.#atTurnEnd()
    return this.#waitsForLog
  }

  failed(from: number, given: Set<number>): boolean {
    const mask = this.#awaited.length - 1
    for (let sequence = this.#told + 1; sequence <= this.#last; sequence++) {
      const number = this.#awaited[sequence & mask] as number
      if (number < from) continue
      given.add(number)
      this.#awaited[sequence & mask] = refused
    }
    return this.durable()
  }

  endTurn(): void {
    this.#waitsForTurn = false
    if (this.#closed) return
    const { durableUpTo } = this.#journal
    const mask = this.#awaited.length - 1
    let last = this.#told
    let answer = accepted
    while (last < this.#last) {
      const number = this.#awaited[(last + 1) & mask] as number
      if (number > durableUpTo) break
      const next = number === refused ? refused : accepted
      if (next !== answer && last > this.#told) this.#tell(last, answer)
      answer = next
      last++
    }
    if (last > this.#told) this.#tell(last, answer)
  }

  #atTurnEnd(): void {
    if (this.#waitsForTurn) return
    this.#waitsForTurn = true
    this.#turn.add(Stage.confirm, this)
  }

  #tell(last: number, answer: number): void {
    const multiple = last - this.#told > 1
    if (answer === refused) writeNack(this.#writer, this.#channel, last, multiple)
    else writeAck(this.#writer, this.#channel, last, multiple)
    this.#told = last
  }

  #grow(): void {
    const old = this.#awaited
    this.#awaited = new Float64Array(2 * old.length)
    for (let sequence = this.#told + 1; sequence < this.#last; sequence++)
      this.#awaited[sequence & (2 * old.length - 1)] = old[sequence & (old.length - 1)] as number
  }
}
