/** What a broker keeps through its end, and what it does not, on a simulated disk. */
import t from 'tap'
import { acquiredCount } from '../../src/broker/queues/return-count.js'
import { lookup, textOf } from '../../src/wire/field-table.js'
import {
  type BrokerLife,
  type Delivery,
  PendingCommit,
  settle,
  Taker,
} from '../support/broker-life.js'
import { Bench, bodiesOf, broken, calm, withGraves } from '../support/journal-bench.js'
import { octetsOf } from '../support/messages.js'

/** What was told of the log's being written. */
const writing = ({ lines }: BrokerLife) =>
  lines.flatMap(({ message }) => (message.includes('written') ? message : []))

t.test('messages come back as they were after a proper stop', async t => {
  const bench = new Bench(life => {
    life.declareQueue('q', { 'x-max-priority': 5 })
  })
  let life = await bench.start()
  const large = octetsOf(100_000, 7)
  life.publish({ key: 'q', body: Buffer.from('a'), properties: { messageId: 'A', priority: 1 } })
  life.publish({ key: 'q', body: Buffer.from('b'), properties: { priority: 4 } })
  life.publish({ key: 'q', body: Buffer.alloc(0), properties: { priority: 4, expiration: '5000' } })
  life.publish({ key: 'q', body: large, properties: { priority: 1 } })
  settle(await life.take('q'), 'requeue')
  settle(await life.take('q'), 'requeue')
  const expiryMs = life.clock.wallMs() + 5000
  await life.turns()

  life = await bench.restart('clean', 2500)
  const leftMs = expiryMs - life.clock.wallMs()
  t.equal(life.queue('q').readyCount, 4)
  t.equal(life.queue('q').readyBytes, 100_002)
  const all = await life.getAll('q')
  t.strictSame(
    all.map(({ body, properties, redelivered, returns, ttlMs }) => ({
      size: body.length,
      priority: properties.priority,
      id: properties.messageId,
      redelivered,
      returns: acquiredCount(returns),
      ttlMs,
    })),
    [
      { size: 1, priority: 4, id: undefined, redelivered: true, returns: 2, ttlMs: Infinity },
      { size: 0, priority: 4, id: undefined, redelivered: false, returns: 0, ttlMs: leftMs },
      { size: 1, priority: 1, id: 'A', redelivered: false, returns: 0, ttlMs: Infinity },
      {
        size: 100_000,
        priority: 1,
        id: undefined,
        redelivered: false,
        returns: 0,
        ttlMs: Infinity,
      },
    ],
  )
  t.ok(all[3]?.body.equals(large))
  const told = life.lines.find(({ message }) => message.includes('messages recovered'))
  t.match(told?.fields, { clean: true })
})

t.test('what was delivered and not settled comes back, in its place', async t => {
  const bench = new Bench()
  let life = await bench.start()
  await bench.confirmed('q', ['a', 'b', 'c', 'd'])
  const [, , c] = [await life.take('q'), await life.take('q'), await life.take('q')]
  settle(c as Delivery, 'complete')
  await life.flushed()
  life = await bench.restart('crash')
  const all = await life.getAll('q')
  t.strictSame(bodiesOf(all), ['a', 'b', 'd'])
  t.ok(
    all.every(({ redelivered }) => redelivered),
    'nobody knows what was delivered before the crash',
  )
  await bench.confirmed('q', ['new'])
  life = await bench.restart('kill')
  life = await bench.restart('clean')
  t.strictSame(
    (await life.getAll('q')).map(({ redelivered }) => redelivered),
    [true, true, true, true],
    'nor after a proper stop',
  )
  life.publish({ key: 'q', body: Buffer.from('newer') })
  t.equal((await life.take('q')).redelivered, false)
})

t.test('how often a message came back survives a crash', async t => {
  const bench = new Bench()
  let life = await bench.start()
  await bench.confirmed('q', ['a', 'b'])
  for (let i = 0; i < 3; i++) settle(await life.take('q'), 'requeue')
  await life.flushed()
  life = await bench.restart('crash')
  t.strictSame(
    (await life.getAll('q')).map(({ returns }) => acquiredCount(returns)),
    [3, 0],
  )
})

t.test('transient messages, and those of transient queues, are gone', async t => {
  for (const how of ['clean', 'crash'] as const) {
    const bench = new Bench(life => {
      life.declareQueue('q')
      life.declareQueue('passing', {}, false)
    })
    let life = await bench.start()
    life.bind('amq.fanout', 'q')
    life.bind('amq.fanout', 'passing')
    life.publish({ key: 'q', body: Buffer.from('transient'), persistent: false })
    life.publish({ exchange: 'amq.fanout', key: '', body: Buffer.from('both') })
    life.publish({ key: 'passing', body: Buffer.from('passing') })
    await life.flushed()
    t.equal(bench.holds('transient') || bench.holds('passing'), false)
    life = await bench.restart(how)
    t.strictSame(bodiesOf(await life.getAll('q')), ['both'], how)
    t.equal(life.queue('passing').readyCount, 0)
  }
})

t.test('a message in many queues is written once, and leaves each for itself', async t => {
  const names = Array.from({ length: 10 }, (_, i) => `q${i}`)
  const bench = new Bench(life => {
    for (const name of names) {
      life.declareQueue(name)
      life.bind('amq.fanout', name)
    }
  })
  let life = await bench.start()
  await bench.confirmed('', ['x'.repeat(50_000)], 'amq.fanout')
  t.ok(bench.bytes < 55_000, `${bench.bytes} bytes`)
  for (const name of names.slice(0, 7)) settle(await life.take(name), 'complete')
  await life.flushed()
  life = await bench.restart('crash')
  t.strictSame(
    names.map(name => life.queue(name).readyCount),
    [0, 0, 0, 0, 0, 0, 0, 1, 1, 1],
  )
  for (const name of names.slice(7, 9)) settle(await life.take(name), 'complete')
  await life.flushed()
  life = await bench.restart('kill')
  t.strictSame(bodiesOf(await life.getAll('q9')), ['x'.repeat(50_000)])
  t.equal(life.journal.index.size, 1)
})

t.test('a message that is gone before it is written never is', async t => {
  const bench = new Bench()
  const life = await bench.start()
  const channel = life.confirming()
  channel.publish({ key: 'q', body: Buffer.from('short-lived') })
  settle(await life.take('q'), 'complete')
  await life.flushed()
  channel.listen()
  t.equal(channel.acked.size, 1)
  t.equal(bench.holds('short-lived'), false)
  t.equal((await bench.restart('crash')).queue('q').readyCount, 0)
})

t.test('nothing is confirmed before it is durable', async t => {
  const bench = new Bench()
  const life = await bench.start()
  const channel = life.confirming()
  channel.publish({ key: 'q', body: Buffer.from('a') })
  channel.publish({ key: 'q', body: Buffer.from('b'), persistent: false })
  channel.publish({ key: 'nowhere', body: Buffer.from('c') })
  const synced = bench.disk.counts.sync
  while (channel.acked.size === 0) {
    t.equal(bench.disk.counts.sync, synced)
    await life.turns(1)
    channel.listen()
    if (bench.disk.counts.sync > synced) break
  }
  await life.turns()
  channel.listen()
  t.equal(channel.acked.size, 3)
})

t.test('a dead letter is in one queue or the other, whenever the power fails', async t => {
  const where = { q: 0, graves: 0 }
  for (let seed = 1; seed <= 60; seed++) {
    const bench = new Bench(withGraves, seed)
    let life = await bench.start()
    await bench.confirmed('q', ['a'])
    settle(await life.take('q'), 'discard')
    await life.turns(1 + (seed % 5))
    // Settlements wait so long for somebody else's sync.
    life.clock.advance(200)
    await life.turns(seed % 7)
    life = await bench.restart('crash')
    const [old, letters] = [await life.getAll('q'), await life.getAll('graves')]
    t.equal(old.length + letters.length, 1, `seed ${seed}`)
    where.q += old.length
    where.graves += letters.length
    for (const { properties } of letters) {
      const death = lookup(properties.headers ?? [], 'x-death')
      t.equal(death?.type === 'A' && death.value.length, 1)
      t.equal(textOf(lookup(properties.headers ?? [], 'x-first-death-reason')), 'rejected')
    }
  }
  t.ok(where.q > 5 && where.graves > 5, JSON.stringify(where))
})

t.test('a letter that dies again after a restart counts its deaths', async t => {
  const bench = new Bench(life => {
    life.declareQueue('q', { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'q' })
  })
  let life = await bench.start()
  await bench.confirmed('q', ['a'])
  for (let i = 1; i <= 3; i++) {
    settle(await life.take('q'), 'discard')
    await life.flushed()
    life = await bench.restart('crash')
  }
  const headers = (await life.take('q')).properties.headers ?? []
  const deaths = lookup(headers, 'x-death')
  const [death] = deaths?.type === 'A' ? deaths.value : []
  t.equal(death?.type === 'F' && lookup(death.value, 'count')?.value, 3)
})

t.test('a transaction is there as a whole or not at all', async t => {
  const ends = { none: 0, all: 0, told: 0 }
  for (let seed = 1; seed <= 60; seed++) {
    const bench = new Bench(life => {
      life.declareQueue('q')
      life.declareQueue('r')
    }, seed)
    let life = await bench.start()
    await bench.confirmed('q', ['old1', 'old2'])
    const held = await life.getAll('q')
    const { journal } = life
    const logged: number[] = []
    journal.beginTransaction()
    for (const key of ['q', 'r', 'q']) {
      life.publish({ key, body: Buffer.from('new'.repeat(200)) })
      logged.push(life.vhost.arrival.loggedAs)
      // A large commit takes several turns.
      if (seed % 2 === 0) await life.turns(2)
    }
    for (const delivery of held) settle(delivery, 'complete')
    const commit = new PendingCommit(journal, journal.endTransaction(), logged)
    await life.turns(seed % 17)
    const told = commit.outcome === 'done'
    life = await bench.restart('crash')
    const found = [...bodiesOf(await life.getAll('q')), ...bodiesOf(await life.getAll('r'))]
      .sort()
      .join()
    if (found === 'old1,old2' && !told) ends.none++
    else if (found === ['new', 'new', 'new'].map(text => text.repeat(200)).join()) ends.all++
    else t.fail(`seed ${seed}: ${found}`)
    if (told) ends.told++
  }
  t.ok(ends.none > 5 && ends.all > 5 && ends.told > 5, JSON.stringify(ends))
})

t.test('what was purged, dropped or deleted does not come back', async t => {
  for (const how of ['clean', 'crash'] as const) {
    const bench = new Bench(life => {
      life.declareQueue('q')
      life.declareQueue('short', { 'x-max-length': 2 })
      life.declareQueue('many')
    })
    let life = await bench.start()
    await bench.confirmed('q', ['a', 'b', 'c'])
    await bench.confirmed('short', ['a', 'b', 'c', 'd'])
    await bench.confirmed(
      'many',
      Array.from({ length: 5000 }, () => 'x'),
    )
    const held = await life.take('q')
    t.equal(life.queue('q').purge(), 2)
    t.equal(life.queue('many').purge(), 5000)
    if (how === 'crash') await life.flushed()
    life = await bench.restart(how)
    t.strictSame(
      bodiesOf(await life.getAll('q')),
      [`${held.body}`],
      'what is in hands is not purged',
    )
    t.strictSame(bodiesOf(await life.getAll('short')), ['c', 'd'])
    t.equal(life.queue('many').readyCount, 0)
  }
})

t.test('a queue of the same name gets no message of the one that was deleted', async t => {
  const bench = new Bench(life => {
    life.declareQueue('q')
    life.declareQueue('other')
    life.bind('amq.fanout', 'q')
    life.bind('amq.fanout', 'other')
  })
  let life = await bench.start()
  await bench.confirmed('q', ['a', 'b'])
  await bench.confirmed('', ['both'], 'amq.fanout')
  const held = await life.take('q')
  life.vhost.removeQueue(life.queue('q'))
  const { number } = life.declareQueue('q')
  await bench.confirmed('q', ['c'])
  settle(held, 'requeue')
  await life.flushed()
  for (const how of ['crash', 'clean', 'kill'] as const) {
    if (how === 'crash') bench.disk.crash()
    else if (how === 'clean') await life.close()
    else bench.disk.kill()
    life = await bench.start()
    t.equal(life.queue('q').number, number)
    t.strictSame(bodiesOf([...(await life.getAll('q'))]), ['c'], how)
    t.strictSame(bodiesOf([...(await life.getAll('other'))]), ['both'], how)
  }
})

t.test('what expired while the broker was down is dead-lettered when it is up', async t => {
  const bench = new Bench(withGraves)
  let life = await bench.start()
  life.publish({ key: 'q', body: Buffer.from('a'), properties: { expiration: '1000' } })
  life.publish({ key: 'q', body: Buffer.from('b'), properties: { expiration: '90000' } })
  await life.flushed()
  life = await bench.restart('crash', 5000)
  await life.turns()
  t.strictSame(bodiesOf(await life.getAll('q')), ['b'])
  const [letter] = await life.getAll('graves')
  t.equal(`${letter?.body}`, 'a')
  t.equal(letter?.properties.expiration, undefined)
})

t.test('what expires while the broker recovers goes behind what is there', async t => {
  const bench = new Bench(withGraves)
  let life = await bench.start()
  const channel = life.confirming()
  // More than are taken in at a time.
  const count = 4500
  for (let i = 0; i < count; i++) {
    const properties = { expiration: '1000' }
    channel.publish({ key: 'q', body: Buffer.from(`late ${i}`), properties })
  }
  for (let i = 0; i < 50; i++) channel.publish({ key: 'graves', body: Buffer.from(`early ${i}`) })
  await life.flushed()
  life = await bench.restart('crash', 5000)
  for (let i = 0; i < 40; i++) {
    await life.turns(1)
    life.clock.advance(1)
  }
  t.equal(life.queue('graves').readyCount, count + 50)
  const numbers = (await life.getAll('graves')).map(({ number }) => number)
  t.strictSame(
    numbers,
    numbers.toSorted((a, b) => a - b),
  )
})

t.test('refused messages, and those that expire at once, are not kept', async t => {
  const graves = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'graves' }
  const bench = new Bench(life => {
    life.declareQueue('full', { 'x-max-length': 1, 'x-overflow': 'reject-publish' })
    const overflow = { 'x-max-length': 1, 'x-overflow': 'reject-publish-dlx' }
    life.declareQueue('fuller', { ...overflow, ...graves })
    life.declareQueue('brief', { 'x-message-ttl': 0, ...graves })
    life.declareQueue('graves')
    for (const name of ['full', 'fuller', 'brief']) life.bind('amq.fanout', name)
  })
  let life = await bench.start()
  const channel = life.confirming()
  channel.publish({ exchange: 'amq.fanout', key: '', body: Buffer.from('first') })
  channel.publish({ key: 'full', body: Buffer.from('second') })
  channel.publish({ key: 'fuller', body: Buffer.from('third') })
  await life.flushed()
  channel.listen()
  t.strictSame([...channel.acked], [1])
  t.strictSame([...channel.nacked], [2, 3])
  t.equal(bench.holds('second'), false)
  life = await bench.restart('crash')
  t.strictSame(bodiesOf(await life.getAll('full')), ['first'])
  t.strictSame(bodiesOf(await life.getAll('fuller')), ['first'])
  t.strictSame(bodiesOf(await life.getAll('brief')), [])
  t.strictSame(bodiesOf(await life.getAll('graves')), ['first', 'third'])
})

t.test('a disk that fails: refused, withdrawn, and all goes on', async t => {
  for (const trouble of ['EIO', 'ENOSPC', 'names'] as const) {
    const bench = new Bench(life => {
      life.declareQueue('q')
      life.declareQueue('r')
      life.bind('amq.fanout', 'q')
      life.bind('amq.fanout', 'r')
    })
    let life = await bench.start()
    const { alarms } = life.broker
    await bench.confirmed('q', ['safe1', 'safe2'])
    const held = await life.take('q')
    const filled = bench.life.confirming()
    if (trouble === 'ENOSPC') bench.disk.free = 10
    else bench.disk.faults = trouble === 'EIO' ? broken : { ...broken, fail: 0, names: 1 }
    if (trouble === 'names') {
      // The first failure makes it need a new segment.
      bench.disk.faults = broken
    }
    const channel = life.confirming()
    channel.publish({ exchange: 'amq.fanout', key: '', body: Buffer.from('both') })
    channel.publish({ key: 'q', body: Buffer.from('one') })
    channel.publish({ key: 'q', body: Buffer.from('transient'), persistent: false })
    const unconfirmed = life.publish({ key: 'q', body: Buffer.from('nobody asks') })
    t.ok(unconfirmed)
    const inHands = await life.take('r')
    await life.turns(40)
    channel.listen()
    t.strictSame([...channel.nacked], [1, 2], `${trouble}: what must be durable is refused`)
    t.strictSame([...channel.acked], [3])
    t.ok(alarms.has('log'), `${trouble}: alarm`)
    t.equal(life.queue('q').readyCount, 3, 'withdrawn where nobody has it')
    settle(held, 'complete')
    settle(inHands, 'requeue')
    await life.turns(10)
    t.strictSame(
      (await life.getAll('q')).map(({ body }) => `${body}`),
      ['safe2', 'transient', 'nobody asks'],
      'consumers go on',
    )
    for (let i = 0; i < 20; i++) {
      life.clock.advance(1000)
      await life.turns(10)
      t.ok(alarms.has('log'), 'the alarm stays as long as nothing can be written')
    }
    filled.publish({ key: 'r', body: Buffer.from('later') })
    await life.turns(5)
    bench.disk.faults = calm
    bench.disk.free = Number.POSITIVE_INFINITY
    await life.flushed()
    t.notOk(alarms.has('log'), 'the alarm is cleared')
    await bench.confirmed('q', ['after'])
    t.strictSame(
      writing(life),
      ['the log of messages cannot be written', 'the log of messages is written again'],
      'both are told once',
    )
    life = await bench.restart('crash')
    t.strictSame(bodiesOf(await life.getAll('q')), ['safe2', 'nobody asks', 'after'], trouble)
    t.strictSame(bodiesOf(await life.getAll('r')).slice(0, 1), ['both'], trouble)
  }
})

t.test('the alarm stays when everything that failed has been withdrawn', async t => {
  const bench = new Bench()
  const life = await bench.start()
  await life.flushed()
  bench.disk.faults = broken
  const channel = life.confirming()
  channel.publish({ key: 'q', body: Buffer.from('a') })
  for (let i = 0; i < 20; i++) {
    await life.turns(10)
    if (channel.nacked.size > 0) t.ok(life.broker.alarms.has('log'))
    channel.listen()
    life.clock.advance(500)
  }
  t.equal(channel.nacked.size, 1)
  t.ok(life.broker.alarms.has('log'))
  bench.disk.faults = calm
  life.clock.advance(10_000)
  await life.turns(40)
  t.notOk(life.broker.alarms.has('log'))
  t.equal(writing(life).length, 2)
})

t.test('publishes of the turn in which the disk fails are refused too', async t => {
  // Whatever the moment at which they come.
  for (let delay = 0; delay < 12; delay++) {
    const bench = new Bench()
    const life = await bench.start()
    bench.disk.faults = broken
    const first = life.confirming()
    first.publish({ key: 'q', body: Buffer.from('a') })
    for (let i = 0; i < delay; i++) await new Promise<void>(resolve => setImmediate(resolve))
    const second = life.confirming()
    second.publish({ key: 'q', body: Buffer.from('b') })
    first.publish({ key: 'q', body: Buffer.from('c') })
    for (let i = 0; i < 20; i++) {
      await life.turns(10)
      life.clock.advance(1000)
    }
    first.listen()
    second.listen()
    t.equal(first.nacked.size, 2, `${delay} turns later`)
    t.equal(second.nacked.size, 1, `${delay} turns later`)
    t.equal(life.queue('q').readyCount, 0)
  }
})

t.test('a commit that cannot be written fails, and its messages are withdrawn', async t => {
  const bench = new Bench()
  const life = await bench.start()
  bench.disk.faults = broken
  const { journal } = life
  journal.beginTransaction()
  life.publish({ key: 'q', body: Buffer.from('a') })
  const logged = [life.vhost.arrival.loggedAs]
  const commit = new PendingCommit(journal, journal.endTransaction(), logged)
  await life.turns(30)
  t.equal(commit.outcome, 'failed')
  t.equal(life.queue('q').readyCount, 0)
})

t.test('a consumer gets messages of before the crash, then those of after', async t => {
  const bench = new Bench()
  let life = await bench.start()
  await bench.confirmed('q', ['a', 'b', 'c'])
  life = await bench.restart('kill')
  life.publish({ key: 'q', body: Buffer.from('d') })
  const taker = new Taker(life, life.queue('q'), { limit: 2 })
  await life.turns()
  t.strictSame(bodiesOf(taker.taken), ['a', 'b'])
  taker.settle(0, 'complete')
  taker.settle(0, 'requeue')
  await life.turns()
  taker.settle(0, 'complete')
  await life.turns()
  t.strictSame(bodiesOf(taker.taken), ['a', 'b', 'b', 'c', 'd'])
  taker.end()
  await life.flushed()
  life = await bench.restart('crash')
  t.strictSame(bodiesOf(await life.getAll('q')), ['c', 'd'])
})

t.test('a damaged content is told and left out, the others are delivered', async t => {
  const bench = new Bench()
  let life = await bench.start()
  const bodies = Array.from({ length: 40 }, (_, i) => `<${i}>`.repeat(400))
  for (let i = 0; i < bodies.length; i += 4) await bench.confirmed('q', bodies.slice(i, i + 4))
  await life.close()
  const path = bench.disk.paths().find(path => bench.disk.bytes(path).includes('<3><3>')) as string
  const bytes = bench.disk.bytes(path)
  const at = bytes.indexOf('<3><3>')
  bytes[at] = (bytes[at] as number) ^ 1
  bench.disk.put(path, bytes)
  bench.disk.kill()
  life = await bench.start()
  const found = new Set(bodiesOf(await life.getAll('q')))
  t.notOk(found.has(bodies[3] as string))
  t.ok(found.size > 30 && found.size < 40, `${found.size} are left`)
  t.ok(
    life.lines.some(({ level }) => level === 'error'),
    'the loss is told',
  )
})

t.test('what is leaving its queue when the broker stops has left it', async t => {
  const bench = new Bench(life => {
    withGraves(life)
    life.declareQueue('many')
  })
  let life = await bench.start()
  for (let i = 0; i < 50_000; i++) life.publish({ key: 'many', body: Buffer.from('x') })
  for (let i = 0; i < 2000; i++) life.publish({ key: 'q', body: Buffer.from('x') })
  await life.flushed()
  for (const delivery of await life.getAll('q')) settle(delivery, 'discard')
  t.equal(life.queue('many').purge(), 50_000)
  life = await bench.restart('clean')
  t.equal(life.queue('many').readyCount, 0)
  t.equal(life.queue('q').readyCount, 0)
  t.equal(life.queue('graves').readyCount, 2000)
})
