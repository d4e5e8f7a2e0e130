/** A log on a simulated disk, with what a test needs to use it. */
import type { Files } from '../../src/platform/files.js'
import { Turn } from '../../src/platform/turn.js'
import { FileLog } from '../../src/store/file-log.js'
import { Ranges, Targets } from '../../src/store/targets.js'
import { ChunkPool } from '../../src/structures/chunk-pool.js'
import { FakeClock } from './fake-clock.js'
import { MapOwner } from './log-bench.js'
import { SimulatedDisk } from './simulated-disk.js'

export const tick = () => new Promise<void>(resolve => setImmediate(resolve))

export class LogFixture {
  readonly clock = new FakeClock()
  readonly pool = new ChunkPool()
  readonly owner = new MapOwner()
  readonly disk: SimulatedDisk
  readonly targets = new Targets()
  log!: FileLog

  constructor(disk = new SimulatedDisk(1)) {
    this.disk = disk
  }

  /** `segmentBytes` 0: as large as the log finds right. */
  static async open(disk?: SimulatedDisk, segmentBytes = 16 * 1024): Promise<LogFixture> {
    const bench = new LogFixture(disk)
    await bench.begin(segmentBytes, bench.disk.session())
    return bench
  }

  async begin(segmentBytes: number, files: Files): Promise<void> {
    const turn = new Turn(setImmediate, error => {
      throw error
    })
    const { clock, pool } = this
    this.log = await FileLog.open(
      { folder: 'log', files, clock, turn, pool, ...(segmentBytes > 0 && { segmentBytes }) },
      this.owner,
    )
  }

  publish(text: string, ...queues: number[]): number {
    this.targets.clear()
    for (const queue of queues) this.targets.add(queue)
    const bytes = Buffer.from(text, 'latin1')
    const number = this.log.takeNumber()
    this.log.appendMessage(number, this.targets, 0, bytes, 0, bytes.length, null, bytes.length)
    this.owner.message(number, this.targets, 0, -1, -1, bytes.length, bytes.length)
    return number
  }

  settle(queue: number, ...numbers: number[]): number {
    const ranges = new Ranges()
    for (const number of numbers) {
      ranges.add(number)
      this.owner.settled(queue, number, number)
    }
    return this.log.appendSettled(queue, ranges)
  }

  async content(number: number): Promise<string | Error> {
    const held = this.owner.messages.get(number)
    if (held === undefined) return new Error('there is no such message')
    this.owner.contents.delete(number)
    this.log.read(held.segment, held.offset, number)
    while (!this.owner.contents.has(number)) await tick()
    const content = this.owner.contents.get(number) as Buffer | Error
    return content instanceof Error ? content : content.toString('latin1')
  }
}

/** Turns of the event loop, enough for all that is at work. */
export async function settleDown(): Promise<void> {
  for (let i = 0; i < 60; i++) await tick()
}
