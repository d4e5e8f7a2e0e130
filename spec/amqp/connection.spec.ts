/** The protocol side as a whole, on simulated sockets, time and turns. */
import { ok } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { fieldTable } from '../../src/wire/field-table.js'
import { AmqpError } from '../../src/wire/replies.js'
import { frame, octetsOf, pieces } from '../support/messages.js'
import {
  consume,
  declareQueue,
  framesIn,
  handshake,
  heartbeat,
  method,
  protocolHeader,
  protocolSettings,
  publish,
  type Received,
  SimulatedBroker,
} from '../support/test-client.js'

const second = 1000
const nothing = Buffer.alloc(0)

function bodiesOf(frames: readonly Received[]): string[] {
  return frames.filter(({ name }) => name === 'body').map(({ payload }) => payload.toString())
}

function deliveriesOf(frames: readonly Received[]): Received[] {
  return frames.filter(({ name }) => name === 'basic.deliver')
}

const get = (queue: string, noAck: boolean) => method(1, 'basic.get', { queue, noAck })
const passive = (queue: string) =>
  method(1, 'queue.declare', {
    queue,
    passive: true,
    durable: true,
    exclusive: false,
    autoDelete: false,
    nowait: false,
    arguments: [],
  })
const closeConnection = method(0, 'connection.close', {
  replyCode: 200,
  replyText: '',
  classId: 0,
  methodId: 0,
})
const qos = (prefetchCount: number, global = false) =>
  method(1, 'basic.qos', { prefetchSize: 0, prefetchCount, global })
const ack = (deliveryTag: number, multiple = false) =>
  method(1, 'basic.ack', { deliveryTag, multiple })
const close = (channel: number) =>
  method(channel, 'channel.close', { replyCode: 200, replyText: '', classId: 0, methodId: 0 })

// --- the beginning and the end

t.test('a connection is opened step by step', async t => {
  const host = new SimulatedBroker()
  const client = host.connect()
  const [header, startOk, tuneOk, open] = handshake() as [Buffer, Buffer, Buffer, Buffer]
  const answers: [Buffer, string[]][] = [
    [header, ['connection.start']],
    [startOk, ['connection.tune']],
    [tuneOk, []],
    [open, ['connection.open-ok']],
  ]
  for (const [said, answer] of answers) {
    t.equal(host.opened, 0)
    client.give(said)
    host.settle()
    t.strictSame(client.names(), answer)
  }
  t.equal(host.opened, 1)
})

t.test('a handshake that takes ten seconds ends without a word', async t => {
  const steps = handshake()
  for (let said = 0; said < steps.length; said++) {
    const host = new SimulatedBroker()
    const client = host.connect()
    host.world.clock.advance(9 * second)
    client.give(...steps.slice(0, said))
    host.settle()
    client.take()
    host.world.clock.advance(second - 1)
    t.notOk(client.socket.destroyed)
    host.world.clock.advance(1)
    host.settle()
    t.ok(client.socket.destroyed, `after ${said} steps`)
    t.strictSame(client.names(), [])
  }
  const host = new SimulatedBroker()
  const client = host.open()
  host.world.clock.advance(100 * second)
  t.notOk(client.socket.destroyed, 'one that is open has all the time')
})

t.test('another protocol is told which one is spoken here', async t => {
  const others = ['GET / HTTP/1.1\r\n\r\n', 'AMQP\0\0\x09\0', 'AMQP\x03\x01\0\0', '12345678']
  for (const header of others) {
    const host = new SimulatedBroker()
    const client = host.connect()
    client.give(Buffer.from(header, 'latin1'))
    host.settle()
    t.same(client.socket.received, protocolHeader)
    t.ok(client.socket.ended)
  }
})

t.test('a wrong password is told after the fact, or to who asked for it at once', async t => {
  const host = new SimulatedBroker()
  const silent = host.connect()
  const [header, startOk] = handshake({ password: 'wrong', capabilities: {} }) as [Buffer, Buffer]
  silent.give(header, startOk)
  host.settle()
  t.strictSame(silent.names(), ['connection.start'])
  host.world.clock.advance(3 * second - 1)
  t.notOk(silent.socket.destroyed)
  host.world.clock.advance(1)
  t.ok(silent.socket.destroyed)

  const asking = host.connect()
  const capabilities = { authentication_failure_close: true }
  asking.give(...handshake({ password: 'wrong', capabilities }).slice(0, 2))
  host.settle()
  t.match(asking.take()[1], { name: 'connection.close', args: { replyCode: 403, classId: 0 } })
  t.equal(host.opened, 0)
})

t.test('where no more connections may be open, one more is refused with 530', async t => {
  const host = new SimulatedBroker()
  const first = host.open()
  host.full = true
  const client = host.connect()
  client.give(...handshake())
  host.settle()
  const { maxConnections } = protocolSettings
  t.match(client.take(), [
    { name: 'connection.start' },
    { name: 'connection.tune' },
    {
      name: 'connection.close',
      args: {
        replyCode: 530,
        replyText: `NOT_ALLOWED - connection refused: node connection limit (${maxConnections}) is reached`,
        classId: 10,
        methodId: 40,
      },
    },
  ])
  t.equal(host.opened, 1)
  first.give(declareQueue(1, 'q'))
  host.settle()
  t.strictSame(first.names(), ['queue.declare-ok'], 'who is there stays')
})

t.test('what a client calls itself is cut in the log, and begins no line there', async t => {
  const control = /\p{Cc}/u
  for (const name of ['n'.repeat(100 * 1024), '\n2026-11-22 [info] all is well\r\n\x1b[31m\0']) {
    const host = new SimulatedBroker()
    const named = host.connect()
    named.give(...handshake({ connectionName: name }), method(1, 'channel.open', {}), ack(99))
    host.settle()
    named.give(frame(1, 9, Buffer.of(0, 50, 0, 10)))
    host.settle()
    const lost = host.connect()
    lost.give(...handshake({ connectionName: name }))
    host.settle()
    lost.drop()
    const stranger = host.connect()
    stranger.give(...handshake({ user: name.replaceAll('\0', ''), password: 'wrong' }).slice(0, 2))
    host.settle()
    const shows = (part: RegExp) => host.world.lines.some(({ message }) => part.test(message))
    t.ok(shows(/has a client-provided name: /))
    t.ok(shows(/^Channel error on connection /))
    t.ok(shows(/^Error on AMQP connection /))
    t.ok(shows(/client unexpectedly closed TCP connection$/))
    t.ok(shows(/^PLAIN login refused: user '/))
    for (const { fields, message } of host.world.lines)
      for (const text of [message, ...Object.values(fields)].map(String)) {
        t.ok(text.length < 256 + 200, `${text.length} characters`)
        t.notMatch(text, control)
      }
  }
})

t.test('a close is answered, flushed and followed by the end of the socket', async t => {
  const host = new SimulatedBroker()
  const client = host.open({ heartbeatSeconds: 10 })
  const args = { replyCode: 200, replyText: 'OK', classId: 0, methodId: 0 }
  client.send(0, 'connection.close', args)
  t.strictSame(client.names(), ['connection.close-ok'])
  t.ok(client.socket.ended)
  host.world.clock.advance(10 * second)
  t.ok(client.socket.destroyed, 'whoever does not end it too')
  client.drop()
  t.equal(host.closed, 1)
})

t.test('a close is answered once 100,000 unacked messages are back in their queue', async t => {
  const host = new SimulatedBroker()
  const client = host.open()
  const other = host.open()
  const count = 100_000
  client.give(declareQueue(1, 'q'), consume(1, 'q', 'c'))
  for (let i = 0; i < 50; i++) {
    other.give(Buffer.concat(Array(count / 50).fill(publish(1, 'q', nothing))))
    host.settle()
  }
  const queue = host.broker.vhost('/')?.queues.get('q')
  t.equal(queue?.unackedCount, count)
  client.take()
  client.give(closeConnection)
  let turns = 0
  for (; !client.socket.ended && turns < 1000; turns++) {
    t.strictSame(client.take(), [])
    host.endTurn()
  }
  t.ok(turns > 5, 'not all in one turn')
  t.strictSame(client.names(), ['connection.close-ok'])
  other.give(passive('q'))
  host.settle()
  t.match(other.take(), [{ name: 'queue.declare-ok', args: { messageCount: count } }])
})

t.test('a close of ours waits for the answer, and drops all else that comes', async t => {
  const host = new SimulatedBroker()
  const client = host.open()
  client.connection.close(new AmqpError('CONNECTION_FORCED', 'going'))
  client.give(publish(1, 'q', nothing), declareQueue(1, 'late'))
  host.settle()
  const [told, ...others] = client.take()
  t.match(told, { name: 'connection.close', args: { replyCode: 320 } })
  t.strictSame(others, [])
  t.notOk(host.broker.vhost('/')?.queues.has('late'))
  t.notOk(client.socket.ended)
  client.send(0, 'connection.close-ok', {})
  t.ok(client.socket.ended)
})

t.test(
  'a connection that is gone leaves its messages, its timers and no queue of its own',
  async t => {
    const host = new SimulatedBroker()
    const timers = host.world.clock.pending
    const client = host.open({ heartbeatSeconds: 60 })
    client.give(
      declareQueue(1, 'q'),
      method(1, 'queue.declare', {
        queue: 'own',
        passive: false,
        durable: false,
        exclusive: true,
        autoDelete: false,
        nowait: true,
        arguments: [],
      }),
      consume(1, 'q', 'c'),
      publish(1, 'q', Buffer.from('kept')),
    )
    host.settle()
    client.drop()
    host.settle()
    const vhost = host.broker.vhost('/')
    t.notOk(vhost?.queues.has('own'))
    const queue = vhost?.queues.get('q')
    t.strictSame([queue?.readyCount, queue?.unackedCount, queue?.consumers.count], [1, 0, 0])
    t.equal(host.world.clock.pending, timers)
    t.equal(host.broker.alarms.listeners.size, 0)
    host.connect().drop()
    t.equal(host.world.clock.pending, timers, 'nor does one that never opened')
    const next = host.open()
    next.give(consume(1, 'q', 'd'))
    host.settle()
    t.match(next.take()[1], { name: 'basic.deliver', args: { redelivered: true } })
  },
)

// --- heartbeats

t.test('heartbeats go out each half interval in which nothing else did', async t => {
  const host = new SimulatedBroker()
  const client = host.open({ heartbeatSeconds: 2 })
  const beats: string[][] = []
  for (let tick = 0; tick < 5; tick++) {
    client.give(heartbeat)
    host.world.clock.advance(second)
    host.settle()
    beats.push(client.names())
  }
  t.strictSame(beats, Array(5).fill(['heartbeat']))
  host.world.clock.advance(second / 2)
  client.give(declareQueue(1, 'q'))
  host.settle()
  client.take()
  host.world.clock.advance(second / 2)
  host.settle()
  t.strictSame(client.names(), [], 'an answer is as good')
  host.world.clock.advance(second)
  host.settle()
  t.strictSame(client.names(), ['heartbeat'])
})

t.test('a peer that is silent for two whole intervals is dropped without a word', async t => {
  for (const lastWords of [0, 500, 1999, 2000]) {
    const host = new SimulatedBroker()
    const client = host.open({ heartbeatSeconds: 2 })
    host.world.clock.advance(lastWords)
    host.settle()
    client.give(heartbeat)
    host.settle()
    let silence = 0
    for (; !client.socket.destroyed && silence < 20_000; silence += 100) {
      host.world.clock.advance(100)
      host.settle()
    }
    t.ok(silence >= 4000 && silence <= 6000, `${silence} ms after ${lastWords}`)
    t.notOk(client.names().includes('connection.close'))
    t.match(host.world.lines.at(-1)?.message, /missed heartbeats from client, timeout: 2s/)
  }
})

t.test('any byte is a sign of life, and a stall of the broker is no silence', async t => {
  const host = new SimulatedBroker()
  const client = host.open({ heartbeatSeconds: 2 })
  const whole = declareQueue(1, 'q')
  for (const octet of whole.subarray(0, 10)) {
    client.give(Buffer.of(octet))
    host.world.clock.advance(2 * second)
    host.settle()
  }
  t.notOk(client.socket.destroyed)
  host.world.clock.advance(2 * second)
  host.settle()
  // What came during the stall is read before silence is judged.
  host.world.clock.stall(60 * second)
  client.give(whole.subarray(10))
  host.settle()
  t.notOk(client.socket.destroyed)
})

t.test('who reads slowly stays, and who hangs is dropped after its heartbeats', async t => {
  const host = new SimulatedBroker()
  const client = host.open({ heartbeatSeconds: 2 })
  const publisher = host.open()
  publisher.give(declareQueue(1, 'q'), publish(1, 'q', octetsOf(2 ** 20, 1)))
  host.settle()
  client.socket.room = 0
  for (let tag = 1; tag <= 100; tag++)
    client.give(get('q', false), method(1, 'basic.reject', { deliveryTag: tag, requeue: true }))
  host.settle()
  const rest = () => {
    host.world.clock.advance(second)
    host.settle()
  }
  for (let i = 0; i < 6; i++) {
    for (let seconds = 0; seconds < 3; seconds++) {
      // Its heartbeats are heard only while it is read from.
      if (!client.socket.paused) client.give(heartbeat)
      rest()
    }
    t.notOk(client.socket.destroyed)
    if (i < 4) t.ok(client.socket.paused, 'more than 4 MiB wait for it')
    client.socket.drain()
    host.settle()
  }
  let seconds = 0
  for (; !client.socket.destroyed && seconds < 60; seconds++) rest()
  t.ok(seconds >= 4 && seconds <= 6, `${seconds} s after it took something`)
  t.match(host.world.lines.at(-1)?.message, /missed heartbeats from client, timeout: 2s/)
})

// --- giving way

t.test('an alarm stops who publishes, keeps what came, and takes it up in order', async t => {
  const host = new SimulatedBroker()
  const publisher = host.open()
  const consumer = host.open()
  consumer.give(declareQueue(1, 'q'), consume(1, 'q', 'c', true))
  host.settle()
  consumer.take()
  host.broker.alarms.set('memory', true)
  t.notOk(publisher.socket.paused, 'nobody has published yet')
  publisher.give(
    publish(1, 'q', Buffer.from('1')),
    publish(1, 'q', Buffer.from('2')),
    declareQueue(1, 'after'),
  )
  host.settle()
  t.ok(publisher.socket.paused)
  t.match(publisher.take(), [{ name: 'connection.blocked', args: { reason: 'low on memory' } }])
  consumer.give(declareQueue(1, 'other'))
  host.settle()
  t.strictSame(consumer.names(), ['queue.declare-ok'], 'others go on, and nothing was published')
  publisher.give(publish(1, 'q', Buffer.from('3')))
  t.ok(publisher.unread > 0)
  host.broker.alarms.set('disk', true)
  host.broker.alarms.set('memory', false)
  t.ok(publisher.socket.paused)
  host.broker.alarms.set('disk', false)
  t.notOk(publisher.socket.paused)
  publisher.pump()
  host.settle()
  t.strictSame(publisher.names(), ['connection.unblocked', 'queue.declare-ok'])
  t.strictSame(bodiesOf(consumer.take()), ['1', '2', '3'])
})

t.test('an alarm amid a message stops the rest of it, which comes when it is cleared', async t => {
  const body = octetsOf(40_000, 3)
  const said = publish(1, 'q', body, { frameMax: 8192 })
  const frames: Buffer[] = []
  for (let at = 0; at < said.length; at += (frames.at(-1) as Buffer).length)
    frames.push(said.subarray(at, at + said.readUInt32BE(at + 3) + 8))
  t.equal(frames.length, 7)
  // The alarm comes after so many frames, or within the next.
  for (const before of [1, 2, 3, 5])
    for (const amid of [0, 10]) {
      const host = new SimulatedBroker()
      const client = host.open()
      const consumer = host.open()
      consumer.give(declareQueue(1, 'q'), consume(1, 'q', 'c', true))
      host.settle()
      consumer.take()
      const place = Buffer.concat(frames.slice(0, before)).length + amid
      client.give(said.subarray(0, place))
      host.settle()
      t.strictSame(client.names(), [])
      host.broker.alarms.set('memory', true)
      // Already the next frame is enough.
      const next = Buffer.concat(frames.slice(0, before + 1)).length
      client.give(said.subarray(place, next))
      host.settle()
      t.strictSame(client.names(), ['connection.blocked'], `after ${before} frames and ${amid}`)
      client.connection.received(
        Buffer.concat([said.subarray(next), declareQueue(1, 'after')]),
        said.length - next + declareQueue(1, 'after').length,
      )
      host.settle()
      t.strictSame(client.names(), [])
      t.ok(client.socket.paused)
      t.strictSame(consumer.take(), [])
      host.broker.alarms.set('memory', false)
      client.pump()
      host.settle()
      t.strictSame(client.names(), ['connection.unblocked', 'queue.declare-ok'])
      const bodies = consumer.take().filter(({ name }) => name === 'body')
      t.ok(Buffer.concat(bodies.map(({ payload }) => payload)).equals(body))
    }
})

t.test('who does not know connection.blocked is stopped without it, and not dropped', async t => {
  const host = new SimulatedBroker()
  const client = host.open({ capabilities: {}, heartbeatSeconds: 2 })
  host.broker.alarms.set('disk', true)
  client.give(publish(1, 'q', nothing))
  host.settle()
  t.strictSame(client.names(), [])
  for (let i = 0; i < 20; i++) {
    host.world.clock.advance(second)
    host.settle()
  }
  t.notOk(client.socket.destroyed, 'it is we who do not read')
  host.broker.alarms.set('disk', false)
  t.notOk(client.socket.paused)
})

t.test('a share of 256 KiB is read in a turn, and the rest in the next', async t => {
  const host = new SimulatedBroker()
  const flood = host.open()
  const other = host.open()
  const share = 256 * 1024
  const one = publish(1, 'nowhere', octetsOf(1000, 1))
  flood.give(Buffer.concat(Array(1000).fill(one)))
  const given = 1000 * one.length
  t.equal(flood.unread, given - share)
  t.ok(flood.socket.paused)
  t.notOk(other.socket.paused)
  host.endTurn()
  t.equal(flood.unread, given - 2 * share)
  host.settle()
  t.equal(flood.unread, 0)
  t.notOk(flood.socket.paused)
  for (let i = 0; i < 4; i++) flood.give(octetsOf(0, 1), Buffer.concat(Array(60).fill(one)))
  t.notOk(flood.socket.paused, 'bytes of one turn are added up, and this is less')
  flood.give(Buffer.concat(Array(60).fill(one)))
  t.ok(flood.socket.paused, 'now it is more')
})

t.test('a client that does not read is not read from, and its consumers wait', async t => {
  const host = new SimulatedBroker()
  const client = host.open()
  const publisher = host.open()
  publisher.give(declareQueue(1, 'q'))
  client.give(consume(1, 'q', 'c', true))
  host.settle()
  client.take()
  client.socket.room = 0
  const queue = host.broker.vhost('/')?.queues.get('q')
  const body = octetsOf(10_000, 7)
  let published = 0
  for (; published < 1000; published++) {
    publisher.give(publish(1, 'q', body))
    if (published % 10 === 0) host.settle()
  }
  host.settle()
  const waiting = queue?.readyCount ?? 0
  t.ok(client.connection.congestedOutput)
  const unsent = client.connection.writer.unsentBytes
  t.ok(unsent > 1024 * 1024 && unsent < 2 * 1024 * 1024, `${unsent} bytes unsent`)
  t.ok(waiting > 700, `${waiting} wait`)
  t.notOk(client.socket.paused, 'below 4 MiB it is read from')
  client.give(consume(1, 'q', 'late', true))
  host.settle()
  t.equal(queue?.readyCount, waiting, 'a consumer that comes now waits too')

  for (let i = 0; i < 400; i++) client.give(method(1, 'basic.get', { queue: 'q', noAck: true }))
  t.ok(client.socket.paused)
  t.ok(client.unread > 0)
  t.ok(client.connection.writer.unsentBytes < 4.5 * 1024 * 1024)
  client.socket.room = Number.POSITIVE_INFINITY
  client.socket.drain()
  host.settle()
  client.pump()
  host.settle()
  t.notOk(client.socket.paused)
  t.notOk(client.connection.congestedOutput)
  t.equal(queue?.readyCount, 0)
  t.equal(bodiesOf(client.take()).length, published)
})

t.test('many large answers asked for at once are not made before they are read', async t => {
  const host = new SimulatedBroker()
  const publisher = host.open()
  const client = host.connect()
  client.give(...handshake({ frameMax: 4096 }), method(1, 'channel.open', {}))
  publisher.give(declareQueue(1, 'q'))
  const count = 16
  const size = 2 ** 20
  for (let i = 0; i < count; i++) {
    publisher.give(publish(1, 'q', octetsOf(size, i * 2)))
    host.settle()
  }
  client.take()
  client.socket.room = 0
  client.give(...Array(count).fill(get('q', true)), declareQueue(1, 'last'))
  host.settle()
  const { writer } = client.connection
  const withFrames = size + (size / 4088 + 3) * 100
  t.ok(writer.unsentBytes > 4 * size, 'it holds what it may')
  t.ok(writer.unsentBytes < 4 * size + withFrames, `${writer.unsentBytes} bytes unsent`)
  t.ok(client.socket.paused)
  const queue = host.broker.vhost('/')?.queues.get('q')
  t.ok((queue?.readyCount ?? 0) >= count - 6, `${queue?.readyCount} stay where they are`)
  for (let i = 0; client.socket.holds && i < 100; i++) {
    client.socket.drain()
    t.ok(writer.unsentBytes < 4 * size + withFrames)
    host.settle()
  }
  const frames = client.take()
  const got = Buffer.concat(frames.flatMap(({ name, payload }) => (name === 'body' ? payload : [])))
  const wanted = Array.from({ length: count }, (_, i) => octetsOf(size, i * 2))
  t.ok(got.equals(Buffer.concat(wanted)), 'all of them, in order')
  t.equal(frames.at(-1)?.name, 'queue.declare-ok')
  t.notOk(client.socket.paused)
})

t.test('frames that take long are spread over turns, in order, and none is lost', async t => {
  const host = new SimulatedBroker()
  const client = host.open()
  const other = host.open()
  client.give(declareQueue(1, 'q'))
  host.settle()
  client.take()
  const queue = host.broker.vhost('/')?.queues.get('q')
  const enqueue = queue?.publish.bind(queue)
  const slowly = (arrival: Parameters<NonNullable<typeof enqueue>>[0]) => {
    host.world.clock.stall(1)
    return enqueue?.(arrival)
  }
  Object.assign(queue ?? {}, { publish: slowly })
  const numbered = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, i) => publish(1, 'q', Buffer.from(`${from + i}`)))
  client.give(...numbered(0, 300))
  const late = Buffer.concat([...numbered(300, 320), declareQueue(1, 'last')])
  let turns = 0
  for (let before = 0; client.socket.paused && turns < 100; turns++) {
    const ready = queue?.readyCount ?? 0
    t.ok(ready > before && ready - before <= 40, `${ready - before} in a turn`)
    before = ready
    // What the socket had read already when it was told to stop.
    if (turns === 2) client.connection.received(Buffer.from(late), late.length)
    other.give(declareQueue(1, 'other'))
    t.strictSame(other.names(), [], 'its answer goes out when the turn ends')
    host.endTurn()
    t.strictSame(other.names(), ['queue.declare-ok'])
  }
  t.ok(turns >= 8, `${turns} turns`)
  host.settle()
  t.strictSame(client.names(), ['queue.declare-ok'])
  client.give(consume(1, 'q', 'c', true))
  host.settle()
  t.strictSame(
    bodiesOf(client.take()),
    Array.from({ length: 320 }, (_, i) => `${i}`),
  )
})

// --- channels

t.test('consume-ok comes before the first delivery, and tags rise by one for each', async t => {
  const host = new SimulatedBroker()
  const client = host.open()
  client.give(
    declareQueue(1, 'q'),
    ...[1, 2, 3].map(i => publish(1, 'q', Buffer.from(`${i}`))),
    method(1, 'basic.get', { queue: 'q', noAck: true }),
    method(1, 'basic.get', { queue: 'q', noAck: false }),
    consume(1, 'q', 'c'),
    publish(1, 'q', Buffer.from('4')),
  )
  host.settle()
  client.give(
    consume(1, 'q', 'd', true),
    method(1, 'basic.cancel', { consumerTag: 'c', nowait: false }),
  )
  client.give(publish(1, 'q', Buffer.from('5')))
  host.settle()
  const frames = client.take()
  const tags = frames.flatMap(({ args }) => args.deliveryTag ?? [])
  t.strictSame(tags, [1, 2, 3, 4, 5])
  t.strictSame(bodiesOf(frames), ['1', '2', '3', '4', '5'])
  const names = frames.map(({ name }) => name)
  t.ok(names.indexOf('basic.consume-ok') < names.indexOf('basic.deliver'))
  t.strictSame(
    deliveriesOf(frames).map(({ args }) => args.consumerTag),
    ['c', 'c', 'd'],
  )
})

t.test('prefetch holds a consumer back, its own and the shared one', async t => {
  const host = new SimulatedBroker()
  const client = host.open()
  client.give(declareQueue(1, 'q'), qos(2), consume(1, 'q', 'c'))
  client.give(...Array.from({ length: 5 }, () => publish(1, 'q', nothing)))
  host.settle()
  t.equal(deliveriesOf(client.take()).length, 2)
  client.give(ack(2, true))
  host.settle()
  t.equal(deliveriesOf(client.take()).length, 2)
  client.give(qos(2, true), consume(1, 'q', 'late'))
  host.settle()
  t.equal(deliveriesOf(client.take()).length, 0, 'one that comes while the window is full waits')
  client.give(ack(3))
  host.settle()
  t.equal(deliveriesOf(client.take()).length, 1)
})

t.test('nothing comes on a channel after its close-ok', async t => {
  const host = new SimulatedBroker()
  const client = host.open()
  const publisher = host.open()
  client.give(
    declareQueue(1, 'q'),
    method(1, 'confirm.select', { nowait: false }),
    consume(1, 'q', 'c'),
    publish(1, 'q', Buffer.from('1')),
    publish(1, 'none', nothing, { mandatory: true }),
  )
  publisher.give(publish(1, 'q', Buffer.from('2')))
  client.give(close(1))
  publisher.give(publish(1, 'q', Buffer.from('3')))
  host.settle()
  t.equal(client.names().at(-1), 'channel.close-ok')
  const queue = host.broker.vhost('/')?.queues.get('q')
  t.strictSame([queue?.readyCount, queue?.unackedCount], [3, 0])
  client.give(method(1, 'channel.open', {}), method(1, 'basic.get', { queue: 'q', noAck: true }))
  host.settle()
  t.match(client.take(), [
    { name: 'channel.open-ok' },
    { name: 'basic.get-ok', args: { deliveryTag: 1, redelivered: true, messageCount: 2 } },
    { name: 'header' },
    { name: 'body' },
  ])
})

t.test('20,000 unacked deliveries of a closed channel go back in several turns', async t => {
  const host = new SimulatedBroker()
  const client = host.open()
  const count = 20_000
  client.give(declareQueue(1, 'q'), consume(1, 'q', 'c'))
  for (let i = 0; i < 20; i++) {
    client.give(Buffer.concat(Array(count / 20).fill(publish(1, 'q', nothing))))
    host.settle()
  }
  const queue = host.broker.vhost('/')?.queues.get('q')
  t.equal(queue?.unackedCount, count)
  client.take()
  client.give(close(1))
  t.equal(queue?.readyCount, 0)
  host.endTurn()
  t.equal(queue?.readyCount, 8192)
  t.strictSame(client.names(), [])
  host.settle()
  t.strictSame([queue?.readyCount, queue?.unackedCount], [count, 0])
  t.strictSame(client.names(), ['channel.close-ok'])
})

t.test('a refusal ends its channel, and until close-ok all else on it is dropped', async t => {
  const host = new SimulatedBroker()
  const client = host.open()
  client.give(
    declareQueue(1, 'q'),
    ack(99),
    publish(1, 'q', Buffer.from('lost')),
    declareQueue(1, 'lost'),
    method(2, 'channel.open', {}),
  )
  host.settle()
  t.match(client.take(), [
    { name: 'queue.declare-ok' },
    {
      channel: 1,
      name: 'channel.close',
      args: {
        replyCode: 406,
        replyText: 'PRECONDITION_FAILED - unknown delivery tag 99',
        classId: 60,
        methodId: 80,
      },
    },
    { channel: 2, name: 'channel.open-ok' },
  ])
  const queues = host.broker.vhost('/')?.queues
  t.strictSame([queues?.get('q')?.readyCount, queues?.has('lost')], [0, false])
  client.give(method(1, 'channel.close-ok', {}), method(1, 'channel.open', {}))
  host.settle()
  t.strictSame(client.names(), ['channel.open-ok'])
})

t.test('a fault of ours is 541 for the one it hits, and nothing for others', async t => {
  const host = new SimulatedBroker()
  const client = host.open()
  const other = host.open()
  client.give(declareQueue(1, 'q'), consume(1, 'q', 'c'))
  other.give(publish(1, 'q', Buffer.from('kept')))
  host.settle()
  client.take()
  const { vhost } = { vhost: host.broker.vhost('/') }
  const generatedName = vhost?.generatedName
  Object.assign(vhost ?? {}, {
    generatedName: () => {
      throw new TypeError('secret')
    },
  })
  client.give(declareQueue(1, ''))
  host.settle()
  Object.assign(vhost ?? {}, { generatedName })
  t.match(client.take(), [
    {
      channel: 0,
      name: 'connection.close',
      args: { replyCode: 541, replyText: 'INTERNAL_ERROR - unexpected error', classId: 50 },
    },
  ])
  t.match(host.world.lines, [
    ...Array(host.world.lines.length - 2).fill({}),
    { fields: { err: { message: 'secret' } } },
    {},
  ])
  other.give(consume(1, 'q', 'd'), declareQueue(1, ''))
  host.settle()
  t.strictSame(other.names(), [
    'basic.consume-ok',
    'queue.declare-ok',
    'basic.deliver',
    'header',
    'body',
  ])
})

t.test('a frame that cannot be read ends the connection, and what follows is noise', async t => {
  const host = new SimulatedBroker()
  const client = host.open()
  const bad = frame(1, 1, Buffer.of(0, 20, 0, 10, 0))
  bad[bad.length - 1] = 0
  client.give(declareQueue(1, 'q'), bad, declareQueue(1, 'r'))
  host.settle()
  t.match(client.take(), [
    { name: 'queue.declare-ok' },
    { name: 'connection.close', args: { replyCode: 501, classId: 0, methodId: 0 } },
  ])
  t.notOk(host.broker.vhost('/')?.queues.has('r'))
  host.world.clock.advance(3 * second)
  t.ok(client.socket.destroyed)
})

// --- bytes

/** What a client says in each of several turns, less than a share in each. */
function session(): Buffer[] {
  const copies = { type: 'A', value: [{ type: 'S', value: Buffer.from('q2') }] } as const
  const headers = [{ key: 'CC', value: copies }]
  const big = { frameMax: 8192 }
  return [
    [
      ...handshake(big),
      method(1, 'channel.open', {}),
      method(2, 'channel.open', {}),
      method(3, 'channel.open', {}),
      declareQueue(1, 'q'),
      declareQueue(1, 'q2', { 'x-max-length': 1, 'x-overflow': 'reject-publish' }),
      method(1, 'confirm.select', { nowait: false }),
      method(2, 'tx.select', {}),
    ],
    [
      publish(1, 'q', nothing),
      publish(1, 'q', Buffer.from('small'), { properties: { deliveryMode: 2 } }),
      publish(1, 'nowhere', Buffer.from('returned'), { mandatory: true }),
      publish(1, 'q', octetsOf(5000, 5), { properties: { headers, messageId: 'm' } }),
      publish(1, 'q2', Buffer.from('refused')),
      heartbeat,
      publish(1, 'q', octetsOf(100_000, 6), big),
    ],
    [
      publish(2, 'q', Buffer.from('in a transaction')),
      publish(2, 'q', nothing),
      publish(2, 'q', octetsOf(20_000, 7), big),
      method(2, 'basic.get', { queue: 'q', noAck: false }),
      consume(3, 'q', 'c'),
      method(2, 'basic.ack', { deliveryTag: 1, multiple: false }),
      method(2, 'tx.commit', {}),
    ],
    [
      publish(1, 'q', Buffer.from('through')),
      method(3, 'basic.ack', { deliveryTag: 1, multiple: false }),
      method(3, 'basic.nack', { deliveryTag: 0, multiple: true, requeue: true }),
    ],
    [
      method(3, 'basic.ack', { deliveryTag: 77, multiple: true }),
      publish(3, 'q', Buffer.from('dropped')),
      method(3, 'channel.close-ok', {}),
      consume(1, 'q', 'd', true),
      close(2),
    ],
    [
      frame(1, 1, Buffer.of(0, 50, 0, 10, 1)),
      Buffer.from('noise'),
      method(0, 'connection.close-ok', {}),
    ],
  ].map(said => Buffer.concat(said))
}

function answersTo(turns: readonly Buffer[], cut: (bytes: Buffer) => readonly Buffer[]): Buffer {
  const host = new SimulatedBroker()
  const client = host.connect()
  for (const turn of turns) {
    for (const piece of cut(turn)) client.give(piece)
    host.settle()
  }
  return client.socket.received
}

t.test('a session gets the same answers wherever its bytes are cut', async t => {
  const turns = session()
  const whole = answersTo(turns, turn => [turn])
  const names = framesIn(whole).map(({ name }) => name)
  for (const name of ['basic.return', 'basic.nack', 'basic.get-ok', 'channel.close-ok'])
    t.ok(names.includes(name as 'header'), name)
  t.equal(names.filter(name => name === 'basic.deliver').length, 19)
  t.equal(names.at(-1), 'connection.close')
  const check = (cuts: readonly number[]) =>
    ok(answersTo(turns, turn => pieces(turn, cuts)).equals(whole))
  fc.assert(fc.property(fc.array(fc.nat(), { maxLength: 60, size: 'max' }), check), {
    seed: 31,
    numRuns: 60,
  })
  // The first bytes of each turn one by one.
  check(Array.from({ length: 2000 }, (_, i) => i))
})

t.test('what is published in pieces in a transaction is what comes out', async t => {
  const host = new SimulatedBroker()
  const client = host.open()
  client.give(declareQueue(1, 'q'), method(1, 'tx.select', {}))
  const message = publish(1, 'q', Buffer.from('body'))
  client.give(message.subarray(0, -1))
  client.give(message.subarray(-1))
  const empty = publish(1, 'q', nothing)
  client.give(empty.subarray(0, -1))
  client.give(empty.subarray(-1))
  client.give(method(1, 'tx.commit', {}), consume(1, 'q', 'c'))
  host.settle()
  const frames = client.take()
  t.strictSame(
    frames.map(({ name }) => name),
    [
      'queue.declare-ok',
      'tx.select-ok',
      'tx.commit-ok',
      'basic.consume-ok',
      ...['basic.deliver', 'header', 'body'],
      ...['basic.deliver', 'header'],
    ],
  )
  t.strictSame(bodiesOf(frames), ['body'])
})

t.test('dead letters go to the keys in BCC, published in a transaction or not', async t => {
  const headers = fieldTable({ BCC: ['secret'] })
  for (const transaction of [false, true]) {
    const host = new SimulatedBroker()
    const client = host.open()
    const commit = transaction ? [method(1, 'tx.commit', {})] : []
    client.give(
      declareQueue(1, 'q', { 'x-dead-letter-exchange': 'amq.direct' }),
      declareQueue(1, 'dead'),
      method(1, 'queue.bind', {
        queue: 'dead',
        exchange: 'amq.direct',
        routingKey: 'secret',
        nowait: false,
        arguments: [],
      }),
      ...(transaction ? [method(1, 'tx.select', {})] : []),
      publish(1, 'q', Buffer.from('body'), { properties: { headers } }),
      ...commit,
      method(1, 'basic.get', { queue: 'q', noAck: false }),
      method(1, 'basic.reject', { deliveryTag: 1, requeue: false }),
      ...commit,
    )
    host.settle()
    const frames = client.take()
    const got = frames.findIndex(({ name }) => name === 'basic.get-ok')
    t.notMatch(frames[got + 1]?.payload.toString('latin1'), 'secret')
    t.equal(host.broker.vhost('/')?.queues.get('dead')?.readyCount, 1, `${transaction}`)
  }
})

t.test('a channel has as many consumers as the settings say, and one more is refused', async t => {
  const host = new SimulatedBroker()
  const client = host.open()
  const most = protocolSettings.consumersPerChannelMax
  client.give(declareQueue(1, 'q'), method(2, 'channel.open', {}), consume(2, 'q', 'elsewhere'))
  for (let i = 0; i < most; i++) client.give(consume(1, 'q', `c${i}`))
  host.settle()
  client.take()
  client.give(
    method(1, 'basic.cancel', { consumerTag: 'c0', nowait: false }),
    consume(1, 'q', 'in its place'),
    consume(1, 'q', 'too many'),
  )
  host.settle()
  const frames = client.take()
  t.strictSame(
    frames.map(({ name }) => name),
    ['basic.cancel-ok', 'basic.consume-ok', 'connection.close'],
  )
  t.match(frames.at(-1)?.args, {
    replyCode: 530,
    replyText: `NOT_ALLOWED - reached maximum (${most}) of consumers per channel`,
  })
})

t.test('settings say what is offered', async t => {
  const host = new SimulatedBroker()
  const client = host.connect()
  client.give(...handshake().slice(0, 2))
  host.settle()
  const { frameMax, channelMax, heartbeatSeconds } = protocolSettings
  t.match(client.take()[1]?.args, { frameMax, channelMax, heartbeat: heartbeatSeconds })
})

t.test(
  'a message above max_message_size costs the channel before any of its body came',
  async t => {
    const host = new SimulatedBroker()
    const client = host.open()
    const { maxMessageBytes } = protocolSettings
    const tooLarge = publish(1, 'q', Buffer.alloc(maxMessageBytes + 1))
    const header = tooLarge.indexOf(Buffer.of(0xce, 2, 0, 1)) + 1
    client.give(tooLarge.subarray(0, header + 7 + 14 + 1))
    host.settle()
    t.match(client.take(), [
      {
        channel: 1,
        name: 'channel.close',
        args: {
          replyCode: 406,
          replyText: `PRECONDITION_FAILED - message size ${maxMessageBytes + 1} is larger than configured max size ${maxMessageBytes}`,
          classId: 60,
          methodId: 40,
        },
      },
    ])
    const held = host.broker.messages.intakeBytes
    client.give(tooLarge.subarray(header + 7 + 14 + 1))
    host.settle()
    t.equal(host.broker.messages.intakeBytes, held, 'its body goes nowhere')
    client.give(method(1, 'channel.close-ok', {}), method(1, 'channel.open', {}))
    client.give(declareQueue(1, 'q'), publish(1, 'q', Buffer.alloc(maxMessageBytes)))
    client.give(passive('q'))
    host.settle()
    t.match(client.take(), [
      { name: 'channel.open-ok' },
      { name: 'queue.declare-ok' },
      { name: 'queue.declare-ok', args: { messageCount: 1 } },
    ])
  },
)
