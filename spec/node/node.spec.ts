/** Whole brokers on real sockets: inside this process, and as a program of their own. */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process'
import { mkdtemp, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import amqp, { type ChannelModel } from 'amqplib'
import t, { type Test } from 'tap'
import { startBroker } from '../../src/index.js'
import { recoveryLines } from '../../src/node/node.js'
import { version } from '../../src/node/version.js'
import { SimulatedWorld } from '../support/simulated-world.js'
import { framesIn, handshake } from '../support/test-client.js'

const program = fileURLToPath(new URL('../../src/main.js', import.meta.url))

/** Programs side by side cannot all have the usual port. */
const quiet = { LEVERET_MANAGEMENT__TCP__PORT: 'none' }

/** Sends a message through a queue of its own and back. */
async function roundTrip(client: ChannelModel, text: string): Promise<string> {
  const channel = await client.createChannel()
  const { queue } = await channel.assertQueue('q')
  const arrived = new Promise<string>((resolve, reject) => {
    const took = (message: amqp.ConsumeMessage | null) =>
      message === null ? reject(new Error('cancelled')) : resolve(message.content.toString())
    channel.consume(queue, took, { noAck: true }).catch(reject)
  })
  channel.sendToQueue(queue, Buffer.from(text))
  return arrived
}

/** The code with which the broker closes this client. */
function closing(client: ChannelModel): Promise<number> {
  return new Promise(resolve => {
    client.on('close', (error?: { code?: number }) => resolve(error?.code ?? 0))
  })
}

/** A port that is free at the moment. */
async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise(resolve => server.close(resolve))
  return port
}

/** What keeps this process alive, once what just ended is gone. */
async function resources(): Promise<string[]> {
  for (let i = 0; i < 3; i++) await new Promise(resolve => setImmediate(resolve))
  return process.getActiveResourcesInfo().sort()
}

// --- in this process

t.test('ten brokers run side by side and know nothing of each other', async t => {
  const brokers = await Promise.all(Array.from({ length: 10 }, () => startBroker()))
  t.equal(new Set(brokers.map(({ port }) => port)).size, 10)
  t.match(brokers[0]?.url, /^amqp:\/\/guest:guest@127\.0\.0\.1:\d+$/)
  const clients = await Promise.all(brokers.map(({ url }) => amqp.connect(url)))
  const texts = await Promise.all(clients.map((client, i) => roundTrip(client, `broker ${i}`)))
  t.strictSame(
    texts,
    brokers.map((_, i) => `broker ${i}`),
  )
  await Promise.all(clients.map(client => client.close()))
  await Promise.all(brokers.map(broker => broker.close()))
})

t.test('a close tells clients 320, leaves no handle, and may be asked for twice', async t => {
  const before = await resources()
  const broker = await startBroker()
  const clients = await Promise.all([1, 2, 3].map(() => amqp.connect(broker.url)))
  const codes = clients.map(closing)
  await roundTrip(clients[0] as ChannelModel, 'before')
  t.not(process.getActiveResourcesInfo().length, before.length)
  await Promise.all([broker.close(), broker.close()])
  t.strictSame(await Promise.all(codes), [320, 320, 320])
  t.strictSame(await resources(), before)
  await t.rejects(amqp.connect(broker.url), { code: 'ECONNREFUSED' })
})

t.test('a close waits for silent clients no longer than it is told', async t => {
  const broker = await startBroker({ settings: { shutdown_timeout: 100 } })
  const client = connect(broker.port, '127.0.0.1')
  client.write(Buffer.concat(handshake()))
  let received = Buffer.alloc(0)
  await new Promise<void>(resolve =>
    client.on('data', data => {
      received = Buffer.concat([received, data])
      if (framesIn(received).at(-1)?.name === 'connection.open-ok') resolve()
    }),
  )
  const gone = new Promise(resolve => client.on('close', resolve))
  const start = performance.now()
  await broker.close()
  const took = performance.now() - start
  t.ok(took > 90 && took < 2000, `${took} ms`)
  await gone
  t.match(framesIn(received).at(-1), { name: 'connection.close', args: { replyCode: 320 } })
})

t.test('a wrong setting is refused by name, and nothing is left', async t => {
  const before = await resources()
  await t.rejects(startBroker({ settings: { heartbeat: -1, hartbeat: 10 } }), {
    name: 'SettingsError',
    message: /settings: heartbeat: .*\n.*hartbeat: .*heartbeat/,
  })
  const broker = await startBroker()
  await t.rejects(startBroker({ port: broker.port }), { code: 'EADDRINUSE' })
  await broker.close()
  t.strictSame(await resources(), before)
})

t.test('max_connections bounds open connections, and one that ends makes room', async t => {
  const broker = await startBroker({ settings: { max_connections: 2 } })
  // Who has not logged in takes no place.
  const stranger = connect(broker.port, '127.0.0.1')
  await new Promise<void>(resolve => stranger.on('connect', resolve))
  const first = await amqp.connect(broker.url)
  const second = await amqp.connect(broker.url)
  await t.rejects(amqp.connect(broker.url), /got <ConnectionClose/)
  await first.close()
  const third = await amqp.connect(broker.url)
  t.equal(await roundTrip(third, 'let in'), 'let in')
  t.ok(await second.createChannel(), 'who was there stays')
  stranger.destroy()
  await Promise.all([second.close(), third.close()])
  await broker.close()
})

t.test('channel_max_per_node bounds the channels of all connections together', async t => {
  const broker = await startBroker({ settings: { channel_max_per_node: 3 } })
  const first = await amqp.connect(broker.url)
  const second = await amqp.connect(broker.url)
  await first.createChannel()
  const last = await first.createChannel()
  await second.createChannel()
  const refused = new Promise<Error>(resolve => second.on('error', resolve))
  await t.rejects(second.createChannel())
  t.match(
    (await refused).message,
    /NOT_ALLOWED - number of channels opened on node '.+' has reached the maximum allowed limit of 3/,
  )
  await first.createChannel()
  t.pass('the channels of the connection that was closed make room')
  await last.close()
  await first.close()
  await broker.close()
})

/** A folder that goes with the test. */
async function temporaryFolder(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'leveret-'))
  t.teardown(() => rm(folder, { recursive: true }))
  return folder
}

t.test('a broker with a data_dir has it alone until it is closed', async t => {
  const before = await resources()
  const folder = join(await temporaryFolder(t), 'below', 'data')
  const settings = { data_dir: folder }
  const broker = await startBroker({ settings })
  for (const path of [folder, join(folder, '..')]) t.equal((await stat(path)).mode & 0o777, 0o700)
  t.equal((await stat(join(folder, 'format.json'))).mode & 0o777, 0o600)
  await t.rejects(startBroker({ settings }), { name: 'FolderInUse', pid: process.pid })
  await broker.close()
  const again = await startBroker({ settings })
  t.match(JSON.parse(await readFile(join(folder, 'format.json'), 'utf8')), { epoch: 2 })
  await t.rejects(startBroker({ port: again.port, settings: { data_dir: `${folder}2` } }), {
    code: 'EADDRINUSE',
  })
  t.notOk((await readdir(`${folder}2`)).includes('control.sock'), 'a failed start lets go')
  await again.close()
  t.strictSame(await resources(), before)
})

t.test('a long recovery says each second how far it is, a short one nothing', async t => {
  const world = new SimulatedWorld()
  const progress = recoveryLines(world)
  for (let segment = 1; segment <= 10; segment++) {
    world.clock.advance(300)
    progress(segment * 64 * 2 ** 20, 640 * 2 ** 20)
  }
  t.strictSame(
    world.lines.map(({ message }) => message),
    ['recovering: 256 of 640 MiB read', 'recovering: 512 of 640 MiB read'],
  )
})

t.test('a data_dir that cannot be had is refused by name', async t => {
  const folder = await temporaryFolder(t)
  const file = join(folder, 'file')
  await writeFile(file, '')
  await t.rejects(startBroker({ settings: { data_dir: file } }), {
    name: 'FolderRefused',
    message: /^the data folder \/.*\/file cannot be used: EEXIST/,
  })
  await t.rejects(startBroker({ settings: { data_dir: `${file}/data` } }), {
    name: 'FolderRefused',
    message: /ENOTDIR/,
  })
  t.strictSame(await readdir(folder), ['file'])
})

// --- as a program

interface Program {
  readonly child: ChildProcess
  readonly lines: string[]
  /** The line that has this in it, once it is there. */
  line(part: string): Promise<string>
  readonly ended: Promise<{ code: number | null; errors: string }>
}

function run(t: Test, ...argv: string[]): Program {
  // An environment of its own: what a machine sets must not matter.
  const child = spawn(process.execPath, [program, ...argv], { env: quiet, cwd: tmpdir() })
  t.teardown(() => child.kill('SIGKILL'))
  const lines: string[] = []
  const waiting = new Set<() => void>()
  const changed = () => {
    for (const look of waiting) look()
  }
  createInterface(child.stdout).on('line', line => {
    lines.push(line)
    changed()
  })
  let errors = ''
  child.stderr.on('data', data => {
    errors += data
  })
  const ended = new Promise<{ code: number | null; errors: string }>(resolve =>
    child.on('close', code => {
      changed()
      resolve({ code, errors })
    }),
  )
  const line = (part: string) =>
    new Promise<string>((resolve, reject) => {
      const look = () => {
        const found = lines.find(line => line.includes(part))
        if (found !== undefined) resolve(found)
        else if (child.exitCode === null) return
        else reject(new Error(`ended without '${part}': ${lines.join('\n')}\n${errors}`))
        waiting.delete(look)
      }
      waiting.add(look)
      look()
    })
  return { child, lines, line, ended }
}

const quickly = ['--memory', '--host', '127.0.0.1', '--port', '0', '--json']

for (const signal of ['SIGTERM', 'SIGINT'] as const)
  t.test(`${signal} ends the program in order`, async t => {
    const { child, lines, line, ended } = run(t, ...quickly)
    await line('Server startup complete')
    for (const text of lines) t.match(JSON.parse(text), { level: 'info', time: /^\d{4}-.*Z$/ })
    const { port } = JSON.parse(await line('started TCP listener'))
    const client = await amqp.connect(`amqp://127.0.0.1:${port}`)
    t.equal(await roundTrip(client, 'through the program'), 'through the program')
    const code = closing(client)
    child.kill(signal)
    t.equal(await code, 320)
    t.match(await ended, { code: 0, errors: '' })
    t.match(JSON.parse(lines.at(-1) ?? ''), { msg: 'stopped' })
  })

/** A client of a program that says nothing of its start. */
async function clientWhenUp(port: number): Promise<ChannelModel> {
  for (let tries = 0; ; tries++)
    try {
      return await amqp.connect(`amqp://127.0.0.1:${port}`)
    } catch (error) {
      if (tries === 200) throw error
      await pause(25)
    }
}

/** Clients come and go, and the program still ends in order. */
async function proveAtWork(t: Test, child: ChildProcess, port: number): Promise<void> {
  const ended = new Promise(resolve => child.on('exit', (...how) => resolve(how)))
  for (let i = 0; i < 3; i++) {
    const client = await clientWhenUp(port)
    t.equal(await roundTrip(client, `${i}`), `${i}`)
    await client.close()
    // The log is written meanwhile, or rather is not.
    await pause(150)
  }
  child.kill('SIGTERM')
  t.strictSame(await ended, [0, null])
}

for (const formatter of ['json', 'plaintext'] as const)
  t.test(`a full disk under a ${formatter} log stops nothing but the log`, async t => {
    const full = await open('/dev/full', 'w')
    t.teardown(() => full.close())
    const port = await freePort()
    const set = ['--set', `log.console.formatter=${formatter}`]
    const ports = ['--port', `${port}`, '--management-port', 'none']
    const argv = [program, '--memory', '--host', '127.0.0.1', ...ports, ...set]
    const stdio: StdioOptions = ['ignore', full.fd, 'inherit']
    const child = spawn(process.execPath, argv, { env: {}, cwd: tmpdir(), stdio })
    t.teardown(() => child.kill('SIGKILL'))
    await proveAtWork(t, child, port)
  })

for (const formatter of ['json', 'plaintext'] as const)
  t.test(`a ${formatter} log that nobody reads any more stops nothing`, async t => {
    const set = ['--set', `log.console.formatter=${formatter}`]
    const { child, line } = run(t, '--memory', '--host', '127.0.0.1', '--port', '0', ...set)
    const started = await line('started TCP listener')
    const port = Number(/127\.0\.0\.1:(\d+)/.exec(started)?.[1])
    child.stdout?.destroy()
    await proveAtWork(t, child, port)
  })

t.test('a wrong settings file ends it with 78, and the place of each mistake', async t => {
  const file = join(await temporaryFolder(t), 'wrong.yaml')
  await writeFile(file, 'log:\n  level: loud\nhartbeat: 10\n')
  const { code, errors } = await run(t, '--config', file).ended
  t.equal(code, 78)
  t.match(errors, `${file}:2:10: log.level: `)
  t.match(errors, `${file}:3:1: hartbeat: `)
  t.notMatch(errors, /\n\s+at /, 'no stack')
})

t.test(
  'a certificate that cannot be used ends it with 78, and the name of its setting',
  async t => {
    const tls = ['--set', 'listeners.ssl.default=0', '--set', 'ssl_options.certfile=/no/such/file']
    const { ended, lines } = run(t, ...quickly, ...tls)
    t.equal((await ended).code, 78)
    t.same(
      lines
        .map(line => JSON.parse(line))
        .filter(({ level }) => level === 'error')
        .map(({ msg }) => msg),
      [
        "ssl_options.certfile: /no/such/file: cannot be read (ENOENT: no such file or directory, open '/no/such/file')",
        'ssl_options.keyfile: must be set where there is a TLS listener',
      ],
    )
  },
)

t.test('SIGHUP without certificates to read anew ends nothing', async t => {
  const { child, line, ended } = run(t, ...quickly)
  await line('Server startup complete')
  child.kill('SIGHUP')
  await line('certificates are read anew')
  child.kill('SIGTERM')
  t.match(await ended, { code: 0, errors: '' })
})

t.test('every place where it listens is told', async t => {
  const places = ['listeners.tcp.default=0,127.0.0.1:0', 'web_amqp.tcp.port=0']
  const { lines, line } = run(t, ...quickly, ...places.flatMap(place => ['--set', place]))
  await line('Server startup complete')
  const told = lines.map(text => JSON.parse(text)).filter(({ protocol }) => protocol !== undefined)
  t.match(told, [
    { protocol: 'amqp', host: '127.0.0.1', msg: /^started TCP listener on 127\.0\.0\.1:\d+$/ },
    { protocol: 'amqp', host: '127.0.0.1', msg: /^started TCP listener on 127\.0\.0\.1:\d+$/ },
    { protocol: 'http/web-amqp', msg: /^started WebSocket listener on 127\.0\.0\.1:\d+$/ },
  ])
  for (const { host, port } of told.slice(0, 2)) {
    const client = await amqp.connect(`amqp://${host}:${port}`)
    await client.close()
  }
})

t.test('a port that is taken ends it with 69', async t => {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const { ended, lines } = run(t, '--memory', '--host', '127.0.0.1', '--port', `${port}`, '--json')
  t.equal((await ended).code, 69)
  t.match(JSON.parse(lines.at(-1) ?? ''), { level: 'error', code: 'EADDRINUSE' })
  server.close()
})

t.test('a second program on a data folder is refused, one after kill -9 is not', async t => {
  const folder = await temporaryFolder(t)
  const onFolder = ['--host', '127.0.0.1', '--port', '0', '--json', '--data', folder]
  const first = run(t, ...onFolder)
  await first.line('Server startup complete')
  const second = run(t, ...onFolder)
  t.match(await second.ended, { code: 69, errors: '' })
  t.match(JSON.parse(second.lines.at(-1) ?? ''), {
    level: 'error',
    msg: `could not start: the data folder ${folder} is in use by process ${first.child.pid}`,
  })
  first.child.kill('SIGKILL')
  await first.ended
  const third = run(t, ...onFolder)
  await third.line('Server startup complete')
  t.match(JSON.parse(await third.line('data folder')), { epoch: 2 })
  third.child.kill('SIGTERM')
  t.match(await third.ended, { code: 0, errors: '' })
  t.notOk((await readdir(folder)).some(name => name.startsWith('control')))
})

t.test('a start after kill -9 says what it cuts off and what it cannot read', async t => {
  const folder = await temporaryFolder(t)
  const onFolder = ['--host', '127.0.0.1', '--port', '0', '--json', '--data', folder]
  const connectTo = async ({ line }: Program) => {
    const { port } = JSON.parse(await line('started TCP listener'))
    return amqp.connect(`amqp://127.0.0.1:${port}`)
  }
  const first = run(t, ...onFolder)
  const client = await connectTo(first)
  client.on('error', () => {})
  const channel = await client.createConfirmChannel()
  await channel.assertQueue('q', { durable: true })
  for (let i = 0; i < 10; i++) {
    channel.sendToQueue('q', Buffer.from(`body ${i}`), { persistent: true })
    await channel.waitForConfirms()
  }
  first.child.kill('SIGKILL')
  await first.ended
  const path = join(folder, 'messages', '000000000001.log')
  const bytes = await readFile(path)
  const place = bytes.indexOf('body 3')
  bytes[place] = 0
  await writeFile(path, Buffer.concat([bytes, Buffer.from('torn')]))
  const second = run(t, ...onFolder)
  const { damage, msg } = JSON.parse(await second.line('the log of messages is damaged'))
  t.match(damage, { segment: 1, numbers: [4, 4] })
  t.ok(damage.from <= place && place < damage.to)
  t.equal(
    msg,
    `the log of messages is damaged in segment 1 from byte ${damage.from} to ${damage.to}: ` +
      `batch ${damage.firstBatch}, what was lost has numbers from 4 to 4`,
  )
  t.match(JSON.parse(await second.line('messages recovered')).msg, /^9 .*; a torn tail of 4 bytes/)
  const reader = await (await connectTo(second)).createChannel()
  const left: string[] = []
  for (let got = await reader.get('q'); got; got = await reader.get('q'))
    left.push(got.content.toString())
  t.strictSame(
    left,
    [0, 1, 2, 4, 5, 6, 7, 8, 9].map(i => `body ${i}`),
  )
  second.child.kill('SIGTERM')
  t.match(await second.ended, { code: 0, errors: '' })
})

t.test('questions are answered without starting anything', async t => {
  const help = run(t, '--help')
  const asked = run(t, '--version')
  const config = run(t, '--print-config', '--port', '1234', '--set', 'default_pass=secret')
  for (const { ended } of [help, asked, config]) t.match(await ended, { code: 0, errors: '' })
  t.match(help.lines[0], 'leveret: a message broker')
  t.ok(help.lines.some(line => line.includes('--print-config')))
  t.strictSame(asked.lines, [version])
  t.ok(config.lines.some(line => /^ +default: 1234$/.test(line)))
  t.notOk(config.lines.some(line => line.includes('secret')))
})
