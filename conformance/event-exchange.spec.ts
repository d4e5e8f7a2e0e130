/** The event exchange: RabbitMQ has it with its plugin rabbitmq_event_exchange. */
import t from 'tap'
import { openBroker } from './support/broker.js'
import { type Client, openClient } from './support/client.js'
import { eventually } from './support/waiting.js'

const broker = await openBroker(t)

interface Facts {
  readonly name?: unknown
  readonly timestamp_in_ms?: unknown
  readonly [fact: string]: unknown
}

interface Event {
  readonly key: string
  readonly headers: Facts
}

/** Events whose facts name something with this text, as they come. */
async function listen(client: Client, key: string): Promise<Event[]> {
  const events: Event[] = []
  const { channel } = client
  const { queue } = await channel.assertQueue('', { exclusive: true })
  await channel.bindQueue(queue, 'amq.rabbitmq.event', key)
  await channel.consume(
    queue,
    message => {
      if (message === null) return
      events.push({ key: message.fields.routingKey, headers: message.properties.headers ?? {} })
    },
    { noAck: true },
  )
  return events
}

/** A RabbitMQ without its plugin has no such exchange. */
async function offered(): Promise<boolean> {
  if (!broker.real) return true
  const client = await openClient(t, broker)
  client.channel.on('error', () => {})
  return client.channel.checkExchange('amq.rabbitmq.event').then(
    () => true,
    () => false,
  )
}

const skip = (await offered()) ? false : 'the plugin rabbitmq_event_exchange is not enabled'

t.test(
  'a queue, its binding and its consumer are told of as they come and go',
  { skip },
  async t => {
    const listener = await openClient(t, broker)
    const client = await openClient(t, broker)
    const name = `events of ${process.pid}`
    const events = await listen(listener, '#')
    const { channel } = client
    await channel.assertExchange(name, 'topic', { durable: false })
    await channel.assertQueue(name, { durable: false })
    await channel.bindQueue(name, name, 'a.b')
    const { consumerTag } = await channel.consume(name, () => {}, { noAck: false })
    await channel.cancel(consumerTag)
    await channel.deleteQueue(name)
    await channel.deleteExchange(name)
    const own = () =>
      events.filter(({ headers }) =>
        ['name', 'queue', 'source_name'].some(fact => headers[fact] === name),
      )
    const expected = [
      'exchange.created',
      'queue.created',
      'binding.created',
      'consumer.created',
      'consumer.deleted',
      'binding.deleted',
      'queue.deleted',
      'exchange.deleted',
    ]
    const seen = () =>
      own()
        .map(({ key }) => key)
        .filter(key => expected.includes(key))
    await eventually('all its events', () => seen().includes('exchange.deleted'))
    t.same(seen(), expected)
    const facts = (key: string) => own().find(event => event.key === key)?.headers
    t.match(facts('queue.created'), { vhost: '/', durable: false, auto_delete: false })
    t.match(facts('binding.created'), { destination_kind: 'queue', routing_key: 'a.b' })
    t.match(facts('consumer.created'), { consumer_tag: consumerTag, ack_required: true })
    t.equal(typeof facts('queue.deleted')?.timestamp_in_ms, 'number')
  },
)

t.test('a connection and its channel are told of', { skip }, async t => {
  const listener = await openClient(t, broker)
  const events = await listen(listener, '#')
  const client = await openClient(t, broker)
  await eventually('a channel', () => events.some(({ key }) => key === 'channel.created'))
  const created = events.find(({ key }) => key === 'connection.created')?.headers
  t.match(created, { user: 'guest', vhost: '/', protocol: '{0,9,1}', type: 'network' })
  await client.connection.close()
  await eventually('the end of the connection', () =>
    events.some(
      ({ key, headers }) => key === 'connection.closed' && headers.name === created?.name,
    ),
  )
  t.ok(events.some(({ key }) => key === 'channel.closed'))
})

t.test('the exchange takes nothing from clients', { skip }, async t => {
  const { channel } = await openClient(t, broker)
  const closed = new Promise<Error>(resolve => channel.once('error', resolve))
  channel.publish('amq.rabbitmq.event', 'queue.created', Buffer.alloc(0))
  t.match((await closed).message, /403.*cannot publish to internal exchange 'amq.rabbitmq.event'/)
})
