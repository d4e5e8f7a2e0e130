/** Who publishes waits while the log is behind, and while an alarm is set, each for its own reason. */
import t from 'tap'
import { Blocking } from '../../src/amqp/blocking.js'
import { Intake } from '../../src/amqp/intake.js'
import { Alarms } from '../../src/broker/alarms.js'
import type { LogWaiter } from '../../src/broker/journal.js'
import { FakeSocket } from '../support/fake-socket.js'
import { ManualTurn } from '../support/manual-turn.js'

function bench() {
  const socket = new FakeSocket()
  const alarms = new Alarms()
  const waiters: LogWaiter[] = []
  const journal = { congested: false, wait: (waiter: LogWaiter) => waiters.push(waiter) }
  const told: string[] = []
  const client = { can: () => true, send: (_channel: 0, name: string) => told.push(name) }
  const intake = new Intake(socket, new ManualTurn().turn, () => {})
  const blocking = new Blocking(alarms, journal, intake, client)
  /** The log has made a batch durable, or failed to. */
  const wake = (how: 'durable' | 'failed') => {
    const woken = waiters.splice(0)
    waiters.push(...woken.filter(waiter => waiter[how](1, new Set())))
  }
  return { socket, alarms, waiters, journal, told, blocking, wake }
}

t.test('a publisher waits without a word until the log has caught up', async t => {
  const { socket, waiters, journal, told, blocking, wake } = bench()
  blocking.block()
  t.notOk(socket.paused, 'there is no reason to')
  journal.congested = true
  blocking.block()
  blocking.block()
  t.ok(socket.paused)
  t.equal(waiters.length, 1, 'it waits once')
  wake('durable')
  wake('failed')
  t.ok(socket.paused, 'as long as too much is waiting')
  journal.congested = false
  wake('durable')
  t.notOk(socket.paused)
  t.equal(waiters.length, 0)
  journal.congested = true
  blocking.block()
  t.ok(socket.paused, 'and the next time again')
  t.same(told, [])
})

t.test('with an alarm as well it waits for both', async t => {
  const { socket, alarms, journal, told, blocking, wake } = bench()
  journal.congested = true
  alarms.set('disk', true)
  blocking.block()
  t.same(told, ['connection.blocked'])
  journal.congested = false
  wake('failed')
  t.ok(socket.paused, 'the alarm is left')
  alarms.set('disk', false)
  t.notOk(socket.paused)
  t.same(told, ['connection.blocked', 'connection.unblocked'])
})
