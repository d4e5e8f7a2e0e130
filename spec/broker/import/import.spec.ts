/** Definitions as RabbitMQ exports them: taken as a whole or not at all. */
import t from 'tap'
import type { Broker } from '../../../src/broker/broker.js'
import { encodeCommand } from '../../../src/broker/command.js'
import { DefinitionsError, importDefinitions } from '../../../src/broker/import/import.js'
import { exported } from '../../support/exported-definitions.js'
import { SimulatedDisk } from '../../support/simulated-disk.js'
import { inTurns, storedBroker, tick } from '../../support/stored-broker.js'
import { SimulatedBroker } from '../../support/test-client.js'

/** Streams are not taken yet. */
const taken = {
  ...exported,
  queues: exported.queues.filter(({ name }) => name !== 'st.events'),
}

function load(broker: Broker, ...values: unknown[]): readonly string[] {
  return importDefinitions(
    broker,
    values.map((value, i) => ({ from: `${'abc'[i]}.json`, value })),
  )
}

/** Everything wrong with a document. */
function problemsOf(broker: Broker, ...values: unknown[]): readonly string[] {
  try {
    load(broker, ...values)
    return []
  } catch (error) {
    if (!(error instanceof DefinitionsError)) throw error
    return error.problems
  }
}

function state(broker: Broker): string {
  const commands = Array.from(broker.commands(), command =>
    encodeCommand(command).toString('latin1'),
  )
  return commands.sort().join('\n')
}

t.test('an export of RabbitMQ 3.10 is taken with all that is in it', async t => {
  const { broker } = new SimulatedBroker()
  const leftOut = load(broker, taken)
  t.strictSame(leftOut, [
    "a.json: parameters[1]: 'up1' of component 'federation-upstream' is not supported",
    "a.json: global_parameters[1]: the global parameter 'my_param' is not supported",
    ...leftOut.filter(line => /bindings.*: there is no destination/.test(line)),
  ])
  const { users, permissions, vhosts } = broker.access
  for (const { name, tags } of exported.users) {
    t.equal(users.refusal(name, name, true), null, `${name} logs in with the old password`)
    t.strictSame(users.get(name)?.tags, tags)
  }
  t.strictSame(users.get('mgr')?.limits, { 'max-channels': 50 })
  t.equal([...permissions.all()].length, exported.permissions.length)
  t.strictSame(permissions.of('guest', 'team/b')?.patterns, {
    configure: '.*',
    write: '.*',
    read: '.*',
  })
  t.strictSame(permissions.ofTopic('mgr', 'ops', 'amq.topic')?.patterns, {
    write: '^a',
    read: '.*',
  })
  const ops = vhosts.get('ops')
  t.strictSame(ops?.limits, { 'max-connections': 200 })
  t.match(ops?.policies.get('policy', 'ttl-orders'), { priority: 1 })
  t.ok(ops?.policies.get('operator_policy', 'op-cap'))
  for (const { name, durable, auto_delete: autoDelete } of taken.queues)
    t.match(ops?.queues.get(name), { durable, autoDelete })
  t.match(ops?.queues.get('orders')?.settings, { messageTtlMs: 600_000, deadLetterExchange: '' })
  for (const { name, type, internal } of exported.exchanges)
    t.match(ops?.exchanges.get(name), { type, internal })
  const bindings = [...(ops?.exchanges.get('ex.headers')?.allBindings() ?? [])]
  t.strictSame(bindings.map(({ key }) => key).sort(), ['', 'a key/with%odd'])
})

t.test('the same again changes nothing', async t => {
  const { broker } = new SimulatedBroker()
  load(broker, taken)
  const before = state(broker)
  load(broker, taken)
  t.equal(state(broker), before)
})

t.test('what is there already stays, but for users, permissions and limits', async t => {
  const { broker } = new SimulatedBroker()
  load(broker, {
    users: [{ name: 'u', password: 'one', tags: 'a, b' }],
    vhosts: [{ name: 'v', description: 'first' }],
    permissions: [{ user: 'u', vhost: 'v', configure: 'a', write: 'a', read: 'a' }],
    exchanges: [{ vhost: 'v', name: 'x', type: 'topic' }],
    queues: [{ vhost: 'v', name: 'q', arguments: { 'x-max-length': 5 } }],
  })
  load(broker, {
    users: [{ name: 'u', password: 'two', tags: [], limits: { 'max-channels': 3 } }],
    vhosts: [{ name: 'v', metadata: { description: 'second', tags: ['t'] } }],
    permissions: [{ user: 'u', vhost: 'v', configure: 'b', write: 'b', read: 'b' }],
    parameters: [
      { component: 'vhost-limits', name: 'limits', vhost: 'v', value: { 'max-queues': 1 } },
    ],
    exchanges: [{ vhost: 'v', name: 'x', type: 'fanout' }],
    queues: [
      { vhost: 'v', name: 'q', arguments: { 'x-max-length': 6 } },
      { vhost: 'v', name: 'r', durable: false, auto_delete: true },
    ],
    bindings: [
      { vhost: 'v', source: 'x', destination: 'q', destination_type: 'queue', routing_key: 'k' },
      { vhost: 'v', source: '', destination: 'q', destination_type: 'queue', routing_key: 'q' },
    ],
  })
  const { users, permissions, vhosts } = broker.access
  t.equal(users.refusal('u', 'one', true), 'invalid credentials')
  t.equal(users.refusal('u', 'two', true), null)
  t.match(users.get('u'), { tags: [], limits: { 'max-channels': 3 } })
  load(broker, { users: [{ name: 'u', password: 'two' }] })
  t.match(users.get('u'), { limits: { 'max-channels': 3 } }, 'limits that are not named stay')
  t.match(permissions.of('u', 'v')?.patterns, { configure: 'b' })
  const v = vhosts.get('v')
  t.match(v, { metadata: { description: 'second', tags: ['t'] }, limits: { 'max-queues': 1 } })
  t.equal(v?.exchanges.get('x')?.type, 'topic')
  t.equal(v?.queues.get('q')?.settings.maxLength, 5)
  t.match(v?.queues.get('q'), { durable: true, autoDelete: false }, 'what RabbitMQ takes as given')
  t.match(v?.queues.get('r'), { durable: false, autoDelete: true })
  t.equal([...(v?.exchanges.get('x')?.allBindings() ?? [])].length, 1)
})

t.test('passwords of old versions are hashed as these did', async t => {
  const md5 = 'gKfUZs8r3R+KPpgpCTqaCrMCXcY='
  const user = (fields: object) => ({ users: [{ name: 'u', password_hash: md5, ...fields }] })
  const { broker } = new SimulatedBroker()
  const algorithm = () => broker.users.get('u')?.algorithm
  load(broker, { rabbitmq_version: '3.5.8', ...user({}) })
  t.equal(algorithm(), 'rabbit_password_hashing_md5')
  t.equal(broker.users.refusal('u', 'old', true), null)
  load(broker, user({ hashing_algorithm: 'rabbit_password_hashing_md5', tags: '' }))
  t.equal(algorithm(), 'rabbit_password_hashing_md5')
  t.match(problemsOf(broker, { rabbitmq_version: '3.6.0', ...user({}) }), [/is base64 of 36 bytes/])
  load(broker, user({ password_hash: '', hashing_algorithm: null }))
  t.equal(broker.users.get('u')?.passwordHash, '', 'no password at all')
})

const wrong = {
  users: [
    { name: 'a' },
    { name: 'b', password: 'p', password_hash: 'h' },
    { name: 'c', password_hash: 'AAAA' },
    { name: 'd', password: 7, tags: 5, limits: { 'max-channels': 'x' } },
    { tags: [] },
    { name: 'e', password_hash: 'h', hashing_algorithm: 'rot13' },
    'f',
    { name: 'g', password: 'p', limits: { bogus: 1 } },
  ],
  vhosts: [{ name: 'v' }, { name: '' }, { name: 'w', limits: { 'max-queues': '1' } }],
  permissions: [
    { user: 'nobody', vhost: 'v', configure: '', write: '', read: '' },
    { user: 'a', vhost: 'nowhere', configure: '', write: '', read: '' },
    { user: 'a', vhost: 'v', configure: '[', write: '' },
  ],
  topic_permissions: [{ user: 'a', vhost: 'v', exchange: 'amq.topic', write: '(', read: '' }],
  parameters: [{ component: 'vhost-limits', vhost: 'v', name: 'limits', value: { bogus: 1 } }],
  policies: [{ vhost: 'v', name: 'p', pattern: '.*', definition: { nope: 1 } }],
  exchanges: [
    { vhost: 'v', name: 'x', type: 'nonsense' },
    { vhost: 'v', name: 'amq.x', type: 'topic' },
    { name: 'x', type: 'topic' },
    { vhost: 'v', name: 'y', type: 'topic', durable: 'yes' },
  ],
  queues: [
    { vhost: 'nowhere', name: 'q' },
    { vhost: 'v', name: 'q', arguments: { 'x-message-ttl': 'abc' } },
    { vhost: 'v', name: 'r', arguments: [1] },
    { vhost: 'v', name: 's' },
    { vhost: 'v', name: 's', durable: false },
  ],
  bindings: [
    {
      vhost: 'v',
      source: 'amq.headers',
      destination: 's',
      destination_type: 'queue',
      arguments: { 'x-match': 'some' },
    },
    { vhost: 'v', source: 'amq.direct', destination: 's', destination_type: 'stream' },
  ],
  global_parameters: {},
  whatever: 'is passed over',
}

const expected = [
  'a.json: global_parameters: must be a list',
  'a.json: users[6]: must be an object',
  'a.json: users[1]: both password and password_hash are given',
  'a.json: users[3].password: must be a text',
  'a.json: users[3].tags: must be a list of texts',
  'a.json: users[3].limits.max-channels: must be a number',
  'a.json: users[4].name: is missing',
  "a.json: users[5].hashing_algorithm: 'rot13' is not known",
  'a.json: vhosts[2].limits.max-queues: must be a number',
  'a.json: permissions[2].read: is missing',
  'a.json: exchanges[2].vhost: is missing',
  'a.json: exchanges[3].durable: must be true or false',
  'a.json: queues[2].arguments: must be an object',
  'a.json: bindings[1].destination_type: must be queue or exchange',
  'a.json: users[2]: a password hash of rabbit_password_hashing_sha256 is base64 of 36 bytes',
  'a.json: users[4]: a user must have a name',
  'a.json: users[5]: a password hash of rabbit_password_hashing_sha256 is base64 of 36 bytes',
  'a.json: users[7]: Unrecognised terms [bogus] in limits',
  'a.json: vhosts[1]: a vhost must have a name',
  "a.json: permissions[0]: no user 'nobody'",
  "a.json: permissions[1]: no vhost 'nowhere'",
  "a.json: permissions[2]: invalid regular expression '[' for configure: missing terminating ] for character class at 1",
  "a.json: exchanges[0]: unknown exchange type 'nonsense'",
  "a.json: exchanges[1]: exchange name 'amq.x' contains reserved prefix 'amq.*'",
  "a.json: exchanges[2]: no vhost ''",
  "a.json: topic_permissions[0]: invalid regular expression '(' for write: missing ) at 1",
  /a.json: policies\[0\]: .*nope/s,
  "a.json: queues[0]: no vhost 'nowhere'",
  /a.json: queues\[1\]: invalid arg 'x-message-ttl' for queue 'q' in vhost 'v'/,
  /a.json: queues\[4\]: inequivalent arg 'durable'/,
  /a.json: bindings\[0\]: Invalid x-match field value/,
  'a.json: parameters[0].value: Unrecognised terms [bogus] in limits',
]

t.test('everything wrong is told with its path, and nothing is done', async t => {
  const { broker } = new SimulatedBroker()
  const before = state(broker)
  const problems = problemsOf(broker, wrong)
  t.match(problems, expected)
  t.equal(problems.length, expected.length)
  t.equal(state(broker), before)
  for (const value of [null, 5, [], 'text'])
    t.strictSame(problemsOf(broker, value), ['a.json: must be an object'])
  t.strictSame(problemsOf(broker, {}), [], 'nothing is nothing wrong')
})

t.test('several documents count as one', async t => {
  const { broker } = new SimulatedBroker()
  const vhosts = { vhosts: [{ name: 'v' }] }
  const queues = { queues: [{ vhost: 'v', name: 'q' }] }
  t.match(problemsOf(broker, vhosts, { users: [{}] }), [/^b.json: users\[0\].name/, /^b.json/])
  t.notOk(broker.access.vhosts.has('v'))
  load(broker, vhosts, queues)
  t.ok(broker.access.vhosts.get('v')?.queues.has('q'))
})

t.test('after a crash all of it is there or nothing', async t => {
  let [whole, none] = [0, 0]
  const many = Array.from({ length: 300 }, (_, i) => ({
    vhost: 'ops',
    name: `q${i}`,
    arguments: { 'x-filler': 'f'.repeat(10_000) },
  }))
  for (let seed = 1; seed <= 10; seed++) {
    const disk = new SimulatedDisk(seed)
    const { broker, clock } = storedBroker(disk)
    await inTurns(
      clock,
      broker.open(() => {}),
    )
    const before = state(broker)
    load(broker, { ...taken, queues: [...taken.queues.filter(q => q.durable), ...many] })
    const after = state(broker)
    // At first nothing is written, at last everything.
    for (let i = 2 ** seed; i > 0; i--) {
      clock.advance(1)
      await tick()
    }
    disk.crash()
    const next = storedBroker(disk)
    await inTurns(
      next.clock,
      next.broker.open(() => {}),
    )
    const found = state(next.broker).replace(/^.*messages\.suspected.*\n?/m, '')
    if (found === after) whole++
    else if (found === before) none++
    else t.fail(`seed ${seed}: a part of it`)
    await inTurns(next.clock, next.broker.close())
  }
  t.ok(whole > 0 && none > 0, `whole ${whole}, none ${none}`)
})
