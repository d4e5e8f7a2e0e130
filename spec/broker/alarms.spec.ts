/** Alarms by cause, and what is said of them. */
import t from 'tap'
import { Alarms, type Cause } from '../../src/broker/alarms.js'

const causes: readonly Cause[] = ['memory', 'disk', 'log']

t.test('an alarm is active while any cause is, and listeners hear only of that', async t => {
  for (let steps = 0; steps < 64; steps++) {
    const alarms = new Alarms()
    const on = new Set<Cause>()
    let heard = 0
    alarms.listeners.add({ alarmsChanged: () => heard++ })
    let changes = 0
    // Each pair of bits says which cause changes.
    for (const cause of [0, 2, 4].map(bit => causes[((steps >> bit) & 3) % 3] as Cause)) {
      const before = on.size > 0
      if (on.has(cause)) on.delete(cause)
      else on.add(cause)
      alarms.set(cause, on.has(cause))
      alarms.set(cause, on.has(cause))
      if (on.size > 0 !== before) changes++
      t.equal(alarms.active, on.size > 0)
      for (const each of causes) t.equal(alarms.has(each), on.has(each))
    }
    t.equal(heard, changes)
  }
})

t.test("the reason is in RabbitMQ's words", async t => {
  const reason = (...on: Cause[]) => {
    const alarms = new Alarms()
    for (const cause of on) alarms.set(cause, true)
    return alarms.reason
  }
  t.equal(reason('memory'), 'low on memory')
  t.equal(reason('disk'), 'low on disk')
  t.equal(reason('log'), 'low on disk')
  t.equal(reason('log', 'disk'), 'low on disk')
  t.equal(reason('memory', 'disk'), 'low on disk & memory')
  t.equal(reason('log', 'memory'), 'low on disk & memory')
})

t.test('each resource is told of by itself, whatever it is for which it runs low', async t => {
  const alarms = new Alarms()
  const told: string[] = []
  alarms.resourceChanged = (resource, low) => told.push(`${resource} ${low}`)
  for (const [cause, on] of [
    ['log', true],
    ['disk', true],
    ['disk', true],
    ['memory', true],
    ['log', false],
    ['disk', false],
    ['memory', false],
    ['memory', false],
  ] as const)
    alarms.set(cause, on)
  t.same(told, ['disk true', 'memory true', 'disk false', 'memory false'])
})
