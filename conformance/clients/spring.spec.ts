/**
 * What Spring AMQP does on the wire, by hand with amqplib: RabbitTemplate asks over direct reply-to,
 * correlates confirms and returns by headers, and listener containers look for their queue first.
 */
import {
  type Channel,
  type ConfirmChannel,
  type ConsumeMessage,
  connect,
  type Message,
} from 'amqplib'
import t, { type Test } from 'tap'
import { type Broker, openBroker } from '../support/broker.js'
import { temporaryQueue, uniqueName } from '../support/temporary.js'
import { eventually } from '../support/waiting.js'

const REPLY_TO = 'amq.rabbitmq.reply-to'

async function openChannel(t: Test, broker: Broker): Promise<ConfirmChannel> {
  const connection = await connect(broker.url)
  t.teardown(() => connection.close())
  return connection.createConfirmChannel()
}

/** A listener container: finds the queue, then consumes with its prefetch and answers who asks. */
async function listen(
  channel: Channel,
  queue: string,
  onMessage: (body: string) => string | undefined,
): Promise<void> {
  await channel.checkQueue(queue)
  await channel.prefetch(250)
  await channel.consume(queue, message => {
    if (message === null) return
    const { correlationId, replyTo } = message.properties
    const answer = onMessage(message.content.toString())
    if (answer !== undefined) channel.sendToQueue(replyTo, Buffer.from(answer), { correlationId })
    channel.ack(message)
  })
}

/** A template that asks over direct reply-to: one consumer for all that its channel asks. */
async function openTemplate(
  channel: Channel,
): Promise<(queue: string, body: string) => Promise<string>> {
  const waiting = new Map<string, (answer: string) => void>()
  await channel.checkQueue(REPLY_TO)
  const receive = (message: ConsumeMessage | null) => {
    if (message === null) return
    waiting.get(message.properties.correlationId)?.(message.content.toString())
  }
  await channel.consume(REPLY_TO, receive, { noAck: true })
  channel.on('return', (message: Message) => {
    waiting.get(message.properties.correlationId)?.('returned')
  })
  return (queue, body) =>
    new Promise(resolve => {
      const correlationId = String(waiting.size + 1)
      waiting.set(correlationId, resolve)
      const options = { correlationId, replyTo: REPLY_TO, mandatory: true }
      channel.sendToQueue(queue, Buffer.from(body), options)
    })
}

t.test('each question gets its own answer, whoever asks', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'spring')
  const server = await openChannel(t, broker)
  await server.assertQueue(queue)
  await listen(server, queue, body => `${body}!`)
  const first = await openTemplate(await openChannel(t, broker))
  const connection = await connect(broker.url)
  t.teardown(() => connection.close())
  const second = await openTemplate(await connection.createChannel())
  const third = await openTemplate(await connection.createChannel())
  const questions = Array.from({ length: 30 }, (_, n) => `question ${n}`)
  const answers = await Promise.all(
    questions.map((body, n) => [first, second, third][n % 3]!(queue, body)),
  )
  t.same(
    answers,
    questions.map(body => `${body}!`),
  )
})

t.test('a question that no queue takes is returned instead of answered', async t => {
  const broker = await openBroker(t)
  const ask = await openTemplate(await openChannel(t, broker))
  t.equal(await ask(uniqueName('nobody'), 'hello?'), 'returned')
})

t.test('an answer to who has gone is dropped, and harms nobody', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'spring')
  const server = await openChannel(t, broker)
  await server.assertQueue(queue)
  const impatient = await connect(broker.url)
  const ask = await openTemplate(await impatient.createChannel())
  void ask(queue, 'hello?')
  const question = await eventually('the question', () => server.get(queue))
  await impatient.close()
  const { replyTo, correlationId } = question.properties
  server.sendToQueue(replyTo, Buffer.from('too late'), { correlationId })
  await server.waitForConfirms()
  server.ack(question)
  await listen(server, queue, body => `${body}!`)
  const patient = await openTemplate(await openChannel(t, broker))
  t.equal(await patient(queue, 'hello?'), 'hello?!')
})

t.test('a returned message carries the header by which its confirm is found', async t => {
  const broker = await openBroker(t)
  const channel = await openChannel(t, broker)
  const events: string[] = []
  channel.on('return', ({ properties }: Message) => {
    const correlation = Object.values(properties.headers ?? {})
    events.push(`return ${correlation.join(' ')}`)
  })
  const headers = {
    spring_returned_message_correlation: 'c-1',
    spring_listener_return_correlation: 'l-1',
  }
  const options = { headers, mandatory: true }
  channel.publish('', uniqueName('nobody'), Buffer.from(''), options, () => events.push('confirm'))
  await channel.waitForConfirms()
  t.same(events, ['return c-1 l-1', 'confirm'])
})

t.test('a container whose queue is missing finds it when it is declared', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'spring')
  const connection = await connect(broker.url)
  t.teardown(() => connection.close())
  const found = async () => {
    const channel = await connection.createChannel()
    channel.on('error', () => {})
    return channel.checkQueue(queue).catch(error => error)
  }
  for (let attempt = 0; attempt < 3; attempt += 1) {
    t.match(await found(), { code: 404, classId: 50, methodId: 10 })
  }
  await (await connection.createChannel()).assertQueue(queue)
  t.match(await found(), { queue, messageCount: 0 })
})

t.test('a second exclusive consumer is refused in words that its container knows', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'spring')
  const first = await openChannel(t, broker)
  await first.assertQueue(queue)
  const { consumerTag } = await first.consume(queue, () => {}, { exclusive: true })
  const second = await openChannel(t, broker)
  second.on('error', () => {})
  await t.rejects(
    second.consume(queue, () => {}, { exclusive: true }),
    { code: 403, classId: 60, methodId: 20, message: /in exclusive use/ },
  )
  await first.cancel(consumerTag)
  const third = await openChannel(t, broker)
  t.match(await third.consume(queue, () => {}, { exclusive: true }), { consumerTag: String })
})
