/**
 * Messages that were delivered and came back, oldest first: a binary heap in plain number arrays,
 * since a lost consumer may give back a million of them. Giving back in order costs the same
 * whatever their number.
 */

import type { Line } from './read-ahead.js'

export class Returned implements Line {
  taken = 0
  readonly #numbers: number[] = []
  readonly #slots: number[] = []
  readonly #deadlines: number[] = []
  readonly #returns: number[] = []

  get count(): number {
    return this.#slots.length
  }

  /** The oldest: its number, slot, deadline (0: none), and how often it came back. */
  get number(): number {
    return this.#numbers[0] as number
  }
  get slot(): number {
    return this.#slots[0] as number
  }
  get deadline(): number {
    return this.#deadlines[0] as number
  }
  get returns(): number {
    return this.#returns[0] as number
  }

  /** The slots from the `from`th on, nearly in the order in which they go. */
  upcoming(from: number, into: Int32Array): number {
    const count = Math.max(0, Math.min(into.length, this.#slots.length - from))
    for (let i = 0; i < count; i++) into[i] = this.#slots[from + i] as number
    return count
  }

  push(number: number, slot: number, deadline: number, returns: number): void {
    let place = this.#slots.length
    while (place > 0) {
      const above = (place - 1) >> 1
      if ((this.#numbers[above] as number) <= number) break
      this.#move(above, place)
      place = above
    }
    this.#set(place, number, slot, deadline, returns)
  }

  /** Takes the oldest out. */
  shift(): void {
    const number = this.#numbers.pop() as number
    const slot = this.#slots.pop() as number
    const deadline = this.#deadlines.pop() as number
    const returns = this.#returns.pop() as number
    const count = this.#slots.length
    this.taken++
    if (count === 0) return
    let place = 0
    for (;;) {
      let below = 2 * place + 1
      if (below >= count) break
      const right = below + 1
      if (right < count && (this.#numbers[right] as number) < (this.#numbers[below] as number))
        below = right
      if ((this.#numbers[below] as number) >= number) break
      this.#move(below, place)
      place = below
    }
    this.#set(place, number, slot, deadline, returns)
  }

  #move(from: number, to: number): void {
    this.#set(
      to,
      this.#numbers[from] as number,
      this.#slots[from] as number,
      this.#deadlines[from] as number,
      this.#returns[from] as number,
    )
  }

  #set(place: number, number: number, slot: number, deadline: number, returns: number): void {
    this.#numbers[place] = number
    this.#slots[place] = slot
    this.#deadlines[place] = deadline
    this.#returns[place] = returns
  }
}
