/** What a queue is to do, on plain arrays: looked through from end to end at every step, and right. */
import type { DeathReason, QueueRules } from '../../../src/broker/queues/host.js'
import type { QueueSettings } from '../../../src/broker/queues/settings.js'

/** A message as the model sees it; `id` rises with each publish. */
export interface Item {
  readonly id: number
  readonly level: number
  readonly size: number
  /** Monotonic milliseconds, 0 for none. */
  readonly deadline: number
  readonly returns: number
  /** Returns that count as failed deliveries. */
  readonly failures: number
  /** Place among those that came back to a quorum queue, 0 for one that did not. */
  readonly cameBack: number
}

/** Who takes messages. With `limit` unsettled ones in hands it takes no more; 0 is no limit. */
export interface Taker {
  readonly name: string
  readonly priority: number
  readonly noAck: boolean
  readonly limit: number
}

/** By which name messages leave. */
export type Leaving = DeathReason | 'acked' | 'purged' | 'deleted'

export class QueueModel {
  /** In the order in which they go. */
  ready: Item[] = []
  /** Those that came back and wait before they are ready again. */
  delayed: { readonly at: number; readonly item: Item }[] = []
  readonly left = new Map<number, Leaving>()
  /** What happened, in order, for comparison. */
  readonly deliveries: string[] = []
  readonly burials: string[] = []
  published = 0
  now = 0
  #settings: QueueSettings
  readonly #rules: QueueRules
  readonly #quorum: boolean
  #returns = 0
  /** The single active consumer. */
  #active: Taker | null = null
  /** What each has in hands; those who are gone still have theirs. */
  readonly #hands = new Map<string, Item[]>()
  /** Those who can take a message, in turn. */
  #waiting: Taker[] = []
  #subscribed = new Set<Taker>()

  constructor(settings: QueueSettings, rules: QueueRules) {
    this.#settings = settings
    this.#rules = rules
    this.#quorum = settings.type === 'quorum'
  }

  get readyBytes(): number {
    return this.ready.reduce((sum, { size }) => sum + size, 0)
  }

  get unacked(): number {
    return [...this.#hands.values()].reduce((sum, items) => sum + items.length, 0)
  }

  hands(name: string): readonly Item[] {
    return this.#hands.get(name) ?? []
  }

  publish(id: number, priority: number | null, expirationMs: number, size: number): boolean {
    const { overflow, maxLength, maxLengthBytes, messageTtlMs, maxPriority } = this.#settings
    const full =
      (maxLength >= 0 && this.ready.length + this.delayed.length >= maxLength) ||
      (maxLengthBytes >= 0 && this.readyBytes + size > maxLengthBytes)
    if (full && !this.#dropsHead) {
      if (overflow === 'reject-publish-dlx') this.burials.push(`${id} maxlen`)
      return false
    }
    this.published++
    const ttls = [messageTtlMs, expirationMs].filter(ms => ms >= 0)
    const deadline = ttls.length === 0 ? 0 : this.now + Math.min(...ttls)
    const level = this.#quorum ? Math.min(priority ?? 4, 31) : Math.min(priority ?? 0, maxPriority)
    const item = { id, level, size, deadline, returns: 0, failures: 0, cameBack: 0 }
    const taker = this.ready.length === 0 ? this.#next() : undefined
    if (taker !== undefined) this.#give(taker, item)
    else if (deadline === this.now) this.#bury(item, 'expired')
    else this.#enter(item)
    return true
  }

  subscribe(taker: Taker): void {
    this.#subscribed.add(taker)
    this.#waiting.push(taker)
    this.#appoint()
  }

  cancel(taker: Taker): void {
    this.#subscribed.delete(taker)
    this.#waiting = this.#waiting.filter(other => other !== taker)
    this.#appoint()
  }

  settle(name: string, place: number, how: 'complete' | 'requeue' | 'discard' | 'fail'): void {
    const hands = this.#hands.get(name) as Item[]
    const [item] = hands.splice(place, 1) as [Item]
    const taker = [...this.#subscribed].find(other => other.name === name)
    if (taker !== undefined && hands.length + 1 === taker.limit) this.#waiting.push(taker)
    if (how === 'complete') this.left.set(item.id, 'acked')
    else if (how === 'discard') this.#bury(item, 'rejected')
    else this.#comeBack(item, how === 'fail')
    this.#appoint()
  }

  get(holder: Taker): void {
    const item = this.ready.shift()
    if (item === undefined) this.deliveries.push(`${holder.name} nothing`)
    else this.#hand(holder, item)
    this.expire()
  }

  /** Messages at the head whose time has come go; those behind others wait. */
  expire(): void {
    for (;;) {
      const [head] = this.ready
      if (head === undefined || head.deadline === 0 || head.deadline > this.now) return
      this.ready.shift()
      this.#bury(head, 'expired')
    }
  }

  endTurn(): void {
    for (;;) {
      this.expire()
      const taker = this.#next()
      if (taker === undefined || this.ready.length === 0) return
      this.#give(taker, this.ready.shift() as Item)
    }
  }

  clear(name: 'purged' | 'deleted'): void {
    const delayed = this.delayed.map(({ item }) => item)
    for (const { id } of [...this.ready, ...delayed]) this.left.set(id, name)
    this.ready = []
    this.delayed = []
  }

  /** Of those with the highest priority, the one who waits longest; with a single active consumer only that one. */
  #next(): Taker | undefined {
    if (this.#settings.singleActiveConsumer) {
      if (this.#mustYield) return undefined
      return this.#waiting.find(taker => taker === this.#active)
    }
    const highest = Math.max(...this.#waiting.map(({ priority }) => priority))
    return this.#waiting.find(({ priority }) => priority === highest)
  }

  #comeBack(item: Item, failed: boolean): void {
    const returns = item.returns + 1
    const failures = item.failures + (failed || this.#rules.everyReturnFails ? 1 : 0)
    const limit = this.#settings.deliveryLimit ?? (this.#quorum ? this.#rules.deliveryLimit : -1)
    if (limit >= 0 && failures > limit) this.#bury(item, 'delivery_limit')
    else {
      const back = { ...item, returns, failures }
      const ms = this.#delayOf(back, failed)
      if (ms > 0) this.delayed.push({ at: this.now + ms, item: back })
      else this.#return(back)
      this.#dropExcess()
    }
  }

  #return(item: Item): void {
    this.#enter({ ...item, cameBack: this.#quorum ? ++this.#returns : 0 })
  }

  #delayOf({ failures }: Item, failed: boolean): number {
    const { delayedRetryType: type, delayedRetryMinMs, delayedRetryMaxMs } = this.#settings
    if (type === 'disabled' || (type === 'failed' && !failed)) return 0
    return Math.min(delayedRetryMinMs * Math.max(1, failures), delayedRetryMaxMs)
  }

  /** Time passes, and with every millisecond what it brings. */
  pass(ms: number): void {
    for (let left = ms; left > 0; left--) {
      this.now++
      const due = this.delayed.filter(({ at }) => at <= this.now)
      this.delayed = this.delayed.filter(({ at }) => at > this.now)
      for (const { item } of due.sort((a, b) => a.item.id - b.item.id)) this.#return(item)
      this.expire()
    }
  }

  /** Sees who is active: in a quorum queue one of higher priority is, once it need not wait. */
  #appoint(): void {
    const active = this.#active
    if (active === null || !this.#subscribed.has(active)) {
      this.#active = this.#candidate ?? null
    } else if (this.#mustYield && this.hands(active.name).length === 0) {
      this.#subscribed.delete(active)
      this.#subscribed.add(active)
      this.#active = this.#candidate as Taker
    }
  }

  /** Who is to be active: the first; in a quorum queue of those with the highest priority. */
  get #candidate(): Taker | undefined {
    const all = [...this.#subscribed]
    const highest = Math.max(...all.map(({ priority }) => priority))
    return this.#quorum ? all.find(({ priority }) => priority === highest) : all[0]
  }

  get #mustYield(): boolean {
    const highest = this.#candidate?.priority ?? 0
    return this.#quorum && this.#active !== null && highest > this.#active.priority
  }

  #give(taker: Taker, item: Item): void {
    this.#waiting = this.#waiting.filter(other => other !== taker)
    this.#hand(taker, item)
    if (taker.noAck || this.hands(taker.name).length !== taker.limit) this.#waiting.push(taker)
  }

  #hand({ name, noAck }: Taker, item: Item): void {
    this.deliveries.push(`${name} ${item.id} ${item.returns}`)
    if (noAck) this.left.set(item.id, 'acked')
    else this.#hands.set(name, [...this.hands(name), item])
  }

  /** Other settings from now on: what is too much goes. */
  apply(settings: QueueSettings): void {
    this.#settings = settings
    this.#trim()
  }

  #enter(item: Item): void {
    this.ready.push(item)
    const back = ({ cameBack }: Item) => cameBack || Number.POSITIVE_INFINITY
    this.ready.sort((a, b) =>
      a.cameBack + b.cameBack > 0 ? back(a) - back(b) : b.level - a.level || a.id - b.id,
    )
    this.#trim()
  }

  #trim(): void {
    this.#dropExcess()
    this.expire()
  }

  /** A quorum queue cannot dead-letter what it refuses. */
  get #dropsHead(): boolean {
    const { overflow } = this.#settings
    return overflow === 'drop-head' || (this.#quorum && overflow === 'reject-publish-dlx')
  }

  #dropExcess(): void {
    const { maxLength, maxLengthBytes } = this.#settings
    while (
      this.#dropsHead &&
      this.ready.length > 0 &&
      ((maxLength >= 0 && this.ready.length + this.delayed.length > maxLength) ||
        (maxLengthBytes >= 0 && this.readyBytes > maxLengthBytes))
    )
      this.#bury(this.ready.shift() as Item, 'maxlen')
  }

  #bury({ id }: Item, reason: DeathReason): void {
    this.left.set(id, reason)
    this.burials.push(`${id} ${reason}`)
  }
}
