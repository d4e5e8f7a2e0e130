import { type ChildProcess, spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { connect } from 'amqplib'
import t from 'tap'
import { openBroker } from '../support/broker.js'
import { installed } from '../support/installed.js'
import { openTcpProxy } from '../support/tcp-proxy.js'
import { temporaryQueue, uniqueName } from '../support/temporary.js'
import { eventually } from '../support/waiting.js'

/** What a program left behind. */
interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Starts one of Debian's amqp-* programs, which are written with librabbitmq. */
function start(program: string, url: string, ...args: string[]): [ChildProcess, Promise<Outcome>] {
  const child = spawn(program, [`--url=${url}`, ...args])
  const closed = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  const outcome = Promise.all([closed, text(child.stdout), text(child.stderr)]).then(
    ([code, stdout, stderr]) => ({ code, stdout, stderr }),
  )
  return [child, outcome]
}

/** Runs a program to its end, with this text on its standard input. */
async function run(program: string, url: string, args: string[], input = ''): Promise<Outcome> {
  const [child, outcome] = start(program, url, ...args)
  child.stdin?.on('error', () => {}) // most of them never read it, and may be gone already
  child.stdin?.end(input)
  return await outcome
}

const success = { code: 0, stderr: '' }

if (installed(t, 'apt-get install amqp-tools', ['amqp-publish', '--help'])) {
  t.test('a message goes into a declared queue and out again, once', async t => {
    const broker = await openBroker(t)
    const queue = temporaryQueue(t, broker, 'amqp-tools')
    t.match(await run('amqp-declare-queue', broker.url, ['-d', '-q', queue]), {
      ...success,
      stdout: `${queue}\n`,
    })
    t.match(await run('amqp-publish', broker.url, ['-r', queue, '-b', 'žluťoučký']), success)
    t.match(await run('amqp-get', broker.url, ['-q', queue]), { ...success, stdout: 'žluťoučký' })
    t.match(await run('amqp-get', broker.url, ['-q', queue]), { code: 2, stdout: '' })
    t.match(await run('amqp-delete-queue', broker.url, ['-q', queue]), {
      ...success,
      stdout: '0\n',
    })
  })

  t.test('the broker names a queue declared without a name', async t => {
    const broker = await openBroker(t)
    const { stdout } = await run('amqp-declare-queue', broker.url, ['-q', ''])
    const queue = stdout.trim()
    t.match(queue, /^amq\.gen-/)
    t.match(await run('amqp-delete-queue', broker.url, ['-q', queue]), success)
  })

  t.test('properties and headers reach another client', async t => {
    const broker = await openBroker(t)
    const queue = temporaryQueue(t, broker, 'amqp-tools')
    const connection = await connect(broker.url)
    const channel = await connection.createChannel()
    await channel.assertQueue(queue, { durable: true })
    const properties = ['-p', '-C', 'text/plain', '-E', 'utf-8', '-t', 'reply', '-H', 'colour: red']
    const published = await run('amqp-publish', broker.url, ['-r', queue, ...properties], 'a body')
    t.match(published, success)
    const message = await eventually('the message', () => channel.get(queue, { noAck: true }))
    t.equal(message.content.toString(), 'a body')
    t.match(message.properties, {
      deliveryMode: 2,
      contentType: 'text/plain',
      contentEncoding: 'utf-8',
      replyTo: 'reply',
      headers: { colour: 'red' },
    })
    await connection.close()
  })

  t.test('a body of many frames passes in both directions', async t => {
    const broker = await openBroker(t)
    const queue = temporaryQueue(t, broker, 'amqp-tools')
    await run('amqp-declare-queue', broker.url, ['-d', '-q', queue])
    const body = 'leveret '.repeat(100_000)
    t.match(await run('amqp-publish', broker.url, ['-r', queue], body), success)
    const { stdout } = await run('amqp-get', broker.url, ['-q', queue])
    t.ok(stdout === body, `${stdout.length} of ${body.length} bytes`)
  })

  t.test('messages are consumed in the order they were published', async t => {
    const broker = await openBroker(t)
    const queue = temporaryQueue(t, broker, 'amqp-tools')
    await run('amqp-declare-queue', broker.url, ['-d', '-q', queue])
    const lines = Array.from({ length: 30 }, (_, n) => `${n}\n`).join('')
    t.match(await run('amqp-publish', broker.url, ['-l', '-r', queue], lines), success)
    const consume = ['-q', queue, '-c', '30', '-p', '3', '--', 'cat']
    t.match(await run('amqp-consume', broker.url, consume), { ...success, stdout: lines })
    t.match(await run('amqp-get', broker.url, ['-q', queue]), { code: 2 })
  })

  t.test('no more than the prefetch is taken from the queue', async t => {
    const broker = await openBroker(t)
    const queue = temporaryQueue(t, broker, 'amqp-tools')
    const connection = await connect(broker.url)
    const channel = await connection.createConfirmChannel()
    await channel.assertQueue(queue, { durable: true })
    for (const body of ['1', '2', '3', '4', '5']) channel.sendToQueue(queue, Buffer.from(body))
    await channel.waitForConfirms()
    const consume = ['-q', queue, '-c', '3', '-p', '2', '--', 'sh', '-c', 'cat; sleep 0.5']
    const [child, outcome] = start('amqp-consume', broker.url, ...consume)
    await new Promise(resolve => child.stdout?.once('readable', resolve))
    t.match(await channel.checkQueue(queue), { messageCount: 3, consumerCount: 1 })
    t.match(await outcome, { ...success, stdout: '123' })
    await eventually('what was not acknowledged is back in the queue', async () => {
      return (await channel.checkQueue(queue)).messageCount === 2
    })
    await connection.close()
  })

  t.test('a message whose command fails goes back to the queue', async t => {
    const broker = await openBroker(t)
    const queue = temporaryQueue(t, broker, 'amqp-tools')
    await run('amqp-declare-queue', broker.url, ['-d', '-q', queue])
    await run('amqp-publish', broker.url, ['-r', queue, '-b', 'try again'])
    const failing = ['-q', queue, '-c', '1', '--', 'sh', '-c', 'cat; exit 3']
    t.match(await run('amqp-consume', broker.url, failing), { stdout: 'try again' })
    const connection = await connect(broker.url)
    const channel = await connection.createChannel()
    const message = await eventually('the message', () => channel.get(queue, { noAck: true }))
    t.equal(message.fields.redelivered, true)
    await connection.close()
  })

  t.test('an exclusive queue is bound to an exchange and goes with its consumer', async t => {
    const broker = await openBroker(t)
    const key = uniqueName('key')
    const connection = await connect(broker.url)
    const channel = await connection.createConfirmChannel()
    let returned = 0
    channel.on('return', () => {
      returned += 1
    })
    const consume = ['-x', '-e', 'amq.topic', '-r', `${key}.#`, '-c', '1', '-A', '--', 'cat']
    const [, outcome] = start('amqp-consume', broker.url, ...consume)
    await eventually('the consumer is bound', async () => {
      const before = returned
      channel.publish('amq.topic', `${key}.a.b`, Buffer.from('through'), { mandatory: true })
      await channel.waitForConfirms()
      return returned === before
    })
    t.match(await outcome, {
      code: 0,
      stdout: 'through',
      stderr: /^Server provided queue name: amq\.gen-/,
    })
    await eventually('the queue is gone', async () => {
      const before = returned
      channel.publish('amq.topic', `${key}.a.b`, Buffer.from('lost'), { mandatory: true })
      await channel.waitForConfirms()
      return returned > before
    })
    await connection.close()
  })

  t.test('refusals arrive with their code and text', async t => {
    const broker = await openBroker(t)
    const queue = temporaryQueue(t, broker, 'amqp-tools')
    const nowhere = uniqueName('nowhere')
    t.match(await run('amqp-publish', broker.url, ['-e', nowhere, '-r', 'x', '-b', 'x']), {
      code: 1,
      stderr: `server channel error 404, message: NOT_FOUND - no exchange '${nowhere}' in vhost '/'`,
    })
    t.match(await run('amqp-get', broker.url, ['-q', nowhere]), {
      code: 1,
      stderr: `server channel error 404, message: NOT_FOUND - no queue '${nowhere}' in vhost '/'`,
    })
    await run('amqp-declare-queue', broker.url, ['-d', '-q', queue])
    t.match(await run('amqp-declare-queue', broker.url, ['-q', queue]), {
      code: 1,
      stderr: 'server channel error 406, message: PRECONDITION_FAILED - inequivalent arg',
    })
    await run('amqp-publish', broker.url, ['-r', queue, '-b', 'x'])
    t.match(await run('amqp-delete-queue', broker.url, ['-e', '-q', queue]), {
      code: 1,
      stderr: `server channel error 406, message: PRECONDITION_FAILED - queue '${queue}' in vhost '/' not empty`,
    })
    t.match(await run('amqp-delete-queue', broker.url, ['-q', queue]), {
      ...success,
      stdout: '1\n',
    })
    const url = new URL(broker.url)
    url.password = 'wrong'
    t.match(await run('amqp-get', url.href, ['-q', queue]), {
      code: 1,
      stderr: 'server connection error 403, message: ACCESS_REFUSED - Login was refused',
    })
  })

  t.test('heartbeats flow while a consumer waits for messages', async t => {
    const broker = await openBroker(t)
    const queue = temporaryQueue(t, broker, 'amqp-tools')
    await run('amqp-declare-queue', broker.url, ['-d', '-q', queue])
    const consume = ['--heartbeat=1', '-q', queue, '-c', '1', '--', 'cat']
    const [, outcome] = start('amqp-consume', broker.url, ...consume)
    await new Promise(resolve => setTimeout(resolve, 4_000))
    await run('amqp-publish', broker.url, ['-r', queue, '-b', 'still there'])
    t.match(await outcome, { ...success, stdout: 'still there' })
  })

  t.test('closing is answered', async t => {
    const broker = await openBroker(t)
    const queue = temporaryQueue(t, broker, 'amqp-tools')
    const proxy = await openTcpProxy(t, broker)
    await run('amqp-declare-queue', proxy.url, ['-d', '-q', queue])
    t.match(await proxy.parting(), { serverSaidCloseOk: true })
    await run('amqp-publish', proxy.url, ['-r', queue, '-b', 'x'])
    t.match(await proxy.parting(), { serverSaidCloseOk: true })
    await run('amqp-consume', proxy.url, ['-q', queue, '-c', '1', '--', 'cat'])
    t.match(await proxy.parting(), { serverSaidCloseOk: true })
    t.equal(proxy.links.length, 3)
  })

  t.test('what a cut consumer had not acknowledged goes back to the queue', async t => {
    const broker = await openBroker(t)
    const queue = temporaryQueue(t, broker, 'amqp-tools')
    const proxy = await openTcpProxy(t, broker)
    await run('amqp-declare-queue', broker.url, ['-d', '-q', queue])
    await run('amqp-publish', broker.url, ['-r', queue, '-b', 'held'])
    const consume = ['-q', queue, '--', 'sh', '-c', 'cat; sleep 0.5']
    const [child, outcome] = start('amqp-consume', proxy.url, ...consume)
    await new Promise(resolve => child.stdout?.once('readable', resolve))
    proxy.sever()
    const { code, stderr } = await outcome
    t.not(code, 0)
    t.not(stderr, '')
    const connection = await connect(broker.url)
    const channel = await connection.createChannel()
    const message = await eventually('the message', () => channel.get(queue, { noAck: true }))
    t.equal(message.fields.redelivered, true)
    t.equal(message.content.toString(), 'held')
    await connection.close()
  })
}
