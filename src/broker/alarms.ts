/** Resource alarms: while any is set, connections that publish are not read from. */

/** What sets an alarm: memory or disk running low, or one of the logs that cannot be written. */
export type Cause = 'memory' | 'disk' | 'log' | 'definitions'

/** The words of RabbitMQ's connection.blocked, in its order; it knows two, so a log that fails is one of them. */
const resources: readonly (readonly [word: string, causes: readonly Cause[]])[] = [
  ['disk', ['disk', 'log', 'definitions']],
  ['memory', ['memory']],
]

/** Told of each resource that runs low, or does no more, by RabbitMQ's word for it. */
export type ResourceListener = (resource: string, low: boolean) => void

/** Told when the first alarm is set and when the last is cleared. */
export interface AlarmListener {
  alarmsChanged(): void
}

export class Alarms {
  readonly #causes = new Set<Cause>()
  readonly listeners = new Set<AlarmListener>()
  resourceChanged: ResourceListener = () => {}
  /** True while any alarm is set. */
  active = false

  /** For example `low on memory`, or `low on disk & memory`. */
  get reason(): string {
    return `low on ${this.#low().join(' & ')}`
  }

  /** Sets or clears the alarm of one cause; publishers wait until none is set. */
  set(cause: Cause, on: boolean): void {
    const before = this.#low()
    if (on) this.#causes.add(cause)
    else this.#causes.delete(cause)
    const after = this.#low()
    for (const [word] of resources)
      if (before.includes(word) !== after.includes(word))
        this.resourceChanged(word, after.includes(word))
    const active = this.#causes.size > 0
    if (active === this.active) return
    this.active = active
    for (const listener of [...this.listeners]) listener.alarmsChanged()
  }

  has(cause: Cause): boolean {
    return this.#causes.has(cause)
  }

  #low(): string[] {
    return resources.flatMap(([word, causes]) =>
      causes.some(cause => this.has(cause)) ? word : [],
    )
  }
}
