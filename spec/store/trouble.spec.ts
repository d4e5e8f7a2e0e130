/** A log whose files cannot be read, written or opened: what it refuses, and what it leaves alone. */
import { ok } from 'node:assert'
import t from 'tap'
import type { Files, OpenFile } from '../../src/platform/files.js'
import { LogFixture, settleDown } from '../support/log-fixture.js'
import type { SimulatedDisk } from '../support/simulated-disk.js'

const fault = (code: string) => Object.assign(new Error(`${code}: simulated`), { code })

/** Files of which the open ones are changed. */
function changed(files: Files, change: (file: OpenFile, path: string) => Partial<OpenFile>): Files {
  const wrap = (file: OpenFile, path: string) => ({ ...file, ...change(file, path) })
  return {
    ...files,
    create: async path => wrap(await files.create(path), path),
    open: async path => wrap(await files.open(path), path),
  }
}

/** A disk with a log of some segments, whose process was killed. */
async function someDisk(): Promise<{ disk: SimulatedDisk; count: number }> {
  const bench = await LogFixture.open()
  let count = 0
  for (let i = 0; i < 60; i++) {
    // One segment is so large that it is not kept in memory while it is read.
    for (let j = 0; j < (i === 30 ? 50 : 1); j++) {
      bench.publish(`${i}`.repeat(i === 30 ? 30_000 : 500), 1)
      count++
    }
    await bench.log.flushed()
  }
  bench.disk.kill()
  return { disk: bench.disk, count }
}

const contentsOf = (disk: SimulatedDisk) =>
  new Map(disk.paths().map(path => [path, Buffer.from(disk.bytes(path))]))

t.test('a start that cannot read for a passing reason is refused, and harms nothing', async t => {
  const { disk, count } = await someDisk()
  for (const path of disk.paths()) if (disk.bytes(path).length === 0) disk.drop(path)
  const before = contentsOf(disk)
  ok(before.size > 2)
  // Whichever read, and whichever opening of a file, is the one that fails.
  for (const code of ['EBADF', 'EMFILE', 'ENOMEM', 'EACCES'])
    for (const operation of ['open', 'read'] as const)
      for (let nth = 0, failed = true; failed; nth++) {
        failed = false
        let calls = 0
        let open = 0
        const counted = async <T>(of: string, act: () => Promise<T>): Promise<T> => {
          if (of === operation && calls++ === nth) {
            failed = true
            throw fault(code)
          }
          return act()
        }
        const files = changed(disk.session(), file => ({
          read: (into, at) => counted('read', () => file.read(into, at)),
          close: async () => {
            open--
            await file.close()
          },
        }))
        const counting: Files = {
          ...files,
          open: path =>
            counted('open', async () => {
              const file = await files.open(path)
              open++
              return file
            }),
          create: async path => {
            const file = await files.create(path)
            open++
            return file
          },
        }
        const bench = new LogFixture(disk)
        const started = bench.begin(16 * 1024, counting)
        if (
          failed ||
          (await started.then(
            () => true,
            () => false,
          )) === false
        ) {
          await t.rejects(started, { code }, `${operation} ${nth}`)
          t.equal(open, 0, 'no file stays open')
          const after = contentsOf(disk)
          for (const [path, bytes] of before)
            ok(after.get(path)?.equals(bytes), `${path} is as it was`)
        }
        disk.kill()
        if (!failed) ok(nth > 2)
        for (const path of disk.paths()) if (!before.has(path)) disk.drop(path)
        for (const [path, bytes] of before) disk.put(path, bytes)
      }
  const bench = await LogFixture.open(disk)
  t.equal(bench.owner.messages.size, count)
})

t.test('what the disk cannot read behind the last good batch stays where it is', async t => {
  const { disk } = await someDisk()
  const path = disk.paths().findLast(name => disk.bytes(name).length > 8000) as string
  const bytes = disk.bytes(path)
  // Damage in front, and a bad place from there to the end.
  bytes[1000] = (bytes[1000] as number) ^ 1
  disk.put(path, bytes)
  const large = Buffer.concat([bytes, Buffer.alloc(2 * 65_536 - bytes.length, 1)])
  disk.put(path, large)
  const files = changed(disk.session(), (file, name) => ({
    read: async (into, at) => {
      if (name === path && at + into.length > 65_536) throw fault('EIO')
      return file.read(into, at)
    },
  }))
  const bench = new LogFixture(disk)
  await bench.begin(16 * 1024, files)
  const { damages, cutBytes } = bench.log.recovery
  t.equal(cutBytes, 0)
  t.equal(damages.length, 2, 'both are told')
  t.equal(disk.bytes(path).length, large.length)
})

t.test('a segment of which nothing can be read is not taken for one never begun', async t => {
  const { disk } = await someDisk()
  const [first] = disk.paths() as [string]
  const files = changed(disk.session(), (file, path) => ({
    read: (into, at) => (path === first ? Promise.reject(fault('EIO')) : file.read(into, at)),
  }))
  await t.rejects(new LogFixture(disk).begin(16 * 1024, files), { message: /cannot be read/ })
  t.ok(disk.paths().includes(first))
})

t.test('a full segment gets its index though the next one cannot be made', async t => {
  const bench = await LogFixture.open()
  await settleDown()
  bench.publish('x'.repeat(20_000), 1)
  await bench.log.flushed()
  await settleDown()
  // The file made ahead is used up by the next one.
  bench.publish('y'.repeat(20_000), 1)
  bench.disk.faults = { fail: 0, short: 0, names: 1 }
  await bench.log.flushed()
  await settleDown()
  bench.publish('z', 1)
  await settleDown()
  t.equal(bench.log.failing, true)
  const full = bench.log.segments.filter(({ size }) => size > 20_000)
  t.equal(full.length, 2)
  for (const segment of full) t.ok(segment.trailer !== null, `segment ${segment.number}`)
})

t.test('attempts in vain leave nothing behind, however many', async t => {
  const bench = await LogFixture.open()
  bench.publish('safe', 1)
  await bench.log.flushed()
  const files = bench.disk.paths().length
  bench.disk.faults = { fail: 0, short: 0, names: 0, syncs: 1 }
  bench.publish('x'.repeat(5000), 1)
  for (let i = 0; i < 50; i++) {
    await settleDown()
    bench.clock.advance(5000)
  }
  t.ok(bench.disk.paths().length <= files + 2, `${bench.disk.paths().length} files`)
  bench.disk.faults = { fail: 0, short: 0, names: 0 }
  bench.clock.advance(5000)
  await settleDown()
  t.equal(bench.owner.durableUpTo, 2)
  bench.disk.crash()
  t.equal((await LogFixture.open(bench.disk)).owner.messages.size, 2)
})

t.test('a life in which nothing could be written was no clean one', async t => {
  for (const faults of [
    { fail: 1, syncs: 0 },
    { fail: 0, syncs: 1 },
  ]) {
    const { disk } = await LogFixture.open()
    disk.kill()
    await (await LogFixture.open(disk)).log.close()
    const bench = await LogFixture.open(disk)
    t.equal(bench.log.recovery.clean, true)
    disk.faults = { ...faults, short: 0, names: 0 }
    bench.publish('seen by somebody', 1)
    for (let i = 0; i < 5; i++) {
      await settleDown()
      bench.clock.advance(5000)
    }
    disk.faults = { fail: 0, short: 0, names: 0 }
    disk.kill()
    t.equal((await LogFixture.open(disk)).log.recovery.clean, false)
  }
})

t.test('a content that is damaged does not keep all the rest from being cleaned', async t => {
  const bench = await LogFixture.open()
  const bad = bench.publish('<bad>'.repeat(300), 1)
  await bench.log.flushed()
  const good = bench.publish('<good>'.repeat(300), 1)
  await bench.log.flushed()
  const [path] = bench.disk.paths().filter(name => bench.disk.bytes(name).includes('<bad>'))
  const bytes = bench.disk.bytes(path as string)
  const place = bytes.indexOf('<bad>')
  bytes[place] = (bytes[place] as number) ^ 1
  let reads = 0
  for (let i = 0; i < 300; i++) {
    const number = bench.publish('x'.repeat(1000), 1)
    await bench.log.flushed()
    bench.settle(1, number)
    bench.clock.advance(10)
    if (i === 150) reads = bench.log.cleaner.attempts
  }
  t.ok(reads < 10, `${reads} attempts in a second and a half`)
  for (let i = 0; i < 100; i++) {
    bench.clock.advance(1000)
    bench.settle(1, bench.publish('y', 1))
    await settleDown()
  }
  t.same([...bench.owner.lost.keys()], [bad], 'the loss is told')
  t.ok(bench.log.segments.length < 6, `${bench.log.segments.length} segments`)
  t.equal(await bench.content(good), '<good>'.repeat(300))
})

t.test('a large message withdrawn before it is written leaves nothing between others', async t => {
  const bench = await LogFixture.open()
  const { log, targets } = bench
  const before = bench.publish('before', 1)
  targets.clear()
  targets.add(1)
  const number = log.takeNumber()
  const parts = [Buffer.alloc(100_000, 1), Buffer.alloc(50_000, 2)]
  log.appendMessage(number, targets, 0, Buffer.from('head'), 0, 4, parts, 150_000)
  const after = bench.publish('after', 1)
  t.ok(log.withdraw(number))
  await log.flushed()
  t.ok(Math.max(...log.segments.map(({ size }) => size)) < 1000)
  bench.disk.kill()
  const again = await LogFixture.open(bench.disk)
  t.same([...again.owner.messages.keys()], [before, after])
  t.equal(await again.content(after), 'after')
})
