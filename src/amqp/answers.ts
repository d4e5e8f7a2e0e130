/**
 * Answers of a channel to definition methods, in their order: each is given once what it tells of
 * is durable. Many may wait for one sync.
 */
import type { Definitions } from '../broker/definitions.js'
import { Stage, type Turn, type TurnParty } from '../platform/turn.js'
import { type FrameParser, methodIdOf } from '../wire/frame-parser.js'

interface Answer {
  /** Log number that must be durable first. */
  readonly number: number
  readonly give: () => void
}

export class Answers implements TurnParty {
  readonly #definitions: Definitions
  readonly #turn: Turn
  readonly #given: () => void
  readonly #waiting: Answer[] = []
  #first = 0

  /** `given` is called once all are given. */
  constructor(definitions: Definitions, turn: Turn, given: () => void) {
    this.#definitions = definitions
    this.#turn = turn
    this.#given = given
  }

  add(number: number, give: () => void): void {
    this.#waiting.push({ number, give })
    if (this.#waiting.length === 1) this.#waitForFirst()
  }

  /** Nobody is there to hear them. */
  drop(): void {
    this.#first = this.#waiting.length
  }

  /** Gives those that are due. */
  endTurn(): void {
    const { length } = this.#waiting
    if (this.#first === length) return
    for (; this.#first < length; this.#first++) {
      const { number, give } = this.#waiting[this.#first] as Answer
      if (number > this.#definitions.durableUpTo) break
      give()
    }
    if (this.#first === length) this.#given()
    else this.#waitForFirst()
  }

  #waitForFirst(): void {
    const { number } = this.#waiting[this.#first] as Answer
    // In a turn of its own: what a channel does next is input like any other.
    this.#definitions.whenDurable(number, () => this.#turn.add(Stage.deliver, this))
  }
}

/** Whether a frame holds a method of the classes exchange and queue that changes definitions. */
export function isDefinition(frame: FrameParser): boolean {
  const id = methodIdOf(frame)
  return (id >>> 16 === exchangeClass || id >>> 16 === queueClass) && id !== queuePurge
}

const exchangeClass = 40
const queueClass = 50
const queuePurge = 0x0032001e
