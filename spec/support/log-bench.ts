/**
 * A log under random work, failures and crashes, and a checker that knows what was promised: what
 * `durable` has passed is there, what was durably settled is not, and what was appended as one is
 * there as one.
 */
import { ok } from 'node:assert'
import type { Files } from '../../src/platform/files.js'
import { Turn } from '../../src/platform/turn.js'
import { FileLog } from '../../src/store/file-log.js'
import type { LogOwner } from '../../src/store/log.js'
import { Ranges, Targets } from '../../src/store/targets.js'
import { ChunkPool } from '../../src/structures/chunk-pool.js'
import { FakeClock } from './fake-clock.js'
import { liveThrough, type Subject } from './lives.js'
import { Dice, type SimulatedDisk } from './simulated-disk.js'

export const segmentBytes = 16 * 1024
const queues = 5

/** A message as its owner knows it: bytes in a file, and who holds it. */
export interface Held {
  readonly queues: Set<number>
  readonly returns: Map<number, number>
  readonly expiries: Map<number, number>
  readonly marks: number
  readonly bodySize: number
  segment: number
  offset: number
  readonly size: number
}

/** The simplest owner of a log: a map of messages. */
export class MapOwner implements LogOwner {
  readonly messages = new Map<number, Held>()
  readonly commands: { number: number; text: string }[] = []
  readonly contents = new Map<number, Buffer | Error>()
  /** Messages that cleaning has given up, and why. */
  readonly lost = new Map<number, Error>()
  durableUpTo = 0
  failures = 0
  #liveBytes = 0
  /** A dead owner is the one of before the crash. */
  dead = false
  onDurable: (upTo: number) => void = () => {}
  onFailed: (from: number, error: Error) => void = () => {}

  message(
    number: number,
    targets: Targets,
    marks: number,
    segment: number,
    offset: number,
    size: number,
    bodySize: number,
  ): void {
    const queues = new Set<number>()
    const expiries = new Map<number, number>()
    for (let i = 0; i < targets.count; i++) {
      queues.add(targets.queues[i] as number)
      if (targets.expiries[i] !== 0)
        expiries.set(targets.queues[i] as number, targets.expiries[i] as number)
    }
    const held = { queues, returns: new Map(), expiries, marks, bodySize, segment, offset, size }
    this.#liveBytes += size - (this.messages.get(number)?.size ?? 0)
    this.messages.set(number, held)
  }

  settled(queue: number, first: number, last: number): void {
    ok(last >= first && last - first < 1e6)
    for (let number = first; number <= last; number++) {
      const held = this.messages.get(number)
      if (held === undefined) continue
      held.queues.delete(queue)
      if (held.queues.size > 0) continue
      this.messages.delete(number)
      this.#liveBytes -= held.size
    }
  }

  returned(queue: number, number: number, count: number): void {
    const held = this.messages.get(number)
    if (held?.queues.has(queue) !== true) return
    held.returns.set(queue, Math.max(count, held.returns.get(queue) ?? 0))
  }

  opaque(number: number, bytes: Buffer, start: number, end: number): void {
    this.commands.push({ number, text: bytes.toString('latin1', start, end) })
  }

  durable(upTo: number): void {
    if (this.dead) return
    ok(upTo >= this.durableUpTo, 'what is durable rises')
    this.durableUpTo = upTo
    this.onDurable(upTo)
  }

  failed(from: number, error: Error): void {
    if (this.dead) return
    this.failures++
    this.onFailed(from, error)
  }

  placed(number: number, segment: number, offset: number): void {
    const held = this.messages.get(number)
    if (held === undefined) return
    held.segment = segment
    held.offset = offset
  }

  liveBytes(): number {
    return this.#liveBytes
  }

  isHeld(number: number, segment: number, offset: number): boolean {
    const held = this.messages.get(number)
    return held !== undefined && held.segment === segment && held.offset === offset
  }

  narrow(number: number, targets: Targets): void {
    const queues = this.messages.get(number)?.queues
    for (let i = targets.count - 1; i >= 0; i--)
      if (queues?.has(targets.queues[i] as number) !== true) targets.remove(i)
  }

  damaged(number: number, error: Error): void {
    this.lost.set(number, error)
  }

  loaded(tag: number, bytes: Buffer, start: number, end: number): void {
    this.contents.set(tag, Buffer.from(bytes.subarray(start, end)))
  }

  unreadable(tag: number, error: Error): void {
    this.contents.set(tag, error)
  }
}

/** What was promised of a message in a queue. */
interface Entry {
  readonly number: number
  readonly queue: number
  /** Number of the record that settled it; Infinity: none. */
  settledBy: number
}

/** What was appended as one unit: messages there, or not, together. */
interface Unit {
  readonly entered: Entry[]
  readonly left: Entry[]
}

/** What happened in all lives of a log, to see that a test covers what it should. */
export interface Figures {
  crashes: number
  kills: number
  crashesInRecovery: number
  crashesInCleaning: number
  removed: number
  copied: number
  failures: number
  torn: number
  cleanStops: number
  segments: number
  read: number
  damages: number
  returned: number
  fullDisks: number
}

export function noFigures(): Figures {
  return {
    crashes: 0,
    kills: 0,
    crashesInRecovery: 0,
    crashesInCleaning: 0,
    removed: 0,
    copied: 0,
    failures: 0,
    torn: 0,
    cleanStops: 0,
    segments: 0,
    read: 0,
    damages: 0,
    returned: 0,
    fullDisks: 0,
  }
}

/** What a test may put in place of the real thing, to see whether the checker has teeth. */
export interface Sabotage {
  files?: (files: Files) => Files
  owner?: () => MapOwner
}

/** What a message says of its body, of which the log knows nothing. */
const bodySize = (content: Buffer) => content.length % 1000

const tick = () => new Promise<void>(resolve => setImmediate(resolve))

export class LogBench implements Subject {
  readonly disk: SimulatedDisk
  readonly dice: Dice
  readonly figures: Figures
  log!: FileLog
  owner!: MapOwner
  clock = new FakeClock()
  readonly #sabotage: Sabotage
  readonly #contents = new Map<number, Buffer>()
  #entries: Entry[] = []
  #units: Unit[] = []
  #returns: { entry: Entry; by: number; count: number }[] = []
  #commands: { number: number; text: string }[] = []
  #dropped = 0
  #durableUpTo = 0
  #serial = 0
  readonly #targets = new Targets()
  readonly #ranges = new Ranges()

  constructor(disk: SimulatedDisk, seed: number, figures = noFigures(), sabotage: Sabotage = {}) {
    this.disk = disk
    this.dice = new Dice(seed ^ 0x5bd1e995)
    this.figures = figures
    this.#sabotage = sabotage
  }

  /** Opens the log; now and then the machine crashes meanwhile. */
  async open(crashes = 0): Promise<void> {
    for (;;) {
      const opening = this.#begin()
      const owner = this.owner
      if (!this.dice.chance(crashes)) {
        this.log = await opening
        break
      }
      let opened = false
      opening.then(
        () => {
          opened = true
        },
        () => {},
      )
      for (let i = this.dice.below(60); i > 0 && !opened; i--) await tick()
      owner.dead = true
      if (!opened) this.figures.crashesInRecovery++
      this.disk.crash()
      this.figures.crashes++
    }
    this.figures.damages += this.log.recovery.damages.length
    if (this.log.recovery.cutBytes > 0) this.figures.torn++
  }

  #begin(): Promise<FileLog> {
    this.owner = this.#sabotage.owner?.() ?? new MapOwner()
    this.clock = new FakeClock()
    const session = this.disk.session()
    return FileLog.open(
      {
        folder: 'log',
        files: this.#sabotage.files?.(session) ?? session,
        clock: this.clock,
        turn: new Turn(setImmediate, error => {
          throw error
        }),
        pool: new ChunkPool(),
        segmentBytes,
      },
      this.owner,
    )
  }

  /** Appends and settles at random for some turns. */
  async work(rounds: number): Promise<void> {
    for (let round = 0; round < rounds; round++) {
      for (let i = this.dice.below(6); i > 0; i--) this.#act()
      for (let i = this.dice.below(5); i > 0; i--) await tick()
      if (this.dice.chance(0.1)) this.clock.advance(this.dice.below(300))
    }
  }

  /** Ends this life in one of several ways. */
  async recovered(): Promise<void> {}

  async workOnFullDisk(): Promise<void> {
    this.disk.free = this.dice.below(80_000)
    await this.work(this.dice.below(30))
    if (this.log.short) this.figures.fullDisks++
    if (this.dice.chance(0.5)) this.disk.free = Number.POSITIVE_INFINITY
    this.clock.advance(1000)
  }

  async end(): Promise<void> {
    const way = this.dice.next()
    this.figures.removed += this.log.cleaner.removed
    this.figures.copied += this.log.cleaner.copied
    this.figures.failures += this.owner.failures
    this.figures.segments += this.log.segments.length
    if (way < 0.05) {
      this.disk.faults = { fail: 0, short: 0, names: 0 }
      this.disk.free = Number.POSITIVE_INFINITY
      if (!this.log.failing) {
        let closing = true
        const closed = this.log.close().then(
          () => this.figures.cleanStops++,
          () => {},
        )
        void closed.finally(() => {
          closing = false
        })
        // Cleaning may be pausing for a moment.
        while (closing) {
          await tick()
          this.clock.advance(1)
        }
      }
      this.#stop()
      this.disk.kill()
      return
    }
    if (this.log.cleaner.working) this.figures.crashesInCleaning++
    this.#stop()
    if (way < 0.15) {
      this.figures.kills++
      this.disk.kill()
    } else {
      this.figures.crashes++
      this.disk.crash()
    }
  }

  #stop(): void {
    // Cleaning never takes a file away from those who read it.
    for (const content of this.owner.contents.values()) if (content instanceof Error) throw content
    this.#durableUpTo = Math.max(this.#durableUpTo, this.owner.durableUpTo)
    this.owner.dead = true
  }

  #act(): void {
    const { dice, log } = this
    const kind = dice.below(20)
    if (kind < 8) this.#publish()
    else if (kind < 14) this.#settle()
    else if (kind < 15) this.#withdraw()
    else if (kind < 16) this.#move()
    else if (kind < 17) this.#transaction()
    else if (kind < 18) this.#return()
    else if (kind < 19 && dice.chance(0.2)) {
      const text = `command ${++this.#serial}`
      this.#commands.push({ number: log.appendOpaque(Buffer.from(text)), text })
      if (dice.chance(0.5)) {
        this.#dropped = (this.#commands.at(-3) ?? { number: 0 }).number
        log.dropBefore(this.#dropped)
      }
    } else this.#readSome()
  }

  #content(): Buffer {
    const { dice } = this
    const size = dice.chance(0.02) ? dice.below(150_000) : dice.below(600)
    const text = `message ${++this.#serial} `
    return Buffer.from(text.repeat(Math.ceil((size + 1) / text.length)), 'latin1')
  }

  #pickTargets(): void {
    this.#targets.clear()
    const first = this.dice.below(queues)
    for (let i = 0; i <= this.dice.below(3); i++)
      this.#targets.add(((first + i) % queues) + 1, this.dice.chance(0.2) ? 1e12 + i : 0)
  }

  #publish(): Entry[] {
    this.#pickTargets()
    const content = this.#content()
    const cut = content.length > 100_000 ? 1000 : content.length
    const parts = cut < content.length ? [content.subarray(cut)] : null
    const number = this.#takeNumber()
    this.log.appendMessage(number, this.#targets, 7, content, 0, cut, parts, bodySize(content))
    return this.#entered(number, content)
  }

  /** Some numbers are taken for messages that the log never sees. */
  #takeNumber(): number {
    while (this.dice.chance(0.2)) this.log.takeNumber()
    return this.log.takeNumber()
  }

  #entered(number: number, content: Buffer): Entry[] {
    this.owner.message(number, this.#targets, 7, -1, -1, content.length, bodySize(content))
    this.#contents.set(number, content)
    const entries: Entry[] = []
    for (let i = 0; i < this.#targets.count; i++)
      entries.push({
        number,
        queue: this.#targets.queues[i] as number,
        settledBy: Number.POSITIVE_INFINITY,
      })
    this.#entries.push(...entries)
    return entries
  }

  #some(): Entry | undefined {
    // Some messages are forgotten by their consumers, and stay.
    const live = this.#entries.filter(
      ({ settledBy, number }) => settledBy === Number.POSITIVE_INFINITY && number % 7 > 0,
    )
    // Most of what is consumed is old.
    return live[Math.floor(this.dice.next() ** 2 * live.length)]
  }

  #settle(): void {
    const entry = this.#some()
    if (entry === undefined) return
    this.#ranges.clear()
    const together = this.#entries
      .filter(
        ({ queue, settledBy, number }) =>
          queue === entry.queue && settledBy === Number.POSITIVE_INFINITY && number >= entry.number,
      )
      .slice(0, 1 + this.dice.below(6))
    for (const { number } of together) this.#ranges.add(number)
    const by = this.log.appendSettled(entry.queue, this.#ranges)
    for (const settled of together) this.#leave(settled, by)
  }

  #leave(entry: Entry, by: number): void {
    entry.settledBy = by
    this.owner.settled(entry.queue, entry.number, entry.number)
  }

  /** The youngest message is acknowledged everywhere at once. */
  #withdraw(): void {
    const number = this.#entries.at(-1)?.number ?? 0
    const all = this.#entries.filter(entry => entry.number === number)
    if (all.some(({ settledBy }) => settledBy !== Number.POSITIVE_INFINITY)) return
    if (this.#units.some(unit => unit.entered.some(entry => entry.number === number))) return
    if (!this.log.withdraw(number)) return
    // As if it had been settled by its own record: it must not be there once that is durable.
    for (const entry of all) this.#leave(entry, number)
  }

  #move(): void {
    const old = this.#some()
    if (old === undefined) return
    this.#pickTargets()
    const content = this.#content()
    const { number, queue } = old
    const moved = this.#takeNumber()
    const size = bodySize(content)
    const { log } = this
    log.appendMoved(moved, queue, number, this.#targets, 7, content, 0, content.length, null, size)
    this.#leave(old, moved)
    this.#units.push({ entered: this.#entered(moved, content), left: [old] })
  }

  #transaction(): void {
    this.log.beginTransaction()
    const entered: Entry[] = []
    const left: Entry[] = []
    for (let i = this.dice.below(4); i >= 0; i--) entered.push(...this.#publish())
    const old = this.#some()
    if (old !== undefined && !entered.includes(old)) {
      this.#ranges.clear()
      this.#ranges.add(old.number)
      this.#leave(old, this.log.appendSettled(old.queue, this.#ranges))
      left.push(old)
    }
    this.log.endTransaction()
    this.#units.push({ entered, left })
  }

  #return(): void {
    // What nobody settles comes back, too, and its count survives cleaning with it.
    const forgotten = this.#entries.filter(({ number }) => number % 7 === 0)
    const entry = this.dice.chance(0.5)
      ? this.#some()
      : forgotten[this.dice.below(forgotten.length)]
    if (entry === undefined || entry.settledBy < Number.POSITIVE_INFINITY) return
    const count = (this.owner.messages.get(entry.number)?.returns.get(entry.queue) ?? 0) + 1
    const by = this.log.appendReturned(entry.queue, entry.number, count)
    this.owner.returned(entry.queue, entry.number, count)
    this.#returns.push({ entry, by, count })
  }

  #readSome(): void {
    for (const [number, held] of this.owner.messages)
      if (held.segment >= 0 && this.dice.chance(0.1)) {
        this.figures.read++
        this.log.read(held.segment, held.offset, number)
      }
  }

  /** Compares what recovery has found with what was promised, and goes on from what it has found. */
  async check(): Promise<void> {
    const { owner } = this
    const durable = this.#durableUpTo
    const isThere = ({ number, queue }: Entry) =>
      owner.messages.get(number)?.queues.has(queue) === true
    for (const entry of this.#entries) {
      const { number, queue, settledBy } = entry
      if (settledBy <= durable) ok(!isThere(entry), `${number} came back to queue ${queue}`)
      else if (number <= durable && settledBy === Number.POSITIVE_INFINITY)
        ok(isThere(entry), `${number} is lost in queue ${queue}`)
    }
    const known = new Set(this.#entries.map(({ number, queue }) => `${number} ${queue}`))
    for (const [number, held] of owner.messages)
      for (const queue of held.queues)
        ok(known.has(`${number} ${queue}`), `${number} was never in queue ${queue}`)
    this.#checkUnits(isThere)
    this.#checkReturns()
    this.#checkCommands(durable)
    ok(this.log.recovery.damages.length === 0, JSON.stringify(this.log.recovery.damages))
    await this.checkContents()
    // What was not durable is now known to be there, or not to be.
    const before = this.#entries
    this.#entries = []
    for (const entry of before)
      if (isThere(entry)) this.#entries.push({ ...entry, settledBy: Number.POSITIVE_INFINITY })
    this.#units = []
    this.#returns = this.#returnsFound()
    this.#commands = [...owner.commands]
    // Numbers that were lost may be given again; those that are here are here to stay.
    this.#durableUpTo = Math.max(
      0,
      ...this.#entries.map(({ number }) => number),
      ...this.#commands.map(({ number }) => number),
    )
    for (const number of this.#contents.keys())
      if (!owner.messages.has(number)) this.#contents.delete(number)
  }

  #checkUnits(isThere: (entry: Entry) => boolean): void {
    const last = Number.POSITIVE_INFINITY
    for (const { entered, left } of this.#units) {
      const came = entered.filter(({ settledBy }) => settledBy === last).map(isThere)
      const stayed = left
        .filter(({ number }) => number <= this.#durableUpTo)
        .map(entry => !isThere(entry))
      const all = [...came, ...stayed]
      ok(
        all.every(is => is === all[0]),
        `a unit is there in part: ${JSON.stringify({ entered, left })}`,
      )
    }
  }

  #checkReturns(): void {
    for (const { entry, by, count } of this.#returns) {
      const held = this.owner.messages.get(entry.number)
      if (by > this.#durableUpTo || held?.queues.has(entry.queue) !== true) continue
      const found = held.returns.get(entry.queue) ?? 0
      ok(found >= count, `${entry.number} came back ${count} times, of which ${found} are known`)
      this.figures.returned++
    }
  }

  /** Counts that were told once are not forgotten. */
  #returnsFound(): { entry: Entry; by: number; count: number }[] {
    const found: { entry: Entry; by: number; count: number }[] = []
    for (const entry of this.#entries) {
      const count = this.owner.messages.get(entry.number)?.returns.get(entry.queue) ?? 0
      if (count > 0) found.push({ entry, by: 0, count })
    }
    return found
  }

  #checkCommands(durable: number): void {
    const { commands } = this.owner
    let last = 0
    for (const { number, text } of commands) {
      ok(number > last, 'commands come once, in order')
      last = number
      ok(this.#commands.some(sent => sent.number === number && sent.text === text))
    }
    for (const sent of this.#commands)
      if (sent.number <= durable && sent.number >= this.#dropped)
        ok(
          commands.some(({ number }) => number === sent.number),
          `${sent.text} is lost`,
        )
  }

  /** Reads every message back. */
  async checkContents(): Promise<void> {
    const { owner, log } = this
    owner.contents.clear()
    // By its place at the moment of asking: cleaning goes on meanwhile.
    const asked = [...owner.messages.keys()]
    for (const [number, held] of owner.messages) log.read(held.segment, held.offset, number)
    while (owner.contents.size < asked.length) await tick()
    for (const number of asked) {
      const content = owner.contents.get(number)
      if (content instanceof Error) throw content
      ok(content?.equals(this.#contents.get(number) as Buffer), `content of ${number}`)
      const said = owner.messages.get(number)?.bodySize
      ok(
        said === undefined || said === bodySize(content as Buffer),
        `size of the body of ${number}`,
      )
    }
  }
}

/** One disk through several lives. */
export function lives(
  disk: SimulatedDisk,
  seed: number,
  count: number,
  figures: Figures,
  sabotage: Sabotage = {},
): Promise<void> {
  return liveThrough(disk, new LogBench(disk, seed, figures, sabotage), count)
}
