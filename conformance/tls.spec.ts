/** AMQP over TLS: certificates of either side, login by certificate, and what is no TLS. */

import { once } from 'node:events'
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import amqp from 'amqplib'
import t, { type Test } from 'tap'
import { type RunningBroker, startBroker } from '../src/index.js'
import { Authority, type Identity } from './support/certificates.js'
import { RawClient } from './support/raw-client.js'

const authority = await Authority.make(t)
const ours = await authority.issueForBroker()

/** A broker that listens for TLS only. */
async function broker(t: Test, settings: Record<string, unknown> = {}): Promise<RunningBroker> {
  const running = await startBroker({
    settings: {
      'listeners.tcp.default': 'none',
      'listeners.ssl.default': 0,
      'ssl_options.cacertfile': authority.cacertfile,
      'ssl_options.certfile': ours.certfile,
      'ssl_options.keyfile': ours.keyfile,
      ...settings,
    },
  })
  t.teardown(() => running.close())
  return running
}

const mutual = {
  'ssl_options.verify': 'verify_peer',
  'ssl_options.fail_if_no_peer_cert': true,
  auth_mechanisms: ['PLAIN', 'EXTERNAL'],
}

interface ClientOptions {
  readonly identity?: Identity
  readonly ca?: string
  readonly external?: boolean
  readonly tls?: tls.ConnectionOptions
}

function open({ url }: RunningBroker, { identity, ca, external, tls }: ClientOptions = {}) {
  const options = {
    ca: [ca ?? authority.certificate.cert],
    ...(identity && { cert: identity.cert, key: identity.key }),
    ...(external && { credentials: amqp.credentials.external() }),
    ...tls,
  }
  return amqp.connect(url, options as Parameters<typeof amqp.connect>[1])
}

async function roundTrip(t: Test, broker: RunningBroker, options?: ClientOptions): Promise<void> {
  const client = await open(broker, options)
  client.on('error', () => {})
  const channel = await client.createConfirmChannel()
  const { queue } = await channel.assertQueue('', { exclusive: true })
  for (const size of [0, 10, 200_000, 3_000_000]) {
    const body = Buffer.alloc(size, 'x')
    channel.sendToQueue(queue, body)
    await channel.waitForConfirms()
    const message = await channel.get(queue, { noAck: true })
    t.ok(message !== false && message.content.equals(body), `${size} bytes`)
  }
  await client.close()
}

t.test('a client that trusts the authority sends and receives', async t => {
  const running = await broker(t)
  t.match(running.url, /^amqps:\/\/guest:guest@127\.0\.0\.1:\d+$/)
  t.match(running.listeners, [{ protocol: 'amqp/ssl', port: running.port }])
  await roundTrip(t, running)
})

t.test('each version of TLS can be had alone', async t => {
  for (const [setting, version, other] of [
    ['tlsv1.2', 'TLSv1.2', 'TLSv1.3'],
    ['tlsv1.3', 'TLSv1.3', 'TLSv1.2'],
  ] as const) {
    const running = await broker(t, { 'ssl_options.versions': [setting] })
    await roundTrip(t, running, { tls: { minVersion: version, maxVersion: version } })
    await t.rejects(open(running, { tls: { minVersion: other, maxVersion: other } }))
  }
})

t.test('only the named cipher suites are spoken', async t => {
  const running = await broker(t, {
    'ssl_options.versions': 'tlsv1.2',
    'ssl_options.ciphers': 'ECDHE-ECDSA-AES256-GCM-SHA384',
  })
  const socket = tls.connect({
    port: running.port,
    host: '127.0.0.1',
    ca: authority.certificate.cert,
  })
  await new Promise(resolve => socket.once('secureConnect', resolve))
  t.equal(socket.getCipher().name, 'ECDHE-ECDSA-AES256-GCM-SHA384')
  socket.destroy()
  await t.rejects(open(running, { tls: { ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' } }))
})

t.test(
  'a client that shows no certificate, or a bad one, is let in only where none is asked for',
  async t => {
    const stranger = await (await Authority.make(t, 'Stranger')).issue({ subject: '/CN=guest' })
    const good = await authority.issue({ subject: '/CN=guest' })
    const [lax, asking, strict] = [
      await broker(t),
      await broker(t, { 'ssl_options.verify': 'verify_peer' }),
      await broker(t, mutual),
    ]
    await roundTrip(t, lax, { identity: stranger })
    await roundTrip(t, asking)
    await roundTrip(t, asking, { identity: good })
    await roundTrip(t, strict, { identity: good })
    await t.rejects(open(asking, { identity: stranger }))
    await t.rejects(open(strict))
    await t.rejects(open(strict, { identity: stranger }))
  },
)

t.test('EXTERNAL takes the name of the user from the certificate', async t => {
  const cases: readonly [settings: Record<string, unknown>, user: string][] = [
    [{}, 'SERIALNUMBER=7,CN=guest,O=acme\\, Inc'],
    [{ ssl_cert_login_from: 'common_name' }, 'guest'],
    [{ ssl_cert_login_from: 'subject_alternative_name' }, 'a.example'],
    [
      { ssl_cert_login_from: 'subject_alternative_name', ssl_cert_login_san_index: 1 },
      'guest.example',
    ],
    [
      { ssl_cert_login_from: 'subject_alternative_name', ssl_cert_login_san_type: 'email' },
      'guest@example.com',
    ],
    [
      { ssl_cert_login_from: 'subject_alternative_name', ssl_cert_login_san_type: 'uri' },
      'urn:guest',
    ],
    [
      { ssl_cert_login_from: 'subject_alternative_name', ssl_cert_login_san_type: 'ip' },
      '10.0.0.7',
    ],
  ]
  const identity = await authority.issue({
    subject: '/O=acme, Inc/CN=guest/serialNumber=7',
    alternativeNames:
      'DNS:a.example,DNS:guest.example,email:guest@example.com,URI:urn:guest,IP:10.0.0.7',
  })
  for (const [settings, default_user] of cases) {
    const running = await broker(t, { ...mutual, ...settings, default_user })
    const client = await open(running, { identity, external: true })
    const channel = await client.createConfirmChannel()
    // Only the user's own name passes as user-id.
    channel.publish('', 'nobody', Buffer.alloc(0), { userId: default_user })
    await channel.waitForConfirms()
    t.pass(default_user)
    await client.close()
  }
})

const refused =
  /403 \(ACCESS-REFUSED\).*Login was refused using authentication mechanism EXTERNAL\. For details see the broker logfile\./

t.test('EXTERNAL without a name of a user is refused', async t => {
  const identity = await authority.issue({ subject: '/O=acme' })
  const unknown = await authority.issue({ subject: '/CN=nobody' })
  const asking = {
    ...mutual,
    'ssl_options.fail_if_no_peer_cert': false,
    ssl_cert_login_from: 'common_name',
  }
  const running = await broker(t, asking)
  await t.rejects(open(running, { external: true }), { message: refused }, 'no certificate')
  await t.rejects(
    open(running, { external: true, identity }),
    { message: refused },
    'no name in it',
  )
  await t.rejects(open(running, { external: true, identity: unknown }), { message: refused })
  const unsafe = await broker(t, { ...asking, 'ssl_options.verify': 'verify_none' })
  await t.rejects(
    open(unsafe, { external: true, identity: unknown }),
    { message: refused },
    'unsafe',
  )
})

t.test('what TLS and the certificate tell is told of the connection, as RabbitMQ does', async t => {
  const identity = await authority.issue({
    subject: '/C=CZ/O=Ač+OU=x, y/CN=guest ~/emailAddress=a@b.c',
  })
  const running = await broker(t, { ...mutual, 'ssl_options.versions': 'tlsv1.2' })
  const watcher = await open(running, { identity })
  const channel = await watcher.createChannel()
  const { queue } = await channel.assertQueue('', { exclusive: true })
  await channel.bindQueue(queue, 'amq.rabbitmq.event', 'connection.created')
  const told = new Promise<Record<string, unknown>>(resolve => {
    void channel.consume(queue, message => resolve(message?.properties.headers ?? {}), {
      noAck: true,
    })
  })
  await channel.checkQueue(queue)
  const client = await open(running, { identity })
  const facts = await told
  t.match(facts, {
    ssl: true,
    ssl_protocol: 'tlsv1.2',
    ssl_key_exchange: 'ecdhe_ecdsa',
    ssl_cipher: /^(aes_(128|256)_gcm|chacha20_poly1305)$/,
    ssl_hash: 'aead',
    peer_cert_subject: 'EMAILADDRESS=a@b.c,CN=guest \\7E,O=A\\C4\\8D+OU=x\\, y,C=CZ',
    peer_cert_issuer: 'CN=Test Authority',
    peer_cert_validity: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ - \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/,
  })
  await Promise.all([client.close(), watcher.close()])
})

t.test('new certificates are shown to new connections, and bad ones to none', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'leveret-tls-'))
  t.teardown(() => rm(folder, { recursive: true }))
  const [certfile, keyfile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  const place = ({ certfile: from, keyfile: key }: Identity) =>
    Promise.all([copyFile(from, certfile), copyFile(key, keyfile)])
  await place(ours)
  const running = await broker(t, {
    'ssl_options.certfile': certfile,
    'ssl_options.keyfile': keyfile,
  })
  const old = await open(running)
  const other = await Authority.make(t, 'Other')
  await place(await other.issueForBroker())
  await running.renewCertificates()
  await roundTrip(t, running, { ca: other.certificate.cert })
  await t.rejects(open(running), { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' })
  await writeFile(certfile, 'no certificate')
  await t.rejects(running.renewCertificates(), { message: /^ssl_options\.certfile: / })
  await roundTrip(t, running, { ca: other.certificate.cert })
  await t.resolves(old.createChannel(), 'who is connected notices nothing')
  await old.close()
})

t.test('a key with a password is opened by it', async t => {
  const { certfile, keyfile } = await authority.issue({
    subject: '/CN=localhost',
    alternativeNames: 'IP:127.0.0.1',
    password: 'secret',
  })
  const files = { 'ssl_options.certfile': certfile, 'ssl_options.keyfile': keyfile }
  await roundTrip(t, await broker(t, { ...files, 'ssl_options.password': 'secret' }))
  await t.rejects(broker(t, { ...files, 'ssl_options.password': 'wrong' }), {
    message: /^ssl_options\.keyfile: /,
  })
})

t.test(
  'a certificate that cannot be used stops the start with the name of its setting',
  async t => {
    const other = await authority.issueForBroker()
    const cases: readonly [settings: Record<string, unknown>, message: RegExp][] = [
      [{ 'ssl_options.certfile': 'none' }, /^ssl_options\.certfile: must be set/],
      [{ 'ssl_options.keyfile': 'none' }, /^ssl_options\.keyfile: must be set/],
      [
        { 'ssl_options.certfile': '/no/such/file' },
        /^ssl_options\.certfile: \/no\/such\/file: cannot be read/,
      ],
      [{ 'ssl_options.certfile': ours.keyfile }, /^ssl_options\.certfile: /],
      [{ 'ssl_options.keyfile': ours.certfile }, /^ssl_options\.keyfile: /],
      [{ 'ssl_options.keyfile': other.keyfile }, /^ssl_options\.keyfile: .* is not the key of /],
      [{ 'ssl_options.cacertfile': ours.keyfile }, /^ssl_options\.cacertfile: /],
      [
        { 'ssl_options.cacertfile': 'none', 'ssl_options.verify': 'verify_peer' },
        /^ssl_options\.cacertfile: must be set/,
      ],
      [{ 'ssl_options.ciphers': 'NO-SUCH-CIPHER' }, /^ssl_options\.ciphers: /],
    ]
    for (const [settings, message] of cases)
      await t.rejects(broker(t, settings), { name: 'SettingsError', message }, String(message))
  },
)

function dial(port: number): Socket {
  const socket = connect({ port, host: '127.0.0.1' })
  socket.on('error', () => {})
  return socket
}

/** Everything a peer gets after it has said something, until the end. */
async function heard(port: number, bytes: Buffer | string): Promise<string> {
  const socket = dial(port)
  socket.write(bytes)
  const chunks: Buffer[] = []
  socket.on('data', chunk => chunks.push(chunk))
  await new Promise(resolve => socket.once('close', resolve))
  return Buffer.concat(chunks).toString('latin1')
}

t.test('garbage in place of a handshake ends the connection and nothing else', async t => {
  const running = await broker(t, { ssl_handshake_timeout: 300 })
  await heard(running.port, 'AMQP\0\0\x09\x01')
  await heard(running.port, 'GET / HTTP/1.1\r\n\r\n')
  await heard(running.port, Buffer.alloc(100_000, 0x16))
  await heard(running.port, Buffer.from('16030100', 'hex'))
  t.equal(await heard(running.port, ''), '', 'silence ends with the handshake timeout')
  await roundTrip(t, running)
})

t.test('a client that ends in the middle of the handshake is let go at once', async t => {
  const running = await broker(t, { ssl_handshake_timeout: '10m' })
  const socket = dial(running.port)
  socket.write(Buffer.from('16030100', 'hex'))
  socket.end()
  socket.resume()
  await once(socket, 'close')
  t.pass('long before its time is over')
})

t.test('garbage within TLS is answered as it is without', async t => {
  const running = await broker(t)
  const socket = tls.connect({
    port: running.port,
    host: '127.0.0.1',
    ca: authority.certificate.cert,
  })
  socket.write('GET / HTTP/1.1\r\n\r\n')
  const chunks: Buffer[] = []
  for await (const chunk of socket) chunks.push(chunk)
  t.equal(Buffer.concat(chunks).toString('latin1'), 'AMQP\0\0\x09\x01')
})

t.test('what was sent before the end of the stream is executed, and our side ends too', async t => {
  const running = await broker(t)
  const dial = () =>
    tls.connect({
      port: running.port,
      host: '127.0.0.1',
      ca: authority.certificate.cert,
    })
  const stream = dial()
  const client = RawClient.over(stream)
  await client.login()
  await client.channel(1)
  await client.call(1, 'queue.declare', { queue: 'kept', durable: true })
  for (const body of ['1', '2', '3']) client.publish(1, { key: 'kept', body })
  client.halfClose()
  t.match(await client.ended, { how: 'FIN' })
  const reader = RawClient.over(dial())
  await reader.login()
  await reader.channel(1)
  const kept = await reader.call(1, 'queue.declare', { queue: 'kept', passive: true })
  t.equal(kept.messages, 3)
  reader.destroy()
})

t.test('a client that does not read is waited for, and gets all in the end', async t => {
  const running = await broker(t)
  const publisher = await open(running)
  const channel = await publisher.createConfirmChannel()
  await channel.assertQueue('slow', { durable: false })
  const body = Buffer.alloc(1_000_000)
  for (let i = 0; i < 40; i++) channel.sendToQueue('slow', body)
  await channel.waitForConfirms()
  const reader = await open(running)
  const { stream } = (reader as unknown as { connection: { stream: tls.TLSSocket } }).connection
  const incoming = await reader.createChannel()
  let count = 0
  const all = new Promise<void>(resolve => {
    const take = () => {
      if (++count === 40) resolve()
    }
    void incoming.consume('slow', take, { noAck: true })
  })
  await incoming.checkQueue('slow')
  stream.pause()
  await channel.checkQueue('slow')
  stream.resume()
  await all
  t.equal(count, 40)
  await Promise.all([publisher.close(), reader.close()])
})

t.test('a broker that stops closes its clients of TLS with 320', async t => {
  const running = await broker(t)
  const client = await open(running)
  const closed = new Promise(resolve => client.on('close', resolve))
  await running.close()
  t.match(await closed, { code: 320 })
})
