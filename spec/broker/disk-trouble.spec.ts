/** A broker whose disk is full or fails, and is well again. */
import t from 'tap'
import { settle } from '../support/broker-life.js'
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
  t.strictSame(life.lines.find(({ level }) => level === 'error')?.fields, {
    reason: 'the disk is almost full',
  })
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

t.test('a backlog of small messages in many queues is left where it is', async t => {
  const names = Array.from({ length: 30 }, (_, i) => `q${i}`)
  const bench = new Bench(life => {
    for (const name of names) {
      life.declareQueue(name)
      life.bind('amq.fanout', name)
    }
  })
  let life = await bench.start()
  const publishAll = async () => {
    for (let i = 0; i < 1000; i++) {
      life.publish({ exchange: 'amq.fanout', key: '', body: Buffer.from('x') })
      if (i % 50 === 0) await life.flushed()
    }
    await life.flushed()
  }
  await publishAll()
  t.equal(life.log.cleaner.copied, 0, 'all of it is live')
  const heldBytes = life.journal.heldBytes
  life = await bench.restart('clean')
  t.equal(life.journal.heldBytes, heldBytes)
  await publishAll()
  t.equal(life.log.cleaner.copied, 0)
  for (const name of names)
    for (const delivery of await life.getAll(name)) settle(delivery, 'complete')
  await life.flushed()
  t.equal(life.journal.heldBytes, 0)
  for (let i = 0; i < 10; i++) await life.turns(50)
  t.ok(life.log.cleaner.removed > 5, 'what is dead goes')
})
