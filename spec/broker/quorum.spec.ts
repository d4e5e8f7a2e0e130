/** Quorum queues on a disk: what is in them survives, and nothing goes out before it is safe. */
import t from 'tap'
import { acquiredCount, deliveryCount } from '../../src/broker/queues/return-count.js'
import { lookup } from '../../src/wire/field-table.js'
import { type BrokerLife, type Declare, settle, Taker } from '../support/broker-life.js'
import { Bench, bodiesOf, broken, calm } from '../support/journal-bench.js'

const quorum = { 'x-queue-type': 'quorum' }
const onlyQuorum: Declare = life => {
  life.declareQueue('q', quorum)
}

const body = (text: string) => Buffer.from(text)

const publish = (life: BrokerLife, text: string, more: object = {}) =>
  life.publish({ key: 'q', body: body(text), persistent: false, ...more })

t.test('every message survives, whatever its delivery mode', async t => {
  const bench = new Bench(onlyQuorum)
  const life = await bench.start()
  for (const text of ['a', 'b']) publish(life, text)
  await life.flushed()
  const after = await bench.restart('crash')
  const all = await after.getAll('q')
  t.strictSame(bodiesOf(all), ['a', 'b'])
  t.equal(all[0]?.properties.deliveryMode, undefined, 'delivered as it was sent')
})

t.test('a message that went to a classic queue too is settled in both', async t => {
  for (const names of [
    ['classic', 'q'],
    ['q', 'classic'],
  ]) {
    const bench = new Bench(life => {
      for (const name of names) {
        life.declareQueue(name, name === 'q' ? quorum : {})
        life.bind('amq.fanout', name)
      }
    })
    let life = await bench.start()
    for (const text of ['a', 'b', 'c']) publish(life, text, { exchange: 'amq.fanout' })
    await life.flushed()
    settle(await life.take('classic'), 'complete')
    settle(await life.take('q'), 'complete')
    settle(await life.take('q'), 'complete')
    await life.flushed()
    life = await bench.restart('crash')
    t.strictSame(bodiesOf(await life.getAll('classic')), ['b', 'c'])
    t.strictSame(bodiesOf(await life.getAll('q')), ['c'])
  }
})

t.test('nothing is delivered before it is durable, and it goes out when it is', async t => {
  const bench = new Bench(onlyQuorum)
  const life = await bench.start()
  const taker = new Taker(life, life.queue('q'))
  const durable = () => life.journal.durableUpTo
  const early: string[] = []
  for (const text of ['a', 'b', 'c', 'd']) {
    publish(life, text)
    for (let turn = 0; turn < 3; turn++) {
      await life.turns(1)
      for (const { number } of taker.taken) if (number > durable()) early.push(text)
    }
  }
  await life.flushed()
  t.strictSame(early, [])
  t.strictSame(bodiesOf(taker.taken), ['a', 'b', 'c', 'd'])
})

t.test('what is safe does not wait for what is more urgent and not safe', async t => {
  const bench = new Bench(onlyQuorum)
  const life = await bench.start()
  publish(life, 'safe')
  await life.flushed()
  bench.disk.faults = broken
  publish(life, 'urgent', { properties: { priority: 9 } })
  await life.turns(5)
  const taker = new Taker(life, life.queue('q'))
  await life.turns(5)
  t.strictSame(bodiesOf(taker.taken), ['safe'])
  bench.disk.faults = calm
  await life.flushed()
  t.strictSame(bodiesOf(taker.taken), ['safe', 'urgent'])
})

t.test('what was refused because the disk fails is never delivered', async t => {
  const bench = new Bench(onlyQuorum)
  const life = await bench.start()
  const taker = new Taker(life, life.queue('q'))
  bench.disk.faults = broken
  const channel = life.confirming()
  channel.publish({ key: 'q', body: body('refused') })
  await life.turns(30)
  channel.listen()
  t.equal(channel.nacked.size, 1)
  bench.disk.faults = calm
  await life.flushed()
  await bench.confirmed('q', ['taken'])
  await life.flushed()
  t.strictSame(bodiesOf(taker.taken), ['taken'])
})

t.test('what was thrown away before it was safe holds nobody up', async t => {
  const bench = new Bench(onlyQuorum)
  const life = await bench.start()
  publish(life, 'returns')
  await life.flushed()
  const returning = await life.take('q')
  const taker = new Taker(life, life.queue('q'))
  publish(life, 'purged')
  t.equal(life.queue('q').purge(), 1)
  settle(returning, 'requeue')
  publish(life, 'expired', { properties: { expiration: '1' } })
  await life.turns(1)
  life.clock.advance(5)
  await life.flushed()
  t.strictSame(bodiesOf(taker.taken), ['returns'])
})

t.test('how often deliveries failed survives, and the limit holds', async t => {
  const bench = new Bench(life => {
    life.declareQueue('q', {
      ...quorum,
      'x-delivery-limit': 3,
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': 'dead',
    })
    life.declareQueue('dead')
  })
  let life = await bench.start()
  await bench.confirmed('q', ['poison', 'good'])
  const good = [await life.take('q'), await life.take('q')][1]
  if (good !== undefined) settle(good, 'complete')
  life = await bench.restart('clean')
  for (const [failure, how] of (['fail', 'requeue', 'fail'] as const).entries()) {
    settle(await life.take('q'), how)
    await life.flushed()
    life = await bench.restart(failure === 1 ? 'kill' : 'crash')
    const { returns, properties } = await life.take('q')
    t.strictSame([acquiredCount(returns), deliveryCount(returns)], [failure + 1, failure + 1])
    const shown = lookup(properties.headers ?? [], 'x-delivery-count')
    t.strictSame(shown, { type: 'l', value: failure + 1 })
    life = await bench.restart('crash')
  }
  settle(await life.take('q'), 'fail')
  await life.flushed()
  const [letter] = await life.getAll('dead')
  t.equal(`${letter?.body}`, 'poison')
  t.equal(life.queue('q').readyCount, 0)
})

t.test('the order of priorities survives, and who gave none', async t => {
  const bench = new Bench(onlyQuorum)
  let life = await bench.start()
  for (const priority of [0, undefined, 200, 5])
    publish(life, `${priority}`, priority === undefined ? {} : { properties: { priority } })
  await life.flushed()
  life = await bench.restart('crash')
  t.strictSame(bodiesOf(await life.getAll('q')), ['200', '5', 'undefined', '0'])
})
