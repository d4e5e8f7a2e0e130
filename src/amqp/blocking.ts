/**
 * Why a connection that publishes is made to wait. From its first publish during a resource alarm
 * nothing more is read from it until the last is cleared, and a client that knows how is told so.
 * While the log has more to write than it should, it waits without being told.
 */
import type { AlarmListener, Alarms } from '../broker/alarms.js'
import type { Journal, LogWaiter } from '../broker/journal.js'
import { type Intake, Pause } from './intake.js'

/** The client's side of it. */
export interface Blocked {
  can(capability: 'connection.blocked'): boolean
  send(channel: 0, name: 'connection.blocked', args: { reason: string }): void
  send(channel: 0, name: 'connection.unblocked', args: Record<string, never>): void
}

/** What it needs of the journal. */
type LogProgress = Pick<Journal, 'congested' | 'wait'>

export class Blocking implements AlarmListener, LogWaiter {
  readonly #alarms: Alarms
  readonly #journal: LogProgress
  readonly #intake: Intake
  readonly #client: Blocked
  /** connection.blocked has been sent. */
  #blocked = false

  constructor(alarms: Alarms, journal: LogProgress, intake: Intake, client: Blocked) {
    this.#alarms = alarms
    this.#journal = journal
    this.#intake = intake
    this.#client = client
    alarms.listeners.add(this)
  }

  /** As the management API calls it: an alarm is set, and blocks it if it has published since. */
  get state(): 'running' | 'blocking' | 'blocked' {
    if (!this.#alarms.active) return 'running'
    return this.#blocked ? 'blocked' : 'blocking'
  }

  /** A publish came while an alarm is set, or the log is behind. */
  block(): void {
    if (this.#journal.congested && !this.#intake.pausedFor(Pause.log)) {
      this.#intake.pause(Pause.log)
      this.#journal.wait(this)
    }
    if (!this.#alarms.active) return
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

  durable(): boolean {
    if (this.#journal.congested) return true
    this.#intake.resume(Pause.log)
    return false
  }

  failed(): boolean {
    return this.durable()
  }

  /** The connection ends: alarms are nothing to it any more. */
  stop(): void {
    this.#alarms.listeners.delete(this)
  }
}
