/** What an x-recent-history exchange gives to what is newly bound, beside a model. */
import { deepStrictEqual } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { fieldTable, type PlainTable } from '../../../src/wire/field-table.js'
import { AmqpError } from '../../../src/wire/replies.js'
import { BrokerLife } from '../../support/broker-life.js'
import { Bench } from '../../support/journal-bench.js'
import { owner, VhostBench } from '../../support/vhosts.js'

function bench(args: PlainTable = {}): VhostBench {
  const bench = new VhostBench()
  bench.declareExchange('x', 'x-recent-history', { arguments: args })
  return bench
}

function publish(on: VhostBench, body: string, headers: PlainTable = {}, exchange = 'x'): void {
  on.publish({
    exchange,
    routingKey: `key ${body}`,
    properties: { headers: fieldTable(headers) },
    body: Buffer.from(body),
  })
}

const bodies = (on: VhostBench, queue: string) => on.takeAll(queue).map(({ body }) => `${body}`)

t.test('bound queues get each message, new ones the last of them, oldest first', async () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ stored: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ bind: fc.constant(true) }) },
  )
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 60 }),
      fc.integer({ min: 1, max: 8 }),
      (steps, length) => {
        const on = bench({ 'x-recent-history-length': length })
        const queues: string[][] = []
        let kept: string[] = []
        steps.forEach((step, i) => {
          if ('bind' in step) {
            const name = `q${queues.length}`
            on.declareQueue(name)
            on.bind('x', name)
            queues.push([...kept])
            // The same binding again is none.
            on.bind('x', name)
            return
          }
          publish(on, `${i}`, step.stored ? {} : { 'x-recent-history-no-store': true })
          for (const queue of queues) queue.push(`${i}`)
          if (step.stored) kept = [...kept, `${i}`].slice(-length)
        })
        deepStrictEqual(
          queues.map((_, i) => bodies(on, `q${i}`)),
          queues,
        )
      },
    ),
  )
})

t.test('twenty are kept unless the exchange says how many', async t => {
  const on = bench()
  for (let i = 0; i < 30; i++) publish(on, `${i}`)
  on.declareQueue('q')
  on.bind('x', 'q')
  t.same(
    bodies(on, 'q'),
    Array.from({ length: 20 }, (_, i) => `${10 + i}`),
  )
})

t.test('they come with the address and properties that they had', async t => {
  const on = bench()
  on.publish({
    exchange: 'x',
    routingKey: 'k',
    properties: { messageId: 'id', priority: 3, expiration: '1000', headers: fieldTable({ a: 1 }) },
    body: Buffer.from('body'),
  })
  on.declareQueue('q', { 'x-max-priority': 5 })
  on.bind('x', 'q')
  t.match(on.peek('q'), { exchange: 'x', routingKey: 'k', properties: { messageId: 'id' } })
  on.world.clock.advance(1000)
  on.settle()
  t.equal(on.vhost.queues.get('q')?.readyCount, 0, 'their time to live begins anew')
})

t.test('a newly bound exchange routes them on', async t => {
  const on = bench()
  publish(on, 'a')
  publish(on, 'b')
  on.declareExchange('direct', 'direct')
  on.declareQueue('q')
  on.bind('direct', 'q', 'key b')
  on.vhost.bindings.bind('x', { kind: 'exchange', name: 'direct' }, '', [], owner)
  t.same(bodies(on, 'q'), ['b'])
})

t.test(
  'it remembers what comes by another exchange, and dead letters with their deaths',
  async t => {
    const on = bench()
    on.vhost.bindings.bind('amq.fanout', { kind: 'exchange', name: 'x' }, '', [], owner)
    publish(on, 'by another', {}, 'amq.fanout')
    on.declareQueue('dying', { 'x-dead-letter-exchange': 'x' })
    for (const body of ['dead', 'too']) on.publish({ routingKey: 'dying', body: Buffer.from(body) })
    on.kill('dying', 'rejected')
    on.kill('dying', 'rejected')
    on.declareQueue('q')
    on.bind('x', 'q')
    const taken = on.takeAll('q')
    t.same(
      taken.map(({ body }) => `${body}`),
      ['by another', 'dead', 'too'],
    )
    t.same(
      taken.map(({ headers }) => headers.some(({ key }) => key === 'x-death')),
      [false, true, true],
    )
  },
)

t.test(
  'routing that is only asked about leaves no trace, nor does an exchange that is gone',
  async t => {
    const on = bench()
    publish(on, 'a')
    const held = on.vhost.messages.intakeBytes
    t.ok(held > 0, 'what is kept counts as memory')
    on.vhost.router.walk(on.vhost.exchange('x'), ['k'], {})
    on.declareQueue('q')
    on.bind('x', 'q')
    t.same(bodies(on, 'q'), ['a'])
    t.equal(on.vhost.messages.intakeBytes, held)
    on.vhost.deleteExchange('x', false)
    t.equal(on.vhost.messages.intakeBytes, 0)
  },
)

t.test('bad lengths are refused', async t => {
  for (const [length, printed] of [
    [0, '0'],
    [-1, '-1'],
    ['many', '<<"many">>'],
    [1.5, '1.5'],
  ] as const)
    try {
      bench({ 'x-recent-history-length': length })
      t.fail(printed)
    } catch (error) {
      t.ok(error instanceof AmqpError)
      t.equal(
        (error as Error).message,
        `PRECONDITION_FAILED - Invalid argument ${printed}, 'x-recent-history-length' must be a positive integer`,
      )
    }
})

t.test('after a restart the exchange is there, and remembers nothing', async t => {
  const declare = (life: BrokerLife) => {
    life.vhost.declareExchange({
      name: 'x',
      type: 'x-recent-history',
      durable: true,
      autoDelete: false,
      internal: false,
      arguments: [],
    })
  }
  const stored = new Bench(declare)
  let life = await stored.start()
  life.publish({ exchange: 'x', key: 'k', body: Buffer.from('a') })
  await life.flushed()
  life = await stored.restart('clean')
  t.ok(life instanceof BrokerLife)
  life.declareQueue('q')
  life.bind('x', 'q')
  t.equal(life.queue('q').readyCount, 0)
  life.publish({ exchange: 'x', key: 'k', body: Buffer.from('b') })
  life.declareQueue('later')
  life.bind('x', 'later')
  t.equal(life.queue('later').readyCount, 1)
})
