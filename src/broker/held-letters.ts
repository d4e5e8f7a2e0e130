/**
 * Dead letters that stay with their quorum queue, and count for its length, until all queues to
 * which they go have taken them (RabbitMQ's dead-letter-strategy at-least-once). In the log a
 * letter leaves the one and enters the others with one record. One that nobody takes, because its
 * exchange is not there, leads nowhere or a queue is full, is tried again now and then; that it is
 * dead is noted in the log, so that it does not come to life with a restart.
 */
import { Stage, type TurnParty } from '../platform/turn.js'
import type { DeadLetters } from './dead-letter.js'
import type { Deadline } from './deadlines.js'
import { Dying } from './dying.js'
import { settle } from './queues/disposal.js'
import type { DeathReason, LetterKeeper } from './queues/host.js'
import type { Queue } from './queues/queue.js'
import { ReadAhead } from './queues/read-ahead.js'
import { returnsOfDead } from './queues/return-count.js'
import type { Vhost } from './vhost.js'

/** Time for letters in one turn, and how many go however long it takes. */
const turnMs = 3
const lettersPerTurn = 256

/** What nobody took is tried again after so long, then after twice that, and so on. */
const leastRetryMs = 1000
const mostRetryMs = 60_000

export class HeldLetters implements LetterKeeper {
  readonly #vhost: Vhost
  readonly #deadLetters: DeadLetters
  readonly #queues = new Map<Queue, QueueLetters>()

  constructor(vhost: Vhost, deadLetters: DeadLetters) {
    this.#vhost = vhost
    this.#deadLetters = deadLetters
  }

  /** Takes over a message that dies in its queue, which holds it on. */
  add(queue: Queue, slot: number, reason: DeathReason): void {
    this.#of(queue).add(slot, reason)
  }

  keep(queue: Queue, slot: number, reason: DeathReason): void {
    this.#of(queue).keep(slot, reason)
  }

  resume(queue: Queue): void {
    this.#queues.get(queue)?.resume()
  }

  drop(queue: Queue): number {
    const letters = this.#queues.get(queue)
    this.#queues.delete(queue)
    return letters?.drop() ?? 0
  }

  #of(queue: Queue): QueueLetters {
    const found = this.#queues.get(queue)
    if (found !== undefined) return found
    const made = new QueueLetters(queue, this.#vhost, this.#deadLetters)
    this.#queues.set(queue, made)
    return made
  }
}

class QueueLetters implements TurnParty {
  readonly #queue: Queue
  readonly #vhost: Vhost
  readonly #deadLetters: DeadLetters
  /** Those that are to go, and those that could not. */
  #line = new Dying()
  #stuck = new Dying()
  /** By slot, who has a letter already that others have not. */
  readonly #had = new Map<number, Set<Queue>>()
  readonly #readAhead: ReadAhead
  /** Its turn is to come, or a content that must be read first. */
  #waits = false
  #loading = false
  readonly #retry: Deadline
  #retryMs = leastRetryMs

  constructor(queue: Queue, vhost: Vhost, deadLetters: DeadLetters) {
    this.#queue = queue
    this.#vhost = vhost
    this.#deadLetters = deadLetters
    this.#readAhead = new ReadAhead(vhost.messages, vhost.paging, () => this.#contentCame())
    this.#retry = { at: 0, place: -1, due: () => this.#tryAgain() }
  }

  add(slot: number, reason: DeathReason): void {
    this.#count(slot, 1)
    this.#line.push(this.#queue, slot, reason, true)
    this.#schedule()
  }

  keep(slot: number, reason: DeathReason): void {
    this.#count(slot, 1)
    this.#stuck.push(this.#queue, slot, reason, false)
  }

  resume(): void {
    this.#tryAgain()
  }

  drop(): number {
    const count = this.#line.count + this.#stuck.count
    for (const letters of [this.#line, this.#stuck])
      while (letters.count > 0)
        letters.shift((queue, slot) => {
          this.#count(slot, -1)
          settle(queue, slot, this.#vhost)
        })
    this.#had.clear()
    this.#vhost.deadlines.clear(this.#retry)
    return count
  }

  endTurn(): void {
    const { clock, journal, messages, paging, turn } = this.#vhost
    const until = clock.monotonicMs() + turnMs
    const line = this.#line
    const failures: unknown[] = []
    // What dies on the way waits for the next turn.
    for (let seen = 0, left = line.count; left > 0; left--, seen++) {
      if (seen >= lettersPerTurn && clock.monotonicMs() >= until) break
      const { slot } = line
      if (!messages.inMemory(slot) && !paging.isLost(slot)) {
        this.#readAhead.request(line)
        this.#loading = true
        break
      }
      line.shift((_queue, slot, reason, isNew) => this.#send(slot, reason, isNew, failures))
    }
    this.#readAhead.advance(line)
    this.#waits = line.count > 0
    if (!this.#waits) journal.leaving--
    else if (!this.#loading) turn.add(Stage.deliver, this)
    if (this.#stuck.count > 0 && this.#retry.place < 0) this.#arm()
    if (failures.length > 0) throw failures[0]
  }

  #send(slot: number, reason: DeathReason, isNew: boolean, failures: unknown[]): void {
    const queue = this.#queue
    const { journal, messages, paging } = this.#vhost
    if (!queue.keepsLetters) {
      // It is ruled otherwise now.
      this.#gone(slot)
      this.#deadLetters.add(queue, slot, reason, true)
      return
    }
    if (!messages.inMemory(slot)) {
      this.#gone(slot)
      paging.lose(slot, queue.name)
      settle(queue, slot, this.#vhost)
      return
    }
    const had = this.#had.get(slot) ?? new Set()
    let arrived = false
    try {
      arrived = this.#deadLetters.post(queue, slot, reason, had)
    } catch (error) {
      failures.push(error)
    }
    if (arrived) {
      this.#retryMs = leastRetryMs
      this.#gone(slot)
      messages.release(slot)
      return
    }
    if (had.size > 0) this.#had.set(slot, had)
    if (isNew && queue.logs(slot)) journal.giveBack(queue, slot, returnsOfDead(reason))
    this.#stuck.push(queue, slot, reason, false)
  }

  #gone(slot: number): void {
    this.#had.delete(slot)
    this.#count(slot, -1)
  }

  #count(slot: number, by: 1 | -1): void {
    this.#queue.asideCount += by
    this.#queue.asideBytes += by * this.#vhost.messages.bodySize(slot)
  }

  /** What was stuck goes to the end of the line. */
  #tryAgain(): void {
    if (this.#line.count > 0) {
      this.#arm()
      return
    }
    const none = this.#line
    this.#line = this.#stuck
    this.#stuck = none
    if (this.#line.count > 0) this.#schedule()
  }

  #arm(): void {
    const { clock, deadlines } = this.#vhost
    deadlines.set(this.#retry, clock.monotonicMs() + this.#retryMs)
    this.#retryMs = Math.min(mostRetryMs, 2 * this.#retryMs)
  }

  #schedule(): void {
    if (this.#waits) return
    this.#waits = true
    this.#vhost.journal.leaving++
    this.#vhost.turn.add(Stage.deliver, this)
  }

  #contentCame(): void {
    if (!this.#loading) return
    this.#loading = false
    this.#vhost.turn.add(Stage.deliver, this)
  }
}
