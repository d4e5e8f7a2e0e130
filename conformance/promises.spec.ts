/**
 * A confirm, a tx.commit-ok and a declare-ok are promises: strace sees whether fdatasync returned
 * between the write and the answer, and what the broker says when fdatasync fails.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { openChannel, openConnection } from './support/client.js'
import { installed } from './support/installed.js'
import { call } from './support/methods.js'
import { startProgram } from './support/program.js'
import { type Call, promiseKept, readTrace, traceOptions } from './support/trace.js'
import { eventually, PATIENCE } from './support/waiting.js'

async function temporaryFolder(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'durability-'))
  t.teardown(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  return folder
}

/** Whether strace is there and allowed to trace. */
function canTrace(t: Test): boolean {
  if (!installed(t, 'apt-get install strace', ['strace', '-V'])) return false
  const allowed = spawnSync('strace', ['-o', '/dev/null', 'true']).status === 0
  if (!allowed) t.pass('strace', { skip: 'strace may not trace here' })
  return allowed
}

const methodAnd = (id: string, argument: string): Buffer =>
  Buffer.concat([Buffer.from(id, 'hex'), Buffer.from(argument, 'hex')])

/** A basic.ack of this delivery tag, and a tx.commit-ok, as they stand in a frame. */
const ackOf = (tag: number) => methodAnd('003c0050', tag.toString(16).padStart(16, '0'))
const commitOk = methodAnd('005a0015', 'ce')
const declareOk = (queue: string) =>
  methodAnd('0032000b', Buffer.from(`${String.fromCharCode(queue.length)}${queue}`).toString('hex'))

const persistent = { deliveryMode: 2 }
const messages = 10
const messageText = (i: number): string => `promised-message-${i};`

const isSync = ({ name }: Call): boolean => /^f(data)?sync$/.test(name)

/** The calls, had all syncs been otherwise. */
function altered(calls: readonly Call[], otherwise: Partial<Call>): Call[] {
  return calls.map(call => (isSync(call) ? { ...call, ...otherwise } : call))
}

/** Declares a queue, publishes to it one message after the other, and in a transaction. */
async function work(t: Test, broker: { host: string; port: number }): Promise<void> {
  const connection = await openConnection(t, broker)
  const channel = await connection.createConfirmChannel()
  await channel.assertQueue('promised-queue', { durable: true })
  for (let i = 0; i < messages; i++) {
    channel.sendToQueue('promised-queue', Buffer.from(messageText(i)), persistent)
    await channel.waitForConfirms()
  }
  const transactions = await openChannel(connection)
  await call(transactions, 'txSelect', {})
  transactions.sendToQueue('promised-queue', Buffer.from('promised-transaction'), persistent)
  await call(transactions, 'txCommit', {})
  await connection.close()
}

t.test('every promise waits until the disk has what it promises', async t => {
  if (!canTrace(t)) return
  t.setTimeout(3 * PATIENCE)
  const folder = await temporaryFolder(t)
  const trace = join(folder, 'trace')
  const data = join(folder, 'data')
  const broker = await startProgram(t, data, 'strace', ...traceOptions, '-o', trace)
  await work(t, broker)
  await broker.end('SIGTERM')
  const calls = readTrace(await readFile(trace, 'latin1'))
  const promises: [what: string, answer: Buffer][] = [
    ['promised-queue', declareOk('promised-queue')],
    ...Array.from({ length: messages }, (_, i): [string, Buffer] => [messageText(i), ackOf(i + 1)]),
    ['promised-transaction', commitOk],
  ]
  for (const [what, answer] of promises) {
    const found = (calls: readonly Call[]) => promiseKept(calls, Buffer.from(what), answer)
    t.equal(found(calls), 'kept', what)
    // The same trace, had the broker not synced, or not waited for it, or not heeded its failure.
    const others = calls.filter(call => !isSync(call))
    const late = altered(calls, { returned: Number.POSITIVE_INFINITY })
    const early = altered(calls, { begun: -1 })
    const failed = altered(calls, { result: -1 })
    for (const bad of [others, late, early, failed])
      t.equal(found(bad), 'no sync returned between write and answer')
  }
})

t.test('a failing disk confirms nothing, and the broker outlives it', async t => {
  if (!canTrace(t)) return
  t.setTimeout(3 * PATIENCE)
  const broker = await startProgram(t, await temporaryFolder(t))
  const connection = await openConnection(t, broker)
  const channel = await connection.createConfirmChannel()
  await channel.assertQueue('promised-queue', { durable: true })
  const publish = (text: string) => {
    channel.sendToQueue('promised-queue', Buffer.from(text), persistent)
    return channel.waitForConfirms().then(
      () => 'confirmed',
      () => 'refused',
    )
  }
  t.equal(await publish('before'), 'confirmed')

  const failing = ['-e', 'trace=fdatasync', '-e', 'inject=fdatasync:error=EIO']
  const target = ['-p', String(broker.pid), '-f', '-qq', '-o', '/dev/null']
  const tracer = spawn('strace', [...target, ...failing], { stdio: 'ignore' })
  const detached = once(tracer, 'exit')
  t.teardown(() => tracer.kill('SIGKILL'))
  if (!(await isTraced(broker.pid, tracer))) {
    t.pass('strace', { skip: 'strace may not attach to a process here' })
    return
  }
  t.equal(await publish('during'), 'refused')
  tracer.kill('SIGINT')
  await detached
  await eventually('a confirm', async () => (await publish('after')) === 'confirmed')

  const got: string[] = []
  for (;;) {
    const message = await channel.get('promised-queue', { noAck: true })
    if (message === false) break
    got.push(message.content.toString())
  }
  t.equal(got[0], 'before')
  t.ok(got.includes('after'))
  t.notOk(got.includes('during'), 'what was refused is withdrawn')
})

/** Waits until all threads of a process are traced; false if its tracer gives up. */
async function isTraced(pid: number, tracer: ChildProcess): Promise<boolean> {
  while (tracer.exitCode === null) {
    const threads = await readdir(`/proc/${pid}/task`)
    const states = threads.map(thread => readFile(`/proc/${pid}/task/${thread}/status`, 'utf8'))
    const traced = (await Promise.all(states)).map(state => !/^TracerPid:\s+0$/m.test(state))
    if (traced.every(Boolean)) return true
    await pause(20)
  }
  return false
}
