/** Policies of a vhost: what rules which queue and exchange, and what changes under those that are there. */
import { deepStrictEqual, strictEqual } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import type { PolicyKind } from '../../../src/broker/policies/definition.js'
import type { Ruling } from '../../../src/broker/policies/ruling.js'
import { standardRules } from '../../../src/broker/queues/host.js'
import type { Queue } from '../../../src/broker/queues/queue.js'
import type { QueueSettings } from '../../../src/broker/queues/settings.js'
import { fieldTable, type PlainTable } from '../../../src/wire/field-table.js'
import { FakeClock } from '../../support/fake-clock.js'
import { owner, VhostBench } from '../../support/vhosts.js'
import { QueueModel } from '../queues/queue-model.js'

type Says = Readonly<Record<string, unknown>>

class PolicyBench extends VhostBench {
  set(name: string, definition: Says, more: Says = {}, kind: PolicyKind = 'policy'): void {
    this.vhost.policies.set(kind, name, { pattern: '', definition, ...more })
  }

  operator(name: string, definition: Says, more: Says = {}): void {
    this.set(name, definition, more, 'operator_policy')
  }

  /** As many messages as that, with bodies of one octet. */
  fill(queue: string, count: number): void {
    for (let i = 0; i < count; i++) this.publish({ routingKey: queue, body: Buffer.from([i]) })
  }

  exchange(name: string) {
    return this.vhost.exchange(name)
  }
}

const names = ({ policy, operatorPolicy }: Ruling) => [policy?.name, operatorPolicy?.name]

t.test('of the policies that match the one with the highest priority rules', async t => {
  const bench = new PolicyBench()
  const queue = bench.declareQueue('orders.eu')
  bench.set('low', { expires: 1000 })
  bench.set('high', { 'max-length': 5 }, { pattern: '^orders', priority: 2 })
  bench.set('other', { 'max-length': 1 }, { pattern: '^invoices', priority: 9 })
  bench.set('exchanges', { 'alternate-exchange': 'a' }, { applyTo: 'exchanges', priority: 9 })
  bench.operator('cap', { 'max-length': 3 }, { applyTo: 'classic_queues' })
  bench.operator('quorum cap', { 'max-length': 1 }, { applyTo: 'quorum_queues', priority: 7 })
  bench.settle()
  t.strictSame(names(queue.ruling), ['high', 'cap'])
  t.strictSame([...queue.ruling.definition], [['max-length', 3]], 'nothing of the lower one')
  t.strictSame(names(bench.exchange('amq.direct').ruling), ['exchanges', undefined])
  bench.vhost.policies.remove('policy', 'high')
  bench.settle()
  t.strictSame(names(queue.ruling), ['low', 'cap'])
  t.equal(queue.settings.maxLength, 3)
  t.equal(queue.settings.expiresMs, 1000)
  t.strictSame(names(bench.vhost.policies.rulingOfQueue('invoices', 'quorum')), [
    'other',
    'quorum cap',
  ])
  for (const name of ['low', 'other', 'exchanges']) bench.vhost.policies.remove('policy', name)
  for (const name of ['cap', 'quorum cap']) bench.vhost.policies.remove('operator_policy', name)
  bench.settle()
  t.strictSame(names(queue.ruling), [undefined, undefined])
  t.equal(queue.settings.maxLength, -1)
})

t.test('where a policy is for no such type of queue the next one rules', async t => {
  const bench = new PolicyBench()
  const queue = bench.declareQueue('q')
  bench.set('for quorum', { 'delivery-limit': 5, 'max-length': 1 }, { priority: 2 })
  bench.set('for all', { 'max-length': 2 })
  bench.settle()
  t.strictSame(names(queue.ruling), ['for all', undefined])
  t.equal(queue.settings.maxLength, 2)
  t.strictSame(names(bench.vhost.policies.rulingOfQueue('q', 'quorum')), ['for quorum', undefined])
})

t.test('policies are listed by priority, replaced by name, and gone when removed', async t => {
  const bench = new PolicyBench()
  const { policies } = bench.vhost
  bench.set('b', { expires: 1 })
  bench.set('a', { expires: 1 }, { priority: -1 })
  bench.set('c', { expires: 1 }, { priority: 3, applyTo: 'queues', pattern: '^c' })
  bench.operator('b', { expires: 2 })
  bench.set('b', { 'max-length': 9, 'ha-mode': 'all' }, { priority: 1 })
  const listed = (kind: PolicyKind) =>
    policies
      .all(kind)
      .map(({ name, pattern, applyTo, priority, definition }) => [
        name,
        pattern,
        applyTo,
        priority,
        Object.fromEntries(definition),
      ])
  t.strictSame(listed('policy'), [
    ['c', '^c', 'queues', 3, { expires: 1 }],
    ['b', '', 'all', 1, { 'max-length': 9, 'ha-mode': 'all' }],
    ['a', '', 'all', -1, { expires: 1 }],
  ])
  t.strictSame(listed('operator_policy'), [['b', '', 'all', 0, { expires: 2 }]])
  t.throws(() => bench.set('a', {}), { message: 'PRECONDITION_FAILED - no policy provided' })
  t.equal(policies.get('policy', 'a')?.priority, -1, 'one that is refused changes nothing')
  policies.remove('policy', 'a')
  t.equal(policies.get('policy', 'a'), undefined)
  t.throws(() => policies.remove('policy', 'a'), {
    message: "NOT_FOUND - no policy 'a' in vhost '/'",
  })
})

/** Values of policy, operator policy and argument, and what comes of them; undefined where one says nothing. */
const precedence: readonly (readonly [
  key: string,
  setting: keyof QueueSettings,
  policy: unknown,
  operator: unknown,
  argument: PlainTable[string] | undefined,
  classic: unknown,
  quorum: unknown,
])[] = [
  ['message-ttl', 'messageTtlMs', 10, 20, 30, 10, 10],
  ['message-ttl', 'messageTtlMs', 20, 10, 30, 10, 10],
  ['message-ttl', 'messageTtlMs', 20, 30, 10, 10, 10],
  ['message-ttl', 'messageTtlMs', undefined, undefined, 5, 5, 5],
  ['message-ttl', 'messageTtlMs', 10 ** 15, undefined, undefined, 315_360_000_000, 315_360_000_000],
  ['expires', 'expiresMs', 10, 20, 30, 10, 10],
  ['expires', 'expiresMs', 30, 20, undefined, 20, 20],
  ['max-length', 'maxLength', 10, 20, 0, 0, 0],
  ['max-length', 'maxLength', undefined, 20, 30, 20, 20],
  ['max-length-bytes', 'maxLengthBytes', 10, 20, 30, 10, 10],
  [
    'overflow',
    'overflow',
    'reject-publish',
    undefined,
    undefined,
    'reject-publish',
    'reject-publish',
  ],
  ['overflow', 'overflow', 'reject-publish', 'drop-head', undefined, 'drop-head', 'drop-head'],
  ['overflow', 'overflow', 'reject-publish', undefined, 'drop-head', 'drop-head', 'reject-publish'],
  ['dead-letter-exchange', 'deadLetterExchange', 'p', undefined, 'a', 'a', 'a'],
  ['dead-letter-exchange', 'deadLetterExchange', 'p', undefined, undefined, 'p', 'p'],
  [
    'dead-letter-strategy',
    'deadLetterStrategy',
    'at-least-once',
    undefined,
    undefined,
    '-',
    'at-least-once',
  ],
  [
    'dead-letter-strategy',
    'deadLetterStrategy',
    'at-least-once',
    undefined,
    'at-most-once',
    '-',
    'at-most-once',
  ],
  ['delivery-limit', 'deliveryLimit', 5, 3, 4, '-', 3],
  ['delivery-limit', 'deliveryLimit', -1, 3, 4, '-', 3],
  ['delivery-limit', 'deliveryLimit', 5, -1, undefined, '-', 5],
  ['delivery-limit', 'deliveryLimit', 5, undefined, -1, '-', 5],
  ['delivery-limit', 'deliveryLimit', -1, undefined, undefined, '-', -1],
  ['delivery-limit', 'deliveryLimit', undefined, undefined, -1, -1, -1],
  ['delivery-limit', 'deliveryLimit', undefined, undefined, undefined, null, null],
  ['consumer-timeout', 'consumerTimeoutMs', 10, undefined, 20, 10, 10],
  ['consumer-timeout', 'consumerTimeoutMs', undefined, undefined, undefined, -1, -1],
  ['delayed-retry-type', 'delayedRetryType', 'disabled', undefined, 'all', '-', 'disabled'],
  ['delayed-retry-type', 'delayedRetryType', undefined, 'disabled', 'all', '-', 'disabled'],
  ['delayed-retry-type', 'delayedRetryType', undefined, undefined, 'all', '-', 'all'],
  ['delayed-retry-min', 'delayedRetryMinMs', 10, 20, undefined, '-', 20],
  ['delayed-retry-min', 'delayedRetryMinMs', 10, 20, 5, '-', 5],
  ['delayed-retry-max', 'delayedRetryMaxMs', 10, 20, 30, '-', 10],
]

t.test('policy, operator policy and argument come together as the matrix says', async t => {
  for (const [key, setting, policy, operator, argument, classic, quorum] of precedence) {
    const bench = new PolicyBench()
    if (policy !== undefined) bench.set('p', { [key]: policy })
    if (operator !== undefined) bench.operator('o', { [key]: operator })
    for (const type of ['classic', 'quorum'] as const) {
      const expected = type === 'classic' ? classic : quorum
      if (expected === '-') continue
      const table = fieldTable({
        'x-queue-type': type,
        ...(argument !== undefined && { [`x-${key}`]: argument }),
      })
      const { policies } = bench.vhost
      const settings = policies.rulingOfQueue('q', type).settingsOf(table)
      t.equal(settings[setting], expected, `${key} ${policy} ${operator} ${argument} on ${type}`)
    }
  }
})

t.test('an operator policy caps what a policy says of other things too', async t => {
  const bench = new PolicyBench()
  bench.set('p', { 'target-group-size': 3, 'member-placement-tag': 'a', 'queue-version': 1 })
  bench.operator('o', { 'target-group-size': 5, 'member-placement-tag': 'b', 'queue-version': 2 })
  const { definition } = bench.vhost.policies.rulingOfQueue('q', 'quorum')
  t.strictSame(Object.fromEntries(definition), {
    'target-group-size': 5,
    'member-placement-tag': 'b',
    'queue-version': 2,
  })
})

t.test('a new length limit drops what is too much, to the dead letter exchange', async t => {
  const bench = new PolicyBench()
  const queue = bench.declareQueue('q', {
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': 'dead',
  })
  bench.declareQueue('dead')
  bench.fill('q', 5)
  bench.set('p', { 'max-length': 2 }, { pattern: '^q$' })
  bench.settle()
  const dead = bench.takeAll('dead')
  t.strictSame(
    dead.map(({ body }) => body[0]),
    [0, 1, 2],
  )
  t.ok(dead.every(({ headers }) => JSON.stringify(headers).includes('x-first-death-reason')))
  const reason = dead[0]?.headers.find(({ key }) => key === 'x-first-death-reason')
  t.equal(String(reason?.value.value), 'maxlen')
  t.equal(queue.readyCount, 2)
  bench.set('p', { 'max-length-bytes': 1 }, { pattern: '^q$' })
  bench.settle()
  t.equal(queue.readyCount, 1)
  bench.vhost.policies.remove('policy', 'p')
  bench.settle()
  bench.fill('q', 5)
  t.equal(queue.readyCount, 6)
})

t.test('a new time to live is for new messages, and gone with its policy', async t => {
  const bench = new PolicyBench()
  const queue = bench.declareQueue('q')
  bench.fill('q', 1)
  bench.set('p', { 'message-ttl': 100 })
  bench.settle()
  bench.fill('q', 1)
  bench.world.clock.advance(100)
  bench.settle()
  t.equal(queue.readyCount, 2, 'behind one that stays, the expired one waits, as in RabbitMQ')
  t.equal(bench.takeAll('q').length, 1)
  bench.fill('q', 2)
  bench.vhost.policies.remove('policy', 'p')
  bench.settle()
  bench.fill('q', 1)
  bench.world.clock.advance(100)
  bench.settle()
  t.equal(queue.readyCount, 1, 'those of its time still expire')
  bench.world.clock.advance(10 * 365 * 86_400_000)
  bench.settle()
  t.equal(queue.readyCount, 1)
})

t.test('a queue that nobody uses expires as soon as a policy says so', async t => {
  const bench = new PolicyBench()
  for (const name of ['a', 'b', 'c']) bench.declareQueue(name)
  bench.declareQueue('short', { 'x-expires': 50 })
  bench.world.clock.advance(40)
  bench.set('p', { expires: 100 }, { pattern: '^[ab]$|short' })
  bench.settle()
  bench.world.clock.advance(49)
  bench.settle()
  t.ok(bench.vhost.queues.has('short'), 'its time begins again')
  bench.world.clock.advance(1)
  bench.settle()
  t.notOk(bench.vhost.queues.has('short'), 'and the shorter of both counts')
  bench.vhost.queue('a', owner).used()
  bench.world.clock.advance(50)
  bench.settle()
  t.strictSame([...bench.vhost.queues.keys()], ['a', 'c'])
  bench.vhost.policies.remove('policy', 'p')
  bench.settle()
  bench.world.clock.advance(1000)
  bench.settle()
  t.strictSame([...bench.vhost.queues.keys()], ['a', 'c'])
})

t.test('what is refused and where dead letters go changes under a queue', async t => {
  const bench = new PolicyBench()
  const queue = bench.declareQueue('q', { 'x-max-length': 1 })
  for (const name of ['one', 'two']) bench.declareQueue(name)
  bench.fill('q', 2)
  t.equal(queue.readyCount, 1, 'dropped to nowhere')
  const to = (name: string) => ({ 'dead-letter-exchange': '', 'dead-letter-routing-key': name })
  bench.set('p', { ...to('one'), overflow: 'reject-publish-dlx' }, { pattern: 'q' })
  bench.settle()
  bench.publish({ routingKey: 'q', body: Buffer.from('refused') })
  bench.settle()
  t.strictSame(
    bench.takeAll('one').map(({ body }) => body.toString()),
    ['refused'],
  )
  bench.set('p', to('two'), { pattern: 'q' })
  bench.settle()
  for (const body of ['dropped', 'third'])
    bench.publish({ routingKey: 'q', body: Buffer.from(body) })
  bench.settle()
  t.strictSame(
    bench.takeAll('two').map(({ body }) => body.toString()),
    ['\u0001', 'dropped'],
  )
  bench.vhost.policies.remove('policy', 'p')
  bench.settle()
  bench.fill('q', 1)
  bench.settle()
  t.equal(bench.takeAll('one').length + bench.takeAll('two').length, 0)
})

t.test('an alternate exchange by policy counts at once, but an own one before it', async t => {
  const bench = new PolicyBench()
  bench.declareExchange('x', 'direct')
  bench.declareExchange('own', 'direct', { arguments: { 'alternate-exchange': 'amq.fanout' } })
  bench.declareQueue('lost')
  bench.declareQueue('found')
  bench.declareExchange('alternate', 'fanout')
  bench.bind('alternate', 'lost')
  bench.bind('amq.fanout', 'found')
  const publish = () => {
    for (const exchange of ['x', 'own', '']) bench.publish({ exchange, routingKey: 'nowhere' })
    bench.settle()
    return ['lost', 'found'].map(name => bench.takeAll(name).length)
  }
  t.strictSame(publish(), [0, 1])
  bench.set('p', { 'alternate-exchange': 'alternate' })
  bench.settle()
  t.strictSame(publish(), [1, 1])
  bench.declareExchange('late', 'direct')
  bench.publish({ exchange: 'late', routingKey: 'nowhere' })
  t.equal(bench.takeAll('lost').length, 1, 'also for one that is declared later')
  bench.set('p', { 'alternate-exchange': 'nowhere' })
  bench.settle()
  t.strictSame(publish(), [0, 1])
  bench.vhost.policies.remove('policy', 'p')
  bench.settle()
  t.equal(bench.exchange('x').alternate, null)
  t.equal(bench.exchange('own').alternate, 'amq.fanout')
})

/** Each look at it takes a while, as if what is done between them did. */
class SlowClock extends FakeClock {
  lookMs = 0
  #spent = 0

  override monotonicMs(): number {
    this.#spent += this.lookMs
    return super.monotonicMs() + this.#spent
  }
}

t.test('a hundred thousand queues are ruled in steps, by the last that was said', async t => {
  const clock = new SlowClock()
  const bench = new PolicyBench(clock)
  const queues = Array.from({ length: 100_000 }, (_, i) => bench.declareQueue(`q${i}`))
  const count = (maxLength: number) =>
    queues.filter(({ settings }) => settings.maxLength === maxLength).length
  clock.lookMs = 0.01
  bench.set('p', { 'max-length': 1 })
  bench.world.turns.end()
  const first = count(1)
  t.ok(first > 100 && first < 250, `${first} in the first 2 ms`)
  t.equal(bench.declareQueue('new').settings.maxLength, 1, 'a new one need not wait')
  bench.set('p', { 'max-length': 2 })
  let turns = 0
  for (; bench.world.turns.waiting; turns++) bench.world.turns.end()
  t.equal(count(2), queues.length)
  t.ok(turns > 500, `${turns} turns`)
  t.equal(new Set(queues.map(({ settings }) => settings)).size, 1, 'which share what they are told')
})

// --- any sequence, beside a plain model

const definitions = fc.record(
  {
    'max-length': fc.nat(5),
    'max-length-bytes': fc.nat(8),
    'message-ttl': fc.constantFrom(0, 10, 25, 40),
    overflow: fc.constantFrom('drop-head', 'reject-publish'),
    'dead-letter-routing-key': fc.constantFrom('a', 'b'),
  },
  { requiredKeys: [] },
)

const policyName = fc.constantFrom('p1', 'p2', 'p3')
const queueName = fc.constantFrom('a', 'ab', 'b', 'bc')
const kind = fc.constantFrom<PolicyKind>('policy', 'operator_policy')

type Step =
  | {
      do: 'set'
      kind: PolicyKind
      name: string
      pattern: string
      priority: number
      applyTo: string
      definition: Record<string, unknown>
    }
  | { do: 'remove'; kind: PolicyKind; name: string }
  | { do: 'declare'; name: string; args: PlainTable }
  | { do: 'publish'; name: string; expirationMs: number; size: number }
  | { do: 'get'; name: string }
  | { do: 'delete'; name: string }
  | { do: 'pass'; ms: number }
  | { do: 'settle' }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('set' as const),
      kind,
      name: policyName,
      pattern: fc.constantFrom('', '^a', 'b', '^(?!a)', 'c$'),
      priority: fc.integer({ min: -1, max: 2 }),
      applyTo: fc.constantFrom('all', 'queues', 'classic_queues', 'quorum_queues', 'exchanges'),
      definition: definitions,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('remove' as const), kind, name: policyName }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('declare' as const),
      name: queueName,
      args: fc.record(
        {
          'x-max-length': fc.nat(5),
          'x-message-ttl': fc.constantFrom(0, 15, 30),
          'x-overflow': fc.constantFrom('drop-head', 'reject-publish'),
        },
        { requiredKeys: [], noNullPrototype: true },
      ),
    }),
  },
  {
    weight: 14,
    arbitrary: fc.record({
      do: fc.constant('publish' as const),
      name: queueName,
      expirationMs: fc.constantFrom(-1, -1, 5, 20),
      size: fc.nat(3),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('get' as const), name: queueName }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('delete' as const), name: queueName }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(5, 10) }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('settle' as const) }) },
)

type Ruled = Readonly<Partial<Record<'overflow' | 'dead-letter-routing-key', unknown>>>

/** Policies as they were asked for, looked through from end to end. */
class PolicyModel {
  readonly asked: Record<PolicyKind, (Step & { do: 'set' })[]> = { policy: [], operator_policy: [] }

  effective(name: string, args: PlainTable): Record<string, unknown> {
    const first = (kind: PolicyKind) =>
      this.asked[kind]
        .filter(({ applyTo }) => ['all', 'queues', 'classic_queues'].includes(applyTo))
        .filter(({ pattern }) => new RegExp(pattern).test(name))
        .sort((a, b) => b.priority - a.priority || a.name.localeCompare(b.name))[0]?.definition ??
      {}
    const user: Ruled & Record<string, unknown> = first('policy')
    const operator: Ruled & Record<string, unknown> = first('operator_policy')
    const least = (key: string) => {
      const all = [user[key], operator[key], args[`x-${key}`]].filter(value => value !== undefined)
      return all.length === 0 ? -1 : Math.min(...(all as number[]))
    }
    return {
      maxLength: least('max-length'),
      maxLengthBytes: least('max-length-bytes'),
      messageTtlMs: least('message-ttl'),
      overflow: args['x-overflow'] ?? operator.overflow ?? user.overflow ?? 'drop-head',
      deadLetterRoutingKey: user['dead-letter-routing-key'] ?? null,
    }
  }
}

const getter = { name: 'get', priority: 0, noAck: true, limit: 0 }

interface Kept {
  readonly queue: Queue
  readonly args: PlainTable
  readonly model: QueueModel
}

/** The vhost and the model, which do the same and are compared. */
class Pair {
  readonly #bench = new PolicyBench()
  readonly #policies = new PolicyModel()
  readonly #kept = new Map<string, Kept>()
  #ids = 0
  changes = 0

  run(step: Step): void {
    const bench = this.#bench
    const kept = 'name' in step ? this.#kept.get(step.name) : undefined
    switch (step.do) {
      case 'set': {
        const { kind, name, do: _, ...request } = step
        if (Object.keys(step.definition).length === 0) return
        // An operator has nothing to say about dead letters.
        if (kind === 'operator_policy' && 'dead-letter-routing-key' in step.definition) return
        bench.vhost.policies.set(kind, name, request)
        this.#forget(step)
        this.#policies.asked[kind].push(step)
        break
      }
      case 'remove':
        if (bench.vhost.policies.get(step.kind, step.name) === undefined) return
        bench.vhost.policies.remove(step.kind, step.name)
        this.#forget(step)
        break
      case 'declare': {
        if (kept !== undefined) return
        const queue = bench.declareQueue(step.name, step.args)
        const model = new QueueModel(this.#settings(queue, step.args), standardRules)
        model.now = bench.world.clock.monotonicMs()
        this.#kept.set(step.name, { queue, args: step.args, model })
        break
      }
      case 'publish': {
        const id = this.#ids++
        const expiration = step.expirationMs < 0 ? {} : { expiration: `${step.expirationMs}` }
        const body = Buffer.alloc(step.size)
        bench.publish({
          routingKey: step.name,
          properties: { messageId: `${id}`, ...expiration },
          body,
        })
        kept?.model.publish(id, 0, step.expirationMs, step.size)
        break
      }
      case 'get': {
        const got: number[] = []
        kept?.queue.get(true, message => got.push(message.bodySize))
        const expected = kept?.model.ready[0]
        deepStrictEqual(got, expected === undefined ? [] : [expected.size])
        kept?.model.get(getter)
        break
      }
      case 'delete':
        if (kept === undefined) return
        bench.vhost.removeQueue(kept.queue)
        this.#kept.delete(step.name)
        break
      case 'pass':
        bench.world.clock.advance(step.ms)
        for (const { model } of this.#kept.values()) {
          model.now += step.ms
          model.expire()
        }
        break
      case 'settle':
        this.#settle()
    }
    bench.world.clock.advance(0)
    for (const { queue, model } of this.#kept.values()) this.#compare(queue, model)
  }

  /** What was said by the end of the turn counts for what was there before. */
  #settle(): void {
    this.#bench.settle()
    for (const { queue, args, model } of this.#kept.values()) {
      const before = model.ready.length
      model.apply(this.#settings(queue, args))
      if (model.ready.length < before) this.changes++
    }
  }

  /** The settings that the queue should have, once all that was said has reached it. */
  #settings(queue: Queue, args: PlainTable): QueueSettings {
    const expected = this.#policies.effective(queue.name, args)
    const actual = queue.settings as unknown as Record<string, unknown>
    for (const [key, value] of Object.entries(expected)) strictEqual(actual[key], value, key)
    return { ...queue.settings, ...expected }
  }

  #forget({ kind, name }: { readonly kind: PolicyKind; readonly name: string }): void {
    const { asked } = this.#policies
    asked[kind] = asked[kind].filter(other => other.name !== name)
  }

  #compare(queue: Queue, model: QueueModel): void {
    strictEqual(queue.readyCount, model.ready.length)
    strictEqual(queue.readyBytes, model.readyBytes)
    strictEqual(queue.publishedCount, model.published)
    strictEqual(model.published, model.ready.length + model.left.size)
  }

  /** What is in the queues at the end is what the model has there. */
  finish(): void {
    this.#settle()
    for (const [name, { model }] of this.#kept) {
      const expected: string[] = []
      for (let [head] = model.ready; head !== undefined; [head] = model.ready) {
        expected.push(`${head.id}`)
        model.get(getter)
      }
      const taken = this.#bench.takeAll(name)
      deepStrictEqual(
        taken.map(({ properties }) => properties.messageId),
        expected,
      )
    }
  }
}

t.test('policies that change under load leave in each queue what the model has', async t => {
  let dropped = 0
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100, size: 'max' }), steps => {
      const pair = new Pair()
      for (const step of steps) pair.run(step)
      pair.finish()
      dropped += pair.changes
    }),
    { seed: 29, numRuns: 300 },
  )
  t.ok(dropped > 20, `${dropped} times something was too much when a policy came`)
})
