/**
 * `npm run fuzz -- [--inputs N] [--seed S] [--from I]`: sends generated frames and mutated sessions to a broker in a
 * process of its own, beside a neighbour that must not notice. Fails on a crash, an internal error, a frame that
 * cannot be read, a connection that does not end, a leaked socket, memory without bound or a disturbed neighbour.
 * A failing input is repeated with the same seed and `--from` its number.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { readdir, readFile, readlink } from 'node:fs/promises'
import { createServer } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { exchangeNames, type FuzzInput, fuzzInputs, queueNames } from './support/fuzz-input.js'
import { Neighbour } from './support/neighbour.js'
import { RawClient } from './support/raw-client.js'
import { type Fields, methodFrame } from './support/raw-codec.js'

const lanes = 8
/** The channel on which a lane asks whether its input has been dealt with. */
const guard = 60_000
/** The channels that tries use most. */
const channels = [1, 2, 3]
const memoryLimit = 512 * 2 ** 20

const { values: flags } = parseArgs({
  options: {
    inputs: { type: 'string', default: '100000' },
    seed: { type: 'string', default: `${Date.now() % 1_000_000_000}` },
    from: { type: 'string', default: '0' },
  },
})
const [inputs, seed, from] = [Number(flags.inputs), Number(flags.seed), Number(flags.from)]

/** What went wrong, by input. */
const failures = new Map<number, string>()
const fail = (number: number, what: string, input?: FuzzInput) => {
  if (failures.has(number)) return
  failures.set(number, what)
  if (failures.size > 20) return
  console.log(`input ${number} failed: ${what}`)
  if (input !== undefined)
    console.log(`  ${input.phase} ${input.bytes.toString('hex').slice(0, 4_000)}`)
}

// ---------------------------------------------------------------------------------------------------- broker

interface Target {
  readonly host: string
  readonly port: number
  readonly process: ChildProcess
  /** Set when the broker is gone. */
  exit: string | undefined
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise(resolve => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

async function startTarget(): Promise<Target> {
  const [host, port] = ['127.0.0.1', await freePort()]
  const program = new URL('../src/main.js', import.meta.url).pathname
  const ports = ['--port', `${port}`, '--management-port', 'none']
  const args = ['--memory', '--host', host, ...ports, '--log-level', 'error', '--json']
  const child = spawn(process.execPath, ['--enable-source-maps', program, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const target: Target = { host, port, process: child, exit: undefined }
  let shown = 0
  const show = (bytes: Buffer) => {
    // What clients did wrong is no news here; what the broker did not expect is.
    for (const line of bytes.toString().split('\n'))
      if (line !== '' && (!line.startsWith('{') || line.includes('"err":')) && shown++ < 50)
        console.log(`broker: ${line.slice(0, 2_000)}`)
  }
  child.stdout?.on('data', show)
  child.stderr?.on('data', show)
  child.on('exit', (code, signal) => {
    target.exit = `the broker ended with ${signal ?? code}`
  })
  for (let tries = 0; tries < 200; tries++) {
    if (target.exit !== undefined) throw new Error(target.exit)
    try {
      const client = await RawClient.open(target)
      await client.close()
      return target
    } catch {
      await pause(50)
    }
  }
  throw new Error('the broker did not start')
}

/** Resident memory of the broker in bytes, or undefined where the system does not tell. */
async function memory(pid: number): Promise<number | undefined> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
  const found = /VmRSS:\s+(\d+) kB/.exec(status)?.[1]
  return found === undefined ? undefined : Number(found) * 1024
}

/** Open sockets of the broker, or undefined where the system does not tell. */
async function sockets(pid: number): Promise<number | undefined> {
  const files = await readdir(`/proc/${pid}/fd`).catch(() => undefined)
  if (files === undefined) return undefined
  const links = await Promise.all(
    files.map(file => readlink(`/proc/${pid}/fd/${file}`).catch(() => '')),
  )
  return links.filter(link => link.startsWith('socket:')).length
}

// ----------------------------------------------------------------------------------------------------- lanes

const counts = { done: 0, atOpenChannel: 0, connections: 0, survived: 0 }
const closes = new Map<number, number>()
/** Connections that are done for, until the broker has ended them. */
const dying = new Set<Promise<void>>()

function letDie(client: RawClient, number: number, input: FuzzInput): void {
  if (client.isOpen) client.halfClose()
  const gone = Promise.race([client.ended, pause(15_000, undefined, { ref: false })]).then(
    ending => {
      if (ending === undefined) fail(number, 'the connection did not end within 15 s', input)
      client.destroy()
      dying.delete(gone)
    },
  )
  dying.add(gone)
}

/** A connection with the channels of the tries and the guard open. */
async function connection(target: Target): Promise<RawClient> {
  const client = await RawClient.open(target)
  for (const number of [...channels, guard]) await client.channel(number)
  counts.connections++
  return client
}

/** Notes a close of the broker; an internal error is one of ours. */
function note(fields: unknown, number: number, input: FuzzInput): void {
  const { replyCode, replyText } = fields as Fields<'connection.close'>
  closes.set(replyCode, (closes.get(replyCode) ?? 0) + 1)
  if (replyCode === 541) fail(number, replyText, input)
}

/** Waits until the broker has dealt with all that was sent; true if its channels are open again. */
async function survives(client: RawClient, number: number, input: FuzzInput): Promise<boolean> {
  client.send(guard, 'channel.flow', { active: true })
  let fences = 1
  for (;;) {
    const f = await client.next(150).catch((error: Error) => {
      if (!error.message.startsWith('nothing from')) throw error
      return undefined
    })
    // The end, or an input that leaves the broker waiting for more.
    if (f === undefined) return false
    if (f.name === 'connection.close') {
      note(f.fields, number, input)
      client.send(0, 'connection.close-ok')
      return false
    }
    if (f.name === 'connection.close-ok') return false
    if (f.channel === guard) {
      if (f.name !== 'channel.flow-ok') return false
      if (--fences === 0) return true
      continue
    }
    const closed = f.name === 'channel.close'
    if (closed) {
      note(f.fields, number, input)
      client.send(f.channel, 'channel.close-ok')
    }
    if (channels.includes(f.channel) && (closed || f.name === 'channel.close-ok')) {
      client.send(f.channel, 'channel.open')
      client.send(guard, 'channel.flow', { active: true })
      fences++
    }
  }
}

async function lane(target: Target, source: Iterator<readonly [number, FuzzInput]>): Promise<void> {
  let client: RawClient | undefined
  for (let next = source.next(); next.done !== true; next = source.next()) {
    const [number, input] = next.value
    if (target.exit !== undefined) return
    try {
      if (input.phase === 'handshake') {
        const fresh = await RawClient.connect(target)
        counts.connections++
        await fresh.writeSplit(input.bytes, input.splits)
        letDie(fresh, number, input)
      } else {
        client ??= await connection(target)
        counts.atOpenChannel++
        await client.writeSplit(input.bytes, input.splits)
        if (await survives(client, number, input)) counts.survived++
        else {
          letDie(client, number, input)
          client = undefined
        }
      }
    } catch (error) {
      fail(number, target.exit ?? (error as Error).message, input)
      client?.destroy()
      client = undefined
    }
    counts.done++
    while (dying.size > 400) await Promise.race(dying)
  }
  await client?.close()
}

/** Deletes what the tries have left behind. */
async function sweep(target: Target): Promise<void> {
  const client = await RawClient.open(target)
  const names = [...queueNames, ...exchangeNames]
  for (const [i, name] of names.entries())
    client.write(
      Buffer.concat([
        methodFrame(i + 1, 'channel.open'),
        methodFrame(i + 1, 'queue.delete', { queue: name }),
        methodFrame(i + 101, 'channel.open'),
        methodFrame(i + 101, 'exchange.delete', { exchange: name }),
      ]),
    )
  await client.close()
}

// ------------------------------------------------------------------------------------------------------ main

const target = await startTarget()
const pid = target.process.pid ?? 0
const socketsBefore = await sockets(pid)
const memoryBefore = await memory(pid)
const neighbour = await Neighbour.settle(target)
console.log(`${inputs} inputs from number ${from}, seed ${seed}`)

const source = fuzzInputs(seed, from, from + inputs)
let running = true
const started = performance.now()
const housekeeping = (async () => {
  let reported = 0
  while (running && target.exit === undefined) {
    await pause(2_000)
    await sweep(target).catch(() => undefined)
    if (counts.done - reported >= 10_000 || neighbour.disturbance !== undefined) {
      reported = counts.done
      const mebibytes = Math.round(((await memory(pid)) ?? 0) / 2 ** 20)
      console.log(
        `${reported} done in ${Math.round((performance.now() - started) / 1_000)} s, ${mebibytes} MiB`,
      )
    }
  }
})()
await Promise.all(Array.from({ length: lanes }, () => lane(target, source)))
await Promise.all(dying)
running = false
await housekeeping

if (target.exit !== undefined) fail(-1, target.exit)
await neighbour.proves(20).catch((error: Error) => fail(-2, `the neighbour was ${error.message}`))
await neighbour.leave().catch(() => undefined)
await sweep(target).catch(() => undefined)

let leaked = 0
for (let tries = 0; tries < 100; tries++) {
  leaked = ((await sockets(pid)) ?? 0) - (socketsBefore ?? 0)
  if (leaked <= 0) break
  await pause(200)
}
if (leaked > 0 && target.exit === undefined) fail(-3, `${leaked} sockets are still open`)
const memoryAfter = await memory(pid)
if (memoryAfter !== undefined && memoryAfter > memoryLimit)
  fail(-4, `${Math.round(memoryAfter / 2 ** 20)} MiB are still held`)

if (target.exit === undefined) {
  target.process.kill('SIGTERM')
  for (let tries = 0; tries < 100 && target.exit === undefined; tries++) await pause(100)
  if (target.exit === undefined) {
    fail(-5, 'the broker did not stop within 10 s')
    target.process.kill('SIGKILL')
  }
}

const mebibytes = (bytes: number | undefined) =>
  bytes === undefined ? '?' : Math.round(bytes / 2 ** 20)
const codes = [...closes].sort(([a], [b]) => a - b).map(([code, count]) => `${code}: ${count}`)
const share = Math.round((counts.atOpenChannel / Math.max(1, counts.done)) * 100)
console.log(
  `open channel reached by ${counts.atOpenChannel} inputs (${share} %), survived by the connection ${counts.survived}`,
)
console.log(`connections ${counts.connections}, closes ${codes.join(', ')}`)
console.log(
  `neighbour ${neighbour.roundTrips} round trips, slowest ${Math.round(neighbour.slowest)} ms`,
)
console.log(
  `memory ${mebibytes(memoryBefore)} MiB before, ${mebibytes(memoryAfter)} MiB after; sockets left ${socketsBefore === undefined ? '?' : leaked}`,
)
if (share < 50) fail(-6, 'fewer than half of the inputs reached an open channel')
const failed = [...failures.keys()].filter(number => number >= 0).length
console.log(
  `${counts.done - failed} passed, ${failed} failed${failures.size > failed ? `, and ${failures.size - failed} at the end` : ''}`,
)
process.exit(failures.size > 0 ? 1 : 0)
