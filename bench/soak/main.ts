// npm run soak: kills the broker at random instants under load, starts it again on the same folder,
// and holds it to what it confirmed: nothing lost, nothing settled that comes back, nothing out of
// order, nothing unflagged. Ends with 1 on any finding, with 2 if it could not begin or go on.
//
// A round is one life of the broker: it starts, perhaps after starts that were killed, is drained
// and judged in some rounds, then loaded until it is ended.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { nanoseconds, sleep } from '../clock.js'
import { Link } from '../link.js'
import { BrokerProcess, type Ending } from './broker-process.js'
import { Acknowledger, Carrier, type Consumer, type World } from './consumers.js'
import { Definer } from './definer.js'
import { kinds, Ledger } from './ledger.js'
import { type Party, startPublisher } from './publishers.js'
import { Random } from './random.js'
import { declare, type Flow, flows, queues, readyMessages } from './topology.js'

const usage = `npm run soak -- [options] [-- arguments for the broker]
  --rounds N      times the broker is ended and started again (50)
  --seed N        what is random follows from it, as far as time lets it (now)
  --folder DIR    where the broker keeps its data (the system's temporary folder)
  --power-cut     its data lie on an ext4 of their own, which loses what was not synced; needs root
  --keep          leave the folder behind; it stays in any case when something was found
`

const options = {
  rounds: { type: 'string', default: '50' },
  seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  folder: { type: 'string', default: tmpdir() },
  'power-cut': { type: 'boolean', default: false },
  keep: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const

/** Longest life under load, in milliseconds. */
const LOAD_MS = 3000
/** A backlog that does not shrink for so long never will. */
const DRAIN_IDLE_MS = 20_000
/** Nothing must come for so long until the queues count as empty: what ages is dead by then. */
const QUIET_MS = 600

interface Round {
  startMs: number
  drained: boolean
  inVain: number
  ending: Ending
  loadMs: number
}

class Soak {
  readonly #broker: BrokerProcess
  readonly #random: Random
  readonly #ledger = new Ledger(finding => console.log(`  ${finding}`))
  readonly #flows: readonly Flow[] = flows(this.#ledger)
  readonly #world: World
  readonly #powerCut: boolean
  readonly #definer: Definer
  #declared = false
  #stopped = false

  constructor(broker: BrokerProcess, seed: number, powerCut: boolean) {
    this.#broker = broker
    this.#random = new Random(seed)
    this.#powerCut = powerCut
    this.#definer = new Definer(broker.address, this.#ledger, this.#random)
    this.#world = {
      address: broker.address,
      ledger: this.#ledger,
      random: this.#random,
      routes: this.#flows.map(({ route }) => route),
      now: () => nanoseconds() / 1e6,
    }
  }

  /** Ends after the round it is in. */
  stop(): void {
    this.#stopped = true
  }

  /** All rounds and a last drain; true if nothing was found. */
  async run(rounds: number): Promise<boolean> {
    for (let round = 1; round <= rounds && !this.#stopped; round++) {
      console.log(`round ${String(round).padStart(3)}: ${this.#told(await this.#round())}`)
    }
    await this.#start()
    await this.#drain()
    const { findings, epochs } = this.#ledger
    const sent = this.#flows.reduce((sum, { stream }) => sum + stream.sent, 0)
    console.log(`${epochs.length - 1} rounds, ${number(sent)} messages: ${this.#findings()}`)
    return findings === 0
  }

  async #round(): Promise<Round> {
    const random = this.#random
    let inVain = 0
    for (; random.oneIn(6); inVain++) await this.#broker.startInVain(random.between(30, 400))
    // Long enough for what ages to be overdue when it is recovered.
    if (random.oneIn(3)) await sleep(random.between(100, 600))
    const startMs = await this.#start()
    const drained = random.oneIn(4)
    if (drained) await this.#drain()
    const ending = random.oneIn(8) ? 'stop' : this.#powerCut ? 'power cut' : 'kill -9'
    const loadMs = random.between(50, LOAD_MS)
    await this.#load(loadMs, ending)
    return { startMs, drained, inVain, ending, loadMs }
  }

  /** Starts the broker and sees that all definitions are there. */
  async #start(): Promise<number> {
    const startMs = await this.#broker.start()
    this.#ledger.begin(this.#world.now())
    const link = await Link.open(this.#world.address)
    if (!this.#declared) await declare(link)
    this.#declared = true
    await link.close()
    await this.#definer.check()
    return startMs
  }

  /** Publishers and consumers, until the broker is ended. */
  async #load(forMs: number, ending: Ending): Promise<void> {
    const consumers = await this.#consumers(queue => queue !== 'slow' || this.#random.oneIn(8))
    const publishers = await Promise.all(
      this.#flows.map(flow => startPublisher(this.#world.address, flow, this.#random)),
    )
    const parties: Party[] = [...consumers.values(), ...publishers, await this.#definer.start()]
    await sleep(forMs / 2)
    if (this.#random.oneIn(2)) await this.#replaceOne(consumers, parties)
    await sleep(forMs / 2)
    if (!this.#broker.runs) throw new Error('the broker ended by itself')
    const nowMs = this.#world.now()
    await this.#broker.end(ending)
    const clean = ending === 'stop'
    this.#ledger.end(clean ? this.#world.now() : nowMs, clean)
    await Promise.all(parties.map(({ ended }) => ended))
  }

  async #consumers(wanted: (queue: string) => boolean): Promise<Map<string, Consumer>> {
    // Nobody consumes from `aging`: its messages die.
    const names = Object.keys(queues).filter(queue => queue !== 'aging' && wanted(queue))
    const all = names.map(async queue => [queue, await this.#consumer(queue)] as const)
    return new Map(await Promise.all(all))
  }

  #consumer(queue: string): Promise<Consumer> {
    return queue === 'source'
      ? Carrier.start(this.#world, queue)
      : Acknowledger.start(this.#world, queue)
  }

  /** One consumer leaves, whose messages return to the queue, and another comes. */
  async #replaceOne(consumers: Map<string, Consumer>, parties: Party[]): Promise<void> {
    const candidates = [...consumers].filter(([queue]) => queue !== 'source')
    const chosen = candidates[this.#random.between(0, candidates.length - 1)]
    if (chosen === undefined) return
    const [queue, consumer] = chosen
    await consumer.close()
    parties.splice(parties.indexOf(consumer), 1, await this.#consumer(queue))
  }

  /** Consumes all there is; what is owed and does not come is lost. */
  async #drain(): Promise<void> {
    const link = await Link.open(this.#world.address)
    const consumers = [...(await this.#consumers(() => true)).values()]
    for (const consumer of consumers) consumer.draining = true
    let quietMs = 0
    let left = -1
    let movedMs = this.#world.now()
    let settled = 0
    while (quietMs < QUIET_MS) {
      await sleep(20)
      const ready = await readyMessages(link)
      const now = this.#world.now()
      if (ready !== left || this.#ledger.settled !== settled) movedMs = now
      const idle = ready === 0 && consumers.every(({ isIdle }) => isIdle)
      quietMs = idle ? now - movedMs : 0
      if (!idle && now - movedMs > DRAIN_IDLE_MS) throw new Error(`${ready} messages never come`)
      left = ready
      settled = this.#ledger.settled
    }
    await Promise.all(consumers.map(consumer => consumer.close()))
    await link.close()
    this.#ledger.checkDrained()
  }

  #told({ startMs, drained, inVain, ending, loadMs }: Round): string {
    const { confirmed, settled, cameBack } = this.#ledger
    const started = `${inVain > 0 ? `${inVain} starts killed, ` : ''}up in ${startMs.toFixed(0)} ms`
    const traffic = `${number(confirmed)} confirmed, ${number(settled)} settled`
    const back = `${number(cameBack)} came back${drained ? ' and all drained' : ''}`
    return `${started}, ${back}, ${traffic}; ${ending} after ${loadMs} ms; ${this.#findings()}`
  }

  #findings(): string {
    const { found } = this.#ledger
    return kinds.map(kind => `${found.get(kind) ?? 0} ${kind}`).join(', ')
  }
}

const number = (value: number): string => value.toLocaleString('en-US')

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({ options, allowPositionals: true })
  if (values.help) {
    console.log(usage)
    return 0
  }
  const seed = Number(values.seed)
  const folder = mkdtempSync(join(values.folder, 'soak-'))
  console.log(`seed ${seed}, in ${folder}`)
  const powerCut = values['power-cut']
  const broker = await BrokerProcess.in(folder, powerCut, positionals)
  let sound = false
  try {
    const soak = new Soak(broker, seed, powerCut)
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => soak.stop())
    sound = await soak.run(Number(values.rounds))
  } finally {
    await broker.close()
    if (sound && !values.keep) rmSync(folder, { recursive: true, force: true })
  }
  return sound ? 0 : 1
}

try {
  process.exitCode = await main()
} catch (error) {
  console.error(error)
  process.exitCode = 2
}
