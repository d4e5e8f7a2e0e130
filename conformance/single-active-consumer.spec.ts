import t from 'tap'
import { openBroker } from './support/broker.js'
import { openClient } from './support/client.js'
import { expectChannelError } from './support/errors.js'
import { consume } from './support/inbox.js'

const broker = await openBroker(t)

t.test('a queue with a single active consumer serves the first, then the next', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ arguments: { 'x-single-active-consumer': true } })
  const first = await consume(await client.openChannel(), queue, { noAck: true })
  const second = await consume(await client.openChannel(), queue, { noAck: true })
  for (const body of ['1', '2', '3']) client.send(queue, body)
  t.same(await first.takeBodies(3), ['1', '2', '3'])
  await first.cancel()
  client.send(queue, '4')
  t.same(await second.takeBodies(1), ['4'])
  t.same(first.bodies, ['1', '2', '3'])
})

t.test('a queue with a single active consumer refuses exclusive consumers', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue({ arguments: { 'x-single-active-consumer': true } })
  const { channel } = client
  const consumed = consume(channel, queue, { exclusive: true })
  t.same(await expectChannelError(channel, consumed), {
    code: 403,
    text: `ACCESS_REFUSED - queue '${queue}' in vhost '/' in exclusive use`,
    classId: 60,
    methodId: 20,
  })
})

t.test('an x-single-active-consumer that is no boolean is refused', async t => {
  const client = await openClient(t, broker)
  const queue = client.queueName()
  const declared = client.channel.assertQueue(queue, {
    durable: false,
    arguments: { 'x-single-active-consumer': 100_000 },
  })
  t.same(await expectChannelError(client.channel, declared), {
    code: 406,
    text: `PRECONDITION_FAILED - invalid arg 'x-single-active-consumer' for queue '${queue}' in vhost '/': {unacceptable_type,signedint}`,
    classId: 50,
    methodId: 10,
  })
})
