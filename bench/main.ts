// npm run bench: drives our broker, and a rival in turn with it, through the scenarios, and prints
// what they did beside what the project promises. Ends with 1 if a broker lost, doubled, changed or
// disordered messages or did not carry a scenario through, with 2 if it could not begin.
//
// The traffic: run.ts starts two threads, producer.ts and consumer.ts, on the load of a scenario.
// Everything comes from node: modules and this folder; the broker is only a process and a port.

import { writeFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import {
  type Broker,
  leveretIsBuilt,
  rabbitmqIsInstalled,
  runningBroker,
  startLeveret,
  startRabbitmq,
} from './brokers.js'
import { sleep } from './clock.js'
import { isInMemory } from './disk.js'
import { type Options, readOptions, usage } from './options.js'
import { readProcesses } from './processes.js'
import { type Measured, spread, table } from './report.js'
import { type Scenario, scenarios } from './scenarios.js'
import type { TrialResult } from './trials.js'

const OURS = 'leveret'
/** Memory after the start is read when the broker has come to rest. */
const IDLE_MS = 4000
/** More of other processes than this, and figures are noisy. */
const QUIET_CORES = 0.1

/** An interrupt ends the run after the trial it is in, so that no broker is left behind. */
let interrupted = false
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    interrupted = true
  })
}

/** Measures everything asked for; true if no broker did wrong. */
async function compare(options: Options): Promise<boolean> {
  const brokers = await open(options)
  try {
    const measured: Measured[] = []
    for (const scenario of scenarios) {
      const asked = options.only.test(scenario.id) && options.long === (scenario.long ?? false)
      if (asked) measured.push({ scenario, rounds: await measure(scenario, brokers, options) })
    }
    const rival = brokers.find(({ name }) => name !== OURS)?.name ?? 'rival'
    console.log(`\n${table(measured, OURS, rival)}\n`)
    const faults = complaints(measured)
    for (const fault of faults) console.log(fault)
    describeDisk(options, measured)
    const noise = noisiest(measured)
    if (noise > QUIET_CORES) {
      console.log(`Other processes took up to ${noise.toFixed(2)} cores: the figures are noisy.`)
    }
    if (options.json !== null) writeJson(options.json, options, measured)
    return faults.length === 0 && !interrupted
  } finally {
    for (const broker of brokers) await broker.stop()
  }
}

async function open(options: Options): Promise<Broker[]> {
  const brokers: Broker[] = []
  if (leveretIsBuilt()) brokers.push(await startOurs(options))
  else console.log('The broker is not built: measuring the rival alone.')
  if (options.rival !== null) brokers.push(runningBroker(options.rival, options.rivalPid))
  else if (options.startRabbitmq) brokers.push(await startRival(options))
  if (brokers.length === 0) throw new Error('there is nothing to measure')
  return brokers
}

function startOurs({ folder, memory }: Options): Promise<Broker> {
  return startLeveret(memory ? null : folder)
}

async function startRival({ folder }: Options): Promise<Broker> {
  if (!rabbitmqIsInstalled()) throw new Error('rabbitmq-server is not installed')
  return startRabbitmq(folder)
}

/** The brokers take turns, so that what disturbs the machine disturbs them alike. */
async function measure(
  scenario: Scenario,
  brokers: readonly Broker[],
  options: Options,
): Promise<Map<string, TrialResult[]>> {
  const rounds = new Map(brokers.map(({ name }): [string, TrialResult[]] => [name, []]))
  for (let round = 0; round < options.rounds; round++) {
    for (const broker of brokers) {
      if (scenario.long && broker.own === null) continue
      if (interrupted) return rounds
      process.stderr.write(`${scenario.id} ${round + 1}/${options.rounds} ${broker.name} … `)
      let result: TrialResult
      try {
        result = await scenario.trial(broker, options.seconds)
      } catch (error) {
        result = { figures: {}, faults: [error instanceof Error ? error.message : String(error)] }
      }
      const first = scenario.rows[0]
      const value = first === undefined ? undefined : result.figures[first.figure]
      const figure = value === undefined ? '' : `${Number(value.toPrecision(4))} ${first?.label}`
      process.stderr.write(`${[figure, ...result.faults].join('; ')}\n`)
      rounds.get(broker.name)?.push(result)
    }
  }
  return rounds
}

function complaints(measured: readonly Measured[]): string[] {
  const lines: string[] = []
  for (const { scenario, rounds } of measured) {
    for (const [name, results] of rounds) {
      for (const [round, { faults }] of results.entries()) {
        if (faults.length === 0) continue
        lines.push(`FAULT: ${scenario.id}, ${name}, round ${round + 1}: ${faults.join('; ')}`)
      }
    }
  }
  return lines
}

/** Persistent figures mean little without the disk they were measured on. */
function describeDisk({ folder }: Options, measured: readonly Measured[]): void {
  const rounds = measured.flatMap(({ rounds }) => [...rounds.values()].flat())
  const sync = spread(rounds, 'syncMicros')
  if (sync === null) return
  const { median, min, max } = sync
  const range = `${min.toFixed(0)}–${max.toFixed(0)}, before each round`
  console.log(`fdatasync of this disk: median ${median.toFixed(0)} µs (${range})`)
  if (isInMemory(folder)) console.log(`${folder} is in memory: nothing persistent was measured.`)
}

function noisiest(measured: readonly Measured[]): number {
  const results = measured.flatMap(({ rounds }) => [...rounds.values()].flat())
  return Math.max(0, ...results.map(({ figures }) => figures.otherCores ?? 0))
}

function writeJson(file: string, options: Options, measured: readonly Measured[]): void {
  const results = measured.map(({ scenario, rounds }) => ({
    id: scenario.id,
    title: scenario.title,
    rounds: Object.fromEntries(rounds),
  }))
  const machine = {
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    memoryMiB: Math.round(totalmem() / 2 ** 20),
    node: process.version,
  }
  const { rounds, seconds } = options
  writeFileSync(file, `${JSON.stringify({ machine, rounds, seconds, results }, null, 2)}\n`)
}

/** Time to the first handshake and memory at rest, of ours and of RabbitMQ if asked for. */
async function startup(options: Options): Promise<void> {
  const starts = leveretIsBuilt() ? [startOurs] : []
  if (options.startRabbitmq) starts.push(startRival)
  if (starts.length === 0) throw new Error('there is nothing to start')
  for (const start of starts) {
    for (let round = 0; round < options.rounds && !interrupted; round++) {
      const broker = await start(options)
      await sleep(IDLE_MS)
      const { rssMiB } = readProcesses(broker.pids)
      const time = `${broker.startMs.toFixed(0)} ms to the first handshake`
      console.log(`${broker.name.padEnd(8)}  ${time}, ${rssMiB.toFixed(1)} MiB when idle`)
      await broker.stop()
    }
  }
}

try {
  const options = readOptions(process.argv.slice(2))
  if (options === null) console.log(usage)
  else if (options.startup) await startup(options)
  else if (!(await compare(options))) process.exitCode = 1
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 2
}
