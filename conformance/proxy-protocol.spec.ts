/** Connections through a proxy that says for whom it stands: before AMQP, TLS and WebSockets alike. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import tls from 'node:tls'
import t, { type Test } from 'tap'
import WebSocket, { createWebSocketStream } from 'ws'
import { type BrokerListener, type RunningBroker, startBroker } from '../src/index.js'
import { Authority } from './support/certificates.js'
import { RawClient } from './support/raw-client.js'

const authority = await Authority.make(t)
const { certfile, keyfile } = await authority.issueForBroker()

/** A broker that takes nobody but proxies, by every transport. */
async function broker(t: Test, settings: Record<string, unknown> = {}): Promise<RunningBroker> {
  const running = await startBroker({
    settings: {
      'listeners.ssl.default': 0,
      'web_amqp.tcp.port': 0,
      'web_amqp.ssl.port': 0,
      'ssl_options.certfile': certfile,
      'ssl_options.keyfile': keyfile,
      proxy_protocol: true,
      ...settings,
    },
  })
  t.teardown(() => running.close())
  return running
}

const signature = '\r\n\r\n\0\r\nQUIT\n'
const stranger = 'PROXY TCP4 203.0.113.7 198.51.100.1 40000 5672\r\n'
const neighbour = 'PROXY TCP4 127.0.0.1 127.0.0.1 40000 5672\r\n'
const strangerV2 = `${signature}\x21\x11\x00\x13\xcb\x00\x71\x07\xc6\x33\x64\x01\x9c\x40\x16\x28\x04\x00\x04more`
const neighbourV6 = `${signature}\x21\x21\x00\x24${'\0'.repeat(15)}\x01${'\0'.repeat(15)}\x01\x9c\x40\x16\x28`
const forItself = `${signature}\x20\x00\x00\x00`

function dial({ host, port }: BrokerListener): Socket {
  const socket = connect({ host, port })
  socket.on('error', () => {})
  return socket
}

/** A client behind a proxy that begins with this header, by the transport of the listener. */
async function through(listener: BrokerListener, header: string): Promise<RawClient> {
  const socket = dial(listener)
  await once(socket, 'connect')
  socket.write(header, 'latin1')
  const secured = /ssl|https/.test(listener.protocol)
    ? tls.connect({ socket, ca: authority.certificate.cert, servername: 'localhost' })
    : socket
  if (!listener.protocol.includes('web')) return RawClient.over(secured)
  const webSocket = new WebSocket('ws://127.0.0.1', { createConnection: () => secured as Socket })
  await once(webSocket, 'open')
  return RawClient.over(createWebSocketStream(webSocket) as Duplex)
}

const refused =
  'connection 403 0,0 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.'

t.test(
  'guest is whom the proxy stands for, on this machine or not, by every transport',
  async t => {
    const running = await broker(t)
    t.same(
      running.listeners.map(({ protocol }) => protocol),
      ['amqp', 'amqp/ssl', 'http/web-amqp', 'https/web-amqp'],
    )
    for (const listener of running.listeners) {
      for (const header of [neighbour, neighbourV6, forItself]) {
        const client = await through(listener, header)
        await client.login()
        await client.channel(1)
        client.destroy()
      }
      for (const header of [stranger, strangerV2, 'PROXY UNKNOWN\r\n']) {
        const client = await through(listener, header)
        await client.start()
        void client.startOk()
        t.equal(await client.outcome(), refused, listener.protocol)
        client.destroy()
      }
    }
  },
)

t.test('the address that the proxy gives is the one that is shown', async t => {
  const running = await broker(t, { default_user: 'alice', default_pass: 'wonder' })
  const alice = { user: 'alice', password: 'wonder' }
  const watcher = await through(running.listeners[0] as BrokerListener, forItself)
  await watcher.login(alice)
  await watcher.channel(1)
  const { queue } = await watcher.call(1, 'queue.declare', { exclusive: true })
  const source = { queue, exchange: 'amq.rabbitmq.event', routingKey: 'connection.created' }
  await watcher.call(1, 'queue.bind', source)
  await watcher.call(1, 'basic.consume', { queue, noAck: true })
  for (const listener of running.listeners)
    for (const header of [stranger, strangerV2]) {
      const client = await through(listener, header)
      await client.login(alice)
      const { properties } = await watcher.content(1, 'basic.deliver')
      const facts = (properties.headers ?? []).map(([name, , value]) => [name, String(value)])
      t.match(Object.fromEntries(facts), {
        name: '203.0.113.7:40000 -> 198.51.100.1:5672',
        peer_host: '203.0.113.7',
        peer_port: '40000',
        host: '198.51.100.1',
        port: '5672',
        ssl: String(/ssl|https/.test(listener.protocol)),
      })
      client.destroy()
    }
})

t.test('a header comes in whatever pieces, and AMQP right behind it', async t => {
  const { listeners } = await broker(t)
  const [listener] = listeners as [BrokerListener]
  for (const header of [neighbour, neighbourV6]) {
    const socket = dial(listener)
    for (const octet of Buffer.from(header, 'latin1')) {
      socket.write(Buffer.of(octet))
      await new Promise(resolve => setImmediate(resolve))
    }
    const client = RawClient.over(socket)
    await client.login()
    client.destroy()
    const together = dial(listener)
    together.write(`${header}AMQP\0\0\x09\x01`, 'latin1')
    await RawClient.over(together).expect(0, 'connection.start')
    together.destroy()
  }
})

/** All that is heard until the end of a connection on which something was said. */
async function heard(listener: BrokerListener, said: string): Promise<string> {
  const socket = dial(listener)
  socket.write(said, 'latin1')
  const chunks: Buffer[] = []
  socket.on('data', chunk => chunks.push(chunk))
  await once(socket, 'close')
  return Buffer.concat(chunks).toString('latin1')
}

t.test('who sends no header is dropped without a word, and so is who sends nothing', async t => {
  const { listeners } = await broker(t, { ssl_handshake_timeout: 300 })
  for (const listener of listeners)
    for (const said of [
      'AMQP\0\0\x09\x01',
      'GET / HTTP/1.1\r\n\r\n',
      '\x16\x03\x01\0\0',
      'PROXY TCP4 1.2.3.4\r\n',
      `${signature}\x31\x11\0\0`,
      'PROXY TCP4 1.',
      '',
    ])
      t.equal(await heard(listener, said), '', `${listener.protocol} ${JSON.stringify(said)}`)
  const client = await through(listeners[0] as BrokerListener, neighbour)
  await client.login()
  client.destroy()
})

t.test('a proxy that is not trusted is dropped, whatever it says', async t => {
  const { listeners } = await broker(t, { proxy_protocol_trusted_sources: '10.0.0.0/8' })
  for (const listener of listeners)
    for (const said of [neighbour, neighbourV6]) t.equal(await heard(listener, said), '')
  const near = await broker(t, { proxy_protocol_trusted_sources: '127.0.0.0/8' })
  const client = await through(near.listeners[0] as BrokerListener, neighbour)
  await client.login()
  client.destroy()
})

t.test('a header that nobody asked for is no AMQP', async t => {
  const { listeners } = await broker(t, { proxy_protocol: false })
  t.equal(await heard(listeners[0] as BrokerListener, neighbour), 'AMQP\0\0\x09\x01')
})
