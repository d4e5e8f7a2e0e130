/** Looking into a log: what is damaged is told exactly, what is not is not, and nothing is changed. */
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { Turn } from '../../src/platform/turn.js'
import { FileLog } from '../../src/store/file-log.js'
import { inspectLog } from '../../src/store/inspection.js'
import type { Damage } from '../../src/store/log.js'
import { Kind, kindAt, numberAt } from '../../src/store/record.js'
import { segmentName, writeSegmentHead } from '../../src/store/segment.js'
import { Ranges, Targets } from '../../src/store/targets.js'
import { ChunkPool } from '../../src/structures/chunk-pool.js'
import { FakeClock } from '../support/fake-clock.js'
import { MapOwner } from '../support/log-bench.js'
import { SimulatedDisk } from '../support/simulated-disk.js'

const pathOf = (segment: number) => `log/${segmentName(segment)}`

async function openLog(disk: SimulatedDisk, owner = new MapOwner(), progress = () => {}) {
  const turn = new Turn(setImmediate, error => {
    throw error
  })
  const files = disk.session()
  const clock = new FakeClock()
  const segmentBytes = 16 * 1024
  const pool = new ChunkPool()
  return FileLog.open({ folder: 'log', files, clock, turn, pool, segmentBytes, progress }, owner)
}

/** A log of some segments: so many batches of ten messages, a hundred bytes each, of which every third is settled. */
async function written(disk: SimulatedDisk, batches: number, close = true): Promise<void> {
  const owner = new MapOwner()
  const log = await openLog(disk, owner)
  const targets = new Targets()
  targets.add(1)
  const content = Buffer.alloc(100, 'x')
  for (let batch = 0; batch < batches; batch++) {
    const ranges = new Ranges()
    for (let i = 0; i < 10; i++) {
      const number = log.takeNumber()
      log.appendMessage(number, targets, 0, content, 0, content.length, null, content.length)
      // What nobody holds would be cleaned away.
      owner.message(number, targets, 0, -1, -1, content.length, content.length)
      if (i % 3 === 0) ranges.add(number)
    }
    log.appendSettled(1, ranges)
    await log.flushed()
  }
  if (close) await log.close()
}

async function inspect(disk: SimulatedDisk) {
  const kinds = new Map<number, number>()
  const numbers: number[] = []
  const before = disk.paths().map(path => [path, Buffer.from(disk.bytes(path))])
  const { write, create, remove } = { ...disk.counts }
  const found = await inspectLog(disk.session(), 'log', (bytes, start) => {
    kinds.set(kindAt(bytes, start), 1 + (kinds.get(kindAt(bytes, start)) ?? 0))
    if (kindAt(bytes, start) === Kind.message) numbers.push(numberAt(bytes, start))
  })
  const after = disk.paths().map(path => [path, Buffer.from(disk.bytes(path))])
  if (!isDeepStrictEqual(after, before)) t.fail('the files have changed')
  if (disk.counts.write !== write || disk.counts.create !== create) t.fail('something was written')
  if (disk.counts.remove !== remove) t.fail('something was removed')
  return { found, kinds, numbers }
}

t.test('a sound log is read whole, also where an index would do', async t => {
  const disk = new SimulatedDisk(1)
  await written(disk, 30)
  const { found, kinds, numbers } = await inspect(disk)
  t.match(found, { clean: true, cutBytes: 0, damages: [], records: 330, messages: 300 })
  t.same(found.unused, [])
  t.ok(found.segments.length > 2)
  t.same([...kinds].sort(), [
    [Kind.message, 300],
    [Kind.settled, 30],
  ])
  t.equal(numbers.length, 300)
  for (const { number, bytes } of found.segments) t.equal(bytes, disk.bytes(pathOf(number)).length)
  t.equal(found.segments.at(-1)?.index, 'good')
})

t.test('a byte that is wrong anywhere among the records is found where it stands', async t => {
  const fresh = new SimulatedDisk(1)
  await written(fresh, 30)
  const images = fresh.paths().map(path => ({ path, bytes: Buffer.from(fresh.bytes(path)) }))
  const sound = await inspect(fresh)
  let damaged = 0
  let indexes = 0
  let named = 0
  for (const [segment, { path, bytes }] of images.entries())
    for (let place = 0; place < bytes.length; place += 127) {
      const disk = new SimulatedDisk(1)
      for (const image of images) disk.put(image.path, image.bytes)
      disk.bytes(path)[place] = (bytes[place] as number) ^ 0x10
      const { found, numbers } = await inspect(disk)
      const lost = sound.numbers.filter(number => !numbers.includes(number))
      const told = found.damages.filter(damage => damage.segment === segment + 1)
      if (told.length < found.damages.length) t.fail(`damage elsewhere than in ${path}`)
      const index = found.segments.some(facts => facts.index === 'damaged')
      if (found.damages.length === 0) {
        if (lost.length > 0) t.fail(`byte ${place} of ${path}: ${lost} are lost and not told`)
        if (index) indexes++
        continue
      }
      damaged++
      const [damage] = found.damages
      const { from, to, numbers: range } = damage as Damage
      // At the end of a file it is not known how far it goes.
      const near = place < 64 || (from <= place && (place < to || from === to))
      if (!near) t.fail(`byte ${place} of ${path} is not in ${from} to ${to}`)
      const [first, last] = range ?? [0, 0]
      const known = found.segments.find(({ number }) => number === segment + 1)?.index === 'good'
      if (known && lost.length > 1) {
        named++
        if (damage?.queues.join() !== '1') t.fail(`${damage?.queues} are told as the queues`)
      }
      const untold = lost.filter(number => number < first || number > last)
      if (untold.length > 0) t.fail(`${untold} are lost, and ${first} to ${last} told`)
    }
  t.ok(damaged > 200, `${damaged} damages`)
  t.ok(named > 20, `${named} of which the index names the queues`)
  t.ok(indexes > 5, `${indexes} indexes that cannot be read`)
})

t.test('a torn tail is no damage, and is told', async t => {
  const disk = new SimulatedDisk(1)
  await written(disk, 3, false)
  disk.kill()
  const path = pathOf(1)
  const whole = Buffer.from(disk.bytes(path))
  disk.put(path, Buffer.concat([whole, Buffer.alloc(100, 7)]))
  t.match((await inspect(disk)).found, { clean: false, cutBytes: 100, damages: [], messages: 30 })
  disk.put(path, whole.subarray(0, whole.length - 1))
  const { found } = await inspect(disk)
  t.match(found, { clean: false, damages: [], messages: 20 })
  t.ok(found.cutBytes > 1000)
})

t.test('a segment in which nothing counts is told, and stays', async t => {
  const disk = new SimulatedDisk(1)
  await written(disk, 3, false)
  disk.kill()
  const head = {
    version: 1,
    shard: 0,
    epoch: 1,
    segment: 2,
    firstBatch: 4,
    nextNumber: 34,
    oldest: 1,
  }
  disk.put(pathOf(2), writeSegmentHead(head))
  const { found } = await inspect(disk)
  t.match(found, { damages: [], messages: 30, unused: [{ number: 2, bytes: 64 }] })
})

t.test('recovery tells how far it is, and inspection agrees with it', async t => {
  const disk = new SimulatedDisk(1)
  await written(disk, 60, false)
  disk.kill()
  const { found } = await inspect(disk)
  const steps: number[][] = []
  const owner = new MapOwner()
  const log = await openLog(disk, owner, ((done: number, total: number) => {
    steps.push([done, total])
  }) as () => void)
  t.equal(steps.length, found.segments.length)
  t.equal(steps.at(-1)?.[0], steps.at(-1)?.[1])
  t.same(
    steps.map(([done]) => done),
    steps.map(([done]) => done).sort((a, b) => (a as number) - (b as number)),
  )
  t.equal(log.recovery.lastNumber, found.lastNumber)
  t.equal(log.recovery.messages, found.messages)
  await log.close()
})
