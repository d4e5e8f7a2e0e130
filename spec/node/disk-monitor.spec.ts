/** When publishers are blocked because the disk fills, and how soon that is seen. */
import t from 'tap'
import { DiskMonitor, diskFreeLimit } from '../../src/node/disk-monitor.js'
import { availableMemory } from '../../src/node/memory-monitor.js'
import { settingsFrom } from '../../src/node/settings.js'
import { type Files, systemFiles } from '../../src/platform/files.js'
import { publish, SimulatedBroker } from '../support/test-client.js'

const limit = 50e6

/** A disk of which only the free space matters. */
class Space {
  free: number | Error = 1e12
  looks = 0
  readonly files: Files = {
    ...systemFiles,
    freeBytes: async folder => {
      this.looks++
      if (folder !== '/data') throw new Error(`asked of ${folder}`)
      if (this.free instanceof Error) throw this.free
      return this.free
    },
  }
}

async function monitored(free = 1e12) {
  const space = new Space()
  space.free = free
  const host = new SimulatedBroker()
  const { files } = space
  const monitor = await DiskMonitor.start(host.broker, { files, folder: '/data' }, limit)
  const { clock, lines } = host.world
  /** Time passes; what it starts, ends. */
  const pass = async (ms: number) => {
    clock.advance(ms)
    for (let i = 0; i < 5; i++) await Promise.resolve()
  }
  return { space, host, monitor, pass, lines, alarms: host.broker.alarms }
}

t.test('the limit is absolute, or a multiple of the memory', async t => {
  t.equal(diskFreeLimit(settingsFrom({})), 50e6)
  t.equal(diskFreeLimit(settingsFrom({ 'disk_free_limit.absolute': '2GB' })), 2e9)
  const both = { 'disk_free_limit.absolute': '2GB', 'disk_free_limit.relative': 1.5 }
  t.equal(diskFreeLimit(settingsFrom(both)), Math.round(1.5 * availableMemory()))
})

t.test('publishers wait while space is short, consumers do not', async t => {
  const { space, host, monitor, pass, lines } = await monitored()
  const publisher = host.open()
  await pass(10_000)
  space.free = limit - 1
  await pass(10_000)
  publisher.give(publish(1, 'q', Buffer.from('1')))
  host.settle()
  t.match(publisher.take(), [{ name: 'connection.blocked', args: { reason: 'low on disk' } }])
  const other = host.open()
  t.notOk(other.socket.paused)
  space.free = limit
  await pass(1000)
  host.settle()
  t.match(publisher.take(), [{ name: 'connection.unblocked' }])
  monitor.stop()
  const said = lines.map(({ level, message }) => `${level} ${message}`)
  t.strictSame(
    said.filter(line => /disk/i.test(line)),
    [
      'info Disk free limit set to 50MB',
      'info Free disk space is insufficient. Free bytes: 49999999. Limit: 50000000',
      'warn disk resource limit alarm set. Publishers will be blocked until this alarm clears',
      'info Free disk space is sufficient. Free bytes: 50000000. Limit: 50000000',
      'warn disk resource limit alarm cleared',
    ],
  )
})

t.test('a disk that is full at the start is known before the first client', async t => {
  const { monitor, alarms } = await monitored(0)
  t.ok(alarms.has('disk'))
  monitor.stop()
})

t.test('the nearer the limit, the sooner the next look', async t => {
  for (const [free, ms] of [
    [1e12, 10_000],
    [limit + 2e9, 2000],
    [limit + 1e8, 100],
    [limit + 5e7, 50],
    [limit, 50],
    [limit - 1, 1000],
    [0, 1000],
  ] as const) {
    const { space, monitor, pass } = await monitored(free)
    t.equal(space.looks, 1)
    await pass(ms - 1)
    t.equal(space.looks, 1, `${free} free: not before ${ms} ms`)
    await pass(1)
    t.equal(space.looks, 2, `${free} free: after ${ms} ms`)
    monitor.stop()
    await pass(60_000)
    t.equal(space.looks, 2, 'none after a stop')
  }
})

t.test('a disk that fills at 900 MB/s is seen before it is full', async t => {
  for (const start of [5e7, 6e7, 1e8, 1.2345e8, 1e9, 7.7e9]) {
    const { space, monitor, pass, alarms } = await monitored(start)
    let free = start
    while (!alarms.has('disk') && free > 0) {
      free -= 900_000
      space.free = free
      await pass(1)
    }
    t.ok(free > 0, `${free} left of ${start}`)
    monitor.stop()
  }
})

t.test('when the system does not tell, that is said once and changes nothing', async t => {
  const { space, monitor, pass, lines, alarms } = await monitored(0)
  space.free = new Error('no such call')
  for (let i = 0; i < 5; i++) await pass(10_000)
  t.ok(alarms.has('disk'))
  t.equal(lines.filter(({ message }) => message.includes('not known')).length, 1)
  space.free = 1e12
  await pass(10_000)
  t.notOk(alarms.has('disk'))
  monitor.stop()
})
