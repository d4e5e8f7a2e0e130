/** What is due in years, or in 100,000 queues, comes in its own time: not early, not late, not all at once. */
import t from 'tap'
import { Bench } from '../support/journal-bench.js'
import { VhostBench } from '../support/vhosts.js'

const day = 86_400_000
/** The longest TTL there is. */
const tenYears = 315_360_000_000

t.test('ten years are kept to the millisecond, whatever the wall clock shows', async t => {
  const bench = new VhostBench()
  const { clock } = bench.world
  const queues = [
    bench.declareQueue('of its queue', { 'x-message-ttl': tenYears }),
    bench.declareQueue('of its own'),
    bench.declareQueue('short behind long'),
  ]
  bench.declareQueue('unused', { 'x-expires': tenYears })
  const ready = () => queues.map(({ readyCount }) => readyCount)
  const expiration = `${tenYears}`
  bench.publish({ routingKey: 'of its queue' })
  bench.publish({ routingKey: 'of its own', properties: { expiration } })
  bench.publish({ routingKey: 'short behind long', properties: { expiration } })
  bench.publish({ routingKey: 'short behind long', properties: { expiration: '1000' } })
  const steps = 3650
  for (let i = 0; i < steps; i++) {
    clock.stepWall(i % 3 === 0 ? day : -day)
    clock.advance(i === steps - 1 ? day - 1 : day)
    bench.settle()
  }
  t.strictSame(ready(), [1, 1, 2])
  t.ok(bench.vhost.queues.has('unused'))
  clock.advance(1)
  bench.settle()
  t.strictSame(ready(), [0, 0, 0])
  t.notOk(bench.vhost.queues.has('unused'))
})

t.test('a message of ten years has what is left of them after a restart', async t => {
  const bench = new Bench(life => {
    life.declareQueue('q')
  })
  let life = await bench.start()
  life.publish({ key: 'q', body: Buffer.from('m'), properties: { expiration: `${tenYears}` } })
  const ends = life.clock.wallMs() + tenYears
  await life.flushed()
  for (const how of ['crash', 'clean'] as const) {
    // The clock of the machine is all there is to say how long it was down.
    life = await bench.restart(how, 400 * day)
    const [message] = await life.getAll('q')
    t.equal(message?.ttlMs, ends - life.clock.wallMs(), how)
    life.publish({
      key: 'q',
      body: Buffer.from('m'),
      properties: { expiration: `${message?.ttlMs}` },
    })
    await life.flushed()
  }
})

t.test('each of 100,000 queues expires in its own time, as do their messages', async t => {
  const bench = new VhostBench()
  const { clock } = bench.world
  const count = 100_000
  const span = 10 * day
  const start = clock.monotonicMs()
  /** Spread over the ten days, no order in them. */
  const ttlOf = (i: number) => 1 + ((i * 7919) % count) * (span / count)
  let messages = 0
  for (let i = 0; i < count; i++) {
    const queue = `q${i}`
    if (i % 2 === 0) {
      bench.declareQueue(queue, { 'x-message-ttl': ttlOf(i) })
      bench.publish({ routingKey: queue })
      messages++
    } else bench.declareQueue(queue, { 'x-expires': ttlOf(i) })
  }
  t.ok(clock.pending <= 3, 'one timer for all')
  const left = () => {
    let ready = 0
    for (const { readyCount } of bench.vhost.queues.values()) ready += readyCount
    return { ready, unused: bench.vhost.queues.size - messages }
  }
  for (let i = 0; i < 8; i++) {
    clock.stepWall(i % 2 === 0 ? day : -day)
    clock.advance(span / 8)
    bench.settle()
    const passed = clock.monotonicMs() - start
    const expected = { ready: 0, unused: 0 }
    for (let i = 0; i < count; i++)
      if (ttlOf(i) > passed) expected[i % 2 === 0 ? 'ready' : 'unused']++
    t.strictSame(left(), expected)
  }
  clock.advance(1)
  bench.settle()
  t.strictSame(left(), { ready: 0, unused: 0 })
})
