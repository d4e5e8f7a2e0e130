/** What the event exchange tells, to whom, and when. */
import t from 'tap'
import { theBroker } from '../../src/broker/access/rights.js'
import { internalUser } from '../../src/broker/events.js'
import { fieldTable, lookup, textOf } from '../../src/wire/field-table.js'
import { owner, type Taken, VhostBench } from '../support/vhosts.js'

const asking = { ...owner, name: 'a connection', user: 'alice' }

/** A bench with a queue that hears of events with keys like this one, and of nothing before. */
function listening(key = '#') {
  const bench = new VhostBench()
  bench.vhost.events.attach(bench.vhost)
  bench.declareQueue('heard')
  bench.bind('amq.rabbitmq.event', 'heard', key)
  bench.settle()
  bench.takeAll('heard')
  return bench
}

function told(bench: VhostBench): string[] {
  bench.settle()
  return bench.takeAll('heard').map(({ routingKey, headers }) => {
    const what = ['name', 'source_name', 'destination_name'].map(fact =>
      textOf(lookup(headers, fact)),
    )
    return [routingKey, ...what.filter(text => text !== undefined), userOf(headers)].join(' ')
  })
}

function userOf(headers: Taken['headers']): string {
  return textOf(lookup(headers, 'user_who_performed_action')) ?? ''
}

t.test('nothing is made while nothing is bound', async t => {
  const bench = new VhostBench()
  const { events } = bench.vhost
  let asked = 0
  const facts = () => {
    asked++
    return {}
  }
  events.emit('queue.created', facts)
  events.attach(bench.vhost)
  events.emit('queue.created', facts)
  t.equal(asked, 0)
  t.notOk(bench.world.turns.waiting)
  bench.declareQueue('q')
  bench.bind('amq.rabbitmq.event', 'q', 'queue.*')
  events.emit('queue.created', facts)
  t.equal(asked, 1)
  bench.vhost.bindings.unbind(
    'amq.rabbitmq.event',
    { kind: 'queue', name: 'q' },
    'queue.*',
    [],
    owner,
  )
  events.emit('queue.created', facts)
  t.equal(asked, 1)
})

t.test(
  'the exchange is a durable, internal topic exchange, and stays when attached again',
  async t => {
    const { vhost } = listening()
    const exchange = vhost.exchange('amq.rabbitmq.event')
    t.match(exchange, { type: 'topic', durable: true, internal: true, autoDelete: false })
    vhost.events.attach(vhost)
    t.ok(vhost.events.heard)
    vhost.events.detach(vhost)
    t.notOk(vhost.events.heard)
  },
)

t.test('an event has no body, its facts as headers and the time twice', async t => {
  const bench = listening('queue.created')
  const args = fieldTable({ 'x-max-length': 5, z: 'text' })
  bench.vhost.declareQueue({
    name: 'q',
    durable: true,
    exclusive: false,
    autoDelete: false,
    arguments: args,
    owner: asking,
  })
  bench.settle()
  const [event] = bench.takeAll('heard') as [Taken]
  const now = bench.world.clock.wallMs()
  t.equal(event.exchange, 'amq.rabbitmq.event')
  t.equal(event.body.length, 0)
  t.equal(event.properties.deliveryMode, 2)
  t.equal(event.properties.timestamp, Math.floor(now / 1000))
  t.strictSame(lookup(event.headers, 'timestamp_in_ms'), { type: 'l', value: now })
  t.strictSame(lookup(event.headers, 'durable'), { type: 't', value: true })
  t.equal(textOf(lookup(event.headers, 'vhost')), '/')
  t.equal(userOf(event.headers), 'alice')
  const printed = lookup(event.headers, 'arguments')
  t.same(printed?.type === 'A' && printed.value.map(textOf), [
    '{<<"x-max-length">>,signedint,5}',
    '{<<"z">>,longstr,<<"text">>}',
  ])
})

t.test('what goes with something is told before it, as done by nobody', async t => {
  const bench = listening()
  const { vhost } = bench
  bench.declareExchange('x', 'topic')
  bench.declareExchange('auto', 'fanout', { autoDelete: true })
  bench.declareQueue('q')
  vhost.bindings.bind('x', { kind: 'queue', name: 'q' }, 'k', [], asking)
  vhost.bindings.bind('auto', { kind: 'queue', name: 'q' }, '', [], asking)
  t.same(told(bench), [
    `exchange.created x ${internalUser}`,
    `exchange.created auto ${internalUser}`,
    `queue.created q ${internalUser}`,
    'binding.created x q alice',
    'binding.created auto q alice',
  ])
  vhost.deleteQueue('q', asking, { ifUnused: false, ifEmpty: false }, () => {})
  t.same(told(bench), [
    `binding.deleted x q ${internalUser}`,
    `binding.deleted auto q ${internalUser}`,
    'queue.deleted q alice',
    `exchange.deleted auto ${internalUser}`,
  ])
  bench.declareExchange('y', 'fanout')
  vhost.bindings.bind('y', { kind: 'exchange', name: 'x' }, '', [], asking)
  vhost.bindings.unbind('y', { kind: 'exchange', name: 'x' }, '', [], asking)
  vhost.bindings.bind('y', { kind: 'exchange', name: 'x' }, '', [], asking)
  told(bench)
  vhost.deleteExchange('x', false, { ...theBroker, user: 'bob' })
  t.same(told(bench), [`binding.deleted y x ${internalUser}`, 'exchange.deleted x bob'])
})

t.test('what exists already, or fails, is no event', async t => {
  const bench = listening()
  bench.declareQueue('heard')
  bench.bind('amq.rabbitmq.event', 'heard', '#')
  t.throws(() => bench.declareQueue('amq.q'))
  t.throws(() => bench.bind('none', 'heard', '#'))
  bench.vhost.deleteExchange('none', false)
  t.same(told(bench), [])
})

t.test('very many events come over several turns, in order', async t => {
  const bench = listening('queue.created')
  const names = Array.from({ length: 2000 }, (_, i) => `q${i}`)
  for (const name of names) bench.declareQueue(name)
  bench.world.turns.end()
  t.ok((bench.vhost.queues.get('heard')?.readyCount ?? 0) < names.length)
  t.same(
    told(bench),
    names.map(name => `queue.created ${name} ${internalUser}`),
  )
})

t.test('policies that come and go are told, and as the parameters that they are', async t => {
  const bench = listening()
  const { policies } = bench.vhost
  const request = { pattern: '^q', definition: { 'max-length': 5 }, priority: 2, applyTo: 'queues' }
  policies.set('policy', 'p', request, 'alice')
  bench.settle()
  const [parameter, set] = bench.takeAll('heard') as [Taken, Taken]
  t.equal(textOf(lookup(parameter.headers, 'component')), 'policy')
  const facts = set.headers.filter(({ key }) => key !== 'timestamp_in_ms')
  t.strictSame(
    facts,
    fieldTable({
      name: 'p',
      vhost: '/',
      user_who_performed_action: 'alice',
      pattern: '^q',
      definition: { 'max-length': 5 },
      priority: 2,
      'apply-to': 'queues',
    }).map(field =>
      field.key === 'priority' ? { ...field, value: { type: 'l', value: 2 } } : field,
    ),
  )
  policies.set('operator_policy', 'o', request)
  policies.remove('policy', 'p', 'bob')
  policies.remove('operator_policy', 'o', 'bob')
  t.strictSame(told(bench), [
    `parameter.set o ${internalUser}`,
    `policy.set o ${internalUser}`,
    'parameter.cleared p bob',
    'policy.cleared p bob',
    'parameter.cleared o bob',
    'operator.policy.cleared o bob',
  ])
})
