/**
 * The end of a turn of the event loop. What gathers during a turn is done once when it ends, in
 * this order: queues with a backlog deliver, channels confirm, connections write, and connections
 * that had used up their share of the turn read on.
 */

/** The stages at the end of a turn, in the order in which they run. */
export const Stage = { deliver: 0, confirm: 1, flush: 2, read: 3 } as const
export type Stage = (typeof Stage)[keyof typeof Stage]

/** What waits to be delivered gets this much of a turn; the rest goes first in the next one. */
const deliverMs = 5

/** Somebody with work to do at the end of a turn; keeps its own flag of whether it waits already. */
export interface TurnParty {
  endTurn(stage: Stage): void
}

export class Turn {
  readonly #waiting: TurnParty[][] = [[], [], [], []]
  #spare: TurnParty[] = []
  #scheduled = false
  readonly #defer: (task: () => void) => void
  readonly #failed: (error: unknown) => void
  readonly #now: () => number
  readonly #run = () => this.run()

  /**
   * `defer` runs a task after the input that is at hand; `failed` hears of a party that threw;
   * `now` tells milliseconds.
   */
  constructor(
    defer: (task: () => void) => void,
    failed: (error: unknown) => void,
    now: () => number = () => 0,
  ) {
    this.#defer = defer
    this.#failed = failed
    this.#now = now
  }

  /** Asks for one call of `party.endTurn(stage)`; from within that stage: in the next turn. */
  add(stage: Stage, party: TurnParty): void {
    ;(this.#waiting[stage] as TurnParty[]).push(party)
    if (!this.#scheduled) {
      this.#scheduled = true
      this.#defer(this.#run)
    }
  }

  /** Runs every stage once. */
  run(): void {
    // Stays true meanwhile: who asks for a later stage of this turn needs no new one.
    for (let stage = 0; stage < this.#waiting.length; stage++) {
      const parties = this.#waiting[stage] as TurnParty[]
      if (parties.length === 0) continue
      this.#waiting[stage] = this.#spare
      const end = stage === Stage.deliver ? this.#now() + deliverMs : Number.POSITIVE_INFINITY
      for (let i = 0; i < parties.length; i++) {
        if (i > 0 && stage === Stage.deliver && this.#now() > end) {
          this.#waiting[stage] = parties.slice(i).concat(this.#spare)
          break
        }
        try {
          ;(parties[i] as TurnParty).endTurn(stage as Stage)
        } catch (error) {
          this.#failed(error)
        }
      }
      parties.length = 0
      this.#spare = parties
    }
    this.#scheduled = this.#waiting.some(parties => parties.length > 0)
    if (this.#scheduled) this.#defer(this.#run)
  }
}
