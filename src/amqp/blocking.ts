/**
 * What resource alarms do to a connection: from its first publish during one, nothing more is
 * read from it until the last is cleared, and a client that knows how is told so.
 */
import type { AlarmListener, Alarms } from '../broker/alarms.js'
import { type Intake, Pause } from './intake.js'

/** The client's side of it. */
export interface Blocked {
  can(capability: 'connection.blocked'): boolean
  send(channel: 0, name: 'connection.blocked', args: { reason: string }): void
  send(channel: 0, name: 'connection.unblocked', args: Record<string, never>): void
}

export class Blocking implements AlarmListener {
  readonly #alarms: Alarms
  readonly #intake: Intake
  readonly #client: Blocked
  /** connection.blocked has been sent. */
  #blocked = false

  constructor(alarms: Alarms, intake: Intake, client: Blocked) {
    this.#alarms = alarms
    this.#intake = intake
    this.#client = client
    alarms.listeners.add(this)
  }

  /** A publish came while an alarm is set. */
  block(): void {
    this.#intake.pause(Pause.alarm)
    if (this.#blocked) return
    this.#blocked = true
    if (this.#client.can('connection.blocked'))
      this.#client.send(0, 'connection.blocked', { reason: this.#alarms.reason })
  }

  alarmsChanged(): void {
    if (this.#alarms.active || !this.#blocked) return
    this.#blocked = false
    if (this.#client.can('connection.blocked')) this.#client.send(0, 'connection.unblocked', {})
    this.#intake.resume(Pause.alarm)
  }

  /** The connection ends: alarms are nothing to it any more. */
  stop(): void {
    this.#alarms.listeners.delete(this)
  }
}
