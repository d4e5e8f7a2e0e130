import t from 'tap'
import { openBroker } from './support/broker.js'
import { type Client, openClient } from './support/client.js'
import { expectChannelError } from './support/errors.js'
import { publishExactly } from './support/methods.js'

const broker = await openBroker(t)

type Table = Record<string, unknown>

/** Which of the messages, given as their headers, a binding lets through. */
async function passed(client: Client, binding: Table, messages: readonly Table[]) {
  const exchange = await client.exchange('headers')
  const queue = await client.boundQueue(exchange, '', binding)
  messages.forEach((headers, index) => {
    client.publish(exchange, `${index}`, `${index}`, { headers })
  })
  return (await client.drain(queue)).map(index => messages[Number(index)])
}

const BOTH = { colour: 'red', size: 1 }
const MORE = { colour: 'red', size: 1, weight: 5 }
const RED = { colour: 'red' }
const OTHER = { colour: 'blue', size: 2 }
const NONE = {}

t.test('without x-match every header of the binding must match', async t => {
  const client = await openClient(t, broker)
  t.same(await passed(client, BOTH, [BOTH, MORE, RED, OTHER, NONE]), [BOTH, MORE])
})

t.test('x-match all: every header of the binding must match', async t => {
  const client = await openClient(t, broker)
  const binding = { 'x-match': 'all', ...BOTH }
  t.same(await passed(client, binding, [BOTH, MORE, RED, OTHER, NONE]), [BOTH, MORE])
})

t.test('x-match any: one header must match', async t => {
  const client = await openClient(t, broker)
  const binding = { 'x-match': 'any', ...BOTH }
  t.same(await passed(client, binding, [BOTH, MORE, RED, OTHER, NONE]), [BOTH, MORE, RED])
})

t.test(
  'a binding without headers: all lets everything pass, any nothing (regression 25)',
  async t => {
    const client = await openClient(t, broker)
    t.same(await passed(client, {}, [RED, NONE]), [RED, NONE])
    t.same(await passed(client, { 'x-match': 'all' }, [RED, NONE]), [RED, NONE])
    t.same(await passed(client, { 'x-match': 'any' }, [RED, NONE]), [])
  },
)

t.test('a message without a header table is one without headers', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('headers')
  const all = await client.boundQueue(exchange, '', { 'x-match': 'all' })
  const any = await client.boundQueue(exchange, '', { 'x-match': 'any', colour: 'red' })
  publishExactly(client.channel, { exchange, routingKey: '' }, {}, 'bare')
  t.same(await client.drain(all), ['bare'])
  t.same(await client.drain(any), [])
})

t.test('all and any skip headers of the binding that begin with x-', async t => {
  const client = await openClient(t, broker)
  const tagged = { 'x-tag': 'A', ...RED }
  t.same(await passed(client, { 'x-match': 'all', 'x-tag': 'B', ...RED }, [tagged]), [tagged])
  t.same(await passed(client, { 'x-match': 'any', 'x-tag': 'A', colour: 'blue' }, [tagged]), [])
})

t.test('all-with-x and any-with-x compare them', async t => {
  const client = await openClient(t, broker)
  const tagged = { 'x-tag': 'A', ...RED }
  const all = { 'x-match': 'all-with-x', ...RED }
  t.same(await passed(client, { ...all, 'x-tag': 'A' }, [tagged, RED]), [tagged])
  t.same(await passed(client, { ...all, 'x-tag': 'B' }, [tagged, RED]), [])
  const any = { 'x-match': 'any-with-x', colour: 'blue', 'x-tag': 'A' }
  t.same(await passed(client, any, [tagged, RED]), [tagged])
})

t.test('an unknown x-match is refused', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const { channel } = client
  const bound = channel.bindQueue(queue, 'amq.headers', '', { 'x-match': 'some' })
  t.same(await expectChannelError(channel, bound), {
    code: 406,
    text: 'PRECONDITION_FAILED - Invalid x-match field value <<"some">>; expected all, any, all-with-x, or any-with-x',
    classId: 50,
    methodId: 20,
  })
})

t.test('an x-match that is no string is refused', async t => {
  const client = await openClient(t, broker)
  const queue = await client.queue()
  const { channel } = client
  const bound = channel.bindQueue(queue, 'amq.headers', '', { 'x-match': 100_000 })
  t.same(await expectChannelError(channel, bound), {
    code: 406,
    text: 'PRECONDITION_FAILED - Invalid x-match field type signedint (value 100000); expected longstr',
    classId: 50,
    methodId: 20,
  })
})

t.test('a void in the binding asks only whether the header is there', async t => {
  const client = await openClient(t, broker)
  const empty = { colour: null }
  t.same(await passed(client, { colour: null }, [RED, OTHER, empty, NONE]), [RED, OTHER, empty])
})

t.test('a void in the message equals nothing but void', async t => {
  const client = await openClient(t, broker)
  t.same(await passed(client, RED, [{ colour: null }]), [])
})

t.test('integers of every width are equal when their values are', async t => {
  const client = await openClient(t, broker)
  const widths = ['byte', 'unsignedbyte', 'short', 'unsignedshort', 'int', 'unsignedint', 'long']
  const messages = widths.map(type => ({ size: { '!': type, value: 7 } }))
  for (const type of widths) {
    t.same(await passed(client, { size: { '!': type, value: 7 } }, messages), messages, type)
  }
  t.same(await passed(client, { size: 8 }, messages), [])
})

t.test('an integer equals a double of the same value', async t => {
  const client = await openClient(t, broker)
  const double = { size: { '!': 'double', value: 1 } }
  t.same(await passed(client, { size: 1 }, [double]), [double])
  t.same(await passed(client, double, [{ size: 1 }, { size: 2 }]), [{ size: 1 }])
})

t.test('a string equals a byte array of the same bytes', async t => {
  const client = await openClient(t, broker)
  const bytes = { colour: Buffer.from('red') }
  t.same(await passed(client, RED, [bytes]), [bytes])
})

t.test('values of other types are never equal', async t => {
  const client = await openClient(t, broker)
  t.same(await passed(client, { size: 1 }, [{ size: '1' }, { size: true }]), [])
  t.same(await passed(client, { size: true }, [{ size: 1 }, { size: 'true' }, { size: true }]), [
    { size: true },
  ])
})

t.test('arrays and tables are compared with all they hold (regression 25)', async t => {
  const client = await openClient(t, broker)
  const list = { list: [1, 'two', [true]] }
  t.same(await passed(client, list, [list, { list: [1, 'two'] }, { list: [1, 'two', [false]] }]), [
    list,
  ])
  const table = { table: { a: 1, b: { c: 'x' } } }
  t.same(await passed(client, table, [table, { table: { a: 1 } }]), [table])
})

t.test('timestamps are equal when their seconds are', async t => {
  const client = await openClient(t, broker)
  const at = (value: number) => ({ at: { '!': 'timestamp', value } })
  t.same(await passed(client, at(1_700_000_000), [at(1_700_000_000), at(1_700_000_001)]), [
    at(1_700_000_000),
  ])
})

t.test('the routing key does not matter', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('headers')
  const queue = await client.boundQueue(exchange, 'some key', RED)
  client.publish(exchange, 'another key', 'matched', { headers: RED })
  t.same(await client.drain(queue), ['matched'])
})

t.test('bindings of one queue that differ in arguments stand side by side', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('headers')
  const queue = await client.boundQueue(exchange, '', RED)
  await client.channel.bindQueue(queue, exchange, '', { size: 2 })
  client.publish(exchange, '', 'red', { headers: RED })
  client.publish(exchange, '', 'two', { headers: { size: 2 } })
  client.publish(exchange, '', 'both', { headers: { ...RED, size: 2 } })
  t.same(await client.drain(queue), ['red', 'two', 'both'])
  await client.channel.unbindQueue(queue, exchange, '', RED)
  client.publish(exchange, '', 'red', { headers: RED })
  client.publish(exchange, '', 'two', { headers: { size: 2 } })
  t.same(await client.drain(queue), ['two'])
})
