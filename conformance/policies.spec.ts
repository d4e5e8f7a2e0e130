/** Policies as clients meet them: what they say changes under queues and exchanges that are there. */
import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { type Client, openClient } from './support/client.js'
import { expectChannelError } from './support/errors.js'
import { type Administrator, openAdministrator } from './support/policies.js'
import { eventually } from './support/waiting.js'

const admin = await openAdministrator(t)

/** A test with a policy's name of its own, of which nothing is left. */
function test(
  title: string,
  check: (t: Test, client: Client, admin: Administrator, policy: string) => Promise<void>,
): void {
  const skip = admin === null && 'nobody can set policies without RABBITMQCTL'
  t.test(title, { skip }, async t => {
    const { broker } = admin as Administrator
    const client = await openClient(t, broker)
    await check(t, client, admin as Administrator, `policy-${randomBytes(5).toString('hex')}`)
  })
}

test('a length limit by policy drops at once what is too much', async (t, client, admin, policy) => {
  const dead = await client.queue()
  const queue = await client.queue({ deadLetterExchange: '', deadLetterRoutingKey: dead })
  for (const body of ['1', '2', '3', '4', '5']) client.send(queue, body)
  await client.untilReady(queue, 5)
  await admin.set(policy, `^${queue}$`, { 'max-length': 2 })
  await client.untilReady(dead, 3)
  t.equal(await client.ready(queue), 2)
  const { properties } = await client.get(dead)
  t.equal(properties.headers?.['x-first-death-reason'], 'maxlen')
  client.send(queue, '6')
  await client.untilReady(dead, 3)
  await admin.remove(policy)
  client.send(queue, '7')
  await client.untilReady(queue, 3)
  t.same(await client.drain(queue), ['5', '6', '7'])
})

test('the smaller of argument, policy and operator policy counts', async (t, client, admin, policy) => {
  const queue = await client.queue({ maxLength: 3 })
  const sent = async () => {
    for (const body of ['1', '2', '3', '4', '5']) client.send(queue, body)
    return (await client.drain(queue)).length
  }
  await admin.set(policy, `^${queue}$`, { 'max-length': 4 })
  t.equal(await sent(), 3)
  await admin.set(policy, `^${queue}$`, { 'max-length': 2 })
  await eventually('the policy', async () => (await sent()) === 2)
  await admin.set(policy, `^${queue}$`, { 'max-length': 1 }, { operator: true })
  await eventually("the operator's policy", async () => (await sent()) === 1)
  await admin.remove(policy)
  t.equal(await sent(), 1)
  await admin.remove(policy, { operator: true })
  await eventually('the argument alone', async () => (await sent()) === 3)
})

test('of two policies the one with the higher priority rules alone', async (t, client, admin, policy) => {
  const queue = await client.queue()
  await admin.set(policy, `^${queue}$`, { 'max-length': 1 }, { priority: 1 })
  await admin.set(`${policy}-2`, `^${queue}`, { 'max-length-bytes': 2 }, { priority: 2 })
  await eventually('the second', async () => {
    for (const body of ['1', '2', '3', '4']) client.send(queue, body)
    return (await client.drain(queue)).length === 2
  })
  await admin.remove(`${policy}-2`)
  await eventually('the first', async () => {
    for (const body of ['1', '2', '3', '4']) client.send(queue, body)
    return (await client.drain(queue)).length === 1
  })
  await admin.remove(policy)
  t.pass('and nothing of the other')
})

test('a time to live by policy is for messages that come later', async (t, client, admin, policy) => {
  const queue = await client.queue()
  client.send(queue, 'before')
  await client.untilReady(queue, 1)
  await admin.set(policy, `^${queue}$`, { 'message-ttl': 1 })
  await eventually('a message that expires', async () => {
    client.send(queue, 'after')
    const { content } = await client.getEventually(queue)
    client.send(queue, 'later')
    await new Promise(resolve => setTimeout(resolve, 20))
    return content.length > 0 && (await client.drain(queue)).length === 0
  })
  await admin.remove(policy)
  t.pass('what was there before was got')
})

test('an expiry by policy ends a queue that nobody uses', async (t, client, admin, policy) => {
  const [queue, used] = [await client.queue(), await client.queue()]
  await client.channel.consume(used, () => {})
  await admin.set(policy, `^(${queue}|${used})$`, { expires: 1000 })
  // Asking for it would be use.
  await new Promise(resolve => setTimeout(resolve, 3000))
  t.notOk(await client.queueExists(queue))
  t.ok(await client.queueExists(used))
  await admin.remove(policy)
})

test('a full queue refuses and dead-letters as its policy says', async (t, client, admin, policy) => {
  const dead = await client.queue()
  const queue = await client.queue({ maxLength: 1 })
  client.send(queue, 'kept')
  await client.untilReady(queue, 1)
  const definition = {
    overflow: 'reject-publish-dlx',
    'dead-letter-exchange': '',
    'dead-letter-routing-key': dead,
  }
  await admin.set(policy, `^${queue}$`, definition)
  await eventually('a message that is refused', async () => {
    client.send(queue, 'refused')
    return (await client.ready(dead)) > 0
  })
  t.equal((await client.get(dead)).content.toString(), 'refused')
  await admin.remove(policy)
  await client.drain(dead)
  client.send(queue, 'last')
  await eventually('one that takes its place', async () => {
    client.send(queue, 'last')
    await client.untilReady(queue, 1)
    return (await client.get(queue)).content.toString() === 'last'
  })
})

test('an alternate exchange by policy gets what nobody takes', async (t, client, admin, policy) => {
  const exchange = await client.exchange('direct')
  const alternate = await client.exchange('fanout')
  const lost = await client.boundQueue(alternate, '')
  await admin.set(
    policy,
    `^${exchange}$`,
    { 'alternate-exchange': alternate },
    { applyTo: 'exchanges' },
  )
  await eventually('a message at the alternate exchange', async () => {
    client.publish(exchange, 'nowhere', 'lost')
    return (await client.ready(lost)) > 0
  })
  await admin.remove(policy)
  await eventually('no more of them', async () => {
    await client.drain(lost)
    client.publish(exchange, 'nowhere', 'gone')
    return (await client.ready(lost)) === 0
  })
  t.pass('and none without it')
})

test('what policies say is no argument of a queue that is declared again', async (t, client, admin, policy) => {
  const queue = client.queueName()
  await admin.set(policy, `^${queue}$`, { 'max-length': 1, 'message-ttl': 60_000 })
  const options = { durable: false, maxLength: 5 }
  await client.channel.assertQueue(queue, options)
  await client.channel.assertQueue(queue, options)
  const error = await expectChannelError(
    client.channel,
    client.channel.assertQueue(queue, { ...options, maxLength: 1 }),
  )
  t.equal(
    error.text,
    `PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '${queue}' in vhost '/': received '1' but current is '5'`,
  )
  await admin.remove(policy)
})
