/** When publishers are blocked because memory runs out. */
import { getHeapStatistics } from 'node:v8'
import t, { type Test } from 'tap'
import { MemoryMonitor } from '../../src/node/memory-monitor.js'
import { SimulatedBroker } from '../support/test-client.js'

const mebibyte = 2 ** 20

/** A broker under watch, and what the heap seems to be. */
function watched(t: Test, limit: number) {
  const { memoryUsage } = process
  t.teardown(() => Object.assign(process, { memoryUsage }))
  const { broker, world } = new SimulatedBroker()
  const monitor = new MemoryMonitor(broker, limit)
  const alarmWith = (heapUsed: number) => {
    Object.assign(process, { memoryUsage: () => ({ heapUsed, external: 100 * limit }) })
    world.clock.advance(1000)
    return broker.alarms.has('memory')
  }
  return { broker, monitor, alarmWith }
}

t.test('the alarm is set near the limit of all memory and near that of the heap', async t => {
  const heapLimit = getHeapStatistics().heap_size_limit
  const limit = heapLimit * 4
  const { broker, monitor, alarmWith } = watched(t, limit)
  t.notOk(alarmWith(heapLimit / 2))
  t.ok(alarmWith(heapLimit * 0.8), 'V8 ends the process long before the machine is full')
  t.notOk(alarmWith(heapLimit / 2))
  broker.messages.intakeBytes = heapLimit
  t.notOk(alarmWith(heapLimit / 2), 'what is outside of the heap is not in its limit')
  broker.messages.intakeBytes = limit
  t.ok(alarmWith(heapLimit / 2))
  broker.messages.intakeBytes = 0
  t.notOk(alarmWith(mebibyte))
  monitor.stop()
  t.notOk(alarmWith(heapLimit), 'it looks no more')
})

t.test('messages set it, and it goes with them, whatever waits to be collected', async t => {
  const { broker, monitor, alarmWith } = watched(t, 8 * mebibyte)
  const content = Buffer.alloc(100_000)
  const slots: number[] = []
  const fill = (count: number, size: number) => {
    for (let i = 0; i < count; i++) slots.push(broker.messages.add(content, 0, size, 0, i))
  }
  const drain = () => {
    for (const slot of slots.splice(0)) broker.messages.release(slot)
  }
  for (const [count, size] of [
    [300_000, 1],
    [2000, 10_000],
    [250, 100_000],
  ] as const) {
    t.notOk(alarmWith(0))
    fill(count, size)
    t.ok(alarmWith(0), `${count} of ${size} bytes`)
    drain()
  }
  t.notOk(alarmWith(0))
  monitor.stop()
})
