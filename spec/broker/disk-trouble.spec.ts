/** A broker whose disk is full or fails, and is well again. */
import t from 'tap'
import { Bench, broken, calm } from '../support/journal-bench.js'

t.test('the alarm of a full disk ends with space, though nothing is left to write', async t => {
  const bench = new Bench()
  const life = await bench.start()
  await bench.confirmed('q', ['safe'])
  bench.disk.free = 10
  life.clock.advance(10_000)
  const channel = life.confirming()
  channel.publish({ key: 'q', body: Buffer.from('a') })
  await life.turns(40)
  channel.listen()
  t.equal(channel.nacked.size, 1)
  for (let i = 0; i < 5; i++) {
    life.clock.advance(1000)
    await life.turns(10)
    t.ok(life.broker.alarms.has('log'))
  }
  bench.disk.free = Number.POSITIVE_INFINITY
  for (let i = 0; i < 15; i++) {
    life.clock.advance(1000)
    await life.turns(10)
  }
  t.notOk(life.broker.alarms.has('log'), 'nobody can publish before')
})

t.test('messages are refused when only their queue cannot be written', async t => {
  const bench = new Bench()
  const life = await bench.start()
  await life.flushed()
  bench.disk.failing = path => path.includes('/definitions/')
  bench.disk.faults = broken
  life.declareQueue('new')
  const channel = life.confirming()
  channel.publish({ key: 'new', body: Buffer.from('a') })
  channel.publish({ key: 'q', body: Buffer.from('b'), persistent: false })
  await life.turns(40)
  channel.publish({ key: 'new', body: Buffer.from('c') })
  await life.turns(40)
  channel.listen()
  t.strictSame([...channel.nacked], [1, 3])
  t.strictSame([...channel.acked], [2])
  t.equal(life.queue('new').readyCount, 0, 'and withdrawn')
  t.ok(life.broker.alarms.has('definitions'))
  bench.disk.faults = calm
  await life.flushed()
  t.notOk(life.broker.alarms.active)
  await bench.confirmed('new', ['d'])
  const again = await bench.restart('crash')
  t.equal(again.queue('new').readyCount, 1)
})
