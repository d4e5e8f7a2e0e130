/**
 * A broker under random work, failures and crashes, and a checker that knows what was promised:
 * what was confirmed is there until it is settled, what was durably settled is not, each queue is
 * in the order of its messages' numbers, and every message is what was published.
 */
import { ok } from 'node:assert'
import { returnedAgain } from '../../src/broker/queues/return-count.js'
import type { Files } from '../../src/platform/files.js'
import { lookup, type PlainTable, textOf } from '../../src/wire/field-table.js'
import {
  BrokerLife,
  type ConfirmingChannel,
  type Delivery,
  type LogProgress,
  PendingCommit,
  type Settlement,
  settle,
  Taker,
  tick,
} from './broker-life.js'
import { liveThrough, type Subject } from './lives.js'
import { octetsOf } from './messages.js'
import { Dice, type SimulatedDisk } from './simulated-disk.js'
import { owner } from './vhosts.js'

const graves = 'graves'
const toGraves = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': graves }

/** Where dead letters go that must arrive; it is not always bound to the graves. */
const hearse = 'hearse'

/** Queues with their arguments; `dying` ones send what they lose to the graves, and so does `careful`. */
const topology = new Map<string, PlainTable>([
  ['a', {}],
  ['b', {}],
  ['ranked', { 'x-max-priority': 4 }],
  ['dying', toGraves],
  ['short', { ...toGraves, 'x-max-length': 8 }],
  ['strict', { 'x-max-length': 20, 'x-overflow': 'reject-publish' }],
  ['quorum', { 'x-queue-type': 'quorum', 'x-delivery-limit': -1 }],
  [
    'careful',
    {
      'x-queue-type': 'quorum',
      'x-delivery-limit': -1,
      'x-dead-letter-exchange': hearse,
      'x-dead-letter-strategy': 'at-least-once',
      'x-overflow': 'reject-publish',
    },
  ],
  [graves, {}],
])
const fanout = ['a', 'b', 'dying', 'quorum']
const passing = 'passing'

function declare(life: BrokerLife): void {
  for (const [name, args] of topology) life.declareQueue(name, args)
  life.declareQueue(passing, {}, false)
  for (const name of [...fanout, passing]) life.bind('amq.fanout', name)
  const flags = { durable: true, internal: false, autoDelete: false, arguments: [] }
  life.vhost.declareExchange({ name: hearse, type: 'fanout', ...flags })
  life.bind(hearse, graves)
}

/** A message in a queue, or the letter that came of it in the graves. */
interface Entry {
  readonly serial: number
  /** Where it was published to. */
  readonly home: string
  /** It may have left its home for the graves: it is in one of the two. */
  mayMove: boolean
  /** It may have gone without a trace, as such a message does. */
  mayGo: boolean
  readonly priority: number
  /** Wall clock; Infinity: never. */
  readonly expiryMs: number
  readonly bytes: number
  number: number
  /** The publisher was told that it is safe, or that it is not. */
  confirmed: boolean
  refused: boolean
  /** Somebody had it. */
  delivered: boolean
  inHands: boolean
  /** The log's number by which it is settled durably; Infinity: it is not settled. */
  settledBy: number
  /** How often it came back, and by which number of the log that is known. */
  readonly returns: { readonly count: number; by: number }[]
}

/** What was to be there, or not, together. */
interface Unit {
  readonly entered: readonly Entry[]
  readonly left: readonly Entry[]
}

interface Channel {
  readonly confirms: ConfirmingChannel
  /** What each publish made, by sequence number. */
  readonly made: Entry[][]
  told: number
}

/** What happened in all lives, to see that a test covers what it should. */
export function noFigures() {
  return {
    crashes: 0,
    kills: 0,
    cleanStops: 0,
    crashesInRecovery: 0,
    segments: 0,
    removed: 0,
    copied: 0,
    published: 0,
    confirmed: 0,
    refused: 0,
    withdrawn: 0,
    letters: 0,
    held: 0,
    expired: 0,
    commits: 0,
    failedCommits: 0,
    fanouts: 0,
    returns: 0,
    settled: 0,
    failures: 0,
    recoveries: 0,
    found: 0,
  }
}

export type Figures = ReturnType<typeof noFigures>

/** What a test may put in place of the real thing, to see whether the checker has teeth. */
export interface Sabotage {
  readonly files?: (files: Files) => Files
  readonly progress?: (progress: LogProgress) => LogProgress
}

export class BrokerBench implements Subject {
  readonly disk: SimulatedDisk
  readonly dice: Dice
  readonly figures: Figures
  life!: BrokerLife
  readonly #sabotage: Sabotage
  #wallMs: number | undefined
  #entries: Entry[] = []
  readonly #bySerial = new Map<number, Entry[]>()
  #serial = 0
  #units: Unit[] = []
  #commits: { commit: PendingCommit; entries: Entry[]; left: Entry[] }[] = []
  #channels: Channel[] = []
  #takers: Taker[] = []
  #gotten: Delivery[] = []
  /** How the life before ended. */
  #cleanly = true

  constructor(disk: SimulatedDisk, seed: number, figures = noFigures(), sabotage: Sabotage = {}) {
    this.disk = disk
    this.dice = new Dice(seed ^ 0x2545f491)
    this.figures = figures
    this.#sabotage = sabotage
  }

  /** Starts the broker; now and then the machine crashes meanwhile. */
  async open(crashes = 0): Promise<void> {
    for (;;) {
      const session = this.disk.session()
      const files = this.#sabotage.files?.(session) ?? session
      this.life = new BrokerLife(files, declare, this.#wallMs)
      const opening = this.life.open()
      if (!this.dice.chance(crashes)) {
        await opening
        break
      }
      void opening.catch(() => {})
      for (let i = this.dice.below(120); i > 0 && !this.life.opened; i--) await tick()
      if (!this.life.opened) this.figures.crashesInRecovery++
      this.figures.crashes++
      this.#wallMs = this.life.clock.wallMs()
      this.life.dead = true
      this.disk.crash()
    }
    this.figures.recoveries++
    const { life } = this
    ok(this.#cleanly || !life.log.recovery.clean, 'a crash is taken for a proper stop')
    for (const { level, fields, message } of life.lines)
      ok(level !== 'error', `${message} ${JSON.stringify(fields)}`)
    const progress = this.#sabotage.progress?.(life.journal) ?? life.journal
    this.#channels = [0, 1].map(() => ({
      confirms: life.confirming(progress),
      made: [],
      told: 0,
    }))
    this.#commits = []
    this.#takers = []
    this.#gotten = []
  }

  /** Publishes, consumes and settles at random for some turns. */
  async work(rounds: number): Promise<void> {
    const { dice } = this
    for (let round = 0; round < rounds; round++) {
      for (let i = dice.below(6); i > 0; i--) await this.#act()
      for (let i = dice.below(5); i > 0; i--) await tick()
      if (dice.chance(0.1)) this.life.clock.advance(dice.below(300))
      this.#listen()
      const { alarms } = this.life.broker
      ok(this.life.log.failing || !alarms.has('log'), 'the alarm is set though the log works')
    }
  }

  /** The disk works again, so the alarm goes. */
  async recovered(): Promise<void> {
    const { life } = this
    for (let i = 0; life.log.failing; i++) {
      ok(i < 1000, 'the log does not recover')
      await life.turns(1)
      life.clock.advance(50)
    }
    ok(!life.broker.alarms.has('log'), 'the alarm stays')
  }

  async workOnFullDisk(): Promise<void> {
    this.disk.free = this.dice.below(20_000)
    await this.work(this.dice.below(30))
    if (this.dice.chance(0.5)) this.disk.free = Number.POSITIVE_INFINITY
    this.life.clock.advance(1000)
  }

  /** Ends this life in one of several ways. */
  async end(): Promise<void> {
    const { life, figures, disk } = this
    this.#listen()
    figures.removed += life.log.cleaner.removed
    figures.copied += life.log.cleaner.copied
    figures.segments += life.log.segments.length
    const way = this.dice.next()
    this.#cleanly = false
    if (way < 0.1 && !life.log.failing) {
      disk.faults = { fail: 0, short: 0, names: 0 }
      disk.free = Number.POSITIVE_INFINITY
      for (const taker of this.#takers) this.#endTaker(taker)
      for (const delivery of this.#gotten) this.#settle(delivery, 'requeue')
      await life.turns(2)
      await life.close()
      this.#listen()
      figures.cleanStops++
      this.#cleanly = true
      disk.kill()
    } else if (way < 0.2) {
      figures.kills++
      disk.kill()
    } else {
      figures.crashes++
      disk.crash()
    }
    life.dead = true
    this.#wallMs = life.clock.wallMs() + (this.dice.chance(0.2) ? this.dice.below(3000) : 0)
  }

  /** Compares what recovery has found with what was promised, and goes on from what it has found. */
  async check(): Promise<void> {
    const { life, figures } = this
    const durable = this.#durableUpTo
    // What has expired meanwhile goes to the graves first.
    await life.turns(3)
    const now = life.clock.wallMs()
    const found = new Map<Entry, Delivery>()
    const all: Delivery[] = []
    for (const name of topology.keys()) {
      // The graves are the last: what was found to have expired goes there.
      while (name === graves && life.journal.leaving > 0) await life.turns(3)
      if (name === graves) await this.#lettersArrived()
      const deliveries = await life.getAll(name)
      this.#checkOrder(name, deliveries)
      for (const delivery of deliveries) {
        const entry = this.#checkMessage(name, delivery, durable)
        const other = found.get(entry)?.queue.name
        ok(other === undefined, `${about(entry)} is in ${other} and in ${name}`)
        found.set(entry, delivery)
        if (name !== entry.home) figures.letters++
      }
      all.push(...deliveries)
    }
    ok(life.queue(passing).readyCount === 0, 'a transient queue has messages')
    figures.found += all.length
    for (const entry of this.#entries) {
      const isThere = found.has(entry)
      if (entry.settledBy < Number.POSITIVE_INFINITY) {
        const known = entry.settledBy <= durable || this.#cleanly
        ok(!known || !isThere, `${about(entry)} came back to ${found.get(entry)?.queue.name}`)
        continue
      }
      if (entry.expiryMs <= now) figures.expired++
      if (entry.mayGo || entry.refused || (entry.expiryMs <= now && !diesLoudly(entry))) continue
      ok(isThere || !(entry.confirmed || this.#cleanly), `${about(entry)} is lost`)
    }
    this.#checkUnits(found, durable, now)
    this.#goOn(found)
    for (const delivery of all) this.#settle(delivery, 'requeue')
    await life.turns(2)
  }

  /** Letters that must arrive are tried again some time after they can. */
  async #lettersArrived(): Promise<void> {
    const { life } = this
    const careful = life.queue('careful')
    this.figures.held += careful.asideCount
    for (let seconds = 0; careful.asideCount > 0; seconds++) {
      ok(seconds < 200, 'a letter does not arrive')
      life.clock.advance(1000)
      await life.turns(3)
    }
  }

  /** All messages up to this number were durable in the life before. */
  #durableUpTo = 0

  // --- what it does

  async #act(): Promise<void> {
    const { dice } = this
    const kind = dice.below(25)
    if (kind < 9) this.#publish()
    else if (kind < 17) this.#settleSome()
    else if (kind < 19) this.#consume()
    else if (kind < 20) this.#get()
    else if (kind < 21) await this.#transaction()
    else if (kind < 22 && this.#takers.length > 0)
      this.#endTaker(this.#takers.splice(dice.below(this.#takers.length), 1)[0] as Taker)
    else if (kind < 23) this.#publishAway()
    else if (kind < 24) this.#getAtOnce()
    else this.#bindGraves(dice.chance(0.4))
  }

  #bindGraves(bound: boolean): void {
    const { bindings } = this.life.vhost
    if (bound) this.life.bind(hearse, graves)
    else bindings.unbind(hearse, { kind: 'queue', name: graves }, '', [], owner)
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.dice.below(from.length)] as T
  }

  #publish(): Entry[] {
    const channel = this.#pick(this.#channels)
    const entries = this.#made(publish => channel.confirms.publish(publish))
    channel.made.push(entries)
    return entries
  }

  /** Makes a message and publishes it; returns what it may have become. */
  #made(publish: (message: Parameters<BrokerLife['publish']>[0]) => void): Entry[] {
    const { dice, life } = this
    const serial = ++this.#serial
    const bytes = dice.chance(0.01) ? 60_000 + dice.below(90_000) : 8 + dice.below(600)
    const spread = dice.chance(0.2)
    const homes = spread ? fanout : [this.#pick([...topology.keys()])]
    const expires = dice.chance(0.15)
    const ttlMs = expires ? dice.below(dice.chance(0.5) ? 5000 : 50) : 0
    const priority = dice.below(6)
    const refused = homes[0] === 'strict' && life.queue('strict').readyCount >= 20
    const expiryMs = expires ? life.clock.wallMs() + ttlMs : Number.POSITIVE_INFINITY
    // Before it is published: a consumer may have it at once.
    const entries = refused ? [] : this.#enter(serial, homes, priority, expiryMs, bytes)
    publish({
      exchange: spread ? 'amq.fanout' : '',
      key: spread ? '' : (homes[0] as string),
      body: contentOf(serial, bytes),
      properties: {
        messageId: `${serial}`,
        priority,
        ...(expires ? { expiration: `${ttlMs}` } : {}),
      },
    })
    for (const entry of entries) entry.number = life.vhost.arrival.loggedAs
    this.figures.published++
    if (spread) this.figures.fanouts++
    return entries
  }

  #enter(
    serial: number,
    homes: readonly string[],
    priority: number,
    expiryMs: number,
    bytes: number,
  ): Entry[] {
    const entries: Entry[] = homes.map(home => ({
      serial,
      home,
      mayMove: home === 'short',
      // What expires at once is never in the log.
      mayGo: expiryMs <= this.life.clock.wallMs(),
      priority,
      expiryMs,
      bytes,
      number: 0,
      confirmed: false,
      refused: false,
      delivered: false,
      inHands: false,
      settledBy: Number.POSITIVE_INFINITY,
      returns: [],
    }))
    this.#entries.push(...entries)
    this.#bySerial.set(serial, entries)
    return entries
  }

  /** Transient messages, and those to a transient queue, are never seen after a restart. */
  #publishAway(): void {
    const { life, dice } = this
    const body = contentOf(0, 8 + dice.below(300))
    if (dice.chance(0.5)) life.publish({ key: 'a', body, persistent: false })
    else life.publish({ key: passing, body })
  }

  #consume(): void {
    if (this.#takers.length >= 6) return
    const { life } = this
    const queue = life.queue(this.#pick([...topology.keys()]))
    const noAck = this.dice.chance(0.1)
    const limit = 1 + this.dice.below(12)
    // One that takes all at once soon stops.
    if (noAck && this.#takers.some(taker => taker.noAck)) return
    const heard = (delivery: Delivery) => {
      if (life.dead) return
      const entry = this.#delivered(delivery)
      if (noAck && entry !== null) this.#leaves(entry)
    }
    this.#takers.push(new Taker(life, queue, { noAck, limit }, heard))
  }

  #get(): void {
    const got = this.life.get(this.#pick([...topology.keys()]))
    if (got === null) return
    this.#delivered(got)
    this.#gotten.push(got)
  }

  #getAtOnce(): void {
    const got = this.life.get(this.#pick([...topology.keys()]), true)
    const entry = got === null ? null : this.#delivered(got)
    if (entry !== null) this.#leaves(entry)
  }

  #settleSome(): void {
    const { dice } = this
    const held = this.#takers.filter(taker => taker.held.length > 0)
    if (held.length === 0 || dice.chance(0.1)) {
      if (this.#gotten.length === 0) return
      const [delivery] = this.#gotten.splice(dice.below(this.#gotten.length), 1)
      this.#settle(delivery as Delivery, this.#how())
      return
    }
    const taker = this.#pick(held)
    for (let i = dice.below(8); i >= 0 && taker.held.length > 0; i--) {
      const how = this.#how()
      const place = dice.chance(0.7) ? 0 : dice.below(taker.held.length)
      this.#note(taker.held[place] as Delivery, how)
      taker.settle(place, how)
    }
  }

  #how(): Settlement {
    const way = this.dice.next()
    return way < 0.75 ? 'complete' : way < 0.9 ? 'requeue' : 'discard'
  }

  #settle(delivery: Delivery, how: Settlement): void {
    this.#note(delivery, how)
    settle(delivery, how)
  }

  #endTaker(taker: Taker): void {
    for (const delivery of taker.held) this.#note(delivery, 'requeue')
    taker.end()
  }

  async #transaction(): Promise<void> {
    const { life, dice } = this
    const { journal } = life
    const entered: Entry[] = []
    const left: Entry[] = []
    const logged: number[] = []
    journal.beginTransaction()
    for (let i = dice.below(4); i >= 0; i--) {
      entered.push(...this.#made(message => life.publish(message)))
      const { loggedAs } = life.vhost.arrival
      if (loggedAs > 0) logged.push(loggedAs)
      // A large commit takes several turns.
      if (dice.chance(0.2)) await tick()
    }
    const taker = this.#takers.find(({ held }) => held.length > 0)
    if (taker !== undefined) {
      const entry = this.#note(taker.held[0] as Delivery, 'complete')
      // What the disk does not have yet need not be settled there.
      if (entry !== null && entry.number <= journal.durableUpTo) left.push(entry)
      taker.settle(0, 'complete')
    }
    const commit = new PendingCommit(journal, journal.endTransaction(), logged)
    this.#units.push({ entered, left })
    this.#commits.push({ commit, entries: entered, left })
  }

  // --- what it notes

  /** A message was delivered: what it is, null for a transient one. */
  #delivered(delivery: Delivery): Entry | null {
    const serial = Number(delivery.properties.messageId ?? 0)
    if (serial === 0) return null
    const entry = this.#entryOf(delivery)
    if (entry === undefined) throw new Error(`${serial} was never in ${delivery.queue.name}`)
    ok(entry.settledBy === Number.POSITIVE_INFINITY, `${about(entry)} was settled`)
    ok(!entry.inHands, `${about(entry)} is in two hands`)
    const isLetter = delivery.queue.name !== entry.home
    ok(
      !entry.refused || entry.delivered || isLetter || entry.mayMove,
      `${about(entry)} was refused, and delivered later`,
    )
    ok(delivery.body.equals(contentOf(serial, entry.bytes)), `content of ${about(entry)}`)
    entry.delivered = true
    entry.inHands = true
    return entry
  }

  #entryOf({ queue, properties }: Delivery): Entry | undefined {
    return this.#bySerial
      .get(Number(properties.messageId))
      ?.find(entry => entry.home === queue.name || (queue.name === graves && diesLoudly(entry)))
  }

  /** A delivery is about to be settled. */
  #note(delivery: Delivery, how: Settlement): Entry | null {
    const entry = this.#entryOf(delivery)
    if (entry === undefined) return null
    entry.inHands = false
    if (how === 'requeue') {
      const returned = {
        count: returnedAgain(delivery.returns, true),
        by: Number.POSITIVE_INFINITY,
      }
      entry.returns.push(returned)
      this.#atTurnEnd(by => {
        returned.by = by
      })
    } else if (how === 'discard' && diesLoudly(entry) && delivery.queue.name === entry.home) {
      entry.mayMove = true
    } else {
      this.#leaves(entry)
    }
    return entry
  }

  #leaves(entry: Entry): void {
    entry.inHands = false
    entry.settledBy = Number.MAX_SAFE_INTEGER
    this.figures.settled++
    this.#atTurnEnd(by => {
      entry.settledBy = by
    })
  }

  /** Tells the log's number behind which nothing of this turn can stand. */
  #atTurnEnd(tell: (by: number) => void): void {
    const { life } = this
    setImmediate(() =>
      setImmediate(() => {
        if (life === this.life && !life.dead) tell(life.log.nextNumber - 1)
      }),
    )
  }

  /** Hears what publishers were told. */
  #listen(): void {
    const { life, figures } = this
    this.#durableUpTo = life.journal.durableUpTo
    for (const channel of this.#channels) {
      const { confirms, made } = channel
      confirms.listen()
      for (; confirms.acked.has(channel.told + 1) || confirms.nacked.has(channel.told + 1); ) {
        const entries = made[channel.told] as Entry[]
        const refused = confirms.nacked.has(++channel.told)
        if (refused) figures.refused++
        else figures.confirmed++
        for (const entry of entries)
          if (refused) this.#refuse(entry)
          else entry.confirmed = true
      }
    }
    this.#commits = this.#commits.filter(({ commit, entries, left }) => {
      if (commit.outcome === 'waiting') return true
      if (commit.outcome === 'failed') figures.failedCommits++
      else figures.commits++
      for (const entry of entries)
        if (commit.outcome === 'failed') this.#refuse(entry)
        else entry.confirmed = true
      if (commit.outcome === 'done')
        for (const entry of left) entry.settledBy = Math.min(entry.settledBy, this.#durableUpTo)
      return false
    })
  }

  #refuse(entry: Entry): void {
    entry.refused = true
    this.figures.failures++
    if (!entry.delivered && entry.settledBy === Number.POSITIVE_INFINITY) this.figures.withdrawn++
  }

  // --- what it checks

  /** Higher priorities first, and then as they came. */
  #checkOrder(name: string, deliveries: readonly Delivery[]): void {
    const isQuorum = topology.get(name)?.['x-queue-type'] === 'quorum'
    const rank = ({ properties: { priority = 0 }, returns }: Delivery) => {
      if (isQuorum) return returns > 0 ? 32 : Math.min(31, priority)
      return name === 'ranked' ? Math.min(4, priority) : 0
    }
    for (const [i, next] of deliveries.entries()) {
      const before = deliveries[i - 1]
      if (before === undefined || rank(next) < rank(before)) continue
      ok(
        rank(next) === rank(before) && next.number > before.number,
        `${next.properties.messageId} stands behind ${before.properties.messageId} in ${name}`,
      )
    }
  }

  #checkMessage(name: string, delivery: Delivery, durable: number): Entry {
    const { life } = this
    const { properties, body, number, ttlMs, redelivered, returns } = delivery
    const entry = this.#entryOf(delivery)
    if (entry === undefined) throw new Error(`${properties.messageId} was never in ${name}`)
    ok(body.equals(contentOf(entry.serial, entry.bytes)), `content of ${about(entry)}`)
    ok(properties.priority === entry.priority, `priority of ${about(entry)}`)
    const isLetter = name !== entry.home
    if (isLetter) {
      const headers = properties.headers ?? []
      ok(textOf(lookup(headers, 'x-first-death-queue')) === entry.home, 'it died elsewhere')
      ok(ttlMs === Number.POSITIVE_INFINITY && properties.expiration === undefined)
      const expired = entry.expiryMs <= life.clock.wallMs()
      ok(entry.mayMove || expired, `${about(entry)} has no reason to be dead`)
    } else {
      ok(entry.number === number, `number of ${about(entry)}`)
      const leftMs = entry.expiryMs - life.clock.wallMs()
      ok(leftMs === ttlMs || Math.abs(leftMs - ttlMs) < 1, `time to live of ${about(entry)}`)
    }
    // A letter has not been returned as often as the message of which it came.
    const known = entry.returns.filter(({ by }) => by <= durable).map(({ count }) => count)
    const isHome = !entry.mayMove && !isLetter
    const most = Math.max(0, ...entry.returns.map(({ count }) => count))
    if (life.log.recovery.clean) {
      ok(redelivered === returns > 0, `flag of ${about(entry)} after a proper stop`)
      if (isHome) ok(returns === most, `returns of ${about(entry)} after a proper stop`)
    } else {
      ok(redelivered || number > life.log.recovery.lastNumber, `flag of ${about(entry)}`)
      if (isHome)
        ok(returns <= most && returns >= Math.max(0, ...known), `returns of ${about(entry)}`)
    }
    if (returns > 0) this.figures.returns++
    return entry
  }

  #checkUnits(found: ReadonlyMap<Entry, Delivery>, durable: number, now: number): void {
    for (const { entered, left } of this.#units) {
      // Of those that expired, or left otherwise since, nothing can be said.
      const came = entered
        .filter(
          ({ settledBy, refused, mayGo, expiryMs }) =>
            settledBy === Number.POSITIVE_INFINITY && !refused && !mayGo && expiryMs > now,
        )
        .map(entry => found.has(entry))
      const gone = left.filter(({ expiryMs }) => expiryMs > now).map(entry => !found.has(entry))
      const all = [...came, ...gone]
      ok(
        all.every(is => is === all[0]),
        `a unit is there in part, up to ${durable}: ${JSON.stringify({ entered, left, came, gone })}`,
      )
    }
    this.#units = []
  }

  /** What was not durable is now known to be there, or not to be. */
  #goOn(found: ReadonlyMap<Entry, Delivery>): void {
    this.#entries = []
    this.#bySerial.clear()
    for (const [entry, { queue, returns, number }] of found) {
      // A letter of this life may be undone by the next crash.
      const isLetter = queue.name !== entry.home && number <= this.life.log.recovery.lastNumber
      const isHome = queue.name === entry.home
      const next: Entry = {
        ...entry,
        home: isLetter ? graves : entry.home,
        number: isLetter || isHome ? number : entry.number,
        expiryMs: isLetter ? Number.POSITIVE_INFINITY : entry.expiryMs,
        mayMove: queue.name === 'short' || !(isLetter || isHome),
        mayGo: false,
        confirmed: true,
        refused: false,
        delivered: true,
        inHands: false,
        settledBy: Number.POSITIVE_INFINITY,
        returns: [{ count: returns, by: 0 }],
      }
      this.#entries.push(next)
      const others = this.#bySerial.get(entry.serial)
      if (others === undefined) this.#bySerial.set(entry.serial, [next])
      else others.push(next)
    }
  }
}

/** What leaves its queue without being settled goes to the graves. */
function diesLoudly({ home }: Entry): boolean {
  return home === 'dying' || home === 'short' || home === 'careful'
}

function about({ serial, home, number }: Entry): string {
  return `${serial} (number ${number}) of queue ${home}`
}

/** The body of a message: the same for the same serial and size. */
function contentOf(serial: number, bytes: number): Buffer {
  return octetsOf(bytes, 2 * serial)
}

/** One disk through several lives. */
export function lives(
  disk: SimulatedDisk,
  seed: number,
  count: number,
  figures: Figures,
  sabotage: Sabotage = {},
): Promise<void> {
  return liveThrough(disk, new BrokerBench(disk, seed, figures, sabotage), count)
}
