/**
 * A message on its way into queues. There is one of it per vhost, used again for every publish.
 * It is stored when the first queue must keep it, and not at all if all of them hand it straight
 * to consumers that need no acknowledgement.
 */

import { Mark, type MessageTable } from '../store/message-table.js'
import { type Made, Message } from '../wire/message.js'
import { deliveryModeOf, expirationAt, priorityOf } from '../wire/properties.js'
import type { Journal } from './journal.js'
import { dropBcc } from './sender-selected.js'

export class Arrival {
  readonly message = new Message()
  /** Its priority and marks, as the message table takes them. */
  marks = 0
  /** The message's own time to live in milliseconds, -1 for none. */
  expirationMs = -1
  /** The bytes are in memory that nobody else changes, so a large message need not be copied. */
  ownsBytes = false
  /** Its number, once it is kept. */
  number = 0
  /** Its number if it was logged: then it is safe when the log is durable so far. Else 0. */
  loggedAs = 0

  readonly #messages: MessageTable
  readonly #journal: Journal
  #slot = -1
  #held = false
  /** The message with its BCC header, where it has one: what is kept, while `message` is what is shown. */
  #original: Message | null = null

  constructor(messages: MessageTable, journal: Journal) {
    this.#messages = messages
    this.#journal = journal
  }

  /** Starts with a message that `message` points at. */
  begin(marks: number, expirationMs: number, ownsBytes: boolean): void {
    this.marks = marks
    this.expirationMs = expirationMs
    this.ownsBytes = ownsBytes
    this.loggedAs = 0
    this.#slot = -1
    this.#original = null
  }

  /** Starts with a message that the broker has made, as its properties say; `marks` are further ones. */
  beginMade({ bytes, parts }: Made, marks: number): void {
    const { message } = this
    message.at(bytes, 0, bytes.length, parts)
    const start = message.propertiesStart
    const persistent = deliveryModeOf(bytes, start) === 2 ? Mark.persistent : 0
    const expiration = expirationAt(bytes, start)
    const expirationMs =
      expiration < 0
        ? -1
        : Number(
            bytes.toString('latin1', expiration + 1, expiration + 1 + bytes.readUInt8(expiration)),
          )
    const given = priorityOf(bytes, start)
    const priority = given < 0 ? 0 : given | Mark.prioritised
    this.begin(priority | persistent | marks, expirationMs, true)
  }

  /** Where it is kept; -1: nowhere so far. */
  get slot(): number {
    return this.#slot
  }

  /** From now on the message is shown without its BCC header, but kept with it: its dead letters go there too. */
  hideBcc(): void {
    const original = new Message()
    original.same(this.message)
    if (!dropBcc(this.message)) return
    this.#original = original
    this.marks |= Mark.hiddenKeys
  }

  /** The message with all its headers, as it is kept. */
  get whole(): Message {
    return this.#original ?? this.message
  }

  /** Keeps the message for one more holder and returns its slot; `cold`: it will not be needed soon. */
  keep(cold = false): number {
    if (this.#slot >= 0) {
      this.#messages.retain(this.#slot)
      return this.#slot
    }
    const { bytes, start, end, parts } = this.whole
    const number = this.#journal.takeNumber()
    this.number = number
    this.#slot =
      parts === null || !this.ownsBytes
        ? this.#messages.add(bytes, start, end, this.marks, number, cold)
        : this.#messages.addOwn(bytes.subarray(start, end), parts, this.marks, number, cold)
    if (this.#held) this.#messages.retain(this.#slot)
    return this.#slot
  }

  /** From now on the slot, once there is one, stays the message's until `letGo`, whatever its holders do. */
  hold(): void {
    this.#held = true
  }

  letGo(): void {
    this.#held = false
    if (this.#slot >= 0) this.#messages.release(this.#slot)
  }
}
