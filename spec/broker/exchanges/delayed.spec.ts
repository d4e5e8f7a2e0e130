/** Delayed messages: when they come, what survives, and what a clock can do to them. */
import { deepStrictEqual } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import type { DelayedMessages } from '../../../src/broker/exchanges/delayed-messages.js'
import type { Vhost } from '../../../src/broker/vhost.js'
import {
  fieldTable,
  lookup,
  type PlainTable,
  type PlainValue,
} from '../../../src/wire/field-table.js'
import { AmqpError } from '../../../src/wire/replies.js'
import { type BrokerLife, settle } from '../../support/broker-life.js'
import { Bench, bodiesOf, broken, calm } from '../../support/journal-bench.js'
import { contentOf, messageBytes } from '../../support/messages.js'
import { owner, VhostBench } from '../../support/vhosts.js'

const day = 24 * 3600 * 1000

function declareDelayed(vhost: Vhost, args: PlainTable = { 'x-delayed-type': 'direct' }): void {
  vhost.declareExchange({
    name: 'later',
    type: 'x-delayed-message',
    durable: true,
    autoDelete: false,
    internal: false,
    arguments: fieldTable(args),
  })
}

function withQueue(life: BrokerLife): void {
  declareDelayed(life.vhost)
  life.declareQueue('q')
  life.bind('later', 'q', 'k')
}

const heldIn = (vhost: Vhost) => vhost.exchange('later').delayed as DelayedMessages

/** Publishes to the delayed exchange; returns the bits of its outcome. */
function publish(bench: VhostBench, headers: PlainTable, body = 'm', routingKey = 'k'): number {
  const { arrival, router } = bench.vhost
  const properties = { headers: fieldTable(headers) }
  const content = { exchange: 'later', routingKey, properties, body: Buffer.from(body) }
  const bytes = messageBytes(contentOf(content))
  arrival.message.at(bytes, 0, bytes.length, null)
  arrival.begin(0, -1, false)
  return bench.vhost.publish(router.route(arrival.message, null), arrival, null)
}

function bound(): VhostBench {
  const bench = new VhostBench()
  declareDelayed(bench.vhost)
  bench.declareQueue('q')
  bench.bind('later', 'q', 'k')
  return bench
}

const takenFrom = (bench: VhostBench) => bench.takeAll('q').map(({ body }) => `${body}`)

t.test('messages come when their delay is over, each at its time, and not before', async t => {
  const bench = bound()
  const { clock } = bench.world
  publish(bench, { 'x-delay': 3000 }, 'third')
  publish(bench, { 'x-delay': 1000 }, 'first')
  publish(bench, { 'x-delay': 1000 }, 'second')
  bench.settle()
  t.equal(heldIn(bench.vhost).readyCount, 3)
  clock.advance(999)
  bench.settle()
  t.same(takenFrom(bench), [])
  clock.advance(1)
  bench.settle()
  t.same(takenFrom(bench), ['first', 'second'])
  clock.advance(1999)
  bench.settle()
  t.same(takenFrom(bench), [])
  clock.advance(1)
  bench.settle()
  t.same(takenFrom(bench), ['third'])
  t.equal(heldIn(bench.vhost).readyCount, 0)
})

t.test(
  'the delayed copy carries the delay negated, its headers sorted, all else as it was',
  async t => {
    const bench = bound()
    const shown = (delay: PlainValue) => {
      publish(bench, { z: 1, 'x-delay': delay, a: 'b' })
      bench.world.clock.advance(200_000)
      bench.settle()
      const [taken] = bench.takeAll('q')
      return taken
    }
    const taken = shown(1500)
    t.same(
      taken?.headers.map(({ key }) => key),
      ['a', 'x-delay', 'z'],
    )
    t.match(taken, { exchange: 'later', routingKey: 'k' })
    t.strictSame(lookup(taken?.headers ?? [], 'x-delay'), { type: 'I', value: -1500 })
    t.strictSame(lookup(shown('1500')?.headers ?? [], 'x-delay')?.value, Buffer.from('-1500'))
    t.strictSame(lookup(shown(1500.5)?.headers ?? [], 'x-delay'), { type: 'd', value: -1500.5 })
  },
)

t.test(
  'without a delay, with none that can be, or one below 1, a message is routed at once',
  async t => {
    const bench = bound()
    const delays: PlainValue[] = [0, -1, -5000, 'soon', '', '-1', true, null, [1], 0.5, 1e15]
    for (const delay of [undefined, ...delays]) {
      const headers = delay === undefined ? {} : { 'x-delay': delay }
      t.equal(publish(bench, headers), 1, `${delay}`)
      t.same(takenFrom(bench), ['m'], `${delay}`)
    }
  },
)

t.test('a delayed message counts as unroutable, wherever it is going', async t => {
  const bench = bound()
  t.equal(publish(bench, { 'x-delay': 1000 }), 0)
  t.equal(publish(bench, { 'x-delay': 1000 }, 'm', 'elsewhere'), 0)
  t.equal(publish(bench, {}, 'm', 'elsewhere'), 0)
  bench.world.clock.advance(1000)
  bench.settle()
  t.same(takenFrom(bench), ['m'])
})

t.test(
  'the wrapped type routes when the delay is over, with the bindings that there are then',
  async t => {
    const bench = new VhostBench()
    declareDelayed(bench.vhost, { 'x-delayed-type': 'topic', 'alternate-exchange': 'amq.fanout' })
    bench.declareQueue('q')
    bench.declareQueue('other')
    bench.bind('amq.fanout', 'other')
    publish(bench, { 'x-delay': 10 }, 'matches', 'a.b')
    publish(bench, { 'x-delay': 10 }, 'falls', 'b')
    bench.settle()
    t.equal(heldIn(bench.vhost).readyCount, 2, 'the alternate exchange has not seen them')
    bench.bind('later', 'q', 'a.*')
    bench.world.clock.advance(10)
    bench.settle()
    t.same(takenFrom(bench), ['matches'])
    t.same(
      bench.takeAll('other').map(({ body }) => `${body}`),
      ['falls'],
    )
  },
)

t.test(
  'it delays what comes from another exchange, and from dead queues, but only once',
  async t => {
    const bench = bound()
    const { vhost, world } = bench
    vhost.bindings.bind('amq.fanout', { kind: 'exchange', name: 'later' }, '', [], owner)
    bench.publish({
      exchange: 'amq.fanout',
      routingKey: 'k',
      properties: { headers: fieldTable({ 'x-delay': 500 }) },
      body: Buffer.from('by another'),
    })
    bench.settle()
    t.same(takenFrom(bench), [])
    world.clock.advance(500)
    bench.settle()
    t.same(takenFrom(bench), ['by another'])

    bench.declareQueue('dying', {
      'x-dead-letter-exchange': 'later',
      'x-dead-letter-routing-key': 'k',
    })
    bench.publish({
      routingKey: 'dying',
      properties: { headers: fieldTable({ 'x-delay': 500 }) },
      body: Buffer.from('dead'),
    })
    bench.kill('dying', 'rejected')
    t.same(takenFrom(bench), [])
    world.clock.advance(500)
    bench.settle()
    const [letter] = bench.takeAll('q')
    t.equal(lookup(letter?.headers ?? [], 'x-delay')?.value, -500)
    t.ok(lookup(letter?.headers ?? [], 'x-death'))
  },
)

t.test('CC and BCC count when the delay is over, and BCC is not shown', async t => {
  const bench = bound()
  bench.declareQueue('copy')
  bench.bind('later', 'copy', 'cc')
  bench.declareQueue('blind')
  bench.bind('later', 'blind', 'bcc')
  bench.publish({
    exchange: 'later',
    routingKey: 'k',
    properties: { headers: fieldTable({ 'x-delay': 5, CC: ['cc'], BCC: ['bcc'] }) },
  })
  bench.world.clock.advance(5)
  bench.settle()
  for (const queue of ['q', 'copy', 'blind']) {
    const taken = bench.takeAll(queue)
    t.equal(taken.length, 1, queue)
    t.same(
      taken[0]?.headers.map(({ key }) => key),
      ['CC', 'x-delay'],
      queue,
    )
  }
})

t.test('its own time to live begins when a message arrives', async t => {
  const bench = bound()
  bench.publish({
    exchange: 'later',
    routingKey: 'k',
    properties: { expiration: '100', headers: fieldTable({ 'x-delay': 1000 }) },
  })
  bench.world.clock.advance(1000)
  bench.settle()
  t.equal(bench.vhost.queues.get('q')?.readyCount, 1)
  bench.world.clock.advance(100)
  bench.settle()
  t.equal(bench.vhost.queues.get('q')?.readyCount, 0)
})

t.test('delayed messages are listed by their time, counted and cancelled', async t => {
  const bench = bound()
  for (const delay of [300, 100, 200, 400]) publish(bench, { 'x-delay': delay }, `${delay}`)
  const held = heldIn(bench.vhost)
  bench.world.clock.advance(50)
  const listed = held.list(0, 10)
  t.same(
    listed.map(({ dueInMs }) => dueInMs),
    [50, 150, 250, 350],
  )
  t.match(listed[0], { bodyBytes: 3, persistent: false, routingKey: 'k' })
  t.same(
    held.list(1, 2).map(({ dueInMs }) => dueInMs),
    [150, 250],
  )
  const [first, second] = listed as [(typeof listed)[0], (typeof listed)[0]]
  t.ok(held.cancel(first.number))
  t.notOk(held.cancel(first.number))
  t.ok(held.cancel(second.number))
  t.equal(held.readyCount, 2)
  bench.world.clock.advance(1000)
  bench.settle()
  t.same(takenFrom(bench), ['300', '400'])
  t.equal(bench.vhost.messages.count, 0)
})

t.test('they go with their exchange, a few thousand in a turn', async t => {
  const bench = bound()
  for (let i = 0; i < 10_000; i++) publish(bench, { 'x-delay': 1000 + i })
  bench.settle()
  bench.vhost.deleteExchange('later', false)
  bench.world.turns.end()
  t.ok(bench.vhost.messages.count > 0)
  bench.settle()
  t.equal(bench.vhost.messages.count, 0)
  bench.world.clock.advance(20_000)
  bench.settle()
  t.equal(bench.world.clock.pending, 0)
})

t.test('a hundred thousand that are due at once come in order, over many turns', async t => {
  const bench = bound()
  for (let i = 0; i < 100_000; i++) publish(bench, { 'x-delay': 1000 }, `${i}`)
  bench.world.clock.stall(5000)
  bench.settle()
  const bodies = takenFrom(bench)
  t.equal(bodies.length, 100_000)
  t.ok(bodies.every((body, i) => body === `${i}`))
})

t.test('declarations without a type to wrap are refused', async t => {
  const { vhost } = new VhostBench()
  const refusal = (args: PlainTable) => {
    try {
      declareDelayed(vhost, args)
    } catch (error) {
      if (error instanceof AmqpError) return error.message
    }
    return 'no refusal'
  }
  const missing =
    "PRECONDITION_FAILED - Invalid argument, 'x-delayed-type' must be an existing exchange type"
  t.equal(refusal({}), missing)
  t.equal(refusal({ 'x-delayed-type': 5 }), missing)
  t.equal(refusal({ 'x-delayed-type': 'x-delayed-message' }), missing)
  t.equal(
    refusal({ 'x-delayed-type': 'none' }),
    "PRECONDITION_FAILED - unknown exchange type 'none'",
  )
  t.equal(
    refusal({ 'x-delayed-type': 'x-consistent-hash', 'hash-property': 'x' }),
    'PRECONDITION_FAILED - Unsupported property: x',
  )
  t.notOk(vhost.exchanges.has('later'))
  declareDelayed(vhost, { 'x-delayed-type': 'x-consistent-hash' })
  vhost.declareQueue({
    name: 'q',
    durable: true,
    exclusive: false,
    autoDelete: false,
    arguments: [],
    owner,
  })
  t.throws(
    () => vhost.bindings.bind('later', { kind: 'queue', name: 'q' }, 'w', [], owner),
    /must be an integer/,
  )
})

// --- what survives

const delayed = (body: string, delayMs: number, persistent = true) => ({
  exchange: 'later',
  key: 'k',
  body: Buffer.from(body),
  properties: { headers: fieldTable({ 'x-delay': delayMs }) },
  persistent,
})

for (const how of ['clean', 'crash', 'kill'] as const)
  t.test(`60 days survive a ${how} stop, and a clock that is a day off while it runs`, async t => {
    const bench = new Bench(withQueue)
    let life = await bench.start()
    life.publish(delayed('in 60 days', 60 * day))
    life.publish(delayed('in ten years', 3650 * day))
    life.publish(delayed('transient', 60 * day, false))
    const dueAt = life.clock.wallMs() + 60 * day
    await life.flushed()
    t.equal(heldIn(life.vhost).readyCount, 3)
    life.clock.advance(10 * day)
    await life.turns()
    life = await bench.restart(how, 5 * day)
    t.equal(heldIn(life.vhost).readyCount, 2)
    const left = dueAt - life.clock.wallMs()
    for (const step of [day, -day, -day, day]) {
      life.clock.stepWall(step)
      life.clock.advance(left / 5)
      await life.turns()
      t.equal(life.queue('q').readyCount, 0)
    }
    life.clock.advance(left / 5 - 1)
    await life.turns()
    t.equal(life.queue('q').readyCount, 0, 'not early')
    life.clock.advance(1)
    await life.turns()
    t.same(bodiesOf(await life.getAll('q')), ['in 60 days'], 'not late')
  })

t.test('what is due while nobody runs comes at the start, in order', async t => {
  const bench = new Bench(withQueue)
  let life = await bench.start()
  for (const [body, delay] of [
    ['c', 3000],
    ['a', 1000],
    ['b', 2000],
    ['d', 90_000],
  ] as const)
    life.publish(delayed(body, delay))
  await life.flushed()
  life = await bench.restart('crash', 60_000)
  await life.turns()
  t.same(bodiesOf(await life.getAll('q')), ['a', 'b', 'c'])
  life = await bench.restart('clean')
  t.equal(heldIn(life.vhost).readyCount, 1)
})

t.test(
  'a persistent delayed message is confirmed when it is durable, a transient one at once',
  async t => {
    const bench = new Bench(withQueue)
    const life = await bench.start()
    const channel = life.confirming()
    const transient = channel.publish(delayed('t', 1000, false))
    const persistent = channel.publish(delayed('p', 1000))
    await life.turns(1)
    channel.listen()
    t.ok(channel.acked.has(transient))
    t.notOk(channel.acked.has(persistent))
    await life.flushed()
    channel.listen()
    t.ok(channel.acked.has(persistent))
  },
)

t.test('one that the disk does not take is refused, and does not come', async t => {
  const bench = new Bench(withQueue)
  const life = await bench.start()
  for (let i = 0; i < 5; i++) life.publish(delayed(`kept ${i}`, 1000 + i))
  await life.flushed()
  bench.disk.faults = broken
  const channel = life.confirming()
  for (let i = 0; i < 20; i++) channel.publish(delayed('refused', 500 + 100 * i))
  for (let i = 0; i < 20 && channel.nacked.size < 20; i++) {
    await life.turns()
    life.clock.advance(10)
    channel.listen()
  }
  t.equal(channel.nacked.size, 20)
  bench.disk.faults = calm
  t.equal(heldIn(life.vhost).readyCount, 5)
  life.clock.advance(60_000)
  await life.turns()
  t.equal((await life.getAll('q')).length, 5)
})

t.test('cancelled ones, and those of a deleted exchange, do not come back', async t => {
  const bench = new Bench(withQueue)
  let life = await bench.start()
  life.publish(delayed('cancelled', 1000))
  life.publish(delayed('kept', 1000))
  await life.flushed()
  const held = heldIn(life.vhost)
  t.ok(held.cancel(held.list(0, 1)[0]?.number ?? 0))
  await life.flushed()
  life = await bench.restart('crash')
  life.clock.advance(1000)
  await life.turns()
  t.same(bodiesOf(await life.getAll('q')), ['kept'])

  life.publish(delayed('of the old one', 1000))
  await life.flushed()
  life.vhost.deleteExchange('later', false)
  await life.flushed()
  life = await bench.restart('kill')
  t.equal(heldIn(life.vhost).readyCount, 0, 'the exchange is a new one')
})

t.test('a crash in the middle of it loses none and doubles none', async t => {
  for (let seed = 1; seed <= 20; seed++) {
    const bench = new Bench(withQueue, seed)
    let life = await bench.start()
    const bodies = Array.from({ length: 50 }, (_, i) => `${i}`)
    for (const body of bodies) life.publish(delayed(body, 1000))
    await life.flushed()
    life.clock.advance(1000)
    await life.turns(seed % 4)
    life = await bench.restart('crash')
    await life.turns()
    const found = bodiesOf(await life.getAll('q'))
    t.same(found.sort(), bodies.sort(), `seed ${seed}`)
  }
})

t.test('contents that are only on the disk are read when they are due', async t => {
  const bench = new Bench(withQueue)
  let life = await bench.start()
  const bodies = Array.from({ length: 1000 }, (_, i) => `${i} `.padEnd(2000, 'x'))
  for (const [i, body] of bodies.entries()) life.publish(delayed(body, 1000 + (i % 10)))
  await life.flushed()
  life = await bench.restart('clean')
  const { messages } = life.broker
  t.ok(messages.liveBytes < 10_000, 'none is in memory')
  const before = life.broker.memoryBytes
  life.clock.advance(2000)
  for (let i = 0; i < 200 && life.queue('q').readyCount < bodies.length; i++) await life.turns(5)
  t.ok(life.broker.memoryBytes > before)
  const found = bodiesOf(await life.getAll('q'))
  const order = bodies.map((_, i) => i).sort((a, b) => (a % 10) - (b % 10) || a - b)
  t.ok(found.join() === order.map(i => bodies[i]).join(), 'all of them, in order')
})

t.test('a message that queues have as well is one record, and leaves each by itself', async t => {
  const bench = new Bench(life => {
    withQueue(life)
    life.declareQueue('at once')
    life.bind('amq.fanout', 'at once')
    life.vhost.bindings.bind('amq.fanout', { kind: 'exchange', name: 'later' }, '', [], owner)
  })
  let life = await bench.start()
  life.publish({ ...delayed('m', 1000), exchange: 'amq.fanout' })
  await life.flushed()
  life = await bench.restart('crash')
  const first = await life.take('at once')
  settle(first, 'complete')
  await life.flushed()
  life = await bench.restart('crash')
  t.equal(life.queue('at once').readyCount, 0)
  t.equal(heldIn(life.vhost).readyCount, 1)
  life.clock.advance(1000)
  await life.turns()
  settle(await life.take('q'), 'complete')
  await life.flushed()
  life = await bench.restart('clean')
  t.equal(life.broker.messages.count, 0)
})

interface ModelMessage {
  readonly body: string
  readonly persistent: boolean
  readonly dueWallMs: number
  dueMs: number
}

t.test('delayed messages are as in a model, through lives and steps of the clock', async () => {
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ delay: fc.nat(5000), persistent: fc.boolean() }),
    },
    { weight: 4, arbitrary: fc.record({ pass: fc.nat(3000) }) },
    { weight: 1, arbitrary: fc.record({ clock: fc.integer({ min: -day, max: day }) }) },
    { weight: 1, arbitrary: fc.record({ cancel: fc.nat() }) },
    {
      weight: 1,
      arbitrary: fc.record({
        how: fc.constantFrom('clean', 'crash', 'kill'),
        down: fc.integer({ min: -2000, max: 10_000 }),
      }),
    },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.nat(1000), async (steps, seed) => {
      const bench = new Bench(withQueue, seed + 1)
      let life = await bench.start()
      let waiting: ModelMessage[] = []
      let arrived: ModelMessage[] = []
      let count = 0
      const look = async () => {
        await life.turns(2)
        const now = life.clock.monotonicMs()
        waiting.sort((a, b) => a.dueMs - b.dueMs)
        arrived.push(...waiting.filter(({ dueMs }) => dueMs <= now))
        waiting = waiting.filter(({ dueMs }) => dueMs > now)
        // After a restart contents must be read first.
        for (let i = 0; i < 50 && heldIn(life.vhost).readyCount > waiting.length; i++)
          await life.turns(2)
        deepStrictEqual(heldIn(life.vhost).readyCount, waiting.length)
        deepStrictEqual(life.queue('q').readyCount, arrived.length)
      }
      for (const step of steps) {
        if ('delay' in step) {
          const { delay, persistent } = step
          const body = `${++count}`
          life.publish(delayed(body, delay, persistent))
          const message = {
            body,
            persistent,
            dueWallMs: life.clock.wallMs() + delay,
            dueMs: life.clock.monotonicMs() + delay,
          }
          if (delay === 0) arrived.push(message)
          else waiting.push(message)
        } else if ('pass' in step) {
          life.clock.advance(step.pass)
        } else if ('clock' in step) {
          life.clock.stepWall(step.clock)
        } else if ('cancel' in step) {
          await look()
          if (waiting.length === 0) continue
          const place = step.cancel % waiting.length
          const [listed] = heldIn(life.vhost).list(place, 1)
          const due = (listed?.dueInMs ?? Number.NaN) + life.clock.monotonicMs()
          deepStrictEqual(due, waiting[place]?.dueMs)
          deepStrictEqual(heldIn(life.vhost).cancel(listed?.number ?? 0), true)
          waiting.splice(place, 1)
        } else {
          await look()
          await life.flushed()
          await look()
          life = await bench.restart(step.how as 'clean', step.down)
          const skew = life.clock.monotonicMs() - life.clock.wallMs()
          arrived = arrived.filter(({ persistent }) => persistent)
          waiting = waiting.filter(({ persistent }) => persistent)
          for (const message of waiting) message.dueMs = message.dueWallMs + skew
        }
        await look()
      }
      deepStrictEqual(
        bodiesOf(await life.getAll('q')),
        arrived.map(({ body }) => body),
      )
    }),
    {
      numRuns: 60,
      examples: [
        [
          [
            { delay: 1, persistent: true },
            { how: 'crash', down: 0 },
          ],
          494,
        ],
      ],
    },
  )
})
