/** The management API over real HTTP: who gets in, what is refused, and what is there afterwards. */
import amqp from 'amqplib'
import t, { type Test } from 'tap'
import { type RunningBroker, startBroker } from '../../src/index.js'

type Headers = Readonly<Record<string, string>>

const as = (user: string, password = user): Headers => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
})

class Api {
  readonly #url: string

  constructor({ managementUrl }: RunningBroker) {
    this.#url = `${managementUrl}/api`
  }

  async ask(method: string, path: string, body?: unknown, headers: Headers = as('guest')) {
    const answer = await fetch(this.#url + path, {
      method,
      headers,
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await answer.text()
    return { status: answer.status, headers: answer.headers, body: text && JSON.parse(text) }
  }

  async get(path: string) {
    return (await this.ask('GET', path)).body
  }
}

async function started(t: Test): Promise<{ broker: RunningBroker; api: Api }> {
  const broker = await startBroker({ managementPort: 0 })
  t.teardown(() => broker.close())
  return { broker, api: new Api(broker) }
}

t.test('without a port for it there is no management API', async t => {
  const broker = await startBroker()
  t.teardown(() => broker.close())
  t.equal(broker.managementUrl, null)
})

t.test('nobody gets in without the right password', async t => {
  const { api } = await started(t)
  const nobody = await api.ask('GET', '/overview', undefined, {})
  t.equal(nobody.status, 401)
  t.equal(nobody.headers.get('www-authenticate'), 'Basic realm="RabbitMQ Management"')
  t.equal(nobody.body, '')
  for (const headers of [
    as('guest', 'wrong'),
    as('nobody'),
    as('guest', ''),
    { authorization: `Basic ${btoa('guest')}` },
  ]) {
    const refused = await api.ask('GET', '/overview', undefined, headers)
    t.equal(refused.status, 401)
    t.strictSame(refused.body, { error: 'not_authorized', reason: 'Login failed' })
    t.equal(refused.headers.get('www-authenticate'), null, 'no browser asks')
  }
  t.equal((await api.ask('GET', '/overview', undefined, { authorization: 'Bearer x' })).status, 401)
  t.equal((await api.ask('GET', '/whoami')).status, 200)
})

t.test('each guess of a password waits longer for its answer', async t => {
  const { api } = await started(t)
  await api.get('/whoami')
  const began = performance.now()
  for (let i = 0; i < 4; i++) await api.ask('GET', '/whoami', undefined, as('guest', 'wrong'))
  t.ok(performance.now() - began >= 100 + 200 + 300)
})

t.test('probes need no password, and are told nothing else', async t => {
  const { api } = await started(t)
  for (const check of ['is-in-service', 'ready-to-serve-clients', 'below-node-connection-limit']) {
    const answer = await api.ask('GET', `/health/checks/${check}`, undefined, {})
    t.strictSame([answer.status, answer.body], [200, { status: 'ok' }])
  }
})

t.test('a user sees and changes what its tags and permissions let it', async t => {
  const { api } = await started(t)
  await api.ask('PUT', '/vhosts/other')
  for (const tag of ['management', 'policymaker', 'monitoring'])
    await api.ask('PUT', `/users/${tag}`, { password: tag, tags: tag })
  const patterns = { configure: '^mine', write: '.*', read: '^mine' }
  await api.ask('PUT', '/permissions/%2F/management', patterns)
  const mine = (method: string, path: string, body?: unknown) =>
    api.ask(method, path, body, as('management'))
  t.strictSame((await mine('GET', '/vhosts?columns=name')).body, [{ name: '/' }])
  t.equal((await mine('PUT', '/queues/%2F/mine', {})).status, 201)
  t.equal((await mine('PUT', '/queues/%2F/yours', {})).status, 401, 'not to be configured')
  t.equal((await mine('PUT', '/queues/other/mine', {})).status, 404, 'no such vhost for it')
  t.equal((await mine('GET', '/queues/other')).status, 404)
  for (const path of ['/users', '/permissions', '/nodes', '/definitions', '/users/guest'])
    t.equal((await mine('GET', path)).status, 401, path)
  t.equal((await mine('PUT', '/policies/%2F/p', { pattern: '', definition: {} })).status, 401)
  await api.ask('PUT', '/queues/%2F/yours', {})
  const got = { count: 1, ackmode: 'ack_requeue_true', encoding: 'auto' }
  t.equal((await mine('POST', '/queues/%2F/yours/get', got)).status, 401, 'not to be read')
  t.equal((await mine('DELETE', '/queues/%2F/yours/contents')).status, 401)
  t.equal((await mine('DELETE', '/queues/%2F/yours')).status, 401)
  const all = await api.ask('GET', '/vhosts?columns=name', undefined, as('monitoring'))
  t.strictSame(all.body, [{ name: '/' }, { name: 'other' }])
  t.equal((await api.ask('GET', '/nodes', undefined, as('monitoring'))).status, 200)
})

t.test('bad requests are refused, and nothing comes of them', async t => {
  const { api } = await started(t)
  const cases: readonly (readonly [string, string, unknown, number])[] = [
    ['PUT', '/queues/%2F/q', '{', 400],
    ['PUT', '/queues/%2F/q', '[]', 400],
    ['PUT', '/queues/%2F/q', { arguments: [] }, 400],
    ['PUT', '/queues/%2F/q', { arguments: { 'x-max-length': 'many' } }, 400],
    ['PUT', '/queues/%2F/q', `{"arguments":${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}}`, 400],
    ['PUT', '/queues/%2F/%ZZ', {}, 400],
    ['PUT', '/vhosts/v', { tags: 1 }, 400],
    ['PUT', '/vhosts/v', { tracing: 'perhaps' }, 400],
    ['PUT', '/users/u', { tags: 1, password: 'x' }, 400],
    ['PUT', '/users/u', { tags: '', password_hash: 'short' }, 400],
    ['PUT', '/users/u', { tags: '', password_hash: 'AAAA', hashing_algorithm: 'rot13' }, 400],
    ['POST', '/exchanges/%2F/amq.default/publish', { properties: 1 }, 400],
    [
      'POST',
      '/exchanges/%2F/amq.default/publish',
      { properties: { user_id: 'x' }, routing_key: '', payload: '', payload_encoding: 'string' },
      400,
    ],
    ['PATCH', '/overview', {}, 404],
    ['GET', '/../../etc/passwd', undefined, 404],
  ]
  for (const [method, path, body, status] of cases) {
    const answer = await api.ask(method, path, body)
    t.equal(answer.status, status, `${method} ${path} ${JSON.stringify(body)?.slice(0, 60)}`)
  }
  t.equal((await api.ask('PUT', '/queues/%2F/q', 'x'.repeat(20_000_001))).status, 400, 'too large')
  t.strictSame(await api.get('/queues?columns=name'), [])
  t.strictSame(await api.get('/users?columns=name'), [{ name: 'guest' }])
  t.strictSame(await api.get('/vhosts?columns=name'), [{ name: '/' }])
})

t.test('a queue shows what clients did with it, and the other way round', async t => {
  const { broker, api } = await started(t)
  const client = await amqp.connect(broker.url)
  t.teardown(() => client.close())
  const channel = await client.createConfirmChannel()
  await api.ask('PUT', '/queues/%2F/jobs', { durable: true, arguments: { 'x-max-priority': 5 } })
  t.equal((await channel.checkQueue('jobs')).messageCount, 0)
  for (let i = 0; i < 3; i++) channel.sendToQueue('jobs', Buffer.from(`job ${i}`))
  await channel.waitForConfirms()
  await channel.get('jobs')
  const shown = await api.get('/queues/%2F/jobs')
  t.match(shown, {
    name: 'jobs',
    vhost: '/',
    durable: true,
    arguments: { 'x-max-priority': 5 },
    messages: 3,
    messages_ready: 2,
    messages_unacknowledged: 1,
    consumers: 0,
  })
  await api.ask('PUT', '/policies/%2F/p', { pattern: '^j', definition: { 'max-length': 9 } })
  await api.ask('PUT', '/operator-policies/%2F/o', { pattern: '', definition: { 'max-length': 5 } })
  t.match(await api.get('/queues/%2F/jobs'), {
    policy: 'p',
    operator_policy: 'o',
    effective_policy_definition: { 'max-length': 5 },
  })
  t.match(await api.get('/overview'), {
    queue_totals: { messages: 3 },
    object_totals: { connections: 1, channels: 1, queues: 1 },
  })
  t.equal((await api.ask('DELETE', '/queues/%2F/jobs/contents')).status, 204)
  t.equal((await channel.checkQueue('jobs')).messageCount, 0)
  t.equal((await api.ask('DELETE', '/queues/%2F/jobs')).status, 204)
})

t.test('what is published over HTTP arrives over AMQP as it was said', async t => {
  const { broker, api } = await started(t)
  const client = await amqp.connect(broker.url)
  t.teardown(() => client.close())
  const channel = await client.createChannel()
  await channel.assertQueue('q')
  const answer = await api.ask('POST', '/exchanges/%2F/amq.default/publish', {
    routing_key: 'q',
    payload: Buffer.from([0, 255, 1]).toString('base64'),
    payload_encoding: 'base64',
    properties: { delivery_mode: 2, content_type: 'x/y', headers: { n: 1, CC: ['also'] } },
  })
  t.strictSame(answer.body, { routed: true })
  const got = await channel.get('q', { noAck: true })
  t.ok(got)
  if (!got) return
  t.strictSame([...got.content], [0, 255, 1])
  t.match(got.properties, { deliveryMode: 2, contentType: 'x/y', headers: { n: 1 } })
  t.match(got.fields, { exchange: '', routingKey: 'q' })
})

t.test('what is got over HTTP goes back to its place, unless it is acknowledged', async t => {
  const { broker, api } = await started(t)
  const client = await amqp.connect(broker.url)
  t.teardown(() => client.close())
  const channel = await client.createConfirmChannel()
  await channel.assertQueue('q')
  for (let i = 0; i < 3; i++) channel.sendToQueue('q', Buffer.from(`${i}`))
  await channel.waitForConfirms()
  const get = async (ackmode: string, count = 9) => {
    const { body } = await api.ask('POST', '/queues/%2F/q/get', {
      count,
      ackmode,
      encoding: 'auto',
    })
    return body.map(({ payload }: { payload: string }) => payload).join('')
  }
  t.equal(await get('ack_requeue_true'), '012')
  t.equal(await get('reject_requeue_true', 2), '01')
  t.equal(await get('ack_requeue_false', 1), '0')
  t.equal(await get('reject_requeue_false', 1), '1')
  t.equal(await get('ack_requeue_true'), '2')
  t.match(await api.get('/queues/%2F/q'), { messages: 1, messages_unacknowledged: 0 })
})

t.test('what an exchange delays is listed, counted and cancelled', async t => {
  const { broker, api } = await started(t)
  const client = await amqp.connect(broker.url)
  t.teardown(() => client.close())
  const channel = await client.createConfirmChannel()
  const args = { 'x-delayed-type': 'fanout' }
  await api.ask('PUT', '/exchanges/%2F/later', { type: 'x-delayed-message', arguments: args })
  for (const [key, delay] of [
    ['b', 7_200_000],
    ['a', 3_600_000],
  ] as const)
    channel.publish('later', key, Buffer.from('body'), {
      headers: { 'x-delay': delay },
      persistent: true,
    })
  await channel.waitForConfirms()
  t.match(await api.get('/exchanges/%2F/later'), { messages_delayed: 2 })
  const [exported] = (await api.get('/definitions')).exchanges
  t.notOk('messages_delayed' in exported, 'no definition')
  const [first, second] = await api.get('/exchanges/%2F/later/delayed')
  t.match(first, { routing_key: 'a', payload_bytes: 4, persistent: true })
  t.ok(first.due_in > 3_000_000 && first.due_in <= 3_600_000)
  t.equal(second.routing_key, 'b')
  t.equal((await api.get('/exchanges/%2F/later/delayed?from=1&count=5')).length, 1)
  const path = `/exchanges/%2F/later/delayed/${first.number}`
  t.equal((await api.ask('DELETE', path)).status, 204)
  t.equal((await api.ask('DELETE', path)).status, 404)
  t.match(await api.get('/exchanges/%2F/later'), { messages_delayed: 1 })
  t.equal((await api.ask('GET', '/exchanges/%2F/amq.topic/delayed')).status, 404)
})

t.test('an export has what is durable, and nothing else', async t => {
  const { api } = await started(t)
  await api.ask('PUT', '/queues/%2F/kept', { arguments: { 'x-max-length': 3 } })
  await api.ask('PUT', '/queues/%2F/passing', { durable: false })
  await api.ask('PUT', '/exchanges/%2F/ex', { type: 'topic' })
  await api.ask('POST', '/bindings/%2F/e/ex/q/kept', { routing_key: 'a.#' })
  await api.ask('POST', '/bindings/%2F/e/ex/q/passing', { routing_key: 'b' })
  await api.ask('PUT', '/policies/%2F/p', { pattern: '^k', definition: { 'max-length': 2 } })
  await api.ask('PUT', '/vhost-limits/%2F/max-queues', { value: 10 })
  const { users, ...rest } = await api.get('/definitions')
  t.match(users, [{ name: 'guest', tags: ['administrator'] }])
  t.match(rest, {
    vhosts: [{ name: '/', limits: { 'max-queues': 10 } }],
    permissions: [{ user: 'guest', vhost: '/', configure: '.*', write: '.*', read: '.*' }],
    parameters: [{ component: 'vhost-limits', vhost: '/', value: { 'max-queues': 10 } }],
    policies: [{ vhost: '/', name: 'p', pattern: '^k', definition: { 'max-length': 2 } }],
    exchanges: [{ name: 'ex', vhost: '/', type: 'topic', durable: true }],
  })
  t.strictSame(rest.queues, [
    {
      name: 'kept',
      vhost: '/',
      durable: true,
      auto_delete: false,
      arguments: { 'x-max-length': 3 },
    },
  ])
  t.equal(rest.bindings.length, 1)
  t.match(rest.bindings[0], { source: 'ex', destination: 'kept', routing_key: 'a.#' })
  const one = await api.get('/definitions/%2F')
  t.notOk('vhost' in one.queues[0])
  const file = await api.ask('GET', '/definitions?download=all.json')
  t.equal(file.headers.get('content-disposition'), 'attachment; filename="all.json"')
})

t.test('connections, channels and consumers are shown as they are', async t => {
  const { broker, api } = await started(t)
  const clientProperties = { connection_name: 'billing', product: 'a test' }
  const client = await amqp.connect(`${broker.url}?heartbeat=30`, { clientProperties })
  t.teardown(() => client.close().catch(() => {}))
  const channel = await client.createConfirmChannel()
  await channel.assertQueue('q')
  await channel.prefetch(7)
  await channel.consume('q', () => {}, { consumerTag: 'c', arguments: { 'x-priority': 3 } })
  channel.sendToQueue('q', Buffer.from('x'))
  await channel.waitForConfirms()
  const [connection] = await api.get('/connections')
  t.match(connection, {
    name: /^127\.0\.0\.1:\d+ -> 127\.0\.0\.1:\d+$/,
    user: 'guest',
    vhost: '/',
    state: 'running',
    protocol: 'AMQP 0-9-1',
    auth_mechanism: 'PLAIN',
    user_provided_name: 'billing',
    client_properties: { product: 'a test', connection_name: 'billing' },
    channels: 1,
    timeout: 30,
    ssl: false,
    port: broker.port,
  })
  t.ok(Math.abs(connection.connected_at - Date.now()) < 600_000)
  t.ok(connection.recv_oct > 100 && connection.send_oct > 100)
  const path = `/connections/${encodeURIComponent(connection.name)}`
  t.equal((await api.get(path)).name, connection.name)
  t.match(await api.get('/channels'), [
    {
      name: `${connection.name} (1)`,
      number: 1,
      prefetch_count: 7,
      consumer_count: 1,
      messages_unacknowledged: 1,
      messages_unconfirmed: 0,
      confirm: true,
      transactional: false,
    },
  ])
  t.match(await api.get(`/channels/${encodeURIComponent(`${connection.name} (1)`)}`), {
    consumer_details: [{ consumer_tag: 'c' }],
  })
  t.match(await api.get('/consumers/%2F'), [
    {
      consumer_tag: 'c',
      queue: { name: 'q', vhost: '/' },
      channel_details: { connection_name: connection.name, number: 1, user: 'guest' },
      ack_required: true,
      active: true,
      prefetch_count: 7,
      arguments: { 'x-priority': 3 },
    },
  ])
  t.equal((await api.get('/connections/username/guest')).length, 1)
  await api.ask('PUT', '/users/management', { password: 'management', tags: 'management' })
  await api.ask('PUT', '/users/monitoring', { password: 'monitoring', tags: 'monitoring' })
  const others = (method: string, user: string, url: string) =>
    api.ask(method, url, undefined, as(user))
  t.strictSame((await others('GET', 'management', '/connections')).body, [])
  t.equal((await others('GET', 'management', path)).status, 404)
  t.equal((await others('GET', 'monitoring', path)).status, 200)
  t.equal((await others('DELETE', 'monitoring', path)).status, 401)
  const closed = new Promise<{ code?: number; message?: string }>(resolve =>
    client.on('close', resolve),
  )
  const headers = { ...as('guest'), 'x-reason': 'enough' }
  t.equal((await api.ask('DELETE', path, undefined, headers)).status, 204)
  t.match(await closed, { code: 320, message: /enough/ })
  t.strictSame(await api.get('/connections'), [])
})

t.test(
  'the firehose of a vhost is turned on and off, and delayed messages are counted',
  async t => {
    const { broker, api } = await started(t)
    const connection = await amqp.connect(broker.url)
    t.teardown(() => connection.close())
    const channel = await connection.createConfirmChannel()
    const { queue } = await channel.assertQueue('traces')
    await channel.bindQueue(queue, 'amq.rabbitmq.trace', '#')
    await channel.assertExchange('later', 'x-delayed-message', {
      arguments: { 'x-delayed-type': 'fanout' },
    })
    const publish = async () => {
      channel.publish('later', '', Buffer.from('m'), { headers: { 'x-delay': 1_000_000 } })
      await channel.waitForConfirms()
    }
    await publish()
    t.equal((await api.ask('PUT', '/vhosts/%2F', { tracing: true })).status, 204)
    t.equal((await api.get('/vhosts/%2F')).tracing, true)
    await publish()
    t.equal((await channel.checkQueue(queue)).messageCount, 1)
    t.equal((await api.ask('PUT', '/vhosts/%2F', { tracing: false })).status, 204)
    t.equal((await api.get('/vhosts/%2F')).tracing, false)
    await publish()
    t.equal((await channel.checkQueue(queue)).messageCount, 1)
    t.equal((await api.get('/exchanges/%2F/later')).messages_delayed, 3)
    t.notOk('messages_delayed' in (await api.get('/exchanges/%2F/amq.topic')))
  },
)
