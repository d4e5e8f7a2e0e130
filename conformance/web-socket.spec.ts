/** AMQP over WebSocket, by amqp-client.js as it runs in a browser, and by bare WebSockets. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { AMQPWebSocketClient } from '@cloudamqp/amqp-client/amqp-websocket-client'
import t, { type Test } from 'tap'
import WebSocket, { type ClientOptions } from 'ws'
import { type RunningBroker, startBroker } from '../src/index.js'
import { Authority } from './support/certificates.js'
import { eventually } from './support/waiting.js'

// What a browser has, and Node from version 22.
Object.assign(globalThis, { WebSocket })

async function broker(t: Test, settings: Record<string, unknown> = {}): Promise<RunningBroker> {
  const running = await startBroker({
    settings: { 'listeners.tcp.default': 'none', 'web_amqp.tcp.port': 0, ...settings },
  })
  t.teardown(() => running.close())
  return running
}

const header = Buffer.from('AMQP\0\0\x09\x01', 'latin1')

/** Opens a WebSocket and says AMQP's first word in it; resolves with the class and method of the answer. */
async function greeting(url: string, protocols: string[] = [], options: ClientOptions = {}) {
  const socket = new WebSocket(url, protocols, options)
  await once(socket, 'open')
  socket.send(header)
  const [answer] = (await once(socket, 'message')) as [Buffer]
  const { protocol } = socket
  socket.terminate()
  return { protocol, method: answer.subarray(7, 11).toString('hex') }
}

const start = '000a000a'

t.test('amqp-client.js sends and receives bodies of any size', async t => {
  const running = await broker(t)
  t.match(running.listeners, [{ protocol: 'http/web-amqp', url: /^ws:\/\/127\.0\.0\.1:\d+$/ }])
  for (const frameMax of [8192, 131_072]) {
    const client = new AMQPWebSocketClient({ url: running.url, frameMax })
    await client.connect()
    const channel = await client.channel()
    await channel.confirmSelect()
    const queue = await channel.queueDeclare('', { exclusive: true })
    for (const size of [0, 1, 8192, 200_000, 3_000_000]) {
      const body = new Uint8Array(size).fill(size % 251)
      await channel.basicPublish('', queue.name, body)
      const message = await channel.basicGet(queue.name, { noAck: true })
      t.ok(Buffer.from(message?.body ?? []).equals(body), `${size} bytes, frames of ${frameMax}`)
    }
    await client.close()
  }
})

t.test('ten thousand messages come in order, at the pace of who reads them', async t => {
  const running = await broker(t)
  const client = new AMQPWebSocketClient(running.url)
  await client.connect()
  const channel = await client.channel()
  const queue = await channel.queueDeclare('', { exclusive: true })
  const bodies: string[] = []
  for (let i = 0; i < 10_000; i++) void channel.basicPublish('', queue.name, `${i}`)
  await channel.basicConsume(queue.name, { noAck: true }, message => {
    bodies.push(message.bodyString() ?? '')
  })
  await eventually('all messages', async () => bodies.length === 10_000)
  t.same(
    bodies,
    Array.from({ length: 10_000 }, (_, i) => `${i}`),
  )
  await client.close()
})

t.test('a client that does not read is waited for, and gets all in the end', async t => {
  const running = await broker(t)
  const publisher = new AMQPWebSocketClient(running.url)
  await publisher.connect()
  const channel = await publisher.channel()
  await channel.confirmSelect()
  await channel.queueDeclare('slow', { durable: false })
  const body = new Uint8Array(1_000_000)
  for (let i = 0; i < 40; i++) await channel.basicPublish('', 'slow', body)
  const reader = new AMQPWebSocketClient(running.url)
  await reader.connect()
  const stream = (reader as unknown as { socket: { pause(): void; resume(): void } }).socket
  let bytes = 0
  const incoming = await reader.channel()
  await incoming.basicConsume('slow', { noAck: true }, message => {
    bytes += message.bodySize
  })
  stream.pause()
  await publisher.channel()
  stream.resume()
  await eventually('every byte', async () => bytes === 40 * body.length)
  t.equal(bytes, 40 * body.length)
  await Promise.all([publisher.close(), reader.close()])
})

t.test('messages of a WebSocket may cut the bytes anywhere', async t => {
  const running = await broker(t)
  const socket = new WebSocket(running.url)
  await once(socket, 'open')
  for (const octet of header) socket.send(Buffer.of(octet))
  const [answer] = (await once(socket, 'message')) as [Buffer]
  t.equal(answer.subarray(7, 11).toString('hex'), start)
  socket.terminate()
})

t.test('the subprotocol is amqp for who names it, and the path is of no account', async t => {
  const { url } = await broker(t)
  t.same(await greeting(url), { protocol: '', method: start })
  t.same(await greeting(`${url}/ws/amqp?x=1`, ['mqtt', 'amqp']), {
    protocol: 'amqp',
    method: start,
  })
  await t.rejects(greeting(url, ['mqtt']), /no subprotocol/)
})

t.test('a page of another host must be allowed', async t => {
  const { url, port } = await broker(t, { 'web_amqp.allow_origins': ['https://app.example.com'] })
  for (const origin of [
    `http://127.0.0.1:${port}`,
    'http://127.0.0.1:3000',
    'https://app.example.com',
  ])
    t.match(await greeting(url, [], { origin }), { method: start }, origin)
  for (const origin of ['https://evil.example.com', 'http://app.example.com', 'null', 'x'])
    await t.rejects(greeting(url, [], { origin }), /403/, origin)
  const open = await broker(t, { 'web_amqp.allow_origins': '*' })
  t.match(await greeting(open.url, [], { origin: 'https://evil.example.com' }), { method: start })
})

/** The code with which a login of guest ends, or 0 if it succeeds. */
async function guestFrom(url: string, options: ClientOptions): Promise<string> {
  class FromPage extends WebSocket {
    constructor(address: string) {
      super(address, [], options)
    }
  }
  Object.assign(globalThis, { WebSocket: FromPage })
  try {
    const client = new AMQPWebSocketClient(url)
    await client.connect()
    await client.close()
    return 'in'
  } catch (error) {
    return (error as Error).message
  } finally {
    Object.assign(globalThis, { WebSocket })
  }
}

t.test('no page from elsewhere is guest, though its browser runs on this machine', async t => {
  const { url, port } = await broker(t, { 'web_amqp.allow_origins': '*' })
  t.equal(await guestFrom(url, { origin: `http://localhost:${port}` }), 'in')
  t.match(await guestFrom(url, { origin: 'https://app.example.com' }), /ACCESS_REFUSED/)
  // What a name that was made to mean 127.0.0.1 looks like.
  const rebound = { origin: 'http://evil.example.com', headers: { host: 'evil.example.com' } }
  t.match(await guestFrom(url, rebound), /ACCESS_REFUSED/)
})

t.test(
  'text, messages without end and a half handshake end the connection and nothing else',
  async t => {
    const running = await broker(t, { ssl_handshake_timeout: 300 })
    const socket = new WebSocket(running.url)
    await once(socket, 'open')
    socket.send('AMQP')
    t.same((await once(socket, 'close'))[0], 1003, 'text')
    const large = new WebSocket(running.url)
    await once(large, 'open')
    large.on('error', () => {})
    large.send(Buffer.alloc(4 * 1024 * 1024))
    t.same((await once(large, 'close'))[0], 1006, 'too large for somebody who has not logged in')
    for (const said of ['', 'GET / HTTP/1.1\r\n', 'AMQP\0\0\x09\x01', '\x16\x03\x01']) {
      const half = connect({ port: running.port, host: '127.0.0.1' })
      half.on('error', () => {})
      half.write(said, 'latin1')
      half.resume()
      await once(half, 'close')
    }
    const plain = await fetch(running.url.replace('ws', 'http'))
    t.equal(plain.status, 426)
    await plain.text()
    t.match(await greeting(running.url), { method: start })
  },
)

t.test('a client that goes away without a word is noticed', async t => {
  const running = await broker(t)
  const client = new AMQPWebSocketClient(running.url)
  await client.connect()
  const channel = await client.channel()
  await channel.queueDeclare('mine', { durable: false, exclusive: true })
  const { socket } = client as unknown as { socket: WebSocket }
  client.onerror = () => {}
  socket.terminate()
  const other = new AMQPWebSocketClient(running.url)
  await other.connect()
  await eventually('the end of its queue', async () => {
    const channel = await other.channel()
    return channel.queueDeclare('mine', { passive: true }).then(
      () => false,
      error => /NOT_FOUND/.test(error.message),
    )
  })
  await other.close()
  t.pass('its exclusive queue is gone')
})

t.test('a broker that stops closes its WebSockets with 320', async t => {
  const running = await broker(t)
  const client = new AMQPWebSocketClient(running.url)
  const told = new Promise<Error>(resolve => {
    client.onerror = resolve
  })
  await client.connect()
  await client.channel()
  await running.close()
  t.match((await told).message, /CONNECTION_FORCED/)
})

t.test('the same over TLS', async t => {
  const authority = await Authority.make(t)
  const { certfile, keyfile } = await authority.issueForBroker()
  const running = await broker(t, {
    'web_amqp.tcp.port': 'none',
    'web_amqp.ssl.port': 0,
    'ssl_options.certfile': certfile,
    'ssl_options.keyfile': keyfile,
  })
  t.match(running.url, /^wss:/)
  await t.rejects(greeting(running.url), /certificate/)
  const ca = authority.certificate.cert
  t.same(await greeting(running.url, ['amqp'], { ca }), { protocol: 'amqp', method: start })
  t.equal(await guestFrom(running.url, { ca }), 'in')
})
