import { createRequire } from 'node:module'
import t, { type Test } from 'tap'
import { openBroker } from '../support/broker.js'
import { openTcpProxy } from '../support/tcp-proxy.js'
import { uniqueName } from '../support/temporary.js'
import { eventually } from '../support/waiting.js'

/** What these tests use of rascal, which comes without types. */
interface Rascal {
  publish(publication: string, body: unknown, overrides?: object): Promise<Emitter>
  subscribe(subscription: string): Promise<Emitter & { cancel(): Promise<void> }>
  nuke(): Promise<void>
  on(event: string, listener: (...args: never[]) => void): this
}

interface Emitter {
  on(event: string, listener: (...args: never[]) => void): this
}

interface Message {
  readonly properties: { readonly headers: Record<string, unknown> }
  readonly fields: { readonly redelivered: boolean }
}

type Settle = (error?: Error, recovery?: readonly object[]) => void

const { BrokerAsPromised } = createRequire(import.meta.url)('rascal') as {
  BrokerAsPromised: { create(config: object): Promise<Rascal> }
}

/** Work, of which the failed part goes to `dead`, and a wait of 200 ms after which it is work again. */
async function open(t: Test, url: string): Promise<Rascal> {
  const rascal = await BrokerAsPromised.create({
    vhosts: {
      '/': {
        namespace: uniqueName('rascal'),
        connection: { url: `${url}/%2F`, retry: { min: 50, max: 100, strategy: 'linear' } },
        exchanges: ['orders', 'dead', 'wait'],
        queues: {
          work: { options: { arguments: { 'x-dead-letter-exchange': 'dead' } } },
          dead: {},
          wait: {
            options: { arguments: { 'x-message-ttl': 200, 'x-dead-letter-exchange': 'orders' } },
          },
        },
        bindings: ['orders[order.#] -> work', 'dead[#] -> dead', 'wait[#] -> wait'],
        publications: {
          order: { exchange: 'orders', routingKey: 'order.created' },
          lost: { exchange: 'orders', routingKey: 'nobody.cares', options: { mandatory: true } },
          wait: { exchange: 'wait' },
        },
        subscriptions: {
          work: { queue: 'work', prefetch: 3, retry: { min: 50, max: 100, strategy: 'linear' } },
          dead: { queue: 'dead' },
        },
      },
    },
  })
  rascal.on('error', () => {})
  t.teardown(() => rascal.nuke())
  return rascal
}

/** Resolves when the message is confirmed, or tells that it was returned. */
async function publish(rascal: Rascal, name: string, body: unknown): Promise<string> {
  const publication = await rascal.publish(name, body)
  return new Promise((resolve, reject) => {
    publication
      .on('success', () => resolve('success'))
      .on('return', () => resolve('return'))
      .on('error', reject)
  })
}

async function subscribe(
  rascal: Rascal,
  name: string,
  onMessage: (message: Message, body: unknown, settle: Settle) => void,
): Promise<void> {
  const subscription = await rascal.subscribe(name)
  subscription.on('message', onMessage).on('error', () => {})
}

t.test('what is published arrives as it was', async t => {
  const broker = await openBroker(t)
  const rascal = await open(t, broker.url)
  const bodies: unknown[] = []
  await subscribe(rascal, 'work', (_message, body, settle) => {
    bodies.push(body)
    settle()
  })
  const orders = Array.from({ length: 10 }, (_, id) => ({ id }))
  for (const order of orders) t.equal(await publish(rascal, 'order', order), 'success')
  await eventually('all orders', () => bodies.length === orders.length)
  t.same(bodies, orders)
})

t.test('a mandatory message without a queue comes back', async t => {
  const broker = await openBroker(t)
  const rascal = await open(t, broker.url)
  t.equal(await publish(rascal, 'lost', 'lost'), 'return')
})

t.test('a message that keeps failing is published thrice again, then a dead letter', async t => {
  const broker = await openBroker(t)
  const rascal = await open(t, broker.url)
  let attempts = 0
  const dead: unknown[] = []
  await subscribe(rascal, 'work', (_message, _body, settle) => {
    attempts += 1
    const again = { strategy: 'republish', defer: 20, attempts: 3 }
    settle(new Error('on purpose'), [again, { strategy: 'nack' }])
  })
  await subscribe(rascal, 'dead', ({ properties }, body, settle) => {
    dead.push(body, properties.headers['x-first-death-reason'])
    settle()
  })
  await publish(rascal, 'order', 'hopeless')
  await eventually('the dead letter', () => dead.length > 0)
  t.equal(attempts, 4)
  t.same(dead, ['hopeless', 'rejected'])
})

t.test('a message forwarded to a queue with TTL is work again when that is over', async t => {
  const broker = await openBroker(t)
  const rascal = await open(t, broker.url)
  const seen: number[] = []
  await subscribe(rascal, 'work', (_message, _body, settle) => {
    seen.push(performance.now())
    if (seen.length > 1) settle()
    else {
      settle(new Error('later'), [
        { strategy: 'forward', publication: 'wait', options: { routingKey: 'order.again' } },
      ])
    }
  })
  await publish(rascal, 'order', 'later')
  await eventually('the second attempt', () => seen.length === 2)
  const [first = 0, second = 0] = seen
  t.ok(second - first >= 199, `${second - first} ms`)
})

t.test('publications and subscriptions go on after the connection was cut', async t => {
  const broker = await openBroker(t)
  const proxy = await openTcpProxy(t, broker)
  const rascal = await open(t, proxy.url)
  const seen: unknown[] = []
  await subscribe(rascal, 'work', (_message, body, settle) => {
    seen.push(body)
    settle()
  })
  await publish(rascal, 'order', 'before')
  await eventually('the first order', () => seen.length === 1)
  const links = proxy.links.length
  proxy.sever()
  await eventually('new connections', () => proxy.links.length > links)
  await eventually('a publication', () => publish(rascal, 'order', 'after').catch(() => false))
  await eventually('the second order', () => seen.includes('after'))
  t.equal(seen[0], 'before')
})
