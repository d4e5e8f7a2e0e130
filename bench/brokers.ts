// The brokers under test: our own build as a child process, one that already runs, and Debian's
// RabbitMQ in a temporary folder.

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { nanoseconds, sleep } from './clock.js'
import { type Address, Link } from './link.js'
import { listeners } from './processes.js'

export interface Broker {
  readonly name: string
  readonly address: Address
  /** The processes whose CPU time and memory are its own. */
  readonly pids: number[]
  /** Where it keeps its data, if that is known and not memory. */
  readonly folder: string | null
  /** From the start of the process to the first connection.start; 0 if it ran before. */
  readonly startMs: number
  /** Starts it anew, with nothing in its memory, if it is ours to start. */
  renew(): Promise<void>
  stop(): Promise<void>
  /** What can be done with our own broker only. */
  readonly own: OwnBroker | null
}

export interface OwnBroker {
  /** Where it keeps its data. */
  readonly data: string
  /** Starts it anew, without data, with these arguments, and such that `longestStepMs` can be asked. */
  renewProbed(...more: string[]): Promise<void>
  /** Ends it and starts it on the same data; gives the milliseconds from start to handshake. */
  restart(signal: 'SIGTERM' | 'SIGKILL'): Promise<number>
  /** The longest time its event loop was held since this was last asked. */
  longestStepMs(): Promise<number>
}

export const PROGRAM = fileURLToPath(new URL('../src/main.js', import.meta.url))
const PROBE = new URL('./loop-probe.js', import.meta.url).href
const RABBITMQ = '/usr/lib/rabbitmq/bin/rabbitmq-server'
const START_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 15_000

export const leveretIsBuilt = (): boolean => existsSync(PROGRAM)
export const rabbitmqIsInstalled = (): boolean => existsSync(RABBITMQ)

/** Our own broker, its data in a new folder within `where`; null: in memory. */
export async function startLeveret(where: string | null): Promise<Broker> {
  const address = local(await freePort())
  const folder = where === null ? null : await mkdtemp(join(where, 'bench-leveret-'))
  const pids: number[] = []
  let child: ChildProcess
  let probed = false
  let more: readonly string[] = []
  const start = (): Promise<number> => {
    const data = folder === null ? ['--memory'] : ['--data', join(folder, 'data')]
    const ports = ['--port', String(address.port), '--management-port', 'none']
    const args = [PROGRAM, ...ports, ...data, '--json', ...more]
    child = spawn(process.execPath, probed ? ['--import', PROBE, ...args] : args, {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, ...(folder === null ? {} : { BENCH_PROBE_FILE: probeFile(folder) }) },
    })
    pids[0] = child.pid as number
    return firstHandshake(address, child)
  }
  const renew = async (): Promise<void> => {
    await end(child, 'SIGTERM')
    if (folder !== null) await rm(join(folder, 'data'), { recursive: true, force: true })
    await start()
  }
  return {
    name: 'leveret',
    address,
    pids,
    folder,
    startMs: await start(),
    renew() {
      probed = false
      more = []
      return renew()
    },
    async stop() {
      await end(child, 'SIGTERM')
      if (folder !== null) await rm(folder, { recursive: true, force: true })
    },
    own:
      folder === null
        ? null
        : {
            data: join(folder, 'data'),
            renewProbed(...args) {
              probed = true
              more = args
              return renew()
            },
            async restart(signal) {
              await end(child, signal)
              if (child.signalCode !== null && signal === 'SIGTERM')
                throw new Error('it did not stop')
              return start()
            },
            longestStepMs: () => longestStepMs(child, probeFile(folder)),
          },
  }
}

const probeFile = (folder: string): string => join(folder, 'longest-step')

async function longestStepMs(child: ChildProcess, file: string): Promise<number> {
  await rm(file, { force: true })
  child.kill('SIGUSR2')
  while (!existsSync(file) || readFileSync(file).length === 0) await sleep(1)
  return Number(readFileSync(file, 'utf8'))
}

/** Debian's RabbitMQ with its defaults, all of it in a new folder within `where` and on 127.0.0.1. */
export async function startRabbitmq(where: string): Promise<Broker> {
  const folder = await mkdtemp(join(where, 'bench-rabbitmq-'))
  for (const name of ['home', 'data', 'log']) await mkdir(join(folder, name))
  await writeFile(join(folder, 'rabbitmq.conf'), '')
  await writeFile(join(folder, 'env.conf'), '')
  await writeFile(join(folder, 'plugins'), '[].\n')
  const address = local(await freePort())
  const [distribution, names] = [await freePort(), await freePort()]
  const { PATH } = process.env
  const child = spawn(RABBITMQ, [], {
    cwd: folder,
    detached: true,
    stdio: 'ignore',
    env: {
      ...(PATH === undefined ? {} : { PATH }),
      LANG: 'C.UTF-8',
      HOME: join(folder, 'home'),
      ERL_EPMD_PORT: String(names),
      ERL_EPMD_ADDRESS: '127.0.0.1',
      RABBITMQ_NODENAME: `bench${address.port}@localhost`,
      RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
      RABBITMQ_NODE_PORT: String(address.port),
      RABBITMQ_DIST_PORT: String(distribution),
      RABBITMQ_MNESIA_BASE: join(folder, 'data'),
      RABBITMQ_LOG_BASE: join(folder, 'log'),
      RABBITMQ_CONF_ENV_FILE: join(folder, 'env.conf'),
      RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq'),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'plugins'),
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1}',
    },
  })
  const clear = async (pids: readonly number[]) => {
    await endProcesses(pids)
    await endProcesses(listeners(names)) // epmd, which outlives its node
    await rm(folder, { recursive: true, force: true })
  }
  const startMs = await firstHandshake(address, child).catch(async error => {
    await clear(child.pid === undefined ? [] : [child.pid])
    throw error
  })
  const pids = listeners(address.port)
  return {
    name: 'rabbitmq',
    address,
    pids,
    folder,
    startMs,
    renew: async () => {},
    stop: () => clear(pids),
    own: null,
  }
}

/** A broker that runs already; its process is whoever listens on its port, unless named. */
export function runningBroker(url: string, pid: number | null): Broker {
  const { hostname, port, username, password, pathname } = new URL(url)
  const address = {
    host: hostname,
    port: Number(port || 5672),
    user: decodeURIComponent(username || 'guest'),
    password: decodeURIComponent(password || 'guest'),
    vhost: decodeURIComponent(pathname.slice(1)) || '/',
  }
  const pids = pid === null ? listeners(address.port) : [pid]
  const nothing = async () => {}
  const idle = { startMs: 0, renew: nothing, stop: nothing, own: null }
  return { name: 'rival', address, pids, folder: null, ...idle }
}

export const local = (port: number): Address => ({
  host: '127.0.0.1',
  port,
  user: 'guest',
  password: 'guest',
  vhost: '/',
})

/** Tries until connection.start comes; gives the milliseconds since the call. */
export async function firstHandshake(address: Address, child: ChildProcess): Promise<number> {
  const begun = nanoseconds()
  for (;;) {
    const link = new Link(address, Buffer.allocUnsafe(65_536))
    try {
      await link.greet()
      return (nanoseconds() - begun) / 1e6
    } catch (error) {
      if (child.exitCode !== null) throw new Error(`the broker ended with ${child.exitCode}`)
      if (nanoseconds() - begun > START_TIMEOUT_MS * 1e6) throw error
      await sleep(1)
    } finally {
      link.destroy()
    }
  }
}

async function end(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise(resolve => child.once('exit', resolve))
  child.kill(signal)
  const late = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
  await ended
  clearTimeout(late)
}

async function endProcesses(pids: readonly number[]): Promise<void> {
  for (const pid of pids.filter(isAlive)) process.kill(pid, 'SIGTERM')
  for (let waited = 0; pids.some(isAlive); waited += 50) {
    if (waited > STOP_TIMEOUT_MS) {
      for (const pid of pids.filter(isAlive)) process.kill(pid, 'SIGKILL')
    }
    await sleep(50)
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}
