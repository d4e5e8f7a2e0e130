import { ok } from 'node:assert'
import t from 'tap'
import type { Files } from '../../src/platform/files.js'
import { Turn } from '../../src/platform/turn.js'
import { FileLog } from '../../src/store/file-log.js'
import { LogFixture, settleDown, tick } from '../support/log-fixture.js'
import { SimulatedDisk } from '../support/simulated-disk.js'

t.test('what is appended in a turn goes to the disk in one write and one sync', async t => {
  const bench = await LogFixture.open()
  const { write, sync } = { ...bench.disk.counts }
  for (let i = 0; i < 100; i++) bench.publish(`message ${i}`, 1)
  bench.settle(1, 1, 2, 3)
  await bench.log.flushed()
  t.equal(bench.owner.durableUpTo, 101)
  t.equal(bench.disk.counts.write - write, 1)
  t.equal(bench.disk.counts.sync - sync, 1)
})

t.test('a settlement is written at once and synced after 200 ms', async t => {
  const bench = await LogFixture.open()
  bench.publish('message', 1)
  await bench.log.flushed()
  const before = { ...bench.disk.counts }
  const number = bench.settle(1, 1)
  await settleDown()
  t.equal(bench.disk.counts.write, before.write + 1)
  t.equal(bench.disk.counts.sync, before.sync)
  bench.clock.advance(200)
  await settleDown()
  t.equal(bench.disk.counts.sync, before.sync + 1)
  t.equal(bench.owner.durableUpTo, number)
})

t.test(
  'a message withdrawn before it is written leaves no trace and counts as durable',
  async t => {
    const bench = await LogFixture.open()
    const { write } = bench.disk.counts
    const number = bench.publish('message', 1)
    t.equal(bench.log.withdraw(number), true)
    t.equal(bench.log.waitingBytes, 0)
    await bench.log.flushed()
    t.equal(bench.owner.durableUpTo, number)
    t.equal(bench.disk.counts.write, write)
    t.equal(bench.log.withdraw(number), false)
  },
)

t.test('numbers are taken before they are used, or are not, and rise', async t => {
  const bench = await LogFixture.open()
  const { log } = bench
  t.equal(log.takeNumber(), 1)
  const numbers = [1, 2, 3].map(() => {
    log.takeNumber()
    return bench.publish('message', 1)
  })
  t.same(numbers, [3, 5, 7])
  t.equal(bench.settle(1, 3), 8)
  for (const never of [1, 2, 4, 6, 8, 9]) t.equal(log.withdraw(never), false)
  t.equal(log.withdraw(5), true)
  t.equal(log.withdraw(5), false)
  t.throws(() => log.appendMessage(4, bench.targets, 0, Buffer.alloc(1), 0, 1, null, 1), {
    message: '4 is appended after 8',
  })
  await log.flushed()
  t.equal(bench.owner.durableUpTo, 8)
  await log.close()
  const again = await LogFixture.open(bench.disk)
  t.same([...again.owner.messages.keys()], [7])
  t.equal(again.log.recovery.lastNumber, 8)
  t.equal(again.log.takeNumber(), 9)
  again.publish('later', 1)
  await again.log.flushed()
  again.disk.kill()
  const { log: last } = await LogFixture.open(again.disk)
  t.equal(last.recovery.lastNumber, 10)
  t.ok(last.takeNumber() > 1_000_000, 'what may have been seen is not given again')
})

t.test('messages withdrawn do not pile up, however long the disk takes', async t => {
  const bench = await LogFixture.open()
  bench.disk.free = 0
  bench.publish('waits', 1)
  await settleDown()
  for (let i = 0; i < 1000; i++) bench.log.withdraw(bench.publish('x'.repeat(1000), 1))
  t.equal(bench.log.failing, true)
  t.ok(bench.pool.taken <= 2, `${bench.pool.taken} chunks`)
  bench.disk.free = Number.POSITIVE_INFINITY
  bench.clock.advance(10_000)
  await settleDown()
  t.equal(bench.owner.durableUpTo, 1001)
  t.equal(bench.pool.taken, 0)
})

t.test('a message larger than a block is read back whole', async () => {
  const bench = await LogFixture.open()
  const texts = [1, 65_000, 65_504, 70_000, 300_000].map((size, i) => String(i).repeat(size))
  const numbers = texts.map(text => bench.publish(text, 1))
  await bench.log.flushed()
  for (const [i, number] of numbers.entries()) ok((await bench.content(number)) === texts[i])
  bench.disk.crash()
  const again = await LogFixture.open(bench.disk)
  for (const [i, number] of numbers.entries()) ok((await again.content(number)) === texts[i])
})

t.test('after a failure nothing is confirmed until all of it is in another file', async t => {
  const bench = await LogFixture.open()
  bench.publish('before', 1)
  await bench.log.flushed()
  const told: string[] = []
  bench.owner.onFailed = from => told.push(`failed ${from}`)
  bench.owner.onDurable = upTo => told.push(`durable ${upTo}`)
  bench.disk.free = 0
  const number = bench.publish('message', 1)
  await settleDown()
  t.equal(bench.log.failing, true)
  t.same(told, [`failed ${number}`])
  bench.disk.free = Number.POSITIVE_INFINITY
  bench.clock.advance(10_000)
  await settleDown()
  // That the disk works may be told before.
  t.same(
    told.filter(line => line !== `durable ${number - 1}`),
    [`failed ${number}`, `durable ${number}`],
  )
  t.equal(bench.log.failing, false)
  bench.disk.crash()
  const again = await LogFixture.open(bench.disk)
  t.same([...again.owner.messages.keys()], [1, 2])
})

/** A hundred messages on a disk that is almost full. */
async function fullDisk(): Promise<LogFixture> {
  const bench = await LogFixture.open()
  for (let i = 0; i < 100; i++) bench.publish('x'.repeat(1000), 1)
  await bench.log.flushed()
  bench.disk.free = 30_000
  bench.clock.advance(10_000)
  return bench
}

t.test('on a full disk settlements are durable, messages fail, and space returns', async t => {
  const bench = await fullDisk()
  const told: string[] = []
  bench.owner.onFailed = (from, error) => told.push(`failed ${from}: ${error.message}`)
  bench.owner.onDurable = upTo => told.push(`durable ${upTo}`)
  const number = bench.publish('new', 1)
  bench.settle(1, 1, 2, number)
  await settleDown()
  bench.clock.advance(200)
  await settleDown()
  t.same(told, [`failed ${number}: the disk is almost full`])
  t.equal(bench.log.failing, true)
  t.ok(bench.log.waitingBytes > 0)
  const copy = new SimulatedDisk(1)
  for (const path of bench.disk.paths()) copy.put(path, bench.disk.bytes(path))
  const other = await LogFixture.open(copy)
  t.notOk(other.owner.messages.has(1), 'the settlement is there')
  t.notOk(other.owner.messages.has(number), 'the message is not')
  const settlements = bench.disk.counts.write
  bench.settle(1, ...Array.from({ length: 97 }, (_, i) => 3 + i))
  await settleDown()
  t.ok(bench.disk.counts.write > settlements)
  for (let i = 0; i < 10; i++) {
    bench.clock.advance(1000)
    await settleDown()
  }
  t.ok(bench.log.cleaner.removed > 0, 'cleaning has made room')
  t.equal(bench.log.failing, false)
  t.equal(told.at(-1), `durable ${number + 2}`, 'as soon as there is room')
  t.equal(bench.log.waitingBytes, 0)
  bench.disk.crash()
  const again = await LogFixture.open(bench.disk)
  t.same([...again.owner.messages.keys()], [100])
})

t.test('on a small disk segments are small enough to go in time', async t => {
  const disk = new SimulatedDisk(1)
  disk.free = 8 * 1024 * 1024
  const bench = await LogFixture.open(disk, 0)
  const text = 'x'.repeat(32 * 1024)
  for (let i = 0; i < 1000; i++) {
    const number = bench.publish(text, 1)
    if (i % 10 === 9) await bench.log.flushed()
    bench.settle(1, number)
  }
  await settleDown()
  t.equal(bench.owner.failures, 0, 'four times the disk went through it')
  await bench.log.close()
})

t.test('messages that wait for space can be withdrawn, and do not pile up', async t => {
  const bench = await fullDisk()
  for (let i = 0; i < 300; i++) {
    const number = bench.publish('x'.repeat(1000), 1)
    await tick()
    await tick()
    if (i % 2 === 0) await settleDown()
    t.ok(bench.log.withdraw(number), { diagnostic: false })
  }
  await settleDown()
  bench.clock.advance(1000)
  await settleDown()
  t.equal(bench.log.waitingBytes, 0)
  t.ok(bench.pool.taken <= 2, `${bench.pool.taken} chunks`)
  t.equal(bench.owner.durableUpTo, 400, 'what was withdrawn needs no room')
  bench.publish('stays', 1)
  await t.rejects(bench.log.close(), { message: 'the disk is almost full' })
})

t.test('when even the reserve is used up, settlements wait and nothing is lost', async t => {
  const bench = await fullDisk()
  bench.disk.free = 0
  bench.settle(1, 1, 2, 3)
  const number = bench.publish('new', 1)
  await settleDown()
  t.equal(bench.log.failing, true)
  bench.disk.free = Number.POSITIVE_INFINITY
  for (let i = 0; i < 10; i++) {
    bench.clock.advance(5000)
    await settleDown()
  }
  t.equal(bench.log.failing, false)
  t.equal(bench.owner.durableUpTo, number)
  bench.disk.crash()
  const again = await LogFixture.open(bench.disk)
  t.equal(again.owner.messages.size, 98)
  t.equal(await again.content(number), 'new')
})

t.test('a transaction on a full disk is held back as a whole', async t => {
  const bench = await fullDisk()
  bench.log.beginTransaction()
  bench.publish('new', 2)
  bench.settle(1, 100)
  const last = bench.log.endTransaction()
  await settleDown()
  bench.settle(1, ...Array.from({ length: 99 }, (_, i) => 1 + i))
  bench.clock.advance(200)
  await settleDown()
  const copy = new SimulatedDisk(1)
  for (const path of bench.disk.paths()) copy.put(path, bench.disk.bytes(path))
  const other = await LogFixture.open(copy)
  t.same([...other.owner.messages.keys()], [100], 'neither half of it is there')
  bench.disk.free = Number.POSITIVE_INFINITY
  bench.clock.advance(1000)
  await settleDown()
  t.ok(bench.owner.durableUpTo >= last)
  bench.disk.crash()
  t.same([...(await LogFixture.open(bench.disk)).owner.messages.keys()], [101])
})

t.test('after a clean stop only indexes are read, and the log says so', async t => {
  const bench = await LogFixture.open()
  for (let i = 0; i < 200; i++) bench.publish('x'.repeat(1000), 1 + (i % 3))
  await bench.log.flushed()
  bench.settle(1, 1, 4, 7)
  await bench.log.close()
  const again = await LogFixture.open(bench.disk)
  t.equal(again.log.recovery.clean, true)
  t.equal(again.log.recovery.epoch, 2)
  t.equal(again.owner.messages.size, 197)
  bench.disk.crash()
  t.equal((await LogFixture.open(bench.disk)).log.recovery.clean, false)
})

t.test('recovery tells how far it is, and pauses when a step has been long', async t => {
  const bench = await LogFixture.open()
  for (let i = 0; i < 100; i++) {
    bench.publish('x'.repeat(1000), 1)
    if (i % 10 === 9) await bench.log.flushed()
  }
  bench.log.appendReturned(1, 1, 1)
  await bench.log.close()
  const again = new LogFixture(bench.disk)
  const told: number[][] = []
  let steps = 0
  const message = again.owner.message.bind(again.owner)
  again.owner.message = (...said) => {
    steps++
    again.clock.advance(5)
    message(...said)
  }
  let pauses = 0
  const turn = new Turn(
    task => {
      pauses++
      setImmediate(task)
    },
    error => {
      throw error
    },
  )
  const { clock, pool } = again
  const files = again.disk.session()
  const progress = (...said: number[]) => told.push(said)
  await FileLog.open({ folder: 'log', files, clock, turn, pool, progress }, again.owner)
  t.equal(steps, 100)
  t.ok(pauses >= 5, `${pauses} pauses`)
  t.ok(told.length > 5)
  t.same(told.at(-1), [told[0]?.[1], told[0]?.[1]])
})

t.test('messages too small for an index are found without one', async t => {
  const bench = await LogFixture.open()
  for (let i = 0; i < 1000; i++) {
    bench.publish('x', 1)
    if (i % 100 === 0) await bench.log.flushed()
  }
  await bench.log.close()
  const again = await LogFixture.open(bench.disk)
  t.equal(again.log.recovery.clean, true)
  t.equal(again.log.recovery.records, 1000)
  t.equal(again.owner.messages.size, 1000)
  t.equal(await again.content(1000), 'x')
})

t.test('a forgotten message holds no more than the segment it is copied to', async t => {
  const bench = await LogFixture.open()
  bench.publish('forgotten', 1)
  for (let i = 0; i < 500; i++) {
    const number = bench.publish('x'.repeat(1000), 1)
    await bench.log.flushed()
    bench.settle(1, number)
  }
  await settleDown()
  t.ok(bench.log.cleaner.removed > 20)
  t.ok(bench.log.cleaner.copied < bench.log.cleaner.removed)
  t.ok(bench.log.segments.length < 6, `${bench.log.segments.length} segments`)
  t.equal(await bench.content(1), 'forgotten')
  bench.disk.crash()
  const again = await LogFixture.open(bench.disk)
  t.equal(await again.content(1), 'forgotten')
})

t.test('a segment that could not be deleted goes before any later one does', async t => {
  const bench = new LogFixture()
  const files = bench.disk.session()
  const refused: string[] = []
  const gone: string[] = []
  await bench.begin(16 * 1024, {
    ...files,
    remove: async path => {
      if (refused.length < 3) {
        refused.push(path)
        throw Object.assign(new Error('EIO'), { code: 'EIO' })
      }
      gone.push(path)
      await files.remove(path)
    },
  })
  for (let i = 0; i < 300; i++) {
    const number = bench.publish('x'.repeat(1000), 1)
    await bench.log.flushed()
    bench.settle(1, number)
    bench.clock.advance(100)
  }
  await settleDown()
  t.equal(new Set(refused).size, 1, 'it is tried again')
  t.equal(gone[0], refused[0])
  t.ok(gone.length > 5)
  await bench.log.close()
})

t.test('expiries, marks and counts of returns survive cleaning and a crash', async t => {
  const bench = await LogFixture.open()
  const { targets } = bench
  targets.clear()
  targets.add(1, 1_800_000_000_000)
  targets.add(2)
  const bytes = Buffer.from('message')
  const number = bench.log.takeNumber()
  bench.log.appendMessage(number, targets, 0x1ff, bytes, 0, 7, null, 5)
  bench.owner.message(number, targets, 0x1ff, -1, -1, 7, 5)
  bench.log.appendReturned(2, number, 70_000)
  bench.owner.returned(2, number, 70_000)
  for (let i = 0; i < 100; i++) bench.settle(1, bench.publish('x'.repeat(1000), 1))
  await bench.log.flushed()
  for (let i = 0; i < 50; i++) {
    bench.settle(1, bench.publish('y', 1))
    await bench.log.flushed()
  }
  await settleDown()
  t.ok(bench.log.cleaner.removed > 0)
  bench.disk.crash()
  const again = await LogFixture.open(bench.disk)
  const held = again.owner.messages.get(number)
  t.same([...(held?.queues ?? [])], [1, 2])
  t.equal(held?.marks, 0x1ff)
  t.equal(held?.bodySize, 5)
  t.same([...(held?.expiries ?? [])], [[1, 1_800_000_000_000]])
  t.same([...(held?.returns ?? [])], [[2, 70_000]])
})

const fixture = [
  // Head of the segment: version 1, shard 0, epoch 1, segment 1, batch 1, number 1, oldest 1.
  '6c6576657265740a86f3d3f00100000001000000000000000100000000000000',
  '0100000000000000000000000000f03f01000000000000000000000000000000',
  // Head of a block: 92 bytes, last of batch 1, batch 0 was synced.
  'b14c7672c2d0f5795c0000000100000000000000000000000100000000000100',
  // Message 1 in queue 1, its body of 3 bytes.
  '210000000100000000000001000000000400000003000000010000000000',
  '6f6e65',
  // Message 2 in queues 1 and 2.
  '270000000200000000000001000000000800000003000000010000000000',
  '02000000000074776f',
  // Number 3: queue 1 has settled 1.
  '1400000003000000000000020100000000000100',
].join('')

const newerFixture = [
  // The head of a segment of version 2, sound in itself.
  '6c6576657265740a91f7864a0200000001000000000000000100000000000000',
  '0100000000000000000000000000f03f01000000000000000000000000000000',
].join('')

t.test('the format is as it is drawn', async t => {
  const bench = await LogFixture.open()
  bench.publish('one', 1)
  bench.publish('two', 1, 2)
  bench.settle(1, 1)
  await bench.log.flushed()
  const hex = bench.disk.bytes('log/000000000001.log').toString('hex')
  t.equal(hex, fixture)
  const disk = new SimulatedDisk(1)
  disk.put('log/000000000001.log', Buffer.from(fixture, 'hex'))
  const again = await LogFixture.open(disk)
  t.same([...again.owner.messages.keys()], [2])
  t.equal(await again.content(2), 'two')
})

t.test('a newer format is refused with a reason', async t => {
  const disk = new SimulatedDisk(1)
  const bytes = Buffer.from(newerFixture, 'hex')
  disk.put('log/000000000001.log', bytes)
  await t.rejects(LogFixture.open(disk), {
    message: /000000000001.log has log format 2; this version reads formats up to 1/,
  })
  t.ok(disk.bytes('log/000000000001.log').equals(bytes), 'and left as it is')
})

/** A log of a few segments: what is in it, and the disk. */
async function someLog(
  clean: boolean,
): Promise<{ disk: SimulatedDisk; texts: Map<number, string> }> {
  const bench = await LogFixture.open()
  const texts = new Map<number, string>()
  for (let i = 0; i < 40; i++) {
    for (let j = 0; j < 4; j++) {
      const text = `message ${i} ${j} `.repeat(i === 20 ? 2000 : 10 + (i % 5))
      texts.set(bench.publish(text, 1 + (j % 3)), text)
    }
    if (i % 4 === 3) {
      const number = [...texts.keys()].at(-3) as number
      bench.settle(2, number)
      texts.delete(number)
    }
    await bench.log.flushed()
  }
  if (clean) await bench.log.close()
  else bench.disk.kill()
  return { disk: bench.disk, texts }
}

t.test('a place that cannot be read is damage, and no more than that', async t => {
  const { disk, texts } = await someLog(false)
  const session = disk.session()
  const path = disk.paths().findLast(name => disk.bytes(name).length > 3000)
  const bad = 2000
  const files: Files = {
    ...session,
    open: async opened => {
      const file = await session.open(opened)
      if (opened !== path) return file
      return {
        ...file,
        read: async (into, at) => {
          if (at <= bad && bad < at + into.length)
            throw Object.assign(new Error('EIO: simulated'), { code: 'EIO' })
          return file.read(into, at)
        },
      }
    },
  }
  const bench = new LogFixture(disk)
  await bench.begin(16 * 1024, files)
  const { damages } = bench.log.recovery
  t.equal(damages.length, 1)
  const [first, last] = damages[0]?.numbers ?? [0, 0]
  const lost = [...texts.keys()].filter(number => !bench.owner.messages.has(number))
  t.ok(lost.length > 0 && lost.length < texts.size / 2, `${lost.length} of ${texts.size} are lost`)
  t.ok(
    lost.every(number => first <= number && number <= last),
    'the report names them',
  )
  t.ok(disk.paths().includes(path as string), 'and leaves them where they are')
})

for (const clean of [true, false])
  t.test(`a damaged byte anywhere is never silent (${clean ? 'clean' : 'killed'})`, async t => {
    const { disk, texts } = await someLog(clean)
    const files = new Map(disk.paths().map(path => [path, Buffer.from(disk.bytes(path))]))
    t.ok(files.size >= 2, `${files.size} segments`)
    const seen = { sound: 0, damaged: 0, cut: 0, unreadable: 0 }
    for (const [path, bytes] of files)
      for (let at = 0; at < bytes.length; at += at < 128 ? 5 : 601) {
        const copy = new SimulatedDisk(at)
        for (const [name, content] of files) copy.put(name, content)
        copy.bytes(path)[at] = (copy.bytes(path)[at] as number) ^ 0x55
        const bench = await LogFixture.open(copy)
        const { damages, cutBytes } = bench.log.recovery
        let unreadable = 0
        for (const [number, text] of texts) {
          const held = bench.owner.messages.has(number)
          const content = held ? await bench.content(number) : null
          if (content === null) {
            const named = damages.some(
              ({ numbers }) => numbers !== null && numbers[0] <= number && numbers[1] >= number,
            )
            ok(named || cutBytes > 0, `${path} ${at}: ${number} is missing silently`)
          } else if (content instanceof Error) unreadable++
          else ok(content === text, `${path} ${at}: ${number} has changed`)
        }
        for (const number of bench.owner.messages.keys())
          ok(
            texts.has(number) || damages.length > 0 || cutBytes > 0,
            `${number} came back silently`,
          )
        if (damages.length > 0) seen.damaged++
        else if (cutBytes > 0) seen.cut++
        else if (unreadable > 0) seen.unreadable++
        else seen.sound++
      }
    t.comment(JSON.stringify(seen))
    if (clean) t.ok(seen.unreadable > 20, 'found when it is read')
    else t.ok(seen.damaged > 50 || seen.unreadable > 20, 'found at the start')
  })
