/**
 * Messages that the broker itself makes (events, traces). They are published when the turn ends, in
 * the order in which they were made, so that none is published in the middle of something else.
 */
import { Stage, type TurnParty } from '../platform/turn.js'
import { buildMessage, type Made, type Message } from '../wire/message.js'
import { Arrival } from './arrival.js'
import type { Route } from './router.js'
import type { Vhost } from './vhost.js'

/** Published in one turn: about a millisecond's work. */
const perTurn = 512

/** A routing key is a shortstr on the wire. */
const keyBytesMax = 255

export class OwnMessages implements TurnParty {
  readonly #vhost: Vhost
  readonly #arrival: Arrival
  #waiting: Made[] = []
  #waitsForTurn = false
  #route: Route | null = null

  constructor(vhost: Vhost) {
    this.#vhost = vhost
    this.#arrival = new Arrival(vhost.messages, vhost.journal)
  }

  /** Publishes a message at the end of the turn: these property octets, and the body of `like`. */
  add(exchange: string, key: string, properties: Buffer, like: Message): void {
    const cut = Buffer.from(key).subarray(0, keyBytesMax)
    this.#waiting.push(buildMessage(Buffer.from(exchange), cut, properties, like))
    if (this.#waitsForTurn) return
    this.#waitsForTurn = true
    this.#vhost.turn.add(Stage.deliver, this)
  }

  endTurn(): void {
    const now = this.#waiting.splice(0, perTurn)
    this.#waitsForTurn = this.#waiting.length > 0
    if (this.#waitsForTurn) this.#vhost.turn.add(Stage.deliver, this)
    for (const message of now) this.#publish(message)
  }

  #publish(made: Made): void {
    const { router } = this.#vhost
    const arrival = this.#arrival
    arrival.beginMade(made, 0)
    this.#route = router.route(arrival.message, this.#route)
    this.#vhost.publish(this.#route, arrival, null)
  }
}
