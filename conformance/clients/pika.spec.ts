import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { openBroker } from '../support/broker.js'
import { installed } from '../support/installed.js'
import { openTcpProxy } from '../support/tcp-proxy.js'
import { temporaryQueue } from '../support/temporary.js'

/** Debian's interpreter, where python3-pika lives; another one on the PATH does not see it. */
const python = '/usr/bin/python3'
/** The script is not compiled, so it is read from where the sources are. */
const script = fileURLToPath(
  new URL('../../../conformance/clients/pika_session.py', import.meta.url),
)

/** Runs one scenario of pika_session.py and gives what it saw; `onWord` is called when it speaks. */
async function play(
  scenario: string,
  url: string,
  queue: string,
  onWord: () => void = () => {},
): Promise<unknown> {
  const child = spawn(python, [script, `${url}/%2F`, queue, scenario])
  child.stderr.once('data', onWord)
  const closed = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  const outputs = Promise.all([closed, text(child.stdout), text(child.stderr)])
  const [code, stdout, stderr] = await outputs
  if (code !== 0) throw new Error(`${scenario} ended with ${code}\n${stderr}`)
  return JSON.parse(stdout)
}

if (installed(t, 'apt-get install python3-pika', [python, '-c', 'import pika'])) {
  t.test('properties and headers come back as they were published', async t => {
    const broker = await openBroker(t)
    const queue = temporaryQueue(t, broker, 'pika')
    t.same(await play('properties', broker.url, queue), {
      ready: 1,
      body: 'žluťoučký',
      same: true,
      redelivered: false,
      closed: true,
    })
  })

  t.test('bodies around the frame size pass in both directions', async t => {
    const broker = await openBroker(t)
    const queue = temporaryQueue(t, broker, 'pika')
    t.same(await play('bodies', broker.url, queue), { same: Array(7).fill(true) })
  })

  t.test('unroutable is returned before its confirm, too much is nacked', async t => {
    const broker = await openBroker(t)
    const queue = temporaryQueue(t, broker, 'pika')
    t.same(await play('returns', broker.url, queue), {
      code: 312,
      text: 'NO_ROUTE',
      exchange: 'amq.direct',
      message_id: 'back',
      body: 'lost',
      nacked: true,
    })
  })

  t.test('prefetch limits what is delivered unacknowledged', async t => {
    const broker = await openBroker(t)
    const queue = temporaryQueue(t, broker, 'pika')
    t.same(await play('prefetch', broker.url, queue), {
      ready: [3, 2, 0],
      received: ['1', '2', '3', '4', '5'],
    })
  })

  t.test('a requeued message comes again as redelivered, a rejected one does not', async t => {
    const broker = await openBroker(t)
    const queue = temporaryQueue(t, broker, 'pika')
    t.same(await play('requeue', broker.url, queue), {
      seen: [
        ['again', false],
        ['again', true],
        ['drop', false],
        ['nack', false],
        ['nack', true],
        ['last', false],
      ],
      pending: 0,
      ready: 0,
    })
  })

  t.test('a consumer whose queue is deleted is told', async t => {
    const broker = await openBroker(t)
    const queue = temporaryQueue(t, broker, 'pika')
    t.same(await play('cancelled', broker.url, queue), { told: true })
  })

  t.test('a transaction publishes all or nothing', async t => {
    const broker = await openBroker(t)
    const queue = temporaryQueue(t, broker, 'pika')
    t.same(await play('transaction', broker.url, queue), { counts: [0, 1] })
  })

  t.test('refusals arrive with their code and text', async t => {
    const broker = await openBroker(t)
    const queue = temporaryQueue(t, broker, 'pika')
    t.same(await play('refusals', broker.url, queue), {
      seen: [
        [404, `NOT_FOUND - no queue '${queue}' in vhost '/'`],
        [
          406,
          "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.direct' in vhost '/': received 'topic' but current is 'direct'",
        ],
        [404, `NOT_FOUND - no queue '${queue}' in vhost '/'`],
        'ProbableAuthenticationError',
        'ProbableAccessDeniedError',
      ],
      open: true,
    })
  })

  t.test('heartbeats keep an idle connection open', async t => {
    const broker = await openBroker(t)
    const queue = temporaryQueue(t, broker, 'pika')
    t.same(await play('heartbeat', broker.url, queue), { ready: 0 })
  })

  t.test('a client that sends no heartbeats is cut', async t => {
    const broker = await openBroker(t)
    const queue = temporaryQueue(t, broker, 'pika')
    t.same(await play('silence', broker.url, queue), { cut: true })
  })

  t.test('the asynchronous connection confirms and consumes all', async t => {
    const broker = await openBroker(t)
    const queue = temporaryQueue(t, broker, 'pika')
    const proxy = await openTcpProxy(t, broker)
    t.same(await play('asynchronous', proxy.url, queue), {
      last: 20,
      kinds: ['Ack'],
      bodies: Array.from({ length: 20 }, (_, n) => String(n)),
      reason: ['ConnectionClosedByClient', 200],
    })
    t.match(await proxy.parting(), { serverSaidCloseOk: true })
  })

  t.test('a cut connection is opened again and what was unacknowledged comes again', async t => {
    const broker = await openBroker(t)
    const queue = temporaryQueue(t, broker, 'pika')
    const proxy = await openTcpProxy(t, broker)
    t.same(await play('reconnect', proxy.url, queue, () => proxy.sever()), {
      seen: [
        ['first', false],
        ['first', true],
        ['after', false],
      ],
      attempts: 2,
    })
    t.match(await proxy.parting(), { serverSaidCloseOk: true })
  })
}
