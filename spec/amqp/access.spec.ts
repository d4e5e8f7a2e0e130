/** Who may open what: vhosts, limits, and what becomes of the connections of what is removed. */
import t from 'tap'
import {
  consume,
  declareQueue,
  type HandshakeOptions,
  handshake,
  method,
  publish,
  SimulatedBroker,
} from '../support/test-client.js'

const all = { configure: '.*', write: '.*', read: '.*' }

function brokerWith(user: string, vhost: string): SimulatedBroker {
  const host = new SimulatedBroker()
  const { access } = host.broker
  access.setUser(user, { password: 'p' }, [])
  access.addVhost(vhost)
  access.setPermission(user, vhost, all)
  return host
}

/** What a client hears that opens a connection: the text of a close, or the last method. */
function opening(host: SimulatedBroker, options: HandshakeOptions): string {
  const client = host.connect()
  client.give(...handshake(options))
  host.settle()
  const last = client.take().at(-1)
  if (last?.name !== 'connection.close') return last?.name ?? 'nothing'
  const { replyCode, replyText, classId, methodId } = last.args
  return `${replyCode} ${replyText} (${classId}, ${methodId})`
}

const asUser = { user: 'u', password: 'p', vhost: 'v' }

t.test('a vhost is open to who has permissions for it, whatever they allow', async t => {
  const host = brokerWith('u', 'v')
  const { access } = host.broker
  t.equal(opening(host, asUser), 'connection.open-ok')
  access.setPermission('u', 'v', { configure: '', write: '', read: '' })
  t.equal(opening(host, asUser), 'connection.open-ok')
  access.removePermission('u', 'v')
  t.equal(
    opening(host, asUser),
    "530 NOT_ALLOWED - access to vhost 'v' refused for user 'u' (10, 40)",
  )
  t.equal(opening(host, { ...asUser, vhost: 'w' }), '530 NOT_ALLOWED - vhost w not found (10, 40)')
  access.setPermission('u', '/', all)
  t.equal(opening(host, { ...asUser, vhost: '' }), 'connection.open-ok', 'the empty name is /')
})

t.test('a vhost and a user have as many connections as their limits say', async t => {
  const host = brokerWith('u', 'v')
  const { access } = host.broker
  const vhostFull =
    "530 NOT_ALLOWED - access to vhost 'v' refused for user 'u': connection limit (1) is reached (10, 40)"
  const userFull =
    "530 NOT_ALLOWED - connection refused for user 'u': user connection limit (1) is reached (10, 40)"
  const first = host.open(asUser)
  access.setVhostLimits('v', { 'max-connections': 1 })
  access.setUserLimits('u', { 'max-connections': 1 })
  t.equal(opening(host, asUser), vhostFull, 'that of the vhost comes first')
  access.setVhostLimits('v', {})
  t.equal(opening(host, asUser), userFull)
  first.send(0, 'connection.close', { replyCode: 200, replyText: '', classId: 0, methodId: 0 })
  host.settle()
  t.equal(opening(host, asUser), 'connection.open-ok', 'the first has gone')
  t.equal(opening(host, asUser), userFull)
  access.setUserLimits('u', { 'max-connections': -1 })
  t.equal(opening(host, asUser), 'connection.open-ok', 'below 0 there is none')
  access.setVhostLimits('v', { 'max-connections': 0 })
  t.match(opening(host, asUser), /connection limit \(0\) is reached/)
  t.equal(opening(host, {}), 'connection.open-ok', 'others have theirs')
})

t.test('a connection that is lost, refused or closed does not count', async t => {
  const host = brokerWith('u', 'v')
  const { sessions } = host.broker.access
  const lost = host.open(asUser)
  const refused = host.open(asUser)
  t.equal(sessions.ofUser('u').size, 2)
  lost.drop()
  refused.give(method(7, 'basic.recover', { requeue: true }))
  host.settle()
  t.equal(sessions.ofUser('u').size, 0)
  t.equal(sessions.inVhost('v').size, 0)
  t.equal(sessions.all.size, 0)
})

t.test('a user has as many channels as its limit says, on all connections', async t => {
  const host = brokerWith('u', 'v')
  host.broker.access.setUserLimits('u', { 'max-channels': 3 })
  const first = host.open(asUser)
  const second = host.open(asUser)
  first.send(2, 'channel.open', {})
  host.settle()
  t.strictSame(first.names(), ['channel.open-ok'])
  second.send(2, 'channel.open', {})
  host.settle()
  t.match(second.take()[0]?.args, {
    replyCode: 530,
    replyText:
      "NOT_ALLOWED - number of channels opened for user 'u' has reached the maximum allowed user limit of 3",
  })
  const third = host.open(asUser)
  third.send(2, 'channel.open', {})
  host.settle()
  t.match(third.take()[0], { name: 'connection.close' }, 'that of the refused one is free')
})

t.test('a vhost has as many queues as its limit says', async t => {
  const host = brokerWith('u', 'v')
  host.broker.access.setVhostLimits('v', { 'max-queues': 1 })
  const client = host.open(asUser)
  client.give(declareQueue(1, 'a'), declareQueue(1, 'a'), declareQueue(1, 'b'))
  host.settle()
  const [first, second, close] = client.take()
  t.equal(first?.name, 'queue.declare-ok')
  t.equal(second?.name, 'queue.declare-ok', 'again')
  t.match(close?.args, {
    replyCode: 406,
    replyText:
      "PRECONDITION_FAILED - cannot declare queue 'b': queue limit in vhost 'v' (1) is reached",
    classId: 50,
    methodId: 10,
  })
})

t.test('a removed user is disconnected, and cannot log in', async t => {
  const host = brokerWith('u', 'v')
  const { access } = host.broker
  const client = host.open(asUser)
  const other = host.open()
  client.give(declareQueue(1, 'q'), consume(1, 'q', 'c'))
  host.settle()
  client.take()
  access.removeUser('u')
  host.settle()
  t.match(client.take().at(-1), {
    name: 'connection.close',
    args: { replyCode: 320, replyText: "CONNECTION_FORCED - user 'u' is deleted" },
  })
  t.strictSame(other.names(), [])
  t.equal(access.sessions.ofUser('u').size, 0)
  t.ok(access.vhosts.get('v')?.queues.has('q'), 'what it declared stays')
  t.equal(opening(host, asUser), 'connection.start')
  access.setUser('u', { password: 'p' }, [])
  t.match(opening(host, asUser), /access to vhost 'v' refused/, 'its permissions went with it')
})

t.test('a changed password counts for who logs in from then on', async t => {
  const host = brokerWith('u', 'v')
  const client = host.open(asUser)
  host.broker.access.setPassword('u', { password: 'other' })
  client.give(declareQueue(1, 'q'))
  host.settle()
  t.strictSame(client.names(), ['queue.declare-ok'])
  t.equal(opening(host, asUser), 'connection.start')
  t.equal(opening(host, { ...asUser, password: 'other' }), 'connection.open-ok')
  host.broker.access.setPassword('u', null)
  t.equal(opening(host, { ...asUser, password: 'other' }), 'connection.start')
})

t.test('a removed vhost takes its connections, queues and messages with it', async t => {
  const host = brokerWith('u', 'v')
  const { access, messages, journal } = host.broker
  const client = host.open(asUser)
  const second = host.open(asUser)
  const other = host.open()
  const exclusive = method(1, 'queue.declare', {
    queue: 'mine',
    passive: false,
    durable: false,
    exclusive: true,
    autoDelete: false,
    nowait: false,
    arguments: [],
  })
  client.give(
    exclusive,
    declareQueue(1, 'dead'),
    declareQueue(1, 'q', {
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': 'dead',
    }),
    method(1, 'basic.qos', { prefetchSize: 0, prefetchCount: 2, global: false }),
    consume(1, 'q', 'c'),
  )
  for (let i = 0; i < 5; i++) client.give(publish(1, 'q', Buffer.from(`m${i}`)))
  client.give(publish(1, 'mine', Buffer.from('m')))
  // Two are in hands, and one of them is about to be a dead letter.
  other.give(declareQueue(1, 'q'), publish(1, 'q', Buffer.from('theirs')))
  host.settle()
  client.take()
  other.take()
  t.equal(messages.count, 7)
  client.give(
    method(1, 'basic.reject', { deliveryTag: 1, requeue: false }),
    // The rest of a turn's input.
    publish(1, 'q', Buffer.from('late')),
  )
  access.removeVhost('v')
  client.give(declareQueue(1, 'later'))
  host.settle()
  for (const one of [client, second])
    t.match(one.take().at(-1), {
      name: 'connection.close',
      args: { replyCode: 320, replyText: "CONNECTION_FORCED - vhost 'v' is deleted" },
    })
  t.strictSame(other.names(), [])
  t.equal(messages.count, 1, 'the other vhost keeps its own')
  t.equal(journal.leaving, 0)
  t.equal(access.sessions.all.size, 1)
  t.equal(opening(host, asUser), '530 NOT_ALLOWED - vhost v not found (10, 40)')
  access.addVhost('v')
  t.match(opening(host, asUser), /access to vhost 'v' refused/, 'permissions went with it')
  t.equal(access.vhosts.get('v')?.queues.size, 0)
})
