/** Large commits, which take several turns, on a broker with a log. */
import t from 'tap'
import { SimulatedDisk } from '../support/simulated-disk.js'
import { declareQueue, publish, SimulatedBroker, type TestClient } from '../support/test-client.js'

const persistent = (body: string) =>
  publish(1, 'q', Buffer.from(body), { properties: { deliveryMode: 2 } })

const tick = () => new Promise<void>(resolve => setImmediate(resolve))

/** Ends a turn, and lets the disk work. */
async function pass(host: SimulatedBroker): Promise<void> {
  if (host.world.turns.waiting) host.endTurn()
  await tick()
  host.world.clock.advance(0)
}

/** A broker with a durable queue. */
async function start(): Promise<SimulatedBroker> {
  const host = new SimulatedBroker({ files: new SimulatedDisk(1).session(), folder: 'data' })
  let opened = false
  void host.broker
    .open(() => {})
    .then(() => {
      opened = true
    })
  while (!opened) await pass(host)
  const client = host.open()
  client.give(declareQueue(1, 'q'))
  while (!client.names().includes('queue.declare-ok')) await pass(host)
  return host
}

/** A client with so many publishes that wait for its commit. */
function transaction(host: SimulatedBroker, publishes: number): TestClient {
  const client = host.open()
  client.send(1, 'tx.select', {})
  client.give(...Array.from({ length: publishes }, (_, i) => persistent(`${i}`)))
  host.settle()
  client.take()
  return client
}

t.test('what follows a large commit is answered after it', async t => {
  const host = await start()
  const client = transaction(host, 3000)
  client.send(1, 'tx.commit', {})
  client.send(1, 'basic.qos', { prefetchSize: 0, prefetchCount: 1, global: false })
  client.give(persistent('next'))
  client.send(1, 'tx.commit', {})
  const names: string[] = []
  while (names.length < 3) {
    await pass(host)
    names.push(...client.names())
  }
  t.strictSame(names, ['tx.commit-ok', 'basic.qos-ok', 'tx.commit-ok'])
})

t.test('large commits at the same time do not keep confirms waiting for all of them', async t => {
  const host = await start()
  const clients = Array.from({ length: 8 }, () => transaction(host, 5000))
  const publisher = host.open()
  publisher.send(1, 'confirm.select', { nowait: false })
  host.settle()
  publisher.take()
  for (const client of clients) client.send(1, 'tx.commit', {})
  host.endTurn()
  publisher.give(persistent('x'))
  const order: string[] = []
  while (order.length < 9) {
    await pass(host)
    for (const client of clients) order.push(...client.names())
    order.push(...publisher.names())
  }
  t.equal(order.filter(name => name === 'tx.commit-ok').length, 8)
  t.ok(order.indexOf('basic.ack') <= 2, order.join())
  t.equal(host.broker.vhost('/')?.queues.get('q')?.readyCount, 40_001)
})

t.test('commits that wait for a large one are done though their clients are gone', async t => {
  const host = await start()
  const clients = Array.from({ length: 3 }, () => transaction(host, 5000))
  for (const client of clients) client.send(1, 'tx.commit', {})
  for (const client of clients) client.drop()
  const queue = host.broker.vhost('/')?.queues.get('q')
  for (let i = 0; i < 2000 && queue?.readyCount !== 15_000; i++) await pass(host)
  t.equal(queue?.readyCount, 15_000)
})
