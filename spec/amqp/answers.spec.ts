/** Answers to definition methods of a broker with a disk: when they come, and what waits for them. */
import { ok } from 'node:assert'
import t from 'tap'
import { AmqpError } from '../../src/wire/replies.js'
import { SimulatedDisk } from '../support/simulated-disk.js'
import {
  consume,
  declareQueue,
  type HandshakeOptions,
  method,
  publish,
  SimulatedBroker,
  type TestClient,
} from '../support/test-client.js'

const tick = () => new Promise<void>(resolve => setImmediate(resolve))

class StoredBroker extends SimulatedBroker {
  readonly disk: SimulatedDisk

  constructor(disk: SimulatedDisk) {
    super({ files: disk.session(), folder: 'data' })
    this.disk = disk
  }

  /** A broker on a fresh disk, and a client of it. */
  static async open(
    options: HandshakeOptions = {},
  ): Promise<{ host: StoredBroker; client: TestClient }> {
    const host = new StoredBroker(new SimulatedDisk(1))
    await host.work(host.broker.open(() => {}))
    await host.stored()
    return { host, client: host.open(options) }
  }

  /** Lets turns and the disk go on until something is done. */
  async work(done: Promise<void>): Promise<void> {
    let working = true
    void done.finally(() => {
      working = false
    })
    while (working) {
      this.settle()
      await tick()
    }
    await done
  }

  /** Everything that was defined is durable, and told. */
  async stored(): Promise<void> {
    const { definitions } = this.broker
    for (let turns = 0; definitions.durableUpTo < definitions.last; turns++) {
      ok(turns < 10_000, 'nothing becomes durable')
      this.settle()
      this.world.clock.advance(1)
      await tick()
    }
    this.settle()
  }

  get queues(): string[] {
    return [...(this.broker.vhost('/')?.queues.keys() ?? [])]
  }
}

const declareTransient = (queue: string, durable = false, passive = false) =>
  method(1, 'queue.declare', {
    queue,
    passive,
    durable,
    exclusive: false,
    autoDelete: false,
    nowait: false,
    arguments: [],
  })

const deleteQueue = (queue: string) =>
  method(1, 'queue.delete', { queue, ifUnused: false, ifEmpty: false, nowait: false })

const bind = (queue: string, nowait = false) =>
  method(1, 'queue.bind', {
    queue,
    exchange: 'amq.topic',
    routingKey: 'k',
    nowait,
    arguments: [],
  })

const unbind = (queue: string) =>
  method(1, 'queue.unbind', { queue, exchange: 'amq.topic', routingKey: 'k', arguments: [] })

const declareExchange = (exchange: string, type = 'topic') =>
  method(1, 'exchange.declare', {
    exchange,
    type,
    passive: false,
    durable: true,
    autoDelete: false,
    internal: false,
    nowait: false,
    arguments: [],
  })

const deleteExchange = (exchange: string) =>
  method(1, 'exchange.delete', { exchange, ifUnused: false, nowait: false })

const get = (queue: string) => method(1, 'basic.get', { queue, noAck: true })

const bindExchange = (name: 'exchange.bind' | 'exchange.unbind') =>
  method(1, name, {
    destination: 'x',
    source: 'amq.topic',
    routingKey: 'k',
    nowait: false,
    arguments: [],
  })

t.test('every change of what is durable is answered when it is durable', async t => {
  const { host, client } = await StoredBroker.open()
  const changes: [Buffer, string][] = [
    [declareExchange('x'), 'exchange.declare-ok'],
    [bindExchange('exchange.bind'), 'exchange.bind-ok'],
    [bindExchange('exchange.unbind'), 'exchange.unbind-ok'],
    [deleteExchange('x'), 'exchange.delete-ok'],
    [declareQueue(1, 'q'), 'queue.declare-ok'],
    [bind('q'), 'queue.bind-ok'],
    [unbind('q'), 'queue.unbind-ok'],
    [deleteQueue('q'), 'queue.delete-ok'],
  ]
  for (const [change, answer] of changes) {
    const { sync } = host.disk.counts
    client.give(change)
    host.settle()
    t.strictSame(client.names(), [], `not yet: ${answer}`)
    await host.stored()
    t.strictSame(client.names(), [answer])
    t.equal(host.disk.counts.sync, sync + 1)
  }
})

t.test('the same again waits for the first, and for nothing once that is durable', async t => {
  const { host, client } = await StoredBroker.open()
  const other = host.open()
  client.give(declareQueue(1, 'q'), bind('q'))
  for (const change of [declareQueue(1, 'q'), declareTransient('q', true, true), bind('q')])
    other.give(change)
  host.settle()
  t.strictSame([client.names(), other.names()], [[], []])
  await host.stored()
  t.strictSame(client.names(), ['queue.declare-ok', 'queue.bind-ok'])
  t.strictSame(other.names(), ['queue.declare-ok', 'queue.declare-ok', 'queue.bind-ok'])
  client.give(declareQueue(1, 'q'), bind('q'))
  host.settle()
  t.strictSame(client.names(), ['queue.declare-ok', 'queue.bind-ok'])
  client.give(deleteQueue('q'))
  other.give(deleteQueue('q'))
  host.settle()
  t.strictSame(other.names(), [], 'that it is gone is not certain either')
  await host.stored()
  t.strictSame(other.names(), ['queue.delete-ok'])
})

t.test('what is not to survive waits for nothing', async t => {
  const { host, client } = await StoredBroker.open()
  const other = host.open()
  other.give(declareQueue(1, 'durable'))
  client.give(declareTransient('t'), bind('t'), unbind('t'), deleteQueue('t'))
  host.settle()
  const oks = ['declare', 'bind', 'unbind', 'delete'].map(verb => `queue.${verb}-ok`)
  t.strictSame([client.names(), other.names()], [oks, []])
})

t.test(
  'a thousand declarations in a row need few syncs, and are answered in their order',
  async t => {
    const { host, client } = await StoredBroker.open()
    const { sync } = host.disk.counts
    const names = Array.from({ length: 1000 }, (_, i) => `q${i}`)
    for (let i = 0; i < 1000; i += 100) {
      const some = names.slice(i, i + 100)
      client.give(
        ...some.map(name => (i % 7 === 0 ? declareTransient(name) : declareQueue(1, name))),
      )
      host.settle()
      await tick()
    }
    await host.stored()
    t.strictSame(
      client.take().map(({ args }) => args.queue),
      names,
    )
    t.ok(host.disk.counts.sync - sync <= 10, `${host.disk.counts.sync - sync} syncs`)
  },
)

t.test('anything else on the channel waits until its definitions are answered', async t => {
  const { host, client } = await StoredBroker.open()
  client.give(
    declareQueue(1, 'q'),
    publish(1, 'q', Buffer.from('m')),
    declareQueue(1, 'r'),
    get('q'),
  )
  host.settle()
  t.strictSame(client.names(), [])
  t.strictSame(host.queues, ['q'], 'nothing is read behind what waits')
  await host.stored()
  await host.stored()
  t.strictSame(client.names(), [
    'queue.declare-ok',
    'queue.declare-ok',
    'basic.get-ok',
    'header',
    'body',
  ])
})

t.test('a definition without an answer holds nothing up', async t => {
  const { host, client } = await StoredBroker.open()
  client.give(declareTransient('q'), bind('q', true), publish(1, 'q', Buffer.from('m')), get('q'))
  host.settle()
  t.strictSame(client.names(), ['queue.declare-ok', 'basic.get-ok', 'header', 'body'])
})

t.test('a refusal comes behind the answers to what was asked before', async t => {
  const { host, client } = await StoredBroker.open()
  client.give(declareQueue(1, 'q'), bind('none'), declareQueue(1, 'r'))
  host.settle()
  t.strictSame(client.names(), [])
  await host.stored()
  const [first, second, ...more] = client.take()
  t.match(
    [first, second, more],
    [
      { name: 'queue.declare-ok' },
      { name: 'channel.close', args: { replyCode: 404, classId: 50, methodId: 20 } },
      [],
    ],
  )
  t.strictSame(host.queues, ['q'])
  client.give(
    method(1, 'channel.close-ok', {}),
    method(1, 'channel.open', {}),
    declareTransient('s'),
  )
  host.settle()
  t.strictSame(client.names(), ['channel.open-ok', 'queue.declare-ok'])
})

t.test('a channel or a connection is closed when all is answered', async t => {
  const closing = { replyCode: 200, replyText: '', classId: 0, methodId: 0 }
  for (const [channel, name] of [
    [1, 'channel.close'],
    [0, 'connection.close'],
  ] as const) {
    const { host, client } = await StoredBroker.open()
    client.give(declareQueue(1, 'q'), method(channel, name, closing))
    host.settle()
    t.strictSame(client.names(), [])
    await host.stored()
    t.strictSame(client.names(), ['queue.declare-ok', `${name}-ok`])
  }
})

t.test('what was asked for by a client that is gone is there all the same', async t => {
  const { host, client } = await StoredBroker.open()
  client.give(declareQueue(1, 'q'), get('q'))
  host.settle()
  client.drop()
  await host.stored()
  t.strictSame(client.names(), [])
  t.strictSame(host.queues, ['q'])
  t.equal(host.closed, 1)
})

t.test('a client whose input is held hears that the broker closes, and is heard', async t => {
  const { host, client } = await StoredBroker.open()
  client.give(declareQueue(1, 'q'), get('q'))
  host.settle()
  const { connection } = client
  connection.close(new AmqpError('CONNECTION_FORCED', 'shutdown'))
  host.settle()
  t.strictSame(client.names(), ['connection.close'])
  client.give(method(0, 'connection.close-ok', {}))
  host.settle()
  await host.stored()
  t.strictSame(client.names(), [], 'nothing follows')
  t.ok(client.socket.ended, 'the answer has been read')
})

t.test('the consumers of a deleted queue are cancelled behind the answer', async t => {
  const { host, client } = await StoredBroker.open()
  client.give(declareQueue(1, 'q'))
  await host.stored()
  client.give(consume(1, 'q', 'c'), deleteQueue('q'))
  host.settle()
  t.strictSame(client.names(), ['queue.declare-ok', 'basic.consume-ok'])
  await host.stored()
  t.strictSame(client.names(), ['queue.delete-ok', 'basic.cancel'])
})

t.test(
  'while the log cannot be written nothing is answered, and publishers are blocked',
  async t => {
    const { host, client } = await StoredBroker.open()
    host.disk.faults = { fail: 1, short: 0, names: 0 }
    client.give(declareQueue(1, 'q'))
    for (let i = 0; i < 50; i++) {
      host.settle()
      await tick()
    }
    t.strictSame(client.names(), [])
    t.ok(host.broker.alarms.has('definitions'))
    host.disk.faults = { fail: 0, short: 0, names: 0 }
    await host.stored()
    t.strictSame(client.names(), ['queue.declare-ok'])
    t.notOk(host.broker.alarms.has('definitions'))
  },
)
