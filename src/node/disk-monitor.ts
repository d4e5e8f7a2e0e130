/** Watches the space on the disk of the data folder, and sets and clears the disk alarm. */
import type { Broker, Storage } from '../broker/broker.js'
import { availableMemory } from './memory-monitor.js'
import type { Settings } from './settings-table.js'

/** How fast a disk may fill: the nearer the limit, the sooner the next look. RabbitMQ reckons with a quarter. */
const bytesPerMs = 1_000_000

/** Between two looks 50 MB at most go, which is the limit if nothing else is set. */
const shortestMs = 50
const longestMs = 10_000

/** While publishers wait for space. */
const alarmedMs = 1000

/** Free bytes below which publishers are blocked. */
export function diskFreeLimit(settings: Settings): number {
  const relative = settings['disk_free_limit.relative']
  if (relative === null) return settings['disk_free_limit.absolute']
  return Math.round(availableMemory() * relative)
}

export class DiskMonitor {
  readonly #broker: Broker
  readonly #storage: Storage
  readonly #limit: number
  #cancel = () => {}
  #stopped = false
  #unknown = false

  /** Has the first look; later ones follow by themselves. */
  static async start(broker: Broker, storage: Storage, limit: number): Promise<DiskMonitor> {
    const monitor = new DiskMonitor(broker, storage, limit)
    broker.world.log.info({ limit }, `Disk free limit set to ${Math.trunc(limit / 1e6)}MB`)
    await monitor.#look()
    return monitor
  }

  private constructor(broker: Broker, storage: Storage, limit: number) {
    this.#broker = broker
    this.#storage = storage
    this.#limit = limit
  }

  stop(): void {
    this.#stopped = true
    this.#cancel()
  }

  async #look(): Promise<void> {
    const free = await this.#free()
    if (this.#stopped) return
    if (free !== null) this.#judge(free)
    const { alarms, world } = this.#broker
    const spare = free === null ? Number.POSITIVE_INFINITY : (free - this.#limit) / bytesPerMs
    const delay = alarms.has('disk')
      ? alarmedMs
      : Math.min(longestMs, Math.max(shortestMs, Math.trunc(spare)))
    this.#cancel = world.clock.after(delay, () => void this.#look())
  }

  /** Null: the system does not tell. That is said once, and changes nothing. */
  async #free(): Promise<number | null> {
    try {
      const free = await this.#storage.files.freeBytes(this.#storage.folder)
      this.#unknown = false
      return free
    } catch (error) {
      if (!this.#unknown && !this.#stopped)
        this.#broker.world.log.warn({ err: error }, 'the free disk space is not known')
      this.#unknown = true
      return null
    }
  }

  #judge(free: number): void {
    const { alarms, world } = this.#broker
    const limit = this.#limit
    const low = free < limit
    if (low === alarms.has('disk')) return
    const state = low ? 'insufficient' : 'sufficient'
    world.log.info(
      { free, limit },
      `Free disk space is ${state}. Free bytes: ${free}. Limit: ${limit}`,
    )
    world.log.warn(
      { free, limit },
      low
        ? 'disk resource limit alarm set. Publishers will be blocked until this alarm clears'
        : 'disk resource limit alarm cleared',
    )
    alarms.set('disk', low)
  }
}
