/** Exchanges that choose one destination for a message: by hash, by modulus, by chance. */
import fc from 'fast-check'
import t from 'tap'
import { mix } from '../../../src/structures/hash.js'
import { fieldTable, type PlainTable } from '../../../src/wire/field-table.js'
import type { Properties } from '../../../src/wire/properties.js'
import { AmqpError } from '../../../src/wire/replies.js'
import { Bench } from '../../support/journal-bench.js'
import { contentOf, messageAt } from '../../support/messages.js'
import { definedIn } from '../../support/stored-broker.js'
import { owner, VhostBench } from '../../support/vhosts.js'

const keys = Array.from({ length: 20_000 }, (_, i) => `order.${i}`)

/** A bench whose exchange `x` is bound to these queues with these weights. */
function bound(weights: readonly (readonly [string, number])[], type = 'x-consistent-hash') {
  const bench = new VhostBench()
  bench.declareExchange('x', type)
  for (const [queue, weight] of weights) {
    bench.declareQueue(queue)
    bench.bind('x', queue, `${weight}`)
  }
  return bench
}

/** Where each of the keys goes. */
function places({ vhost }: VhostBench, of: readonly string[] = keys, properties: Properties = {}) {
  const exchange = vhost.exchange('x')
  return of.map(key => {
    const queues = vhost.router.walk(exchange, [key], properties)
    if (queues.length !== 1) throw new Error(`${queues.length} queues have ${key}`)
    return (queues[0] as (typeof queues)[number]).name
  })
}

function refusal(work: () => void): string {
  try {
    work()
  } catch (error) {
    if (error instanceof AmqpError) return error.message
    throw error
  }
  return 'no refusal'
}

const someWeights = fc
  .array(fc.integer({ min: 1, max: 50 }), { minLength: 2, maxLength: 12 })
  .map(weights => weights.map((weight, i) => [`q${i}`, weight] as const))

t.test('consistent hash: every destination has its share of the keys', async () => {
  fc.assert(
    fc.property(someWeights, weights => {
      const counts = new Map<string, number>()
      for (const place of places(bound(weights))) counts.set(place, (counts.get(place) ?? 0) + 1)
      const all = weights.reduce((sum, [, weight]) => sum + weight, 0)
      for (const [queue, weight] of weights) {
        const share = weight / all
        const deviation = Math.sqrt(keys.length * share * (1 - share))
        const off = Math.abs((counts.get(queue) ?? 0) - keys.length * share)
        if (off > 6 * deviation) throw new Error(`${queue} is off by ${off / deviation} deviations`)
      }
    }),
    { numRuns: 30 },
  )
})

t.test('consistent hash: one more binding takes keys, and moves none between others', async () => {
  fc.assert(
    fc.property(someWeights, fc.integer({ min: 1, max: 50 }), (weights, weight) => {
      const bench = bound(weights)
      const before = places(bench)
      bench.declareQueue('new')
      bench.bind('x', 'new', `${weight}`)
      const after = places(bench)
      after.forEach((place, i) => {
        if (place !== 'new' && place !== before[i]) throw new Error('moved between others')
      })
      bench.vhost.bindings.unbind('x', { kind: 'queue', name: 'new' }, `${weight}`, [], owner)
      if (places(bench).join() !== before.join()) throw new Error('did not come back')
    }),
    { numRuns: 20 },
  )
})

t.test(
  'consistent hash: a queue that goes gives its keys to others, which keep theirs',
  async t => {
    const bench = bound([
      ['a', 1],
      ['b', 2],
      ['c', 3],
    ])
    const before = places(bench)
    bench.vhost.deleteQueue('b', owner, { ifUnused: false, ifEmpty: false }, () => {})
    const after = places(bench)
    t.notOk(after.includes('b'))
    t.ok(after.every((place, i) => before[i] === 'b' || place === before[i]))
  },
)

t.test('consistent hash: the order of the bindings does not matter, nor a restart', async () => {
  fc.assert(
    fc.property(someWeights, fc.integer(), (weights, seed) => {
      const shuffled = [...weights].sort(
        ([a], [b]) => mix(seed ^ Number(a.slice(1))) - mix(seed ^ Number(b.slice(1))),
      )
      if (places(bound(weights)).join() !== places(bound(shuffled)).join())
        throw new Error('another order, another place')
    }),
    { numRuns: 10 },
  )
})

t.test('consistent hash: of two bindings of a queue the first one counts', async t => {
  const bench = bound([
    ['a', 1],
    ['b', 1],
  ])
  const even = places(bench)
  bench.bind('x', 'b', '9')
  t.equal(places(bench).join(), even.join())
  bench.vhost.bindings.unbind('x', { kind: 'queue', name: 'b' }, '1', [], owner)
  const share = places(bench).filter(place => place === 'b').length / keys.length
  t.ok(share > 0.87 && share < 0.93, `${share}`)
})

t.test('consistent hash: by a header or a property, of which absent ones are alike', async t => {
  for (const [args, shown] of [
    [{ 'hash-header': 'h' }, (i: number) => ({ headers: fieldTable({ h: `v${i}` }) })],
    [{ 'x-hash-on': 'h' }, (i: number) => ({ headers: fieldTable({ h: i }) })],
    [{ 'hash-property': 'message_id' }, (i: number) => ({ messageId: `v${i}` })],
    [{ 'hash-property': 'correlation_id' }, (i: number) => ({ correlationId: `v${i}` })],
    [{ 'hash-property': 'timestamp' }, (i: number) => ({ timestamp: i })],
  ] as [PlainTable, (i: number) => Properties][]) {
    const bench = new VhostBench()
    bench.declareExchange('x', 'x-consistent-hash', { arguments: args })
    for (const queue of ['a', 'b', 'c', 'd']) {
      bench.declareQueue(queue)
      bench.bind('x', queue, '1')
    }
    const chosen = (i: number, key: string) => places(bench, [key], shown(i))[0]
    const all = Array.from({ length: 100 }, (_, i) => chosen(i, 'k'))
    t.equal(new Set(all).size, 4)
    t.same(
      all,
      Array.from({ length: 100 }, (_, i) => chosen(i, `key ${i}`)),
    )
    t.equal(new Set(places(bench, keys.slice(0, 50))).size, 1)
    t.ok(bench.vhost.router.route(messageAt(contentOf({ exchange: 'x' })), null).varies)
  }
})

t.test('consistent hash: bad weights and arguments are refused as RabbitMQ does', async t => {
  const bench = bound([['a', 1]])
  const bind = (key: string) => refusal(() => bench.bind('x', 'a', key))
  const must = 'PRECONDITION_FAILED - The binding key must'
  t.equal(bind('abc'), `${must} be an integer: <<"abc">>`)
  t.equal(bind(''), `${must} be an integer: <<>>`)
  t.equal(bind('1.5'), `${must} be an integer: <<"1.5">>`)
  t.equal(bind('0'), `${must} be greater than 0`)
  t.equal(bind('-3'), `${must} be greater than 0`)
  t.equal(bind('10001'), `${must} not exceed 10000`)
  t.equal(bind('10000'), 'no refusal')
  const declare = (args: PlainTable) =>
    refusal(() => bench.declareExchange('y', 'x-consistent-hash', { arguments: args }))
  t.equal(
    declare({ 'hash-header': 'h', 'hash-property': 'message_id' }),
    'PRECONDITION_FAILED - hash-header and hash-property are mutually exclusive',
  )
  t.equal(
    declare({ 'hash-property': 'app_id' }),
    'PRECONDITION_FAILED - Unsupported property: app_id',
  )
  t.equal(
    declare({ 'hash-property': 'toString' }),
    'PRECONDITION_FAILED - Unsupported property: toString',
  )
  t.equal(
    declare({ 'hash-header': 1 }),
    "PRECONDITION_FAILED - invalid type 'signedint' for arg 'hash-header' in exchange 'y' in vhost '/'",
  )
  t.notOk(bench.vhost.exchanges.has('y'))
})

t.test('modulus hash: the keys are spread over the queues, whatever the binding keys', async t => {
  const bench = bound(
    [
      ['c', 1],
      ['a', 2],
      ['b', 3],
    ],
    'x-modulus-hash',
  )
  const chosen = places(bench)
  t.equal(chosen.join(), places(bench).join())
  for (const queue of ['a', 'b', 'c']) {
    const share = chosen.filter(place => place === queue).length / keys.length
    t.ok(Math.abs(share - 1 / 3) < 0.02, `${queue}: ${share}`)
  }
  const again = bound(
    [
      ['b', 1],
      ['c', 1],
      ['a', 1],
    ],
    'x-modulus-hash',
  )
  t.equal(places(again).join(), chosen.join(), 'sorted by name')
})

for (const type of ['x-random', 'x-local-random'])
  t.test(`${type}: any queue, all of them alike, each message anew`, async t => {
    const bench = new VhostBench()
    bench.declareExchange('x', type)
    for (const queue of ['a', 'b', 'c']) {
      bench.declareQueue(queue)
      bench.bind('x', queue)
    }
    const same = keys.map(() => 'the same key')
    const chosen = places(bench, same)
    for (const queue of ['a', 'b', 'c']) {
      const share = chosen.filter(place => place === queue).length / keys.length
      t.ok(Math.abs(share - 1 / 3) < 0.03, `${queue}: ${share}`)
    }
    bench.declareExchange('empty', type)
    t.same(bench.vhost.router.walk(bench.vhost.exchange('empty'), ['k'], {}), [])
  })

t.test('local random: refuses binding keys, and exchanges', async t => {
  const bench = new VhostBench()
  bench.declareExchange('x', 'x-local-random')
  bench.declareQueue('q')
  t.equal(
    refusal(() => bench.bind('x', 'q', 'k')),
    "PRECONDITION_FAILED - Non empty binding 'k' key not permitted",
  )
  t.equal(
    refusal(() =>
      bench.vhost.bindings.bind('x', { kind: 'exchange', name: 'amq.fanout' }, '', [], owner),
    ),
    'PRECONDITION_FAILED - Destination not found',
  )
  bench.declareQueue('quorum', { 'x-queue-type': 'quorum' })
  t.equal(
    refusal(() => bench.bind('x', 'quorum')),
    'PRECONDITION_FAILED - Queue type rabbit_quorum_queue not valid for this exchange type',
  )
})

t.test(
  'a flood of like dead letters is spread by chance, not sent where the first one went',
  async t => {
    const bench = new VhostBench()
    bench.declareExchange('x', 'x-random')
    for (const queue of ['a', 'b']) {
      bench.declareQueue(queue)
      bench.bind('x', queue)
    }
    bench.declareQueue('dying', { 'x-dead-letter-exchange': 'x', 'x-message-ttl': 0 })
    for (let i = 0; i < 100; i++) bench.publish({ routingKey: 'dying' })
    bench.settle()
    const counts = ['a', 'b'].map(queue => bench.takeAll(queue).length)
    t.equal((counts[0] as number) + (counts[1] as number), 100)
    t.ok(Math.min(...counts) > 20, counts.join())
  },
)

t.test(
  'the bindings of a queue that had very many leave their exchange over several turns',
  async t => {
    const bench = new VhostBench()
    bench.declareExchange('x', 'topic')
    bench.declareQueue('gone')
    bench.declareQueue('stays')
    for (let i = 0; i < 3000; i++) bench.bind('x', 'gone', `k.${i}`)
    bench.bind('x', 'stays', 'k.7')
    const { vhost, world } = bench
    vhost.deleteQueue('gone', owner, { ifUnused: false, ifEmpty: false }, () => {})
    const reached = () =>
      vhost.router.walk(vhost.exchange('x'), ['k.7'], {}).map(({ name }) => name)
    t.same(reached(), ['stays'])
    bench.declareQueue('gone')
    bench.bind('x', 'gone', 'k.7')
    t.same(reached().sort(), ['gone', 'stays'])
    let turns = 0
    while (world.turns.waiting) {
      world.turns.end()
      turns++
    }
    t.ok(turns > 3, `${turns} turns`)
    t.same(reached().sort(), ['gone', 'stays'])
  },
)

t.test('exchanges of every type, and their bindings, are there again after a restart', async t => {
  const types: readonly (readonly [string, string, PlainTable])[] = [
    ['x-consistent-hash', '3', { 'hash-property': 'message_id' }],
    ['x-modulus-hash', '', {}],
    ['x-random', '', {}],
    ['x-local-random', '', {}],
    ['x-recent-history', '', { 'x-recent-history-length': 3 }],
    ['x-delayed-message', 'a.#', { 'x-delayed-type': 'topic' }],
  ]
  const bench = new Bench(() => {})
  let life = await bench.start()
  for (const name of ['q', 'r']) life.declareQueue(name)
  for (const [type, key, args] of types) {
    const flags = { durable: true, autoDelete: false, internal: false }
    life.vhost.declareExchange({ name: type, type, ...flags, arguments: fieldTable(args) })
    for (const queue of ['q', 'r']) life.bind(type, queue, key)
  }
  await life.flushed()
  const before = definedIn(life.vhost, true)
  const number = life.vhost.exchange('x-delayed-message').delayed?.number
  const placed = () =>
    keys.slice(0, 200).map(messageId => {
      const exchange = life.vhost.exchange('x-consistent-hash')
      return life.vhost.router.walk(exchange, [''], { messageId })[0]?.name
    })
  const places = placed()
  for (const how of ['crash', 'clean'] as const) {
    life = await bench.restart(how)
    t.equal(definedIn(life.vhost, true), before)
    t.same(placed(), places)
    t.equal(life.vhost.exchange('x-delayed-message').delayed?.number, number)
  }
})
