/**
 * Messages that the broker itself makes (events, traces). They are published when the turn ends, in
 * the order in which they were made, so that none is published in the middle of something else.
 */
import { Stage, type TurnParty } from '../platform/turn.js'
import { Mark } from '../store/message-table.js'
import { buildMessage, type Message } from '../wire/message.js'
import { Arrival } from './arrival.js'
import type { Route } from './router.js'
import type { Vhost } from './vhost.js'

/** Published in one turn: about a millisecond's work. */
const perTurn = 512

/** A routing key is a shortstr on the wire. */
const keyBytesMax = 255

interface OwnMessage {
  readonly bytes: Buffer
  readonly parts: readonly Buffer[] | null
  readonly persistent: boolean
}

export class OwnMessages implements TurnParty {
  readonly #vhost: Vhost
  readonly #arrival: Arrival
  #waiting: OwnMessage[] = []
  #waitsForTurn = false
  #route: Route | null = null

  constructor(vhost: Vhost) {
    this.#vhost = vhost
    this.#arrival = new Arrival(vhost.messages, vhost.journal)
  }

  /** Publishes a message at the end of the turn: these property octets, and the body of `like`. */
  add(exchange: string, key: string, properties: Buffer, like: Message, persistent: boolean): void {
    const cut = Buffer.from(key).subarray(0, keyBytesMax)
    this.#waiting.push({
      ...buildMessage(Buffer.from(exchange), cut, properties, like),
      persistent,
    })
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

  #publish({ bytes, parts, persistent }: OwnMessage): void {
    const { router } = this.#vhost
    const arrival = this.#arrival
    arrival.message.at(bytes, 0, bytes.length, parts)
    this.#route = router.route(arrival.message, this.#route)
    arrival.begin(persistent ? Mark.persistent : 0, -1, true)
    this.#vhost.publish(this.#route, arrival, null)
  }
}
