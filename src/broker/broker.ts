/** A broker without sockets: its vhosts, its users, its memory and its alarms. */
import { join } from 'node:path'
import type { Files } from '../platform/files.js'
import { shown, silence } from '../platform/log.js'
import { Stage, type TurnParty } from '../platform/turn.js'
import type { World } from '../platform/world.js'
import { cutText, damageText } from '../store/damage.js'
import { FileLog } from '../store/file-log.js'
import { MessageTable } from '../store/message-table.js'
import { Paging } from '../store/paging.js'
import { ChunkPool } from '../structures/chunk-pool.js'
import { Access } from './access/access.js'
import { everything, type PermissionPatterns } from './access/permissions.js'
import { Users } from './access/users.js'
import { Alarms } from './alarms.js'
import type { Command } from './command.js'
import { Deadlines } from './deadlines.js'
import { Definitions, type DefinitionsHost } from './definitions.js'
import { Events } from './events.js'
import { Journal } from './journal.js'
import { type QueueRules, standardRules } from './queues/host.js'
import type { Queue } from './queues/queue.js'
import { ReadyPages } from './queues/ready.js'
import { Replay } from './replay.js'
import { type Shared, Vhost } from './vhost.js'

/** A user of a first start, which may do everything in its vhosts unless told otherwise. */
export interface UserSettings {
  readonly name: string
  readonly password: string
  /** An administrator unless told otherwise. */
  readonly tags?: readonly string[]
  readonly permissions?: PermissionPatterns
}

/** Vhosts and users are those of a first start. */
export interface BrokerSettings {
  readonly vhosts: readonly string[]
  readonly users: readonly UserSettings[]
  /** Names of users who may log in only from this machine. */
  readonly loopbackUsers: readonly string[]
  /** What the broker calls itself; clients see it in events and traces. */
  readonly nodeName?: string
  /** The vhost that has the event exchange; the first one unless told otherwise. */
  readonly eventsVhost?: string
  readonly rules?: QueueRules
}

/** Where a broker keeps what is to survive its end. */
export interface Storage {
  readonly files: Files
  /** A folder that is there, and nobody else's. */
  readonly folder: string
  /** Instead of the log's own size of a segment. */
  readonly segmentBytes?: number
  /** Room on the disk that messages leave to settlements and cleaning, at most two segments. */
  readonly reserveBytes?: number
}

/** Told now and then how far recovery has come, in bytes of the logs. */
export type RecoveryProgress = (done: number, total: number) => void

/** How often memory is looked at. */
const compactionMs = 1000

export class Broker implements TurnParty, DefinitionsHost {
  readonly world: World
  /** Null: nothing survives. */
  readonly storage: Storage | null
  readonly chunks = new ChunkPool()
  readonly messages = new MessageTable(this.chunks)
  readonly paging: Paging
  readonly pages = new ReadyPages()
  readonly alarms = new Alarms()
  readonly access: Access
  readonly deadlines: Deadlines
  readonly definitions: Definitions
  readonly events: Events
  readonly #settings: BrokerSettings
  readonly #shared: Shared
  readonly journal: Journal
  #cancelCompaction: () => void
  /** Messages up to this number may have been delivered in a life that ended uncleanly. */
  #suspectUpTo = 0

  constructor(settings: BrokerSettings, world: World, storage: Storage | null = null) {
    this.world = world
    this.storage = storage
    this.#settings = settings
    this.definitions = new Definitions(this, world)
    this.events = new Events(world.clock, settings.nodeName ?? 'leveret@localhost')
    this.alarms.resourceChanged = (source, low) => {
      const { nodeName: node } = this.events
      this.events.emit(low ? 'alarm.set' : 'alarm.cleared', () => ({ source, node }))
    }
    this.deadlines = new Deadlines(world.clock, error =>
      world.log.error({ err: error }, 'a deadline could not be carried out'),
    )
    const { turn, clock, random, log } = world
    this.paging = new Paging(this.messages, turn, clock, log)
    this.paging.otherBytes = () => this.memoryBytes - this.messages.chunkBytes
    this.journal = new Journal(this.messages, turn)
    const { messages, paging, journal, pages, deadlines, definitions, events } = this
    const { rules = standardRules } = settings
    const kept = { messages, paging, journal, pages, definitions, events, rules }
    this.#shared = { ...kept, turn, clock, random, deadlines }
    const users = new Users(settings.loopbackUsers, random)
    this.access = new Access(users, definitions, events, log, name => {
      const vhost = new Vhost(name, this.#shared)
      if (name === (settings.eventsVhost ?? settings.vhosts[0])) events.attach(vhost)
      return vhost
    })
    if (storage === null) this.#begin()
    this.#cancelCompaction = world.clock.after(compactionMs, this.#lookAtMemory)
  }

  get users(): Users {
    return this.access.users
  }

  /** A vhost by name; the empty name means `/`. */
  vhost(name: string): Vhost | undefined {
    return this.access.vhosts.get(vhostNamed(name))
  }

  /** Users and vhosts of which nothing is kept, to try things out; `clear` ends them. */
  rehearsal(): Access {
    const { clock, random } = this.world
    const nothing = { restore: () => {}, commands: () => [], logFailing: () => {} }
    const definitions = new Definitions(nothing, this.world)
    const events = new Events(clock, '')
    const shared = { ...this.#shared, definitions, events }
    const users = new Users([], random)
    return new Access(users, definitions, events, silence, name => new Vhost(name, shared))
  }

  /** Bytes outside of the heap in which something stands: messages, queues, what comes in and goes out. */
  get memoryBytes(): number {
    const { chunks, messages, pages, journal } = this
    const contents = chunks.takenBytes + messages.chunks.ownBytes + messages.intakeBytes
    return contents + messages.slotBytes + pages.bytes + journal.index.bytes
  }

  /** Reads what is kept; resolves when clients may come. */
  async open(progress: RecoveryProgress): Promise<void> {
    if (this.storage === null) return
    const { files, folder } = this.storage
    await this.definitions.open({ files, folder: join(folder, 'definitions'), pool: this.chunks })
    const { users, vhosts } = this.access
    if (users.all.size === 0 && vhosts.size === 0) this.definitions.together(() => this.#begin())
    this.definitions.together(() => this.access.grantOlder())
    for (const vhost of vhosts.values()) vhost.policies.ruleAll()
    await this.#openJournal(this.storage, progress)
    const { reserveBytes = 0 } = this.storage
    await this.paging.openScratch(files, join(folder, 'scratch'), { reserveBytes })
  }

  /** Stops all timers; resolves when all that is to survive is on the disk. */
  async close(): Promise<void> {
    this.#cancelCompaction()
    this.deadlines.close()
    if (this.storage !== null) await this.#allLeft()
    const parts = [this.journal, this.definitions, this.paging]
    const closed = await Promise.allSettled(parts.map(part => part.close()))
    for (const part of closed) if (part.status === 'rejected') throw part.reason
  }

  /** Resolves when no message is half gone: after a proper stop none comes back. */
  async #allLeft(): Promise<void> {
    const { clock } = this.world
    while (this.journal.leaving > 0) await new Promise<void>(resolve => clock.after(0, resolve))
  }

  restore(command: Command): void {
    if (command.command === 'snapshot.begun') this.access.clear()
    else if (command.command === 'messages.suspected') this.#suspectUpTo = command.upTo
    else this.access.restore(command)
  }

  *commands(): Iterable<Command> {
    if (this.#suspectUpTo > 0) yield { command: 'messages.suspected', upTo: this.#suspectUpTo }
    yield* this.access.commands()
  }

  logFailing(failing: boolean): void {
    this.alarms.set('definitions', failing)
    if (failing) this.journal.refuse()
  }

  endTurn(): void {
    if (!this.messages.wantsCompaction) return
    if (this.messages.compact()) this.world.turn.add(Stage.deliver, this)
  }

  /** Durable queues of all vhosts. */
  *#durableQueues(): Iterable<Queue> {
    for (const vhost of this.access.vhosts.values()) yield* vhost.loggedQueues()
  }

  async #openJournal(storage: Storage, progress: RecoveryProgress): Promise<void> {
    const { files, folder, segmentBytes, reserveBytes } = storage
    const { clock, turn, log } = this.world
    const { definitions } = this
    const queues = new Map(Array.from(this.#durableQueues(), queue => [queue.number, queue]))
    const replay = new Replay(this.messages, this.journal, queues)
    const place = { files, folder: join(folder, 'messages'), pool: this.chunks }
    const size = {
      ...(segmentBytes !== undefined && { segmentBytes }),
      ...(reserveBytes !== undefined && { reserveBytes }),
    }
    const options = { ...place, ...size, clock, turn, progress }
    const host = {
      whenDefined: (call: () => void) => definitions.whenDurable(definitions.last, call),
      get definitionsFail() {
        return definitions.failing
      },
      logFailing: (error: Error | null) => {
        this.alarms.set('log', error !== null)
        if (error === null) log.info({}, 'the log of messages is written again')
        else log.error({ reason: error.message }, 'the log of messages cannot be written')
      },
      damaged: (message: number, error: Error) =>
        log.error({ err: error, message }, 'a message is damaged in the log and cannot be kept'),
      withdraw: (refused: ReadonlySet<number>, from: number) => {
        for (const queue of this.#durableQueues()) queue.withdraw(refused, from)
      },
    }
    const started = clock.monotonicMs()
    const recovery = await this.journal.open(owner => FileLog.open(options, owner), replay, host)
    this.journal.contents = this.paging
    this.paging.log = this.journal.log
    this.definitions.queueSeen(replay.lastQueue)
    const skewMs = clock.monotonicMs() - clock.wallMs()
    for (let next = replay.restore(0, skewMs); next >= 0; next = replay.restore(next, skewMs))
      await new Promise<void>(resolve => clock.after(0, resolve))
    if (!recovery.clean) {
      this.#suspectUpTo = recovery.lastNumber
      this.definitions.append({ command: 'messages.suspected', upTo: this.#suspectUpTo })
    }
    for (const queue of queues.values()) {
      queue.suspectUpTo = this.#suspectUpTo
      queue.watchHead()
    }
    const nameOf = (number: number) => {
      const queue = queues.get(number)
      return queue && `'${shown(queue.name)}'`
    }
    for (const damage of recovery.damages)
      log.error({ damage }, `the log of messages is damaged in ${damageText(damage, nameOf)}`)
    const { clean, cutBytes } = recovery
    const ms = Math.round(clock.monotonicMs() - started)
    const messages = this.messages.count
    const text = `${messages} messages recovered in ${ms} ms${cutText(cutBytes)}`
    log.info({ messages, clean, cutBytes, ms }, text)
  }

  readonly #lookAtMemory = () => {
    this.#cancelCompaction = this.world.clock.after(compactionMs, this.#lookAtMemory)
    if (this.messages.wantsCompaction) this.world.turn.add(Stage.deliver, this)
    this.paging.look()
  }

  /** Sets up what a broker begins with. */
  #begin(): void {
    const { vhosts, users } = this.#settings
    for (const name of vhosts) this.access.addVhost(name)
    for (const { name, password, tags = ['administrator'], permissions = everything } of users) {
      this.access.setUser(name, { password }, tags)
      for (const vhost of vhosts) this.access.setPermission(name, vhost, permissions)
    }
  }
}

/** The name of the vhost that a client means: the empty name is `/`. */
export function vhostNamed(name: string): string {
  return name === '' ? '/' : name
}
