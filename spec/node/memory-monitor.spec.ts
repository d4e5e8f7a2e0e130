/** When publishers are blocked because memory runs out. */
import { getHeapStatistics } from 'node:v8'
import t from 'tap'
import { MemoryMonitor } from '../../src/node/memory-monitor.js'
import { SimulatedBroker } from '../support/test-client.js'

const mebibyte = 2 ** 20

t.test('the alarm is set near the limit of all memory and near that of the heap', async t => {
  const { memoryUsage } = process
  t.teardown(() => Object.assign(process, { memoryUsage }))
  const { broker, world } = new SimulatedBroker()
  const heapLimit = getHeapStatistics().heap_size_limit
  const limit = heapLimit * 4
  const monitor = new MemoryMonitor(broker, limit)
  const alarmWith = (heapUsed: number, external: number) => {
    Object.assign(process, { memoryUsage: () => ({ heapUsed, external }) })
    world.clock.advance(1000)
    return broker.alarms.has('memory')
  }
  t.notOk(alarmWith(heapLimit / 2, 0))
  t.ok(alarmWith(heapLimit * 0.8, 0), 'V8 ends the process long before the machine is full')
  t.notOk(alarmWith(heapLimit / 2, heapLimit), 'what is outside of the heap is not in its limit')
  t.ok(alarmWith(heapLimit / 2, limit))
  t.notOk(alarmWith(mebibyte, mebibyte))
  monitor.stop()
  t.notOk(alarmWith(heapLimit, limit), 'it looks no more')
})
