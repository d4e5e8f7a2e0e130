/** Where messages go, beside a model that looks at every binding every time. */
import { deepStrictEqual } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import type { Destination } from '../../src/broker/bindings.js'
import type { Route } from '../../src/broker/router.js'
import { fieldTable, type PlainTable } from '../../src/wire/field-table.js'
import { allocationsOf } from '../support/allocations.js'
import { contentOf, messageAt } from '../support/messages.js'
import { owner, VhostBench } from '../support/vhosts.js'

const types = ['direct', 'fanout', 'topic', 'headers'] as const
const exchangeNames = ['e0', 'e1', 'e2', 'e3', 'e4'] as const
const queueNames = ['q0', 'q1', 'q2', 'q3'] as const
const routingKeys = ['', 'a', 'b', 'a.b', 'a..b', 'a.b.c', '.', 'q0'] as const
const bindingKeys = [...routingKeys, '#', '*', 'a.*', '*.b', '#.b', 'a.#', '#.#', 'a.#.c'] as const
const tables: readonly PlainTable[] = [
  {},
  { x: 1 },
  { x: 1, y: 'z' },
  { y: 'z', x: 1 },
  { 'x-match': 'any', x: 1, y: 'z' },
  { 'x-match': 'any' },
  { 'x-match': 'all-with-x', 'x-a': 1 },
  { 'x-a': 1 },
  { y: null },
]
const headers: readonly PlainTable[] = [{}, { x: 1 }, { y: 'z' }, { x: 1, y: 'z' }, { 'x-a': 1 }]

interface ModelExchange {
  readonly type: (typeof types)[number]
  readonly autoDelete: boolean
  readonly alternate: string | null
}

interface ModelBinding {
  readonly source: string
  readonly to: Destination
  readonly key: string
  readonly table: PlainTable
}

/** The topology as lists. */
class Model {
  readonly exchanges = new Map<string, ModelExchange>()
  readonly queues = new Set<string>()
  bindings: ModelBinding[] = []
  /** The last routing came by a headers exchange. */
  readsHeaders = false

  bind(binding: ModelBinding): void {
    if (!this.bindings.some(other => same(other, binding))) this.bindings.push(binding)
  }

  unbind(binding: ModelBinding): void {
    this.#drop(other => same(other, binding))
  }

  deleteQueue(name: string): void {
    this.queues.delete(name)
    this.#drop(({ to }) => to.kind === 'queue' && to.name === name)
  }

  deleteExchange(name: string): void {
    if (!this.exchanges.delete(name)) return
    this.#drop(({ source, to }) => source === name || (to.kind === 'exchange' && to.name === name))
  }

  routes(from: string, key: string, headers: PlainTable): string[] {
    const queues = new Set<string>()
    const seen = new Set<string>()
    this.readsHeaders = false
    const visit = (name: string): void => {
      const exchange = this.exchanges.get(name)
      if (exchange === undefined || seen.has(name)) return
      seen.add(name)
      if (exchange.type === 'headers') this.readsHeaders = true
      const hits = this.bindings.filter(
        binding => binding.source === name && matches(exchange.type, binding, key, headers),
      )
      for (const { to } of hits)
        if (to.kind === 'queue') queues.add(to.name)
        else visit(to.name)
      if (hits.length === 0 && exchange.alternate !== null) visit(exchange.alternate)
    }
    visit(from)
    return [...queues].sort()
  }

  #drop(gone: (binding: ModelBinding) => boolean): void {
    const dropped = this.bindings.filter(gone)
    this.bindings = this.bindings.filter(binding => !gone(binding))
    for (const { source } of dropped)
      if (
        this.exchanges.get(source)?.autoDelete &&
        !this.bindings.some(other => other.source === source)
      )
        this.deleteExchange(source)
  }
}

function same(a: ModelBinding, b: ModelBinding): boolean {
  const text = ({ source, to, key, table }: ModelBinding) =>
    JSON.stringify([source, to.kind, to.name, key, Object.entries(table).sort()])
  return text(a) === text(b)
}

function matches(
  type: ModelExchange['type'],
  { key: pattern, table }: ModelBinding,
  key: string,
  headers: PlainTable,
): boolean {
  if (type === 'fanout') return true
  if (type === 'direct') return pattern === key
  if (type === 'topic') return topicMatches(words(pattern), words(key))
  const mode = String(table['x-match'] ?? 'all')
  const wanted = Object.entries(table).filter(([name]) =>
    mode.endsWith('-with-x') ? name !== 'x-match' : !name.startsWith('x-'),
  )
  const agrees = ([name, value]: [string, unknown]) =>
    name in headers && (value === null || value === headers[name])
  return mode.startsWith('any') ? wanted.some(agrees) : wanted.every(agrees)
}

function words(key: string): string[] {
  return key === '' ? [] : key.split('.')
}

function topicMatches([first, ...pattern]: string[], key: string[]): boolean {
  if (first === undefined) return key.length === 0
  if (first === '#')
    return (
      topicMatches(pattern, key) ||
      (key.length > 0 && topicMatches(['#', ...pattern], key.slice(1)))
    )
  return (
    key.length > 0 && (first === '*' || first === key[0]) && topicMatches(pattern, key.slice(1))
  )
}

const exchange = fc.constantFrom(...exchangeNames)
const queue = fc.constantFrom(...queueNames)
const destination: fc.Arbitrary<Destination> = fc.oneof(
  fc.record({ kind: fc.constant('queue' as const), name: queue }),
  fc.record({ kind: fc.constant('exchange' as const), name: exchange }),
)
const binding = fc.record({
  source: exchange,
  to: destination,
  key: fc.constantFrom(...bindingKeys),
  table: fc.constantFrom(...tables),
})
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('declare' as const),
      name: exchange,
      type: fc.constantFrom(...types),
      autoDelete: fc.boolean(),
      alternate: fc.option(exchange),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('declare-queue' as const), name: queue }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('bind' as const), binding }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('unbind' as const), which: fc.nat(), binding }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('delete' as const), name: exchange }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('delete-queue' as const), name: queue }) },
)

t.test('any topology routes as the model does, whatever was routed before', async () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 50, size: 'max' }), steps => {
      const bench = new VhostBench()
      const { vhost } = bench
      const model = new Model()
      const last = new Map<string, Route>()
      for (const step of steps) {
        switch (step.do) {
          case 'declare': {
            const { name, type, autoDelete, alternate } = step
            if (model.exchanges.has(name)) break
            model.exchanges.set(name, { type, autoDelete, alternate })
            bench.declareExchange(name, type, {
              autoDelete,
              arguments: alternate === null ? {} : { 'alternate-exchange': alternate },
            })
            break
          }
          case 'declare-queue':
            model.queues.add(step.name)
            bench.declareQueue(step.name)
            break
          case 'bind': {
            const { source, to, key, table } = step.binding
            const ends = to.kind === 'queue' ? model.queues : model.exchanges
            if (!model.exchanges.has(source) || !ends.has(to.name)) break
            model.bind(step.binding)
            vhost.bindings.bind(source, to, key, fieldTable(table), owner)
            break
          }
          case 'unbind': {
            // Mostly one that exists.
            const { bindings } = model
            const chosen = bindings[step.which % (bindings.length + 1)] ?? step.binding
            model.unbind(chosen)
            const { source, to, key, table } = chosen
            vhost.bindings.unbind(source, to, key, fieldTable(table), owner)
            break
          }
          case 'delete':
            model.deleteExchange(step.name)
            vhost.deleteExchange(step.name, false)
            break
          case 'delete-queue':
            model.deleteQueue(step.name)
            vhost.deleteQueue(step.name, owner, { ifUnused: false, ifEmpty: false }, () => {})
        }
        deepStrictEqual(
          exchangeNames.filter(name => vhost.exchanges.has(name)),
          exchangeNames.filter(name => model.exchanges.has(name)),
        )
        for (const from of model.exchanges.keys()) {
          for (const key of ['a', 'a.b', '']) {
            const message = messageTo({ exchange: from, routingKey: key })
            const route = vhost.router.route(message, last.get(from) ?? null)
            last.set(from, route)
            const expected = model.routes(from, key, {})
            deepStrictEqual(route.varies, model.readsHeaders)
            deepStrictEqual(names(route.queues), route.varies ? [] : expected)
          }
        }
      }
      for (const from of model.exchanges.keys())
        for (const key of routingKeys)
          for (const table of headers) {
            const exchange = vhost.exchange(from)
            const queues = vhost.router.walk(exchange, [key], { headers: fieldTable(table) })
            deepStrictEqual(names(queues), model.routes(from, key, table))
          }
      deepStrictEqual(
        exchangeNames.map(name => [...(vhost.exchanges.get(name)?.allBindings() ?? [])].length),
        exchangeNames.map(name => model.bindings.filter(({ source }) => source === name).length),
      )
    }),
    { seed: 23, numRuns: 250 },
  )
})

function names(queues: readonly { readonly name: string }[]): string[] {
  return queues.map(({ name }) => name).sort()
}

t.test('a binding is the same by its ends, key and arguments in any order', async t => {
  const bench = new VhostBench()
  const { vhost } = bench
  bench.declareQueue('same')
  bench.declareQueue('behind')
  bench.declareExchange('same', 'fanout')
  bench.bind('same', 'behind')
  const source = vhost.exchange('amq.direct')
  const queue = { kind: 'queue', name: 'same' } as const
  const exchange = { kind: 'exchange', name: 'same' } as const
  const reached = () => names(vhost.router.walk(source, ['k'], {}))

  vhost.bindings.bind('amq.direct', queue, 'k', fieldTable({ a: 1, b: 2 }), owner)
  vhost.bindings.bind('amq.direct', queue, 'k', fieldTable({ b: 2, a: 1 }), owner)
  t.equal(source.bindings.size, 1)
  vhost.bindings.bind('amq.direct', exchange, 'k', fieldTable({ a: 1, b: 2 }), owner)
  t.strictSame(reached(), ['behind', 'same'])
  vhost.bindings.unbind('amq.direct', queue, 'k', fieldTable({ a: 1 }), owner)
  vhost.bindings.unbind('amq.direct', queue, 'l', fieldTable({ a: 1, b: 2 }), owner)
  t.strictSame(reached(), ['behind', 'same'], 'those were others')
  vhost.bindings.unbind('amq.direct', queue, 'k', fieldTable({ b: 2, a: 1 }), owner)
  t.strictSame(reached(), ['behind'])
  vhost.bindings.unbind('amq.direct', exchange, 'k', fieldTable({ a: 1, b: 2 }), owner)
  t.strictSame(reached(), [])
})

t.test('a void in the arguments of a binding asks only whether the header is there', async t => {
  const bench = new VhostBench()
  const { vhost } = bench
  bench.declareQueue('q')
  const queue = { kind: 'queue', name: 'q' } as const
  vhost.bindings.bind('amq.headers', queue, '', fieldTable({ y: null }), owner)
  const exchange = vhost.exchange('amq.headers')
  const reached = (table: PlainTable) =>
    vhost.router.walk(exchange, [], { headers: fieldTable(table) }).length
  t.strictSame([{ y: 'z' }, { y: null }, { x: 1 }, {}].map(reached), [1, 1, 0, 0])
})

t.test('a route is kept while nothing changes, and for its address only', async t => {
  const bench = new VhostBench()
  const { router } = bench.vhost
  bench.declareQueue('q')
  const message = messageTo({ exchange: '', routingKey: 'q' })
  const first = router.route(message, null)
  t.equal(router.route(message, null), first)
  t.equal(router.route(messageTo({ exchange: '', routingKey: 'q' }), first), first)
  const other = router.route(messageTo({ exchange: '', routingKey: 'r' }), first)
  t.strictSame([other.key, other.queues], ['r', []])
  bench.declareQueue('r')
  t.not(router.route(message, first), first, 'a queue has come')
  t.strictSame(names(router.route(messageTo({ routingKey: 'r' }), other).queues), ['r'])
})

t.test('the default exchange knows queues by their names, each once', async t => {
  const bench = new VhostBench()
  const { vhost } = bench
  for (const name of ['q', 'r']) bench.declareQueue(name)
  const exchange = vhost.exchange('')
  t.strictSame(names(vhost.router.walk(exchange, ['q', 'none', 'r', 'q'], {})), ['q', 'r'])
})

t.test('several keys of one message find each queue once', async t => {
  const bench = new VhostBench()
  const { vhost } = bench
  bench.declareQueue('q')
  for (const key of ['a.*', '#', 'a.b'])
    vhost.bindings.bind('amq.topic', { kind: 'queue', name: 'q' }, key, [], owner)
  const topic = vhost.exchange('amq.topic')
  t.strictSame(names(vhost.router.walk(topic, ['a.b', 'a.c'], {})), ['q'])
})

t.test('an exchange that is missing, or has no name at all, is refused', async t => {
  const { router } = new VhostBench().vhost
  t.throws(() => router.route(messageTo({ exchange: 'nox' }), null), {
    reply: 'NOT_FOUND',
    message: "NOT_FOUND - no exchange 'nox' in vhost '/'",
  })
  const message = messageTo({ exchange: 'x', routingKey: 'abc' })
  message.bytes[message.start + 3] = 0xff
  t.throws(() => router.route(message, null), {
    message: 'FRAME_ERROR - Malformed UTF-8 in shortstr',
  })
})

t.test('more addresses than routes are kept are all routed right', async t => {
  const bench = new VhostBench()
  const { vhost } = bench
  bench.declareQueue('q')
  vhost.bindings.bind('amq.direct', { kind: 'queue', name: 'q' }, 'k77', [], owner)
  const route = (i: number) =>
    vhost.router.route(messageTo({ exchange: 'amq.direct', routingKey: `k${i}` }), null)
  for (const round of [1, 2])
    for (let i = 0; i < 10_000; i++)
      if (route(i).queues.length !== (i === 77 ? 1 : 0) || route(i).key !== `k${i}`)
        t.fail(`k${i} in round ${round}`)
})

t.test('routes to many queues are kept only as far as their lists stay small', async t => {
  const bench = new VhostBench()
  const { router } = bench.vhost
  for (let i = 0; i < 1024; i++) {
    bench.declareQueue(`q${i}`)
    bench.bind('amq.fanout', `q${i}`)
  }
  const routes = (keys: number) =>
    Array.from({ length: keys }, (_, i) =>
      router.route(messageTo({ exchange: 'amq.fanout', routingKey: `k${i}` }), null),
    )
  const keptOf = (keys: number) => {
    const before = routes(keys)
    return routes(keys).filter((route, i) => route === before[i]).length
  }
  t.equal(keptOf(32), 32)
  t.ok(keptOf(2000) <= 256, 'not 2 million entries')
  t.equal(keptOf(32), 32, 'and again, when there are fewer')
  t.ok(routes(2000).every(({ queues }) => queues.length === 1024))
})

t.test('a chain of auto-delete exchanges of any length goes with the queue at its end', async t => {
  const bench = new VhostBench()
  const { vhost } = bench
  const before = vhost.exchanges.size
  const links = 20_000
  for (let i = 0; i < links; i++) {
    bench.declareExchange(`e${i}`, 'fanout', { autoDelete: true })
    if (i > 0) vhost.bindings.bind(`e${i - 1}`, { kind: 'exchange', name: `e${i}` }, '', [], owner)
  }
  const queue = bench.declareQueue('q')
  bench.bind(`e${links - 1}`, 'q')
  vhost.removeQueue(queue)
  t.equal(vhost.exchanges.size, before)
})

t.test(
  'removing what has many bindings costs little for each, and forgets routes once',
  async t => {
    const remove: Record<string, (bench: VhostBench) => void> = {
      queue: ({ vhost }) => vhost.removeQueue(vhost.queue('q', owner)),
      exchange: ({ vhost }) => vhost.deleteExchange('x', false),
    }
    for (const [what, removed] of Object.entries(remove)) {
      const bench = new VhostBench()
      const { router } = bench.vhost
      bench.declareQueue('q')
      bench.declareExchange('x', 'direct')
      for (let i = 0; i < 100; i++) bench.bind('x', 'q', `k${i}`)
      let changes = 0
      const changed = router.changed.bind(router)
      router.changed = () => {
        changes++
        changed()
      }
      t.strictSame(
        allocationsOf(() => removed(bench)),
        [],
        `${what}: no identity is made again`,
      )
      t.equal(changes, 1, what)
    }
  },
)

function messageTo(address: { readonly exchange?: string; readonly routingKey?: string }) {
  return messageAt(contentOf(address))
}
