/** leveretctl on data folders: what it says of logs that are sound, damaged, or in use. */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { type Command, encodeCommand } from '../../src/broker/command.js'
import { startBroker } from '../../src/index.js'
import { enterFolder } from '../../src/node/folder-format.js'
import { LogFigures } from '../../src/node/log-stats.js'
import { QueueNames } from '../../src/node/queue-names.js'
import { systemFiles } from '../../src/platform/files.js'
import { silence } from '../../src/platform/log.js'
import { systemWorld } from '../../src/platform/world.js'
import { FileLog } from '../../src/store/file-log.js'
import { inspectLog } from '../../src/store/inspection.js'
import { Ranges, Targets } from '../../src/store/targets.js'
import { ChunkPool } from '../../src/structures/chunk-pool.js'
import { fieldTable } from '../../src/wire/field-table.js'
import { encodeProperties } from '../../src/wire/properties.js'
import { MapOwner } from '../support/log-bench.js'

const program = fileURLToPath(new URL('../../src/ctl.js', import.meta.url))

interface Ended {
  readonly code: number
  readonly output: string
  readonly errors: string
}

/** Runs leveretctl to its end. */
function ctl(...argv: string[]): Promise<Ended> {
  return new Promise(resolve => {
    const options = { env: {}, cwd: tmpdir(), maxBuffer: 2 ** 26 }
    execFile(process.execPath, [program, ...argv], options, (error, output, errors) =>
      resolve({ code: error === null ? 0 : Number(error.code), output, errors }),
    )
  })
}

const onFolder = (folder: string, ...argv: string[]) => ctl('log', ...argv, '--data-dir', folder)

async function openLog(folder: string, owner = new MapOwner()): Promise<FileLog> {
  const { clock, turn } = systemWorld(silence)
  const options = { folder, files: systemFiles, clock, turn, pool: new ChunkPool() }
  return FileLog.open({ ...options, segmentBytes: 64 * 1024 }, owner)
}

/** A message as it stands in the log. */
function messageOf(routingKey: string, body: Buffer): Buffer {
  const key = Buffer.from(routingKey)
  const properties = encodeProperties({
    contentType: 'text/plain',
    deliveryMode: 2,
    timestamp: 1_700_000_000,
    headers: fieldTable({ tries: 3, deep: { list: ['a', true, null] } }),
  })
  const frame = (type: number, payload: Buffer) => {
    const head = Buffer.alloc(7)
    head.writeUInt8(type, 0)
    head.writeUInt32BE(payload.length, 3)
    return Buffer.concat([head, payload, Buffer.from([0xce])])
  }
  const fields = Buffer.alloc(12)
  fields.writeUInt16BE(60, 0)
  fields.writeBigUInt64BE(BigInt(body.length), 4)
  return Buffer.concat([
    Buffer.from([0, key.length]),
    key,
    Buffer.from([0, 0xce]),
    frame(2, Buffer.concat([fields, properties])),
    ...(body.length > 0 ? [frame(3, body)] : []),
  ])
}

const queue = (name: string, number: number): Command => ({
  command: 'queue.declared',
  vhost: '/',
  name,
  number,
  autoDelete: false,
  arguments: fieldTable({ 'x-max-length': 10 }),
})

/** A data folder with two queues, one that was deleted, and messages in all of them. */
async function dataFolder(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'leveret-'))
  t.teardown(() => rm(folder, { recursive: true }))
  await enterFolder(systemFiles, folder)
  const definitions = await openLog(join(folder, 'definitions'))
  const commands: Command[] = [
    { command: 'vhost.added', name: '/' },
    {
      command: 'user.set',
      name: 'guest',
      passwordHash: 'c2VjcmV0',
      algorithm: 'rabbit_password_hashing_sha256',
      tags: ['administrator'],
      limits: [],
    },
    queue('orders', 1),
    queue('invoices', 2),
    queue('gone', 3),
    { command: 'queue.deleted', vhost: '/', name: 'gone', number: 3 },
  ]
  for (const command of commands) definitions.appendOpaque(encodeCommand(command))
  await definitions.close()
  const owner = new MapOwner()
  const log = await openLog(join(folder, 'messages'), owner)
  const publish = (bytes: Buffer, ...queues: number[]) => {
    const targets = new Targets()
    for (const number of queues) targets.add(number, number === 2 ? Date.UTC(2030, 0, 1) : 0)
    const number = log.takeNumber()
    log.appendMessage(number, targets, 256, bytes, 0, bytes.length, null, bytes.length)
    // What nobody holds is cleaned away.
    owner.message(number, targets, 256, -1, -1, bytes.length, bytes.length)
    return number
  }
  const settle = (queue: number, ...numbers: number[]) => {
    const ranges = new Ranges()
    for (const number of numbers) ranges.add(number)
    log.appendSettled(queue, ranges)
  }
  const first = publish(messageOf('orders', Buffer.from('é'.repeat(100))), 1)
  publish(messageOf('both', Buffer.from([0, 255, 254])), 1, 2)
  publish(messageOf('gone', Buffer.from('nobody')), 3)
  for (let i = 0; i < 200; i++) {
    settle(1, publish(messageOf('orders', Buffer.alloc(1000)), 1))
    if (i % 50 === 0) await log.flushed()
  }
  log.appendReturned(1, first, 4)
  await log.close()
  return folder
}

t.test('a sound folder is sound', async t => {
  const folder = await dataFolder(t)
  const before = await readdir(folder, { recursive: true })
  const { code, output, errors } = await onFolder(folder, 'verify')
  t.equal(errors, '')
  t.equal(code, 0)
  t.match(output, new RegExp(`^${folder}: 1 start\n`))
  t.match(output, /\ndefinitions: 1 segment, .*, 6 records, closed in order\n/)
  t.match(output, /\nmessages: \d segments, .* KiB, 404 records, closed in order\n/)
  t.match(output, /\nsound\n$/)
  const json = JSON.parse((await onFolder(folder, 'verify', '--json')).output)
  t.match(json, { sound: true, folder, logs: [{ name: 'definitions' }, { name: 'messages' }] })
  t.same(await readdir(folder, { recursive: true }), before, 'and is left as it was')
})

t.test('damage is told, and ends it with 1', async t => {
  const folder = await dataFolder(t)
  const path = join(folder, 'messages', '000000000002.log')
  const bytes = await readFile(path)
  bytes[5000] = (bytes[5000] as number) ^ 1
  await writeFile(path, bytes)
  const { code, output } = await onFolder(folder, 'verify')
  t.equal(code, 1)
  const [, from = '', to = '', first = '', last = ''] =
    /DAMAGE: segment 2 from byte (\d+) to (\d+): batch.*numbers from (\d+) to (\d+); in the queues 'orders' in vhost '\/'\n/.exec(
      output,
    ) ?? []
  t.ok(Number(from) <= 5000 && 5000 < Number(to), output)
  t.ok(Number(first) <= Number(last) && Number(first) > 3)
  t.match(output, /\ndamaged\n$/)
  const json = JSON.parse((await onFolder(folder, 'verify', '--json')).output)
  t.match(json, { sound: false, logs: [{ damages: [] }, { damages: [{ segment: 2 }] }] })
  t.equal((await onFolder(folder, 'dump')).code, 1, 'a dump is not whole either')
})

t.test('the figures are told by kind and by queue', async t => {
  const folder = await dataFolder(t)
  const { code, output } = await onFolder(folder, 'stats')
  t.equal(code, 0)
  t.match(output, /\n {2}queue\.declared: 3 records, /)
  t.match(output, /\n {2}message: 203 records, 2\d\d\.\d KiB\n {2}settled: 200 records, /)
  t.match(output, /\nqueue 'orders' in vhost '\/': 2 messages, /)
  t.match(output, /\nqueue 'invoices' in vhost '\/': 1 message, /)
  t.match(output, /\ndeleted queue 3: 1 message, /)
  const json = JSON.parse((await onFolder(folder, 'stats', '--json')).output)
  const [, messages] = json.logs
  t.match(messages, { messages: 2, records: { message: { records: 203 } } })
  const { bytes } = json.queues[0]
  t.equal(messages.live, bytes)
  const whole = messages.segments.reduce(
    (sum: number, one: { bytes: number }) => sum + one.bytes,
    0,
  )
  t.equal(messages.live + messages.dead, whole)
})

t.test('each record is a line, shortened unless it is wanted whole', async t => {
  const folder = await dataFolder(t)
  const lines = (text: string) =>
    text
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line))
  const short = lines((await onFolder(folder, 'dump')).output)
  t.equal(short.length, 410)
  t.match(short[1].command, {
    command: 'user.set',
    name: 'guest',
    passwordHash: '***',
    tags: ['administrator'],
    limits: {},
  })
  t.match(short[2].command, { name: 'orders', arguments: { 'x-max-length': 10 } })
  t.match(short[6], {
    log: 'messages',
    segment: 1,
    number: 1,
    kind: 'message',
    queues: [{ number: 1, vhost: '/', name: 'orders' }],
    marks: ['persistent'],
    exchange: '',
    routingKey: 'orders',
    properties: {
      contentType: 'text/plain',
      deliveryMode: 2,
      timestamp: 1_700_000_000,
      headers: { tries: 3, deep: { list: ['a', true, null] } },
    },
    bodySize: 200,
    body: `${'é'.repeat(32)}…`,
  })
  t.match(short[7], { bodyBase64: 'AP/+', queues: [{}, { expires: '2030-01-01T00:00:00.000Z' }] })
  t.match(short[8], { queues: [{ number: 3 }], body: 'nobody' })
  t.match(short[10], { kind: 'settled', queue: { name: 'orders' }, settled: [[4, 4]] })
  t.match(short.at(-1), { kind: 'returned', queue: { name: 'orders' }, message: 1, count: 4 })
  const whole = lines((await onFolder(folder, 'dump', '--bodies')).output)
  t.equal(whole[6].body, 'é'.repeat(100))
  t.equal(whole[9].body.length, 1000)
})

t.test('a folder in use is refused with the process that has it', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'leveret-'))
  t.teardown(() => rm(folder, { recursive: true }))
  const broker = await startBroker({ settings: { data_dir: folder } })
  const { code, output, errors } = await onFolder(folder, 'verify')
  t.equal(code, 69)
  t.equal(output, '')
  t.equal(errors, `the data folder ${folder} is in use by process ${process.pid}\n`)
  await broker.close()
  t.equal((await onFolder(folder, 'verify')).code, 0)
})

t.test('what is no data folder, or of another version, is refused', async t => {
  const folder = await dataFolder(t)
  const other = join(folder, 'other')
  await mkdir(other)
  t.match(await onFolder(other, 'verify'), { code: 69, errors: /is no data folder/ })
  t.same(await readdir(other), [])
  t.match(await onFolder(join(folder, 'missing'), 'stats'), { code: 69, errors: /ENOENT/ })
  await writeFile(join(folder, 'format.json'), '{"format":2,"epoch":1,"version":"9.9.9"}')
  t.match(await onFolder(folder, 'dump'), {
    code: 69,
    errors: /has format 2, written by .*9\.9\.9/,
  })
})

t.test('what is not understood is told', async t => {
  const wrong = [[], ['log'], ['log', 'verfy'], ['log', 'verify', 'x'], ['constructor'], ['--x']]
  for (const { code, errors } of await Promise.all(wrong.map(argv => ctl(...argv)))) {
    t.equal(code, 64, errors)
    t.match(errors, /\nSee leveretctl --help\n$/)
  }
  t.match(await ctl('--help'), { code: 0, output: /log verify/, errors: '' })
  t.match(await ctl('--version'), { code: 0, output: /^\d+\.\d+\.\d+\n$/ })
  t.match(await ctl('log', 'stats', '--config', '/nowhere.yaml'), { code: 78, errors: /nowhere/ })
})

t.test('the figures are those of a plain map', async t => {
  const parent = await mkdtemp(join(tmpdir(), 'leveret-'))
  t.teardown(() => rm(parent, { recursive: true }))
  let runs = 0
  const queueNumber = fc.integer({ min: 1, max: 4 })
  const step = fc.oneof(
    fc.record({ to: fc.uniqueArray(queueNumber, { minLength: 1 }), size: fc.nat({ max: 3000 }) }),
    fc.record({
      queue: queueNumber,
      first: fc.nat({ max: 60 }),
      count: fc.integer({ min: 1, max: 20 }),
    }),
    fc.record({ moved: fc.nat({ max: 60 }), from: queueNumber, to: fc.constant([4]) }),
  )
  const holds = fc.asyncProperty(fc.array(step, { maxLength: 80 }), async steps => {
    const folder = join(parent, String(runs++))
    const log = await openLog(folder)
    const targets = new Targets()
    const bytes = Buffer.alloc(3000)
    for (const step of steps) {
      if ('queue' in step) {
        const ranges = new Ranges()
        ranges.addRange(step.first, step.first + step.count - 1)
        log.appendSettled(step.queue, ranges)
        continue
      }
      targets.clear()
      for (const queue of step.to) targets.add(queue)
      const number = log.takeNumber()
      if ('moved' in step)
        log.appendMoved(number, step.from, step.moved, targets, 0, bytes, 0, 10, null, 10)
      else log.appendMessage(number, targets, 0, bytes, 0, step.size, null, step.size)
    }
    await log.close()
    const names = new QueueNames()
    for (const number of [1, 2, 3]) {
      const command = encodeCommand(queue(`q${number}`, number))
      names.learn(command, 0, command.length)
    }
    const figures = new LogFigures(names)
    await inspectLog(systemFiles, folder, (bytes, start) => figures.count(bytes, start))
    const owner = new MapOwner()
    await (await openLog(folder, owner)).close()
    const held = [...owner.messages.values()]
    const expected = [1, 2, 3, 4].flatMap(number => {
      const messages = held.filter(({ queues }) => queues.has(number)).length
      return messages === 0 ? [] : [{ number, messages }]
    })
    t.same(
      figures
        .queues()
        .map(({ number, messages }) => ({ number, messages }))
        .sort((a, b) => a.number - b.number),
      expected,
    )
    const left = held.filter(({ queues }) => [1, 2, 3].some(number => queues.has(number))).length
    t.equal(figures.left().messages, left)
  })
  await fc.assert(holds, { numRuns: 60 })
})
