/** Dead letters: where they go, what they say of their deaths, and when they end. */
import { deepStrictEqual } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import type { DeathReason } from '../../src/broker/queues/host.js'
import { largeBytes } from '../../src/store/message-table.js'
import {
  type FieldTable,
  fieldTable,
  lookup,
  type PlainTable,
  type PlainValue,
  textOf,
} from '../../src/wire/field-table.js'
import { SimulatedContents } from '../support/simulated-contents.js'
import { owner, type Taken, VhostBench } from '../support/vhosts.js'

interface Death {
  readonly queue: string
  readonly reason: string
  readonly count: number
}

function deathTables(headers: FieldTable): FieldTable[] {
  const value = lookup(headers, 'x-death')
  if (value?.type !== 'A') return []
  return value.value.map(entry => (entry.type === 'F' ? entry.value : []))
}

function deathsOf({ headers }: Taken): Death[] {
  return deathTables(headers).map(table => ({
    queue: textOf(lookup(table, 'queue')) ?? '',
    reason: textOf(lookup(table, 'reason')) ?? '',
    count: Number(lookup(table, 'count')?.value),
  }))
}

function text({ headers }: Taken, key: string): string | undefined {
  return textOf(lookup(headers, key))
}

const toQueue = (queue: string) => ({
  'x-dead-letter-exchange': '',
  'x-dead-letter-routing-key': queue,
})

t.test('the first death is told in the fields and the order of RabbitMQ', async t => {
  const bench = new VhostBench()
  bench.declareQueue('q', toQueue('dead'))
  bench.declareQueue('dead')
  bench.declareExchange('x', 'fanout')
  bench.bind('x', 'q')
  bench.publish({
    exchange: 'x',
    routingKey: 'key',
    body: Buffer.from('body'),
    properties: {
      contentType: 'text/plain',
      expiration: '1500',
      messageId: 'm',
      headers: fieldTable({ z: 1, CC: ['copy'], a: 'first' }),
    },
  })
  bench.world.clock.advance(1500)
  bench.settle()
  const died = Math.floor(bench.world.clock.wallMs() / 1000)
  const [letter] = bench.takeAll('dead')
  t.match(letter, { exchange: '', routingKey: 'dead' })
  const { headers, expiration, ...others } = letter?.properties ?? {}
  t.equal(expiration, undefined)
  t.strictSame(others, { contentType: 'text/plain', messageId: 'm' })
  t.equal(letter?.body.toString(), 'body')
  const S = (value: string) => ({ type: 'S', value: Buffer.from(value) })
  t.strictSame(headers, [
    { key: 'CC', value: { type: 'A', value: [S('copy')] } },
    { key: 'a', value: S('first') },
    {
      key: 'x-death',
      value: {
        type: 'A',
        value: [
          {
            type: 'F',
            value: [
              { key: 'original-expiration', value: S('1500') },
              { key: 'count', value: { type: 'l', value: 1 } },
              { key: 'reason', value: S('expired') },
              { key: 'queue', value: S('q') },
              { key: 'time', value: { type: 'T', value: died } },
              { key: 'exchange', value: S('x') },
              { key: 'routing-keys', value: { type: 'A', value: [S('key'), S('copy')] } },
            ],
          },
        ],
      },
    },
    { key: 'x-first-death-exchange', value: S('x') },
    { key: 'x-first-death-queue', value: S('q') },
    { key: 'x-first-death-reason', value: S('expired') },
    { key: 'x-last-death-exchange', value: S('x') },
    { key: 'x-last-death-queue', value: S('q') },
    { key: 'x-last-death-reason', value: S('expired') },
    { key: 'z', value: { type: 'I', value: 1 } },
  ])
})

t.test('the same death again counts, moves to the front and keeps its time', async t => {
  const bench = new VhostBench()
  bench.declareQueue('q', toQueue('q'))
  bench.publish({ routingKey: 'q' })
  let first = 0
  for (let count = 1; count <= 5; count++) {
    bench.world.clock.advance(1000)
    if (count === 1) first = Math.floor(bench.world.clock.wallMs() / 1000)
    bench.kill('q', 'rejected')
    const letter = bench.peek('q')
    t.strictSame(deathsOf(letter), [{ queue: 'q', reason: 'rejected', count }])
    t.equal(lookup(deathTables(letter.headers)[0] ?? [], 'time')?.value, first)
  }
})

t.test('deaths on any way through queues are told, and cycles end, as the model says', async () => {
  const names = ['q0', 'q1', 'q2', 'q3'] as const
  const reasons: readonly DeathReason[] = ['rejected', 'expired', 'maxlen']
  const targets = fc.tuple(...names.map(() => fc.subarray([...names])))
  const deaths = fc.array(
    fc.record({ queue: fc.constantFrom(...names), reason: fc.constantFrom(...reasons) }),
    { maxLength: 25, size: 'max' },
  )
  interface Letter {
    readonly deaths: readonly Death[]
    readonly first: Death | null
  }
  fc.assert(
    fc.property(targets, deaths, (targets, steps) => {
      const bench = new VhostBench()
      const model = new Map<string, Letter[]>(names.map(name => [name, []]))
      for (const [i, name] of names.entries()) {
        bench.declareQueue(name, { 'x-dead-letter-exchange': `after-${name}` })
        bench.declareExchange(`after-${name}`, 'fanout')
        for (const target of targets[i] as string[]) {
          bench.declareQueue(target, { 'x-dead-letter-exchange': `after-${target}` })
          bench.bind(`after-${name}`, target)
        }
      }
      bench.publish({ routingKey: 'q0' })
      model.get('q0')?.push({ deaths: [], first: null })
      for (const { queue, reason } of steps) {
        const letter = model.get(queue)?.shift()
        if (letter === undefined) continue
        bench.kill(queue, reason)
        const before = letter.deaths.find(d => d.queue === queue && d.reason === reason)
        const death = { queue, reason, count: (before?.count ?? 0) + 1 }
        const after = [death, ...letter.deaths.filter(d => d !== before)]
        for (const target of targets[names.indexOf(queue)] as string[]) {
          const last = after.findIndex(d => d.queue === target)
          const sinceThen = after.slice(0, last + 1)
          const cycle = last >= 0 && sinceThen.every(d => d.reason !== 'rejected')
          if (reason !== 'rejected' && cycle) continue
          model.get(target)?.push({ deaths: after, first: letter.first ?? death })
        }
      }
      for (const name of names) {
        const letters = bench.takeAll(name)
        deepStrictEqual(
          letters.map(deathsOf),
          (model.get(name) as Letter[]).map(({ deaths }) => deaths),
        )
        for (const [i, letter] of letters.entries()) {
          const { first, deaths } = (model.get(name) as Letter[])[i] as Letter
          deepStrictEqual(
            ['first', 'last'].flatMap(which =>
              ['queue', 'reason'].map(what => text(letter, `x-${which}-death-${what}`)),
            ),
            [first, deaths[0]].flatMap(death => [death?.queue, death?.reason]),
          )
        }
      }
      deepStrictEqual(bench.vhost.messages.count, 0)
    }),
    { seed: 3, numRuns: 200 },
  )
})

t.test('deaths that a client made up are not believed', async t => {
  const bench = new VhostBench()
  bench.declareQueue('q', toQueue('dead'))
  bench.declareQueue('dead')
  const claimed: Record<string, PlainValue> = {
    'x-death': [{ queue: 'q', reason: 'rejected', count: 41 }],
    'x-first-death-reason': 'maxlen',
    'x-first-death-queue': 'nowhere',
    'x-first-death-exchange': 'nox',
  }
  bench.publish({ routingKey: 'q', properties: { headers: fieldTable(claimed) } })
  bench.kill('q', 'rejected')
  const [letter] = bench.takeAll('dead') as [Taken]
  t.strictSame(deathsOf(letter), [{ queue: 'q', reason: 'rejected', count: 1 }])
  t.equal(text(letter, 'x-first-death-reason'), 'rejected')
  t.equal(text(letter, 'x-first-death-queue'), 'q')
  t.equal(text(letter, 'x-first-death-exchange'), '')

  bench.publish({ routingKey: 'q', properties: { headers: letter.headers } })
  bench.kill('q', 'rejected')
  const [again] = bench.takeAll('dead') as [Taken]
  t.strictSame(deathsOf(again)[0]?.count, 1, 'what it once had from us counts as made up')
})

t.test('nor are they right after a letter that says the same and is ours', async t => {
  const bench = new VhostBench()
  bench.declareQueue('q', toQueue('q'))
  bench.publish({ routingKey: 'q' })
  bench.kill('q', 'rejected')
  const { headers } = bench.peek('q')
  bench.kill('q', 'rejected')
  bench.takeAll('q')
  bench.publish({ routingKey: 'q', properties: { headers } })
  bench.kill('q', 'rejected')
  t.equal(deathsOf(bench.peek('q'))[0]?.count, 1)
})

t.test('letters that expire on the way home stop where they died before', async t => {
  const bench = new VhostBench()
  bench.declareQueue('a', { ...toQueue('b'), 'x-message-ttl': 10 })
  bench.declareQueue('b', { ...toQueue('a'), 'x-message-ttl': 10 })
  bench.publish({ routingKey: 'a' })
  for (let i = 0; i < 10; i++) {
    bench.world.clock.advance(10)
    bench.settle()
  }
  t.equal(bench.vhost.messages.count, 0)
})

t.test('they go in the order in which they left, 256 and 3 ms in each turn', async t => {
  const bench = new VhostBench()
  const { clock, turns } = bench.world
  bench.declareQueue('q', { ...toQueue('dead'), 'x-message-ttl': 100, 'x-max-length': 3000 })
  const dead = bench.declareQueue('dead')
  for (let i = 0; i < 3010; i++)
    bench.publish({ routingKey: 'q', properties: { messageId: `${i}` } })
  bench.settle()
  t.equal(dead.readyCount, 10)
  clock.advance(100)
  const now = clock.monotonicMs.bind(clock)
  let letterMs = 1
  let looks = 0
  clock.monotonicMs = () => now() + looks++ * letterMs
  turns.end()
  t.equal(dead.readyCount, 10 + 258)
  letterMs = 0.01
  turns.end()
  t.equal(dead.readyCount, 10 + 258 + 256 + 299)
  bench.settle()
  const ids = bench.takeAll('dead').map(({ properties }) => Number(properties.messageId))
  t.ok(ids.length === 3010 && ids.every((id, i) => id === i))
})

t.test('a letter to many queues takes as much of a turn as it costs', async t => {
  const bench = new VhostBench()
  const { clock, turns } = bench.world
  bench.declareQueue('q', { 'x-dead-letter-exchange': 'amq.fanout', 'x-message-ttl': 100 })
  for (let i = 0; i < 100; i++) {
    bench.declareQueue(`dead${i}`)
    bench.bind('amq.fanout', `dead${i}`)
  }
  for (let i = 0; i < 50; i++) bench.publish({ routingKey: 'q' })
  clock.advance(100)
  const now = clock.monotonicMs.bind(clock)
  let looks = 0
  clock.monotonicMs = () => now() + looks++ * 10
  turns.end()
  t.equal(bench.takeAll('dead0').length, 3)
})

t.test('each letter is what it would be alone, whatever died before it', async () => {
  interface Sample {
    readonly queue: string
    readonly reason: DeathReason
    readonly key: string
    readonly headers: PlainTable | null
    readonly expiration: string | undefined
    readonly messageId: string | undefined
    readonly pauseMs: number
    readonly bound: boolean
  }
  const first: Sample = {
    queue: 'q1',
    reason: 'rejected',
    key: 'a',
    headers: null,
    expiration: undefined,
    messageId: undefined,
    pauseMs: 0,
    bound: false,
  }
  // Each differs in one thing from the one before it.
  const change: fc.Arbitrary<Partial<Sample>> = fc.oneof(
    fc.record({ queue: fc.constantFrom('q0', 'q1', 'q2') }),
    fc.record({ reason: fc.constantFrom<DeathReason>('rejected', 'expired') }),
    fc.record({ key: fc.constantFrom('a', 'b') }),
    fc.record({
      headers: fc.constantFrom<PlainTable | null>(null, {}, { x: 1 }, { x: 2 }, { CC: ['b'] }),
    }),
    fc.record({ expiration: fc.constantFrom(undefined, '500000', '600000') }),
    fc.record({ messageId: fc.constantFrom(undefined, 'm', 'n') }),
    fc.record({ pauseMs: fc.constantFrom(0, 1000) }),
    fc.record({ bound: fc.boolean() }),
  )
  const create = () => {
    const bench = new VhostBench()
    for (const queue of ['dead', 'dead-too']) bench.declareQueue(queue)
    bench.declareQueue('q0', { 'x-dead-letter-exchange': 'amq.headers' })
    bench.declareQueue('q1', { 'x-dead-letter-exchange': 'amq.topic' })
    bench.declareQueue('q2', toQueue('q1'))
    for (const queue of ['q0', 'q1', 'q2']) {
      bench.declareExchange(`to-${queue}`, 'fanout')
      bench.bind(`to-${queue}`, queue)
    }
    const dead = { kind: 'queue', name: 'dead' } as const
    bench.vhost.bindings.bind('amq.headers', dead, '', fieldTable({ x: 1 }), owner)
    bench.bind('amq.topic', 'dead', 'a')
    return bench
  }
  const tooBound = (bench: VhostBench, bound: boolean) => {
    const too = { kind: 'queue', name: 'dead-too' } as const
    if (bound) bench.bind('amq.topic', 'dead-too', 'b')
    else bench.vhost.bindings.unbind('amq.topic', too, 'b', [], owner)
  }
  const letters = (bench: VhostBench, { queue, reason, key, ...content }: Sample) => {
    const { headers, expiration, messageId } = content
    bench.publish({
      exchange: `to-${queue}`,
      routingKey: key,
      properties: {
        ...(headers !== null && { headers: fieldTable(headers) }),
        ...(expiration !== undefined && { expiration }),
        ...(messageId !== undefined && { messageId }),
      },
    })
    bench.kill(queue, reason)
    if (queue === 'q2') bench.kill('q1', reason)
    return ['dead', 'dead-too'].map(name => bench.takeAll(name))
  }
  fc.assert(
    fc.property(fc.array(change, { maxLength: 30, size: 'max' }), changes => {
      const together = create()
      let pausedMs = 0
      let death = first
      for (const change of changes) {
        death = { ...death, ...change }
        const alone = create()
        tooBound(together, death.bound)
        tooBound(alone, death.bound)
        pausedMs += death.pauseMs
        together.world.clock.advance(death.pauseMs)
        alone.world.clock.advance(pausedMs)
        deepStrictEqual(letters(together, death), letters(alone, death))
      }
    }),
    { seed: 7, numRuns: 100 },
  )
})

t.test('without their exchange, or with nowhere to go from it, they are dropped', async t => {
  const bench = new VhostBench()
  bench.declareQueue('q', { 'x-dead-letter-exchange': 'dlx' })
  bench.publish({ routingKey: 'q' })
  bench.kill('q', 'rejected')
  t.equal(bench.vhost.messages.count, 0)
  bench.declareExchange('dlx', 'fanout')
  bench.publish({ routingKey: 'q' })
  bench.kill('q', 'rejected')
  t.equal(bench.vhost.messages.count, 0)
  bench.declareQueue('dead')
  bench.bind('dlx', 'dead')
  bench.publish({ routingKey: 'q' })
  bench.kill('q', 'rejected')
  const [letter] = bench.takeAll('dead')
  t.match(letter, { exchange: 'dlx', routingKey: 'q' })
})

t.test('copies go where the copies went, unless the queue names a key', async t => {
  const bench = new VhostBench()
  const headers = fieldTable({ CC: ['b'], BCC: ['c'] })
  bench.declareQueue('a', { 'x-dead-letter-exchange': 'dlx' })
  bench.declareExchange('dlx', 'direct')
  for (const key of ['a', 'b', 'c']) {
    bench.declareQueue(`dead-${key}`)
    bench.bind('dlx', `dead-${key}`, key)
  }
  bench.publish({ routingKey: 'a', properties: { headers } })
  bench.kill('a', 'rejected')
  for (const key of ['a', 'b', 'c']) {
    const [letter] = bench.takeAll(`dead-${key}`) as [Taken]
    t.equal(letter.routingKey, 'a')
    const [death] = deathTables(letter.headers) as [FieldTable]
    t.same(lookup(death, 'routing-keys'), fieldTable({ keys: ['a', 'b'] })[0]?.value, 'no BCC')
    t.equal(lookup(letter.headers, 'BCC'), undefined)
  }
})

t.test('a purge, a deletion and an acknowledgement bury nothing; a refusal may', async t => {
  const bench = new VhostBench()
  const dead = bench.declareQueue('dead')
  const limits = { 'x-max-length': 1, 'x-overflow': 'reject-publish-dlx' }
  const queue = bench.declareQueue('q', { ...toQueue('dead'), ...limits })
  bench.publish({ routingKey: 'q' })
  bench.takeAll('q')
  bench.publish({ routingKey: 'q' })
  queue.purge()
  bench.publish({ routingKey: 'q' })
  bench.settle()
  t.equal(dead.readyCount, 0)
  bench.publish({ routingKey: 'q' })
  bench.settle()
  t.strictSame(bench.takeAll('dead').map(deathsOf), [[{ queue: 'q', reason: 'maxlen', count: 1 }]])
  bench.vhost.removeQueue(queue)
  bench.settle()
  t.equal(dead.readyCount, 0)
  t.equal(bench.vhost.messages.count, 0)
})

t.test('a queue cannot name a key that is too long for any message', async t => {
  const bench = new VhostBench()
  const named = (bytes: number) => ({
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': 'k'.repeat(bytes),
  })
  t.throws(() => bench.declareQueue('q', named(256)), {
    message:
      "PRECONDITION_FAILED - invalid arg 'x-dead-letter-routing-key' for queue 'q' in vhost '/': {value_too_large,256}",
  })
  bench.declareQueue('q', named(255))
  bench.declareQueue('k'.repeat(255))
  bench.publish({ routingKey: 'q' })
  bench.kill('q', 'rejected')
  t.equal(bench.takeAll('k'.repeat(255)).length, 1)
})

t.test('a letter that we fail to send takes no other with it', async t => {
  const bench = new VhostBench()
  const { router, messages } = bench.vhost
  bench.declareQueue('q', { ...toQueue('dead'), 'x-message-ttl': 10 })
  bench.declareQueue('dead')
  for (const messageId of ['a', 'b', 'c'])
    bench.publish({ routingKey: 'q', properties: { messageId } })
  const walk = router.walk
  router.walk = () => {
    router.walk = walk
    throw new Error('ours')
  }
  bench.world.clock.advance(10)
  t.throws(() => bench.settle(), { message: 'ours' })
  t.strictSame(
    bench.takeAll('dead').map(({ properties }) => properties.messageId),
    ['b', 'c'],
  )
  t.equal(messages.count, 0)
})

t.test('letters of messages that are not in memory wait for them, in order', async t => {
  const bench = new VhostBench()
  const { messages, paging } = bench.vhost
  const log = new SimulatedContents(messages, paging)
  bench.declareQueue('q', { ...toQueue('dead'), 'x-message-ttl': 10 })
  bench.declareQueue('dead')
  const count = 40
  for (let id = 0; id < count; id++)
    bench.publish({ routingKey: 'q', body: Buffer.alloc(id % 3 === 0 ? 10 : largeBytes, id) })
  log.pageOut()
  bench.world.clock.advance(10)
  for (let i = 0; i < 5 * count; i++) {
    bench.settle()
    if (i % 7 === 0) log.pageOut()
    log.answer(1)
  }
  log.answer()
  bench.settle()
  t.ok(log.answers > 20)
  for (let i = 0; i < count; i++) log.answer()
  const dead = bench.vhost.queues.get('dead')
  t.equal(dead?.readyCount, count)
  const bodies: number[] = []
  for (let i = 0; bodies.length < count && i < 1000; i++) {
    dead?.get(true, message => bodies.push(message.bytes[message.body + 7] as number))
    log.answer()
  }
  t.equal(bodies.length, count)
  t.same(
    bodies,
    Array.from({ length: count }, (_, id) => id),
  )
  t.equal(messages.count, 0)
})
