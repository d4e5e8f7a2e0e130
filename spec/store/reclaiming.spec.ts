/** What giving space back costs: bytes written for each byte of content, and segments kept. */
import { ok } from 'node:assert'
import t from 'tap'
import { Turn } from '../../src/platform/turn.js'
import { FileLog } from '../../src/store/file-log.js'
import { Ranges, Targets } from '../../src/store/targets.js'
import { ChunkPool } from '../../src/structures/chunk-pool.js'
import { FakeClock } from '../support/fake-clock.js'
import { MapOwner } from '../support/log-bench.js'
import { Dice, SimulatedDisk } from '../support/simulated-disk.js'

const segmentBytes = 128 * 1024
const messageBytes = 2048
const messages = 10_000

/** Messages settled between two syncs. */
const together = 32

const tick = () => new Promise<void>(resolve => setImmediate(resolve))

/** Messages that pass through a log, and what it writes for them. */
class Passage {
  readonly disk = new SimulatedDisk(1)
  readonly owner = new MapOwner()
  readonly dice = new Dice(7)
  readonly #targets = new Targets()
  readonly #ranges = new Ranges()
  readonly #content = Buffer.alloc(messageBytes, 'content ')
  #contentBytes = 0
  #appended = 0
  log!: FileLog

  static async open(): Promise<Passage> {
    const passage = new Passage()
    const turn = new Turn(setImmediate, error => {
      throw error
    })
    const { owner, disk } = passage
    const place = { folder: 'log', files: disk.session(), pool: new ChunkPool() }
    const options = { ...place, clock: new FakeClock(), turn, segmentBytes }
    passage.log = await FileLog.open(options, owner)
    return passage
  }

  async publish(queue: number): Promise<number> {
    this.#targets.clear()
    this.#targets.add(queue)
    const { log, owner } = this
    const content = this.#content
    const number = log.takeNumber()
    log.appendMessage(number, this.#targets, 0, content, 0, messageBytes, null, messageBytes)
    owner.message(number, this.#targets, 0, -1, -1, messageBytes, messageBytes)
    this.#contentBytes += messageBytes
    if (++this.#appended % together === 0) await this.quiet()
    return number
  }

  settle(queue: number, number: number): void {
    this.#ranges.clear()
    this.#ranges.add(number)
    this.log.appendSettled(queue, this.#ranges)
    this.owner.settled(queue, number, number)
  }

  /** Waits until everything is durable and cleaning has done what there is to do. */
  async quiet(): Promise<void> {
    await this.log.flushed()
    do await tick()
    while (this.log.cleaner.working)
  }

  /** Bytes written for each byte of content. */
  get amplification(): number {
    return this.disk.writtenBytes / this.#contentBytes
  }

  /** Settles all that is left, and sees that little is kept of it. */
  async drain(): Promise<void> {
    for (const [number, { queues }] of this.owner.messages)
      for (const queue of queues) this.settle(queue, number)
    await this.quiet()
    const { segments } = this.log
    ok(segments.length <= 4, `${segments.length} segments are kept of nothing`)
  }
}

for (const kept of [2, 10, 1000])
  t.test(`one of ${kept} messages is kept`, async t => {
    const passage = await Passage.open()
    for (let i = 1; i <= messages; i++) {
      const number = await passage.publish(1)
      if (i % kept > 0) passage.settle(1, number)
    }
    await passage.quiet()
    const { amplification, log, owner } = passage
    t.comment(`${amplification.toFixed(2)}, ${log.segments.length} segments`)
    t.ok(amplification < 1.8, `${amplification}`)
    t.equal(owner.messages.size, Math.floor(messages / kept))
    await passage.drain()
  })

t.test('messages are acknowledged in random order', async t => {
  const passage = await Passage.open()
  const open: number[] = []
  for (let i = 1; i <= messages; i++) {
    open.push(await passage.publish(1))
    if (open.length <= 2000) continue
    const at = passage.dice.below(open.length)
    const [number] = open.splice(at, 1)
    passage.settle(1, number as number)
  }
  t.comment(passage.amplification.toFixed(2))
  t.ok(passage.amplification < 1.8, `${passage.amplification}`)
  await passage.drain()
})

t.test('one of ten queues never drains', async t => {
  const passage = await Passage.open()
  for (let i = 1; i <= messages; i++) {
    const queue = 1 + (i % 10)
    const number = await passage.publish(queue)
    if (queue > 1) passage.settle(queue, number)
  }
  t.comment(passage.amplification.toFixed(2))
  t.ok(passage.amplification < 1.8, `${passage.amplification}`)
  await passage.drain()
})

t.test('a cold tenth lies below all that passes', async t => {
  const passage = await Passage.open()
  for (let i = 1; i <= messages / 11; i++) await passage.publish(1)
  for (let i = 1; i <= (10 * messages) / 11; i++) passage.settle(2, await passage.publish(2))
  t.comment(passage.amplification.toFixed(2))
  t.ok(passage.amplification < 1.8, `${passage.amplification}`)
  await passage.drain()
})
