/** A broker without sockets: its vhosts, its users, its memory and its alarms. */
import type { Files } from '../platform/files.js'
import { Stage, type TurnParty } from '../platform/turn.js'
import type { World } from '../platform/world.js'
import { MessageTable } from '../store/message-table.js'
import { ChunkPool } from '../structures/chunk-pool.js'
import { Alarms } from './alarms.js'
import { Deadlines } from './deadlines.js'
import { Definitions } from './definitions.js'
import { OrderNumbers } from './order-numbers.js'
import { ReadyPages } from './queues/ready.js'
import { type UserSettings, Users } from './users.js'
import { Vhost } from './vhost.js'

export interface BrokerSettings {
  readonly vhosts: readonly string[]
  readonly users: readonly UserSettings[]
  /** Names of users who may log in only from this machine. */
  readonly loopbackUsers: readonly string[]
}

/** Where a broker keeps what is to survive its end. */
export interface Storage {
  readonly files: Files
  /** A folder that is there, and nobody else's. */
  readonly folder: string
}

/** Told now and then how far recovery has come, in bytes of the logs. */
export type RecoveryProgress = (done: number, total: number) => void

/** How often memory is looked at. */
const compactionMs = 1000

export class Broker implements TurnParty {
  readonly world: World
  /** Null: nothing survives. */
  readonly storage: Storage | null
  readonly chunks = new ChunkPool()
  readonly messages = new MessageTable(this.chunks)
  readonly alarms = new Alarms()
  readonly users: Users
  readonly deadlines: Deadlines
  readonly definitions = new Definitions()
  readonly #vhosts = new Map<string, Vhost>()
  #cancelCompaction: () => void

  constructor(settings: BrokerSettings, world: World, storage: Storage | null = null) {
    this.world = world
    this.storage = storage
    this.users = new Users(settings.users, settings.loopbackUsers, world.random)
    this.deadlines = new Deadlines(world.clock, error =>
      world.log.error({ err: error }, 'a deadline could not be carried out'),
    )
    const { turn, clock, random } = world
    const { messages, deadlines, definitions } = this
    const pages = new ReadyPages()
    const numbers = new OrderNumbers()
    const shared = { messages, numbers, pages, turn, clock, random, deadlines, definitions }
    for (const name of settings.vhosts) this.#vhosts.set(name, new Vhost(name, shared))
    this.#cancelCompaction = world.clock.after(compactionMs, this.#lookAtMemory)
  }

  /** A vhost by name; the empty name means `/`. */
  vhost(name: string): Vhost | undefined {
    return this.#vhosts.get(name === '' ? '/' : name)
  }

  /** Reads what is kept; resolves when clients may come. */
  async open(_progress: RecoveryProgress): Promise<void> {}

  /** Stops all timers; resolves when all that is to survive is on the disk. */
  async close(): Promise<void> {
    this.#cancelCompaction()
    this.deadlines.close()
  }

  endTurn(): void {
    if (!this.messages.wantsCompaction) return
    if (this.messages.compact()) this.world.turn.add(Stage.deliver, this)
  }

  readonly #lookAtMemory = () => {
    this.#cancelCompaction = this.world.clock.after(compactionMs, this.#lookAtMemory)
    if (this.messages.wantsCompaction) this.world.turn.add(Stage.deliver, this)
  }
}
