/** What users may do by their permissions: every operation, refused and allowed, and what changes mean for open channels. */
import fc from 'fast-check'
import t from 'tap'
import type { Operation, PermissionPatterns } from '../../src/broker/access/permissions.js'
import type { PlainTable } from '../../src/wire/field-table.js'
import { fieldTable } from '../../src/wire/field-table.js'
import {
  consume,
  declareQueue,
  method,
  publish,
  SimulatedBroker,
  type TestClient,
} from '../support/test-client.js'

const all: PermissionPatterns = { configure: '.*', write: '.*', read: '.*' }
const none: PermissionPatterns = { configure: '', write: '', read: '' }

/** A broker with a user `u` who may do what `patterns` say. */
function brokerFor(patterns: PermissionPatterns): SimulatedBroker {
  const host = new SimulatedBroker()
  host.broker.access.setUser('u', { password: 'p' }, [])
  host.broker.access.setPermission('u', '/', patterns)
  return host
}

const asUser = { user: 'u', password: 'p' }

function declareExchange(exchange: string, args: PlainTable = {}, passive = false): Buffer {
  return method(1, 'exchange.declare', {
    exchange,
    type: 'direct',
    passive,
    durable: false,
    autoDelete: false,
    internal: false,
    nowait: false,
    arguments: fieldTable(args),
  })
}

const bindFields = { routingKey: 'k', nowait: false, arguments: [] }
const bindQueue = method(1, 'queue.bind', { queue: 'q', exchange: 'x', ...bindFields })
const bindExchange = method(1, 'exchange.bind', { destination: 'd', source: 'x', ...bindFields })
const getFrom = (queue: string) => method(1, 'basic.get', { queue, noAck: true })
const passiveQueue = method(1, 'queue.declare', {
  queue: 'q',
  passive: true,
  durable: false,
  exclusive: false,
  autoDelete: false,
  nowait: false,
  arguments: [],
})

/** What is needed: operation, kind, name. */
type Need = readonly [Operation, 'queue' | 'exchange', string]

interface Row {
  readonly what: string
  /** What is there before, declared by somebody else. */
  readonly given?: readonly Buffer[]
  readonly frames: readonly Buffer[]
  readonly needs: readonly Need[]
  /** What comes when it is allowed; a publish is answered by nothing. */
  readonly answer: readonly string[]
}

const queueAndExchange = [declareQueue(1, 'q'), declareExchange('x'), declareExchange('d')]

/** Every row of RabbitMQ's matrix. */
const rows: readonly Row[] = [
  {
    what: 'exchange.declare of a new exchange',
    frames: [declareExchange('x')],
    needs: [['configure', 'exchange', 'x']],
    answer: ['exchange.declare-ok'],
  },
  {
    what: 'exchange.declare of one that is there',
    given: queueAndExchange,
    frames: [declareExchange('x')],
    needs: [['configure', 'exchange', 'x']],
    answer: ['exchange.declare-ok'],
  },
  {
    what: 'exchange.declare with an alternate exchange',
    frames: [declareExchange('x', { 'alternate-exchange': 'ae' })],
    needs: [
      ['configure', 'exchange', 'x'],
      ['read', 'exchange', 'x'],
      ['write', 'exchange', 'ae'],
    ],
    answer: ['exchange.declare-ok'],
  },
  {
    what: 'exchange.declare with an alternate exchange, of one that is there',
    given: [declareExchange('x', { 'alternate-exchange': 'ae' })],
    frames: [declareExchange('x', { 'alternate-exchange': 'ae' })],
    needs: [['configure', 'exchange', 'x']],
    answer: ['exchange.declare-ok'],
  },
  {
    what: 'exchange.declare passive',
    given: queueAndExchange,
    frames: [declareExchange('x', {}, true)],
    needs: [],
    answer: ['exchange.declare-ok'],
  },
  {
    what: 'exchange.delete',
    given: queueAndExchange,
    frames: [method(1, 'exchange.delete', { exchange: 'x', ifUnused: false, nowait: false })],
    needs: [['configure', 'exchange', 'x']],
    answer: ['exchange.delete-ok'],
  },
  {
    what: 'queue.declare of a new queue',
    frames: [declareQueue(1, 'q')],
    needs: [['configure', 'queue', 'q']],
    answer: ['queue.declare-ok'],
  },
  {
    what: 'queue.declare of one that is there',
    given: queueAndExchange,
    frames: [declareQueue(1, 'q')],
    needs: [['configure', 'queue', 'q']],
    answer: ['queue.declare-ok'],
  },
  {
    what: 'queue.declare with a dead letter exchange',
    frames: [declareQueue(1, 'q', { 'x-dead-letter-exchange': 'dlx' })],
    needs: [
      ['configure', 'queue', 'q'],
      ['read', 'queue', 'q'],
      ['write', 'exchange', 'dlx'],
    ],
    answer: ['queue.declare-ok'],
  },
  {
    what: 'queue.declare with the default exchange for dead letters',
    frames: [declareQueue(1, 'q', { 'x-dead-letter-exchange': '' })],
    needs: [
      ['configure', 'queue', 'q'],
      ['read', 'queue', 'q'],
      ['write', 'exchange', 'amq.default'],
    ],
    answer: ['queue.declare-ok'],
  },
  {
    what: 'queue.declare with a dead letter exchange, of one that is there',
    given: [declareQueue(1, 'q', { 'x-dead-letter-exchange': 'dlx' })],
    frames: [declareQueue(1, 'q', { 'x-dead-letter-exchange': 'dlx' })],
    needs: [['configure', 'queue', 'q']],
    answer: ['queue.declare-ok'],
  },
  {
    what: 'queue.declare passive',
    given: queueAndExchange,
    frames: [passiveQueue],
    needs: [],
    answer: ['queue.declare-ok'],
  },
  {
    what: 'queue.delete',
    given: queueAndExchange,
    frames: [
      method(1, 'queue.delete', { queue: 'q', ifUnused: false, ifEmpty: false, nowait: false }),
    ],
    needs: [['configure', 'queue', 'q']],
    answer: ['queue.delete-ok'],
  },
  {
    what: 'queue.bind',
    given: queueAndExchange,
    frames: [bindQueue],
    needs: [
      ['write', 'queue', 'q'],
      ['read', 'exchange', 'x'],
    ],
    answer: ['queue.bind-ok'],
  },
  {
    what: 'queue.unbind',
    given: [...queueAndExchange, bindQueue],
    frames: [
      method(1, 'queue.unbind', { queue: 'q', exchange: 'x', routingKey: 'k', arguments: [] }),
    ],
    needs: [
      ['write', 'queue', 'q'],
      ['read', 'exchange', 'x'],
    ],
    answer: ['queue.unbind-ok'],
  },
  {
    what: 'exchange.bind',
    given: queueAndExchange,
    frames: [bindExchange],
    needs: [
      ['write', 'exchange', 'd'],
      ['read', 'exchange', 'x'],
    ],
    answer: ['exchange.bind-ok'],
  },
  {
    what: 'exchange.unbind',
    given: [...queueAndExchange, bindExchange],
    frames: [method(1, 'exchange.unbind', { destination: 'd', source: 'x', ...bindFields })],
    needs: [
      ['write', 'exchange', 'd'],
      ['read', 'exchange', 'x'],
    ],
    answer: ['exchange.unbind-ok'],
  },
  {
    what: 'basic.publish',
    given: queueAndExchange,
    frames: [publish(1, 'k', Buffer.from('m'), { exchange: 'x' })],
    needs: [['write', 'exchange', 'x']],
    answer: [],
  },
  {
    what: 'basic.publish of a message in pieces',
    given: queueAndExchange,
    frames: [publish(1, 'k', Buffer.alloc(9000), { exchange: 'x', frameMax: 4096 })],
    needs: [['write', 'exchange', 'x']],
    answer: [],
  },
  {
    what: 'basic.publish to the default exchange',
    given: queueAndExchange,
    frames: [publish(1, 'q', Buffer.from('m'))],
    needs: [['write', 'exchange', 'amq.default']],
    answer: [],
  },
  {
    what: 'basic.publish in a transaction',
    given: queueAndExchange,
    frames: [method(1, 'tx.select', {}), publish(1, 'k', Buffer.from('m'), { exchange: 'x' })],
    needs: [['write', 'exchange', 'x']],
    answer: ['tx.select-ok'],
  },
  {
    what: 'basic.get',
    given: queueAndExchange,
    frames: [getFrom('q')],
    needs: [['read', 'queue', 'q']],
    answer: ['basic.get-empty'],
  },
  {
    what: 'basic.consume',
    given: queueAndExchange,
    frames: [consume(1, 'q', 'c')],
    needs: [['read', 'queue', 'q']],
    answer: ['basic.consume-ok'],
  },
  {
    what: 'queue.purge',
    given: queueAndExchange,
    frames: [method(1, 'queue.purge', { queue: 'q', nowait: false })],
    needs: [['read', 'queue', 'q']],
    answer: ['queue.purge-ok'],
  },
  {
    what: 'a request by direct reply-to',
    given: queueAndExchange,
    frames: [
      consume(1, 'amq.rabbitmq.reply-to', 'c', true),
      publish(1, 'q', Buffer.from('m'), { properties: { replyTo: 'amq.rabbitmq.reply-to' } }),
    ],
    needs: [['write', 'exchange', 'amq.default']],
    answer: ['basic.consume-ok'],
  },
]

/** Patterns that allow just what is needed. */
function allowing(needs: readonly Need[]): PermissionPatterns {
  const pattern = (operation: Operation) => {
    const names = needs.filter(([needed]) => needed === operation).map(([, , name]) => name)
    return names.length === 0 ? '' : `^(${names.join('|')})$`
  }
  return { configure: pattern('configure'), write: pattern('write'), read: pattern('read') }
}

/** What a user sees who may do what the patterns say. */
function seen({ given = [], frames }: Row, patterns: PermissionPatterns) {
  const host = brokerFor(patterns)
  const admin = host.open()
  admin.give(...given)
  host.settle()
  const client = host.open(asUser)
  client.give(...frames)
  host.settle()
  return client.take()
}

for (const row of rows) {
  t.test(`${row.what} is allowed to who has its permissions and no others`, async t => {
    const frames = seen(row, allowing(row.needs))
    t.strictSame(
      frames.map(({ name }) => name),
      row.answer,
    )
  })
  for (const need of row.needs) {
    const [operation, kind, name] = need
    const refusal = `ACCESS_REFUSED - ${operation} access to ${kind} '${name}' in vhost '/' refused for user 'u'`
    t.test(`${row.what} without ${operation} on ${kind} ${name} is refused`, async t => {
      const allowed = allowing(row.needs.filter(other => other !== need))
      t.match(seen(row, allowed).at(-1)?.args, { replyCode: 403, replyText: refusal })
      // Nobody is told what is there and what is not.
      const frames = seen({ ...row, given: [] }, allowed)
      t.match(frames.at(-1)?.args, { replyCode: 403, replyText: refusal })
    })
  }
}

t.test('the name that the server chooses is what counts for a queue without a name', async t => {
  const host = brokerFor({ ...none, configure: '^amq\\.gen.*' })
  const client = host.open(asUser)
  client.give(declareQueue(1, ''))
  host.settle()
  t.strictSame(client.names(), ['queue.declare-ok'])
  host.broker.access.setPermission('u', '/', none)
  client.give(declareQueue(1, ''))
  host.settle()
  t.match(
    client.take()[0]?.args.replyText,
    /^ACCESS_REFUSED - configure access to queue 'amq\.gen-[\w-]{22}' in vhost '\/' refused/,
  )
})

t.test('a name without its line breaks is what counts', async t => {
  const host = brokerFor({ ...none, configure: '^ab$', read: '^ab$' })
  const client = host.open(asUser)
  client.give(declareQueue(1, 'a\r\nb'), getFrom('a\nb'))
  host.settle()
  t.strictSame(client.names(), ['queue.declare-ok', 'basic.get-empty'])
})

/** What came back, with the channel open again. */
function replyTo(host: SimulatedBroker, client: TestClient, ...frames: Buffer[]): string {
  client.give(...frames)
  host.settle()
  const close = client.take().find(({ name }) => name === 'channel.close')
  if (close === undefined) return 'allowed'
  client.give(method(1, 'channel.close-ok', {}), method(1, 'channel.open', {}))
  host.settle()
  client.take()
  return close.args.replyText
}

t.test('permissions that change count at once, also for who publishes all the time', async t => {
  const host = brokerFor(all)
  const { access } = host.broker
  const client = host.open(asUser)
  client.give(declareQueue(1, 'q'))
  const message = publish(1, 'q', Buffer.from('m'))
  const refused =
    "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'u'"
  t.equal(replyTo(host, client, message, message), 'allowed')
  access.setPermission('u', '/', { ...all, write: '^x' })
  t.equal(replyTo(host, client, message), refused)
  access.setPermission('u', '/', all)
  t.equal(replyTo(host, client, message, message), 'allowed')
  access.removePermission('u', '/')
  t.equal(replyTo(host, client, message), refused, 'without any, an open connection may do nothing')
  access.setPermission('u', '/', all)
  access.addVhost('other')
  access.setPermission('u', 'other', none)
  t.equal(replyTo(host, client, message, message), 'allowed', 'another vhost is another matter')
})

const topic = method(1, 'exchange.declare', {
  exchange: 't',
  type: 'topic',
  passive: false,
  durable: false,
  autoDelete: false,
  internal: false,
  nowait: false,
  arguments: [],
})

t.test('routing keys of a topic exchange may be limited', async t => {
  const host = brokerFor(all)
  const { access } = host.broker
  const client = host.open(asUser)
  const to = (exchange: string, key: string, headers?: PlainTable) => {
    const properties = headers === undefined ? {} : { headers: fieldTable(headers) }
    return publish(1, key, Buffer.from('m'), { exchange, properties })
  }
  const bind = (exchange: string, routingKey: string) =>
    method(1, 'queue.bind', { queue: 'q', exchange, routingKey, nowait: false, arguments: [] })
  const bindTo = (source: string, routingKey: string) =>
    method(1, 'exchange.bind', { ...bindFields, destination: 't', source, routingKey })
  const refused = (operation: string, key: string, exchange = 't') =>
    `ACCESS_REFUSED - ${operation} access to topic '${key}' in exchange '${exchange}' in vhost '/' refused for user 'u'`
  client.give(declareQueue(1, 'q'), topic, declareExchange('x'))
  t.equal(replyTo(host, client, to('t', 'a')), 'allowed')
  access.setTopicPermission('u', '/', 't', { write: '^{username}\\.', read: '^{vhost}r|^{none}' })
  access.setTopicPermission('u', '/', 'x', { write: '^no$', read: '^no$' })
  t.equal(replyTo(host, client, to('t', 'a')), refused('write', 'a'))
  t.equal(replyTo(host, client, to('t', 'u.a'), to('t', 'u.b')), 'allowed')
  t.equal(replyTo(host, client, to('t', 'u.a'), to('t', 'b')), refused('write', 'b'))
  t.equal(replyTo(host, client, to('t', 'u.a', { CC: ['u.b', 'c'] })), refused('write', 'c'))
  t.equal(replyTo(host, client, to('t', 'u.a', { BCC: ['d'] })), refused('write', 'd'))
  t.equal(replyTo(host, client, to('t', 'u.a', { CC: ['u.b'], BCC: ['u.c'] })), 'allowed')
  t.equal(replyTo(host, client, bind('t', 'k')), refused('read', 'k'))
  t.equal(replyTo(host, client, bind('t', '/r')), 'allowed')
  t.equal(replyTo(host, client, bind('t', '{none}')), 'allowed', 'what is no variable stays')
  t.equal(replyTo(host, client, bindTo('t', 'k')), refused('read', 'k'))
  const unbind = { queue: 'q', exchange: 't', routingKey: 'k', arguments: [] }
  t.equal(replyTo(host, client, method(1, 'queue.unbind', unbind)), refused('read', 'k'))
  t.equal(replyTo(host, client, to('x', 'a'), bind('x', 'k')), 'allowed', 'only topic exchanges')
  t.equal(replyTo(host, client, to('amq.topic', 'a')), 'allowed', 'others of the type')
  access.removeTopicPermission('u', '/', 't')
  t.equal(replyTo(host, client, to('t', 'a'), bind('t', 'k')), 'allowed')
})

t.test('a name in a topic permission stands for itself, whatever is in it', async t => {
  const host = new SimulatedBroker()
  const { access } = host.broker
  access.setUser('a.b*', { password: 'p' }, [])
  access.setPermission('a.b*', '/', all)
  access.setTopicPermission('a.b*', '/', 'amq.topic', { write: '^{username}$', read: '' })
  const client = host.open({ user: 'a.b*', password: 'p' })
  const to = (key: string) => publish(1, key, Buffer.from('m'), { exchange: 'amq.topic' })
  t.equal(replyTo(host, client, to('a.b*')), 'allowed')
  t.match(replyTo(host, client, to('axbb')), /^ACCESS_REFUSED/)
})

t.test('only an impersonator may publish in the name of another', async t => {
  const host = brokerFor(all)
  const { access } = host.broker
  const named = (userId: string) => publish(1, 'q', Buffer.from('m'), { properties: { userId } })
  const refused =
    "PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'u'"
  const client = host.open(asUser)
  t.equal(replyTo(host, client, named('u')), 'allowed')
  t.equal(replyTo(host, client, named('bob')), refused)
  access.setUser('u', { password: 'p' }, ['administrator'])
  t.equal(replyTo(host, host.open(asUser), named('bob')), refused, 'an administrator may not')
  access.setUser('u', { password: 'p' }, ['impersonator'])
  t.equal(replyTo(host, client, named('bob')), refused, 'tags count when the user logs in')
  t.equal(replyTo(host, host.open(asUser), named('bob')), 'allowed')
})

t.test(
  'whatever changes, a publish is allowed if the permissions of the moment say so',
  async () => {
    const exchange = fc.constantFrom('a', 'b', 'ab')
    const pattern = fc.constantFrom('^a$', '^b', 'b$', '.*', '')
    const change = fc.oneof(
      fc.record({ do: fc.constant('publish' as const), exchange }),
      fc.record({ do: fc.constant('set' as const), pattern }),
      fc.record({ do: fc.constant('remove' as const) }),
      fc.record({ do: fc.constant('declare' as const), exchange }),
      fc.record({ do: fc.constant('delete' as const), exchange }),
      fc.record({ do: fc.constant('user again' as const), pattern }),
    )
    fc.assert(
      fc.property(fc.array(change, { maxLength: 25 }), changes => {
        const host = brokerFor(all)
        const { access } = host.broker
        const admin = host.open()
        admin.give(declareExchange('a'), declareExchange('b'), declareExchange('ab'))
        host.settle()
        let client = host.open(asUser)
        let allowed: string | null = '.*'
        const there = new Set(['a', 'b', 'ab'])
        for (const one of changes) {
          if (one.do === 'publish') {
            const may = allowed !== null && new RegExp(allowed || '^$').test(one.exchange)
            const expected = !may
              ? /^ACCESS_REFUSED/
              : there.has(one.exchange)
                ? /^allowed/
                : /^NOT_F/
            const frame = publish(1, 'k', Buffer.from('m'), { exchange: one.exchange })
            if (!expected.test(replyTo(host, client, frame))) return false
          } else if (one.do === 'set') {
            allowed = one.pattern
            access.setPermission('u', '/', { ...none, write: one.pattern })
          } else if (one.do === 'remove') {
            if (allowed !== null) access.removePermission('u', '/')
            allowed = null
          } else if (one.do === 'user again') {
            access.removeUser('u')
            access.setUser('u', { password: 'p' }, [])
            allowed = one.pattern
            access.setPermission('u', '/', { ...none, write: one.pattern })
            client = host.open(asUser)
          } else {
            if (one.do === 'declare') there.add(one.exchange)
            else there.delete(one.exchange)
            const exchange = one.exchange
            admin.give(
              one.do === 'declare'
                ? declareExchange(exchange)
                : method(1, 'exchange.delete', { exchange, ifUnused: false, nowait: false }),
            )
            host.settle()
          }
        }
        return true
      }),
      { numRuns: 300 },
    )
  },
)
