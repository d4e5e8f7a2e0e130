/** Dead letters at least once: they stay with their quorum queue until they have arrived. */
import t from 'tap'
import { lookup, textOf } from '../../src/wire/field-table.js'
import { type BrokerLife, type Delivery, settle, Taker } from '../support/broker-life.js'
import { Bench, bodiesOf } from '../support/journal-bench.js'
import { owner } from '../support/vhosts.js'

const atLeastOnce = {
  'x-queue-type': 'quorum',
  'x-dead-letter-strategy': 'at-least-once',
  'x-overflow': 'reject-publish',
  'x-dead-letter-exchange': 'dlx',
}

function declareExchange(life: BrokerLife): void {
  const flags = { durable: true, internal: false, autoDelete: false, arguments: [] }
  life.vhost.declareExchange({ name: 'dlx', type: 'fanout', ...flags })
}

/** Queues of these names get the letters. */
function bind(life: BrokerLife, queues: Readonly<Record<string, object>>): void {
  declareExchange(life)
  for (const [name, args] of Object.entries(queues)) {
    life.declareQueue(name, { ...args })
    life.bind('dlx', name)
  }
}

const start = (args: object = {}) =>
  new Bench(life => {
    life.declareQueue('q', { ...atLeastOnce, ...args })
  })

async function reject(life: BrokerLife, count = 1): Promise<void> {
  for (let left = count; left > 0; left--) settle(await life.take('q'), 'discard')
  await life.turns(5)
}

const reasonOf = ({ properties }: Delivery) =>
  textOf(lookup(properties.headers ?? [], 'x-first-death-reason'))

/** Retries come in time. */
async function wait(life: BrokerLife, ms = 130_000): Promise<void> {
  for (let passed = 0; passed < ms; passed += 1000) {
    life.clock.advance(1000)
    await life.turns(2)
  }
}

t.test('a letter that has a way goes at once, and survives', async t => {
  const bench = start()
  let life = await bench.start()
  bind(life, { a: {}, b: { 'x-queue-type': 'quorum' } })
  await bench.confirmed('q', ['1', '2'])
  await reject(life, 2)
  t.equal(life.queue('q').asideCount, 0)
  await life.flushed()
  life = await bench.restart('crash')
  t.strictSame(bodiesOf(await life.getAll('q')), [])
  for (const name of ['a', 'b']) {
    const letters = await life.getAll(name)
    t.strictSame(bodiesOf(letters), ['1', '2'])
    t.strictSame(letters.map(reasonOf), ['rejected', 'rejected'])
  }
})

t.test('a letter without a way stays, counts, and goes when there is one', async t => {
  for (const how of ['clean', 'crash', 'kill', null] as const) {
    const bench = start({ 'x-max-length': 2 })
    let life = await bench.start()
    await bench.confirmed('q', ['1', '2'])
    await reject(life)
    t.equal(life.queue('q').readyCount, 1)
    t.equal(life.queue('q').asideCount, 1)
    t.notOk(life.publish({ key: 'q', body: Buffer.from('refused') }), 'the queue is full')
    await life.flushed()
    if (how !== null) life = await bench.restart(how)
    t.equal(life.queue('q').asideCount, 1, `dead it is after ${how}`)
    const taker = new Taker(life, life.queue('q'))
    await life.flushed()
    t.strictSame(bodiesOf(taker.taken), ['2'], 'nobody gets it again')
    declareExchange(life)
    await wait(life)
    t.equal(life.queue('q').asideCount, 1, 'an exchange that leads nowhere is no way')
    bind(life, { a: {} })
    await wait(life)
    t.equal(life.queue('q').asideCount, 0)
    const letters = await life.getAll('a')
    t.strictSame(bodiesOf(letters), ['1'])
    t.strictSame(letters.map(reasonOf), ['rejected'])
    await life.flushed()
    const after = await bench.restart('crash')
    t.equal(after.queue('q').asideCount, 0)
    t.equal(after.queue('a').readyCount, 1)
  }
})

t.test('a full queue gets its letter later, and no other gets it twice', async t => {
  const bench = start()
  const life = await bench.start()
  bind(life, { full: { 'x-max-length': 1, 'x-overflow': 'reject-publish' }, open: {} })
  await bench.confirmed('full', ['in the way'])
  await bench.confirmed('q', ['1', '2'])
  await reject(life, 2)
  t.equal(life.queue('q').asideCount, 2)
  t.equal(life.queue('open').readyCount, 2)
  await wait(life)
  t.equal(life.queue('q').asideCount, 2)
  for (const [text, left] of [
    ['in the way', 1],
    ['1', 0],
  ] as const) {
    const taken = await life.take('full')
    t.equal(`${taken.body}`, text)
    settle(taken, 'complete')
    await wait(life)
    t.equal(life.queue('q').asideCount, left)
  }
  t.strictSame(bodiesOf(await life.getAll('open')), ['1', '2'])
  t.strictSame(bodiesOf(await life.getAll('full')), ['2'])
})

t.test('purging and deleting throw letters away that have not arrived', async t => {
  const bench = start()
  const life = await bench.start()
  await bench.confirmed('q', ['1', '2', '3'])
  await reject(life, 2)
  t.equal(life.queue('q').purge(), 3)
  t.equal(life.queue('q').asideCount, 0)
  await bench.confirmed('q', ['4'])
  await reject(life)
  life.vhost.deleteQueue('q', owner, { ifUnused: false, ifEmpty: false }, () => {})
  await life.flushed()
  t.equal(life.broker.messages.count, 0)
  const after = await bench.restart('crash')
  t.equal(after.queue('q').asideCount, 0)
})

t.test('every reason is told after a restart too', async t => {
  const bench = start({ 'x-delivery-limit': 0, 'x-message-ttl': 100 })
  let life = await bench.start()
  await bench.confirmed('q', ['limit'])
  settle(await life.take('q'), 'requeue')
  await bench.confirmed('q', ['expired'])
  life.clock.advance(200)
  await life.turns(5)
  await life.flushed()
  t.equal(life.queue('q').asideCount, 2)
  life = await bench.restart('kill')
  bind(life, { a: {} })
  await wait(life)
  const letters = await life.getAll('a')
  t.strictSame(
    letters.map(letter => [`${letter.body}`, reasonOf(letter)]),
    [
      ['limit', 'delivery_limit'],
      ['expired', 'expired'],
    ],
  )
})

t.test('without overflow reject-publish it is at most once', async t => {
  const bench = start({ 'x-overflow': 'drop-head' })
  const life = await bench.start()
  await bench.confirmed('q', ['1'])
  await reject(life)
  t.equal(life.queue('q').asideCount, 0)
  await life.flushed()
  t.equal(life.broker.messages.count, 0)
})

t.test('10,000 letters take several turns, paged out or not', async t => {
  const bench = start()
  const life = await bench.start()
  bind(life, { a: {} })
  const count = 10_000
  for (let id = 0; id < count; id++) life.publish({ key: 'q', body: Buffer.from(`${id}`) })
  await life.flushed()
  const taker = new Taker(life, life.queue('q'))
  while (taker.held.length < count) await life.turns(1)
  while (taker.held.length > 0) taker.settle(0, 'discard')
  t.equal(life.queue('a').readyCount, 0, 'not at once')
  await life.flushed()
  while (life.queue('a').readyCount < count) await life.turns(1)
  t.equal(life.queue('q').asideCount, 0)
})
