/** Logins, vhosts, permissions and limits, as clients meet them. */
import { createHash, randomBytes } from 'node:crypto'
import amqp from 'amqplib'
import t, { type Test } from 'tap'
import { decided } from './exceptions.js'
import { openBrokerWith } from './support/access.js'
import type { Broker } from './support/broker.js'
import { expectChannelError } from './support/errors.js'
import { RawClient } from './support/raw-client.js'
import type { MethodName, Values } from './support/raw-codec.js'
import { eventually } from './support/waiting.js'

const unique = randomBytes(5).toString('hex')
const user = (name: string) => `${name}-${unique}`
const vhost = `access-${unique}`
const full = `full-${unique}`

/** A hash as RabbitMQ keeps it. */
function hashed(algorithm: 'md5' | 'sha256' | 'sha512', password: string) {
  const salt = Buffer.from('90adbeef', 'hex')
  const digest = createHash(algorithm).update(salt).update(password).digest()
  return {
    password_hash: Buffer.concat([salt, digest]).toString('base64'),
    hashing_algorithm: `rabbit_password_hashing_${algorithm}`,
  }
}

const everything = { configure: '.*', write: '.*', read: '.*' }
const names = ['md5', 'sha256', 'sha512'] as const

const definitions = {
  users: [
    ...names.map(name => ({ name: user(name), tags: 'custom', ...hashed(name, `pw-${name}`) })),
    { name: user('none'), password_hash: '', tags: [] },
    { name: user('stranger'), password: 'pw', tags: ['administrator'] },
    { name: user('limited'), password: 'pw', tags: [] },
    { name: user('actor'), password: 'pw', tags: ['impersonator'] },
    { name: user('single'), password: 'pw', tags: [], limits: { 'max-connections': 1 } },
    { name: user('narrow'), password: 'pw', tags: [], limits: { 'max-channels': 1 } },
  ],
  vhosts: [{ name: vhost }, { name: full }],
  permissions: [
    ...[...names, 'none', 'actor', 'single', 'narrow'].map(name => ({
      user: user(name),
      vhost,
      ...everything,
    })),
    {
      user: user('limited'),
      vhost,
      configure: '^(mine\\.|amq\\.gen)',
      write: '^(mine\\.|amq\\.gen|amq\\.topic$)',
      read: '^(mine\\.|amq\\.gen|amq\\.topic$)',
    },
    { user: user('actor'), vhost: full, ...everything },
  ],
  topic_permissions: [
    {
      user: user('limited'),
      vhost,
      exchange: 'amq.topic',
      write: '^{username}\\.',
      read: '^(?!secret)',
    },
  ],
  parameters: [
    {
      component: 'vhost-limits',
      name: 'limits',
      vhost: full,
      value: { 'max-connections': 1, 'max-queues': 1 },
    },
  ],
  queues: [
    { vhost, name: 'mine.q', durable: true, auto_delete: false, arguments: {} },
    { vhost, name: 'theirs', durable: true, auto_delete: false, arguments: {} },
  ],
  exchanges: [
    {
      vhost,
      name: 'mine.x',
      type: 'direct',
      durable: true,
      auto_delete: false,
      internal: false,
      arguments: {},
    },
  ],
  bindings: [
    {
      vhost,
      source: 'mine.x',
      destination: 'mine.q',
      destination_type: 'queue',
      routing_key: 'k',
      arguments: {},
    },
  ],
}

const broker = await openBrokerWith(t, definitions)

/** The broker with the definitions, and the test that runs. */
type Access = Broker & { readonly t: Test }

function test(title: string, act: (at: Access) => Promise<void>): void {
  const skip = broker === null && 'RABBITMQCTL names no rabbitmqctl'
  t.test(title, { skip }, t => act({ ...(broker as Broker), t }))
}

const loginRefused =
  /^connection 403 0,0 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN/

/** What a client hears that logs in and opens a vhost; the connection stays open if it may. */
async function opening(at: Access, name: string, password: string, to = vhost): Promise<string> {
  const client = await RawClient.connect(at)
  at.t.teardown(() => client.close())
  await client.start()
  client.startOk({ user: user(name), password })
  const answer = await client.outcome()
  if (answer !== 'connection.tune') return answer
  client.send(0, 'connection.tune-ok', { channelMax: 2047, frameMax: 131_072, heartbeat: 0 })
  client.send(0, 'connection.open', { vhost: to })
  return client.outcome()
}

/** An open connection with a channel. */
async function channelOf(at: Access, name: string, password = 'pw'): Promise<RawClient> {
  const client = await RawClient.open(at, { user: user(name), password, vhost })
  at.t.teardown(() => client.close())
  await client.channel(1)
  return client
}

for (const name of names)
  test(`a password whose ${name} hash was imported lets its user in`, async at => {
    at.t.equal(await opening(at, name, `pw-${name}`), 'connection.open-ok')
    at.t.match(await opening(at, name, 'pw-other'), loginRefused)
  })

test('a user without a password cannot log in with any', async at => {
  at.t.match(await opening(at, 'none', ''), loginRefused)
  at.t.match(await opening(at, 'none', 'none'), loginRefused)
})

test('a vhost is closed to who has no permissions for it, an administrator too', async at => {
  at.t.equal(
    await opening(at, 'stranger', 'pw'),
    `connection 530 10,40 NOT_ALLOWED - access to vhost '${vhost}' refused for user '${user('stranger')}'`,
  )
})

test('a vhost that is full takes no connection', async at => {
  at.t.equal(await opening(at, 'actor', 'pw', full), 'connection.open-ok')
  at.t.equal(
    await opening(at, 'actor', 'pw', full),
    `connection 530 10,40 NOT_ALLOWED - access to vhost '${full}' refused for user '${user('actor')}': connection limit (1) is reached`,
  )
})

test('a vhost that is full takes no queue', async at => {
  const url = `amqp://${user('actor')}:pw@${at.host}:${at.port}/${full}`
  // The connections of the tests before may still be closing.
  const connection = await eventually('a place in the vhost', () =>
    amqp.connect(url).catch(() => false as const),
  )
  const channel = await connection.createChannel()
  channel.on('error', () => {})
  await channel.assertQueue('first', { exclusive: true })
  const error = await expectChannelError(channel, channel.assertQueue('second'))
  at.t.strictSame(error, {
    code: 406,
    text: `PRECONDITION_FAILED - cannot declare queue 'second': queue limit in vhost '${full}' (1) is reached`,
    classId: 50,
    methodId: 10,
  })
  await connection.close()
})

test('a user with a limit has no more connections', async at => {
  at.t.equal(await opening(at, 'single', 'pw'), 'connection.open-ok')
  at.t.equal(
    await opening(at, 'single', 'pw'),
    `connection 530 10,40 NOT_ALLOWED - connection refused for user '${user('single')}': user connection limit (1) is reached`,
  )
})

test('a user with a limit has no more channels', async at => {
  const client = await channelOf(at, 'narrow')
  client.send(2, 'channel.open')
  const limit = decided(at, 'a user with a limit has no more channels')
  at.t.equal(
    await client.outcome(),
    `connection 530 0,0 NOT_ALLOWED - number of channels opened for user '${user('narrow')}' has reached the maximum allowed user limit of ${limit}`,
  )
})

/** What comes of a method on a channel of the user whose permissions are limited. */
async function outcomeFor<M extends MethodName>(
  at: Access,
  name: M,
  values: Values<M>,
): Promise<string> {
  const client = await channelOf(at, 'limited')
  client.send(1, name, values)
  return client.outcome()
}

/** How a refusal begins, up to what it was about. */
function refusal(at: Access, operation: string, ids: string): string {
  const names = decided(at, 'a refusal names the operation') === 'named'
  return `channel 403 ${ids} ACCESS_REFUSED - ${names ? `${operation} ` : ''}access to `
}

const theirs = `queue 'theirs' in vhost '${vhost}' refused for user '${user('limited')}'`

test('a refusal names the operation', async at => {
  const { t } = at
  t.equal(
    await outcomeFor(at, 'queue.declare', { queue: 'theirs', durable: true }),
    refusal(at, 'configure', '50,10') + theirs,
  )
  t.equal(
    await outcomeFor(at, 'queue.bind', { queue: 'theirs', exchange: 'mine.x' }),
    refusal(at, 'write', '50,20') + theirs,
  )
  t.equal(
    await outcomeFor(at, 'basic.consume', { queue: 'theirs' }),
    refusal(at, 'read', '60,20') + theirs,
  )
})

test('who may not is not told what there is', async at => {
  const nothing = `queue 'nothing' in vhost '${vhost}' refused for user '${user('limited')}'`
  for (const [method, ids] of [
    ['basic.get', '60,70'],
    ['queue.purge', '50,30'],
  ] as const)
    at.t.equal(
      await outcomeFor(at, method, { queue: 'nothing' }),
      refusal(at, 'read', ids) + nothing,
    )
  const client = await channelOf(at, 'limited')
  client.publish(1, { exchange: 'no exchange', key: 'k', body: 'm' })
  at.t.equal(
    await client.outcome(),
    `${refusal(at, 'write', '60,40')}exchange 'no exchange' in vhost '${vhost}' refused for user '${user('limited')}'`,
  )
})

test('the default exchange is amq.default to permissions', async at => {
  const client = await channelOf(at, 'limited')
  client.publish(1, { key: 'mine.q', body: 'm' })
  at.t.equal(
    await client.outcome(),
    `${refusal(at, 'write', '60,40')}exchange 'amq.default' in vhost '${vhost}' refused for user '${user('limited')}'`,
  )
})

test('what is allowed goes on as ever', async at => {
  const url = `amqp://${user('limited')}:pw@${at.host}:${at.port}/${vhost}`
  const connection = await amqp.connect(url)
  const channel = await connection.createConfirmChannel()
  const { queue } = await channel.assertQueue('', { exclusive: true })
  await channel.bindQueue(queue, 'amq.topic', 'public.#')
  await channel.bindQueue(queue, 'mine.x', 'k')
  channel.publish('mine.x', 'k', Buffer.from('m'))
  await channel.waitForConfirms()
  at.t.match(await channel.get(queue, { noAck: true }), { fields: { routingKey: 'k' } })
  await channel.deleteQueue(queue)
  await connection.close()
})

test('routing keys of a topic exchange are limited besides', async at => {
  const about = (key: string) =>
    `topic '${key}' in exchange 'amq.topic' in vhost '${vhost}' refused for user '${user('limited')}'`
  const client = await channelOf(at, 'limited')
  client.publish(1, { exchange: 'amq.topic', key: `${user('limited')}.a`, body: 'm' })
  client.publish(1, { exchange: 'amq.topic', key: 'other.a', body: 'm' })
  at.t.equal(await client.outcome(), refusal(at, 'write', '60,40') + about('other.a'))
  at.t.equal(
    await outcomeFor(at, 'queue.bind', {
      queue: 'mine.q',
      exchange: 'amq.topic',
      routingKey: 'secret.#',
    }),
    refusal(at, 'read', '50,20') + about('secret.#'),
  )
})

test('an impersonator publishes in the name of another, others do not', async at => {
  const { t } = at
  const actor = await channelOf(at, 'actor')
  const properties = { userId: 'somebody' }
  await actor.call(1, 'confirm.select')
  actor.publish(1, { key: 'mine.q', body: 'm', properties })
  t.equal(await actor.outcome(), 'basic.ack')
  actor.send(1, 'basic.get', { queue: 'mine.q', noAck: true })
  t.equal(await actor.outcome(), 'basic.get-ok')
  const other = await channelOf(at, 'sha256', 'pw-sha256')
  other.publish(1, { key: 'mine.q', body: 'm', properties })
  t.equal(
    await other.outcome(),
    `channel 406 60,40 PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was '${user('sha256')}'`,
  )
})
