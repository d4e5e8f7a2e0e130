/** Watches the memory the broker uses, and sets and clears the memory alarm. */
import { totalmem } from 'node:os'
import { getHeapStatistics } from 'node:v8'
import type { Broker } from '../broker/broker.js'
import type { Settings } from './settings-table.js'

const intervalMs = 1000

/** Part of the limit from which on contents leave memory, so that a backlog alone sets no alarm. */
const pagingPart = 0.5

/** Part of V8's heap limit above which publishers are blocked. */
const heapPart = 0.7

/** Bytes that this process may have: those of its container, or of the machine. */
export function availableMemory(): number {
  // 0 or a huge number where no limit is set.
  return Math.min(process.constrainedMemory() || Number.POSITIVE_INFINITY, totalmem())
}

/** Bytes above which publishers are blocked: an absolute limit, or a part of what this process may have. */
export function memoryLimit(settings: Settings): number {
  const absolute = settings['vm_memory_high_watermark.absolute']
  if (absolute !== null) return absolute
  return availableMemory() * settings['vm_memory_high_watermark.relative']
}

export class MemoryMonitor {
  readonly #broker: Broker
  readonly #limit: number
  /** V8 ends the process at a limit of its own, which may be far below that of the machine. */
  readonly #heapLimit = getHeapStatistics().heap_size_limit * heapPart
  #cancel: () => void

  constructor(broker: Broker, limit: number) {
    this.#broker = broker
    this.#limit = limit
    broker.paging.limit = limit * pagingPart
    broker.paging.look()
    this.#cancel = broker.world.clock.after(intervalMs, this.#look)
  }

  stop(): void {
    this.#cancel()
  }

  readonly #look = () => {
    const { alarms, memoryBytes, world } = this.#broker
    this.#cancel = world.clock.after(intervalMs, this.#look)
    const { heapUsed } = process.memoryUsage()
    // Not all that the process holds outside of the heap: some of it only waits to be collected.
    const used = heapUsed + memoryBytes
    const low = used > this.#limit || heapUsed > this.#heapLimit
    if (low === alarms.has('memory')) return
    if (low) {
      world.log.warn(
        { used, limit: this.#limit },
        'memory resource limit alarm set. Publishers will be blocked until this alarm clears',
      )
      alarms.set('memory', true)
    } else {
      world.log.warn({ used, limit: this.#limit }, 'memory resource limit alarm cleared')
      alarms.set('memory', false)
    }
  }
}
