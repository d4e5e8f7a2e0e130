/** What a vhost takes and refuses, and the way of a message into several queues. */
import t from 'tap'
import type { PlainTable } from '../../src/wire/field-table.js'
import { owner, VhostBench } from '../support/vhosts.js'

/** Names of what every object of JavaScript has. */
const inherited = ['constructor', 'toString', 'hasOwnProperty', 'valueOf', '__proto__']

t.test('an exchange type named like what every object has is unknown', async t => {
  const bench = new VhostBench()
  for (const type of inherited) {
    t.throws(() => bench.declareExchange('x', type), {
      reply: 'PRECONDITION_FAILED',
      message: `unknown exchange type '${type}'`,
    })
    t.notOk(bench.vhost.exchanges.has('x'))
  }
})

t.test('a queue argument named like what every object has is one that nobody knows', async t => {
  const bench = new VhostBench()
  for (const name of inherited) {
    // A literal would set the prototype.
    const args = (value: number): PlainTable => Object.fromEntries([[name, value]])
    const queue = bench.declareQueue(`q ${name}`, args(1))
    t.equal(bench.declareQueue(`q ${name}`, args(2)), queue, 'and it makes no difference')
  }
})

t.test('every durable queue has a number of its own, which is never given again', async t => {
  const bench = new VhostBench()
  const first = bench.declareQueue('q')
  t.ok(first.number > 0)
  t.equal(bench.declareQueue('q').number, first.number, 'the same queue')
  bench.vhost.removeQueue(first)
  t.ok(bench.declareQueue('q').number > first.number, 'another of the same name')
  for (const what of [{ durable: false }, { exclusive: true }]) {
    const request = { name: '', durable: true, exclusive: false, autoDelete: false, arguments: [] }
    t.equal(bench.vhost.declareQueue({ ...request, ...what, owner }).number, 0, 'nothing survives')
  }
})

const drops: Record<string, PlainTable> = {
  'a TTL of 0': { 'x-message-ttl': 0 },
  'a length of 0': { 'x-max-length': 0 },
  'less room than the message takes': { 'x-max-length-bytes': 3 },
  'a full queue that rejects': { 'x-max-length': 0, 'x-overflow': 'reject-publish-dlx' },
}

for (const [how, args] of Object.entries(drops))
  t.test(`what one queue of a fanout drops by ${how}, the others keep as it was`, async t => {
    for (const dropping of [0, 1, 2]) {
      const bench = new VhostBench()
      const names = ['a', 'b', 'c']
      bench.declareExchange('x', 'fanout')
      for (const [place, name] of names.entries()) {
        bench.declareQueue(name, place === dropping ? args : {})
        bench.bind('x', name)
      }
      bench.declareQueue('other')
      for (let i = 0; i < 3; i++) {
        bench.publish({ exchange: 'x', body: Buffer.from(`mine ${i}`) })
        // Whatever slot is free now is taken by somebody else's message.
        bench.publish({ routingKey: 'other', body: Buffer.from(`foreign ${i}`) })
      }
      bench.settle()
      const bodies = (queue: string) => bench.takeAll(queue).map(({ body }) => body.toString())
      for (const [place, name] of names.entries())
        t.strictSame(bodies(name), place === dropping ? [] : ['mine 0', 'mine 1', 'mine 2'])
      t.strictSame(bodies('other'), ['foreign 0', 'foreign 1', 'foreign 2'])
      t.equal(bench.vhost.messages.count, 0)
    }
  })

t.test('a queue that is named here may have a prefix of its own', async t => {
  const bench = new VhostBench()
  const named = (prefix: PlainTable[string]) =>
    bench.declareQueue('', { 'x-name-prefix': prefix, 'x-max-length': 5 })
  t.match(named('orders').name, /^orders-[\w-]{22}$/)
  t.match(named('o\r\n').name, /^o-[\w-]{22}$/)
  t.match(named('p'.repeat(64)).name, /^p{64}-[\w-]{22}$/)
  for (const none of ['', 5]) t.match(named(none).name, /^amq\.gen-[\w-]{22}$/)
  t.strictSame(
    named('orders').arguments.map(({ key }) => key),
    ['x-max-length'],
    'it is no argument of the queue',
  )
  t.throws(() => named('p'.repeat(65)), {
    message: `PRECONDITION_FAILED - Queue name prefix '${'p'.repeat(65)}' exceeds the 64-byte limit`,
  })
  const own = bench.declareQueue('own', { 'x-name-prefix': 'orders' })
  t.strictSame(
    own.arguments.map(({ key }) => key),
    ['x-name-prefix'],
    'to others it is an argument like any',
  )
})
