import t from 'tap'
import { openBroker } from './support/broker.js'
import { type Client, openClient } from './support/client.js'
import { consume, type Inbox } from './support/inbox.js'

const broker = await openBroker(t)

/** Which of the patterns each key reaches, told by a broker that was asked about all at once. */
async function route(
  client: Client,
  patterns: readonly string[],
  keys: readonly string[],
): Promise<Map<string, string[]>> {
  const exchange = await client.exchange('topic')
  const reached = new Map<string, string[]>(keys.map(key => [key, []]))
  const END = 'end of the test'
  const ends = new Map<string, Inbox>()
  for (const pattern of patterns) {
    const { queue } = await client.channel.assertQueue('', { exclusive: true, durable: false })
    await client.channel.bindQueue(queue, exchange, pattern)
    await client.channel.bindQueue(queue, exchange, END)
    const inbox = await consume(client.channel, queue, { noAck: true })
    ends.set(pattern, inbox)
  }
  for (const key of [...keys, END]) client.publish(exchange, key, key)
  for (const pattern of patterns) {
    const inbox = ends.get(pattern)!
    for (;;) {
      const [body] = (await inbox.takeBodies(1)) as [string]
      if (body === END) break
      reached.get(body)!.push(pattern)
    }
    await inbox.cancel()
  }
  return reached
}

t.test('patterns match the keys RabbitMQ says they match (regression 26)', async t => {
  const client = await openClient(t, broker)
  const patterns = '# * *.* a.# #.a a.*.b  a..b *.# #.# a.#.b'.split(' ')
  const matrix: Record<string, string[]> = {
    '': ['#', '', '#.#'],
    a: ['#', '*', 'a.#', '#.a', '*.#', '#.#'],
    'a.b': ['#', '*.*', 'a.#', '*.#', '#.#', 'a.#.b'],
    'b.a': ['#', '*.*', '#.a', '*.#', '#.#'],
    'a..b': ['#', 'a.#', 'a.*.b', 'a..b', '*.#', '#.#', 'a.#.b'],
    '.': ['#', '*.*', '*.#', '#.#'],
    'a.x.b': ['#', 'a.#', 'a.*.b', '*.#', '#.#', 'a.#.b'],
    'a.x.y.b': ['#', 'a.#', '*.#', '#.#', 'a.#.b'],
  }
  const reached = await route(client, patterns, Object.keys(matrix))
  for (const [key, expected] of Object.entries(matrix)) {
    t.same(reached.get(key), expected, `key '${key}'`)
  }
})

/** Topic matching as its definition says it. */
function matches(pattern: readonly string[], words: readonly string[]): boolean {
  const [head, ...rest] = pattern
  if (head === undefined) return words.length === 0
  if (head === '#') {
    return matches(rest, words) || (words.length > 0 && matches(pattern, words.slice(1)))
  }
  return words.length > 0 && (head === '*' || head === words[0]) && matches(rest, words.slice(1))
}

/** Every sequence of up to three of the words. */
function sequences(words: readonly string[]): string[] {
  const two = words.flatMap(a => words.map(b => `${a}.${b}`))
  return [...words, ...two, ...two.flatMap(head => words.map(last => `${head}.${last}`))]
}

t.test('every pattern of three words matches as the definition says', async t => {
  const client = await openClient(t, broker)
  const patterns = sequences(['a', '*', '#'])
  const keys = ['', ...sequences(['a', 'b'])]
  const reached = await route(client, patterns, keys)
  const words = (text: string) => (text === '' ? [] : text.split('.'))
  for (const key of keys) {
    const expected = patterns.filter(pattern => matches(words(pattern), words(key)))
    t.same(reached.get(key), expected, `key '${key}'`)
  }
})

t.test('a wildcard is one only as a whole word', async t => {
  const client = await openClient(t, broker)
  const reached = await route(
    client,
    ['a*', 'a#', '*a.b', 'a.b'],
    ['a', 'ab', 'a*', 'a#', 'xa.b', 'a.b'],
  )
  t.same(Object.fromEntries(reached), {
    a: [],
    ab: [],
    'a*': ['a*'],
    'a#': ['a#'],
    'xa.b': [],
    'a.b': ['a.b'],
  })
})

t.test('wildcards in a routing key are letters', async t => {
  const client = await openClient(t, broker)
  const reached = await route(client, ['a.b', 'a.*', '#'], ['a.*', '#', '*'])
  t.same(Object.fromEntries(reached), { 'a.*': ['a.*', '#'], '#': ['#'], '*': ['#'] })
})

t.test('words are compared byte by byte', async t => {
  const client = await openClient(t, broker)
  const reached = await route(client, ['größe.*', 'GRÖSSE.*', '*.ß'], ['größe.ß', 'grösse.ss'])
  t.same(Object.fromEntries(reached), { 'größe.ß': ['größe.*', '*.ß'], 'grösse.ss': [] })
})

t.test('many # in one pattern are accepted and match in good time', async t => {
  const client = await openClient(t, broker)
  // RabbitMQ 3.10 tries every way to share the words out among the #: it must not be given many.
  const [count, length] = broker.real ? [3, 8] : [12, 60]
  const pattern = Array(count).fill('#.a').join('.')
  const long = Array(length).fill('a').join('.')
  const reached = await route(client, [pattern, '#.#.#'], [long, `${long}.b`, 'a.a'])
  t.same(Object.fromEntries(reached), {
    [long]: [pattern, '#.#.#'],
    [`${long}.b`]: ['#.#.#'],
    'a.a': ['#.#.#'],
  })
})

t.test('removing one pattern leaves its neighbours', async t => {
  const client = await openClient(t, broker)
  const exchange = await client.exchange('topic')
  const short = await client.boundQueue(exchange, 'a.b')
  const long = await client.boundQueue(exchange, 'a.b.c')
  const wild = await client.boundQueue(exchange, 'a.#')
  const twin = await client.boundQueue(exchange, 'a.b')
  await client.channel.unbindQueue(short, exchange, 'a.b')
  await client.channel.unbindQueue(wild, exchange, 'a.*')
  for (const key of ['a.b', 'a.b.c']) client.publish(exchange, key, key)
  t.same(await client.drain(short), [])
  t.same(await client.drain(long), ['a.b.c'])
  t.same(await client.drain(wild), ['a.b', 'a.b.c'])
  t.same(await client.drain(twin), ['a.b'])

  await client.channel.unbindQueue(long, exchange, 'a.b.c')
  client.publish(exchange, 'a.b', 'again')
  t.same(await client.drain(twin), ['again'])
})
