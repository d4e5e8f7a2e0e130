/**
 * The definitions of a broker that survive its end, as a log of commands (`command.ts`): vhosts,
 * users, durable exchanges and queues, and the bindings between these. A change is made in memory
 * at once, and its command appended in the same turn; only the answer to who asked for it waits
 * until the command is durable.
 *
 * When much has been appended, a snapshot follows: all there is, within one transaction, after
 * which nothing before it is needed. It is made in steps over several turns. Commands appended
 * meanwhile stand between its own, so that replay passes over what it cannot do (bind a queue
 * that comes later) and over what is done already: at the end of the snapshot all is in place.
 *
 * Queues are named by numbers in the log of messages, which may know more queues than this one
 * after a crash. So the numbers of a new life begin above all that the one before can have given,
 * and above what recovery of the messages finds (`queueSeen`).
 *
 * That what was answered survives is shown by `spec/broker/definitions.spec.ts`.
 */
import type { Files } from '../platform/files.js'
import { Stage, type TurnParty } from '../platform/turn.js'
import type { World } from '../platform/world.js'
import { cutText, damageText } from '../store/damage.js'
import { FileLog } from '../store/file-log.js'
import type { Log, LogOwner } from '../store/log.js'
import type { ChunkPool } from '../structures/chunk-pool.js'
import { type Command, decodeCommand, encodeCommand } from './command.js'

/** Segments are small: what is cleaned away is soon gone. */
const segmentBytes = 1024 * 1024

/** A snapshot follows when this much was appended since the last, and twice its size. */
const appendedMin = 1024 * 1024
const appendedPerSnapshot = 2

/** A snapshot holds the event loop no longer than this at a time, looked at every so many commands. */
const stepMs = 2
const commandsPerLook = 16

/** Numbers of queues that one life may give. Of 48 bits this leaves room for 4 million lives. */
const queuesPerLife = 2 ** 26

/** What definitions define. */
export interface DefinitionsHost {
  /** Does what a command says, as far as it is not done; never called once there are clients. */
  restore(command: Command): void
  /** Commands that make all there is, each after what it needs. */
  commands(): Iterable<Command>
  /** Nothing becomes durable at the moment, or does again. */
  logFailing(failing: boolean): void
}

/** Where definitions are kept. */
export interface DefinitionsPlace {
  readonly files: Files
  readonly folder: string
  readonly pool: ChunkPool
}

interface Waiting {
  readonly number: number
  readonly defined: () => void
}

export class Definitions implements LogOwner, TurnParty {
  /** Log number of the last command, and of the last that is durable. 0 without a log. */
  last = 0
  durableUpTo = 0

  readonly #world: World
  readonly #host: DefinitionsHost
  #log: Log | null = null
  #lastQueue = 0
  #waiting: Waiting[] = []
  /** Commands that a snapshot has still to write, and the number of its first. */
  #snapshot: Iterator<Command> | null = null
  #snapshotStart = 0
  /** Bytes appended since the last snapshot began, and how many may be before another. */
  #bytes = 0
  #bytesMax = appendedMin
  /** Nothing becomes durable at the moment. */
  failing = false
  /** What is appended at the moment is to be there as a whole or not at all. */
  #together = false
  /** Why the log cannot be read. */
  #unread: Error | null = null

  constructor(host: DefinitionsHost, world: World) {
    this.#host = host
    this.#world = world
  }

  /** Has the host restore what was defined. Rejects if it cannot be understood or the disk fails. */
  async open({ files, folder, pool }: DefinitionsPlace): Promise<void> {
    const { clock, turn, log: logger } = this.#world
    const started = clock.monotonicMs()
    const log = await FileLog.open({ files, folder, pool, clock, turn, segmentBytes }, this)
    if (this.#unread !== null) {
      await log.close().catch(() => {})
      throw this.#unread
    }
    const { epoch, records, clean, cutBytes, damages } = log.recovery
    for (const damage of damages)
      logger.error({ damage }, `the definitions are damaged in ${damageText(damage)}`)
    const ms = Math.round(clock.monotonicMs() - started)
    logger.info(
      { commands: records, clean, cutBytes, ms },
      `definitions recovered from ${records} commands in ${ms} ms${cutText(cutBytes)}`,
    )
    this.queueSeen((epoch - 1) * queuesPerLife)
    // A snapshot is there as a whole or not at all; unless it is damaged, nothing else is needed.
    if (damages.length === 0) log.dropBefore(this.#snapshotStart)
    this.#log = log
  }

  /** Makes everything durable and ends. */
  async close(): Promise<void> {
    if (this.#snapshot !== null) this.#takeSnapshot(Number.POSITIVE_INFINITY)
    await this.#log?.close()
  }

  /** A number for a durable queue, which no other ever has. */
  takeQueueNumber(): number {
    return ++this.#lastQueue
  }

  /** Somewhere a queue of this number is named. */
  queueSeen(number: number): void {
    this.#lastQueue = Math.max(this.#lastQueue, number)
  }

  /** Appends a command and returns its log number, which `whenDurable` takes; 0 without a log. */
  append(command: Command): number {
    if (this.#log === null) return 0
    this.last = this.#write(this.#log, command)
    const due = this.#bytes > this.#bytesMax && this.#snapshot === null
    if (due && !this.#together) this.#beginSnapshot(this.#log)
    return this.last
  }

  /** The log number of the last command, if one was appended since `before` was the last; else 0. */
  since(before: number): number {
    return this.last === before ? 0 : this.last
  }

  /** Appends what `act` appends so that after a crash all of it is there or nothing. */
  together(act: () => void): void {
    // A snapshot is one transaction already.
    if (this.#log === null || this.#together || this.#snapshot !== null) {
      act()
      return
    }
    this.#together = true
    this.#log.beginTransaction()
    try {
      act()
    } finally {
      this.#together = false
      this.#log.endTransaction()
    }
  }

  /** Calls `defined` once the command of this number is durable; at once if it is. */
  whenDurable(number: number, defined: () => void): void {
    if (number <= this.durableUpTo) defined()
    else this.#waiting.push({ number, defined })
  }

  /** Writes the next part of a snapshot. */
  endTurn(): void {
    if (this.#snapshot !== null) this.#takeSnapshot(this.#world.clock.monotonicMs() + stepMs)
  }

  durable(upTo: number): void {
    this.durableUpTo = upTo
    if (this.failing) this.#fails(false)
    const waiting = this.#waiting
    if (waiting.length === 0) return
    this.#waiting = []
    for (const one of waiting)
      if (one.number <= upTo) one.defined()
      else this.#waiting.push(one)
  }

  failed(_from: number, error: Error): void {
    const { message: reason } = error
    this.#world.log.error({ reason }, 'definitions cannot be written; it is tried again')
    if (!this.failing) this.#fails(true)
  }

  opaque(number: number, bytes: Buffer, start: number, end: number): void {
    if (this.#unread !== null) return
    try {
      const command = decodeCommand(bytes, start, end)
      if (command.command === 'snapshot.begun') {
        this.#bytes = 0
        this.#snapshotStart = number
      }
      this.#bytes += end - start
      if (command.command === 'snapshot.ended') this.#snapshotEnded()
      if ('lastQueue' in command) this.queueSeen(command.lastQueue)
      if (command.command === 'queue.declared') this.queueSeen(command.number)
      this.#host.restore(command)
    } catch (error) {
      this.#unread = error as Error
    }
  }

  /** What the last snapshot holds and what came since then: all the rest may go. */
  liveBytes(): number {
    return this.#bytes
  }

  #write(log: Log, command: Command): number {
    const bytes = encodeCommand(command)
    this.#bytes += bytes.length
    return log.appendOpaque(bytes)
  }

  #beginSnapshot(log: Log): void {
    this.#snapshot = this.#host.commands()[Symbol.iterator]()
    log.beginTransaction()
    this.#bytes = 0
    this.#snapshotStart = this.#write(log, { command: 'snapshot.begun' })
    this.#world.turn.add(Stage.confirm, this)
  }

  #takeSnapshot(deadlineMs: number): void {
    const log = this.#log as Log
    const snapshot = this.#snapshot as Iterator<Command>
    for (let i = 1; ; i++) {
      const next = snapshot.next()
      if (next.done) break
      this.#write(log, next.value)
      if (i % commandsPerLook !== 0 || this.#world.clock.monotonicMs() < deadlineMs) continue
      this.#world.turn.add(Stage.confirm, this)
      return
    }
    this.#snapshot = null
    this.#write(log, { command: 'snapshot.ended', lastQueue: this.#lastQueue })
    this.#snapshotEnded()
    const start = this.#snapshotStart
    this.last = log.endTransaction()
    this.whenDurable(this.last, () => log.dropBefore(start))
  }

  #snapshotEnded(): void {
    this.#bytesMax = this.#bytes + Math.max(appendedMin, appendedPerSnapshot * this.#bytes)
  }

  #fails(failing: boolean): void {
    this.failing = failing
    this.#host.logFailing(failing)
  }

  // --- messages, of which there are none in this log

  message(): void {}
  settled(): void {}
  returned(): void {}
  placed(): void {}
  narrow(): void {}
  isHeld(): boolean {
    return false
  }
  damaged(): void {}
  loaded(): void {}
  unreadable(): void {}
}
