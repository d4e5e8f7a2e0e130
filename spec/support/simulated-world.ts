/** A world in which nothing happens by itself: time, turns, files and randomness are in the test's hands. */
import { type LogFields, type Logger, silence } from '../../src/platform/log.js'
import type { Random } from '../../src/platform/random.js'
import type { Turn } from '../../src/platform/turn.js'
import type { World } from '../../src/platform/world.js'
import { FakeClock } from './fake-clock.js'
import { ManualTurn } from './manual-turn.js'
import { SimulatedDisk } from './simulated-disk.js'

/** The same bytes in every run. */
export class SeededRandom implements Random {
  #state: number

  constructor(seed = 1) {
    this.#state = seed
  }

  bytes(count: number): Buffer {
    const bytes = Buffer.alloc(count)
    for (let i = 0; i < count; i++) bytes[i] = this.#next()
    return bytes
  }

  below(count: number): number {
    return this.bytes(4).readUInt32BE() % count
  }

  #next(): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0
    return this.#state >>> 24
  }
}

/** A line of the log. */
export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly fields: LogFields
  readonly message: string
}

export class SimulatedWorld implements World {
  readonly clock: FakeClock
  readonly disk = new SimulatedDisk(1)
  readonly files = this.disk.session()
  readonly turns = new ManualTurn()
  readonly turn: Turn = this.turns.turn
  random: Random = new SeededRandom()
  readonly lines: LogLine[] = []
  readonly log: Logger = {
    ...silence,
    info: (fields, message) => this.lines.push({ level: 'info', fields, message }),
    warn: (fields, message) => this.lines.push({ level: 'warn', fields, message }),
    error: (fields, message) => this.lines.push({ level: 'error', fields, message }),
  }

  constructor(clock = new FakeClock()) {
    this.clock = clock
  }
}
