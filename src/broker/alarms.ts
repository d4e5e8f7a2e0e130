/** Resource alarms: while any is set, connections that publish are not read from. */

/** What may run low; the words are those that connection.blocked gives as its reason. */
export type Resource = 'memory' | 'disk'

/** Told when the first alarm is set and when the last is cleared. */
export interface AlarmListener {
  alarmsChanged(): void
}

export class Alarms {
  readonly #set = new Set<Resource>()
  readonly listeners = new Set<AlarmListener>()
  /** True while any alarm is set. */
  active = false

  /** For example `low on memory & low on disk`. */
  get reason(): string {
    return [...this.#set].map(resource => `low on ${resource}`).join(' & ')
  }

  set(resource: Resource): void {
    this.#set.add(resource)
    this.#changed()
  }

  clear(resource: Resource): void {
    this.#set.delete(resource)
    this.#changed()
  }

  has(resource: Resource): boolean {
    return this.#set.has(resource)
  }

  #changed(): void {
    const active = this.#set.size > 0
    if (active === this.active) return
    this.active = active
    for (const listener of [...this.listeners]) listener.alarmsChanged()
  }
}
