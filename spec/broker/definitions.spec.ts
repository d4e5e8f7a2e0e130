/** What of a broker's definitions survives its end, however that comes. */
import { ok } from 'node:assert'
import t from 'tap'
import type { Broker } from '../../src/broker/broker.js'
import type { Command } from '../../src/broker/command.js'
import type { PolicyKind } from '../../src/broker/policies/definition.js'
import type { Owner } from '../../src/broker/queues/queue.js'
import type { Files } from '../../src/platform/files.js'
import { type FieldTable, fieldTable, type PlainTable } from '../../src/wire/field-table.js'
import { noSync } from '../support/broken-files.js'
import type { FakeClock } from '../support/fake-clock.js'
import { Dice, SimulatedDisk } from '../support/simulated-disk.js'
import { definedIn, inTurns, mainVhost, storedBroker, tick } from '../support/stored-broker.js'

const owner: Owner = { owns: () => {}, disowns: () => {} }

interface Figures {
  crashes: number
  kills: number
  stops: number
  crashesInRecovery: number
  changes: number
  unanswered: number
  snapshots: number
  removed: number
  failures: number
}

/** What a part of the log that does not work does. */
interface Sabotage {
  readonly files?: (files: Files) => Files
  readonly broker?: (broker: Broker) => void
}

const noFigures = (): Figures => ({
  crashes: 0,
  kills: 0,
  stops: 0,
  crashesInRecovery: 0,
  changes: 0,
  unanswered: 0,
  snapshots: 0,
  removed: 0,
  failures: 0,
})

const queueNames = Array.from({ length: 40 }, (_, i) => `q${i}`)
const policyKinds: readonly PolicyKind[] = ['policy', 'operator_policy']
const policyNames = ['p1', 'p2', 'ü']
const exchangeNames = Array.from({ length: 12 }, (_, i) => `x${i}`)

/** Lives of a broker on one disk, each ended by a crash, a kill or a stop at any moment. */
class Lives {
  readonly #disk: SimulatedDisk
  readonly #dice: Dice
  readonly #figures: Figures
  /** States in the order in which they were, of which the last answered or a later one is to survive. */
  #states: string[] = ['']
  /** The log number at which each of them was reached. */
  #reachedAt: number[] = [0]
  #life = 0
  #answered = 0
  /** Numbers of all queues there ever were. */
  readonly #numbers = new Set<number>()

  readonly #sabotage: Sabotage

  constructor(seed: number, figures: Figures, sabotage: Sabotage = {}) {
    this.#sabotage = sabotage
    this.#disk = new SimulatedDisk(seed)
    this.#dice = new Dice(seed + 1_000_000)
    this.#figures = figures
  }

  async run(lives: number): Promise<void> {
    for (let life = 0; life < lives; life++) await this.#live()
  }

  async #live(): Promise<void> {
    const { broker, clock } = await this.#open()
    const vhost = mainVhost(broker)
    ok(vhost !== undefined, 'the vhost is lost')
    for (const { name, ruling } of vhost.queues.values())
      ok(ruling === vhost.policies.rulingOfQueue(name, 'classic'), `'${name}' is ruled otherwise`)
    const found = definedIn(vhost, true)
    const at = this.#states.lastIndexOf(found)
    ok(at >= 0, `a state that never was:\n${found}\ninstead of\n${this.#states.at(-1)}`)
    ok(at >= this.#answered, `${this.#answered - at} changes are lost`)
    ok(broker.users.refusal('guest', 'secret', true) === null, 'the user is lost')
    this.#states = [found]
    this.#reachedAt = [0]
    this.#answered = 0
    this.#life++
    const shaky = this.#dice.chance(0.3)
    if (shaky) this.#disk.faults = { fail: 0.1, short: 0.2, names: 0.02 }
    const removed = this.#disk.counts.remove
    for (let left = this.#dice.below(60); left > 0; left--) {
      for (let i = this.#dice.below(12); i > 0; i--) this.#change(broker)
      await tick()
      if (this.#dice.chance(0.2)) clock.advance(this.#dice.below(500))
    }
    this.#figures.removed += this.#disk.counts.remove - removed
    this.#disk.faults = { fail: 0, short: 0, names: 0 }
    await this.#end(broker, clock)
  }

  /** Opens a broker; the power may be cut meanwhile, and again. */
  async #open() {
    while (this.#dice.chance(0.2)) {
      const { broker } = storedBroker(this.#disk, undefined, this.#sabotage.files)
      void broker.open(() => {}).catch(() => {})
      for (let i = this.#dice.below(30); i > 0; i--) await tick()
      this.#disk.crash()
      this.#figures.crashesInRecovery++
    }
    const next = storedBroker(this.#disk, undefined, this.#sabotage.files)
    const { broker } = next
    this.#sabotage.broker?.(broker)
    const commands = broker.commands.bind(broker)
    broker.commands = () => {
      this.#figures.snapshots++
      return commands()
    }
    await broker.open(() => {})
    return next
  }

  async #end(broker: Broker, clock: FakeClock): Promise<void> {
    if (this.#dice.chance(0.2)) {
      this.#figures.stops++
      await inTurns(clock, broker.close()).then(
        () => {
          this.#answered = this.#states.length - 1
        },
        // A disk that failed lets nothing be promised.
        () => {},
      )
      this.#disk.kill()
    } else if (this.#dice.chance(0.3)) {
      this.#figures.kills++
      this.#disk.kill()
    } else {
      this.#figures.crashes++
      this.#disk.crash()
    }
    this.#figures.unanswered += this.#states.length - 1 - this.#answered
    if (broker.definitions.last > 0 && broker.alarms.has('definitions')) this.#figures.failures++
  }

  #change(broker: Broker): void {
    const vhost = mainVhost(broker)
    const { definitions } = broker
    const before = definitions.last
    const answerAt = this.#act(broker)
    if (definitions.last > before) {
      this.#states.push(definedIn(vhost, false))
      this.#reachedAt.push(definitions.last)
      this.#figures.changes++
    }
    // A life whose log failed from its beginning to its end has left no trace.
    if (definitions.durableUpTo > 0)
      for (const { number } of vhost.queues.values()) if (number > 0) this.#numbers.add(number)
    const state = this.#reachedAt.findIndex(number => number >= answerAt)
    const life = this.#life
    definitions.whenDurable(answerAt, () => {
      // What belongs to an earlier life speaks no more.
      if (life === this.#life) this.#answered = Math.max(this.#answered, state)
    })
  }

  /** Does something, and returns the log number that its answer waits for. */
  #act(broker: Broker): number {
    const vhost = mainVhost(broker)
    const dice = this.#dice
    const pick = (names: readonly string[]) => names[dice.below(names.length)] as string
    const table: FieldTable = fieldTable(
      dice.chance(0.2) ? { 'x-filler': 'f'.repeat(dice.below(60_000)) } : {},
    )
    const key = `k${dice.below(3)}`
    const source = () => pick([...exchangeNames, 'amq.topic'])
    const to = () =>
      dice.chance(0.7)
        ? ({ kind: 'queue', name: pick(queueNames) } as const)
        : ({ kind: 'exchange', name: pick(exchangeNames) } as const)
    try {
      switch (dice.below(11)) {
        case 0:
        case 1:
          return vhost.declareExchange({
            name: pick(exchangeNames),
            type: pick(['direct', 'fanout', 'topic', 'headers']),
            durable: dice.chance(0.8),
            autoDelete: dice.chance(0.3),
            internal: dice.chance(0.1),
            arguments: table,
          }).definedAt
        case 2:
        case 3: {
          const name = pick(queueNames)
          const isNew = !vhost.queues.has(name)
          const queue = vhost.declareQueue({
            name,
            durable: dice.chance(0.8),
            exclusive: dice.chance(0.1),
            autoDelete: dice.chance(0.2),
            arguments: table,
            owner,
          })
          ok(!isNew || !this.#numbers.has(queue.number), `the number ${queue.number} came again`)
          return queue.definedAt
        }
        case 4:
        case 5:
        case 6:
          return vhost.bindings.bind(source(), to(), key, table, owner)
        case 8: {
          const kind = policyKinds[dice.below(2)] as PolicyKind
          const name = pick(policyNames)
          if (dice.chance(0.4)) return vhost.policies.remove(kind, name)
          return vhost.policies.set(kind, name, {
            pattern: pick(['', '^q1', '5$']),
            priority: dice.below(3) - 1,
            applyTo: pick(['all', 'queues', 'exchanges']),
            definition: { 'max-length': dice.below(9), 'ha-params': ['a', { b: null }] },
          })
        }
        case 7:
          return vhost.bindings.unbind(source(), to(), key, [], owner)
        default: {
          if (dice.chance(0.3)) return vhost.deleteExchange(pick(exchangeNames), false)
          let at = 0
          const none = { ifUnused: false, ifEmpty: false }
          vhost.deleteQueue(pick(queueNames), owner, none, (_count, goneAt) => {
            at = goneAt
          })
          return at
        }
      }
    } catch (error) {
      if ((error as { reply?: string }).reply === undefined) throw error
      return 0
    }
  }
}

t.test('what was answered is there after any crash, and nothing that never was', async t => {
  const figures = noFigures()
  for (let seed = 1; seed <= 12; seed++)
    try {
      await new Lives(seed, figures).run(8)
    } catch (error) {
      t.fail(`seed ${seed}: ${(error as Error).stack}`)
      return
    }
  t.comment(JSON.stringify(figures))
  t.ok(figures.crashes > 30 && figures.kills > 5 && figures.stops > 5, 'ends of all kinds')
  t.ok(figures.crashesInRecovery > 10, 'crashes during recovery')
  t.ok(figures.snapshots > 5 && figures.removed > 0, 'snapshots, and segments they freed')
  t.ok(figures.failures > 2, 'failures of the disk')
  t.ok(figures.changes > 2000 && figures.unanswered > 100, 'changes, not all of them durable')
})

/** What the checker finds within so many seeds. */
async function found(sabotage: Sabotage): Promise<string> {
  for (let seed = 1; seed <= 10; seed++)
    try {
      await new Lives(seed, noFigures(), sabotage).run(8)
    } catch (error) {
      return (error as Error).message
    }
  return 'nothing'
}

t.test('the checker notices when a part of the log does not work', async t => {
  t.match(await found({ files: noSync }), /lost|never was/, 'no sync')
  const hasty = ({ definitions }: Broker) => {
    definitions.whenDurable = (_number, defined) => defined()
  }
  t.match(await found({ broker: hasty }), /lost/, 'answers that do not wait')
  for (const forgotten of ['queue.deleted', 'unbound', 'bound']) {
    const forgetful = ({ definitions }: Broker) => {
      const append = definitions.append.bind(definitions)
      definitions.append = command =>
        command.command === forgotten ? definitions.last : append(command)
    }
    t.match(await found({ broker: forgetful }), /never was/, `${forgotten} is not logged`)
  }
})

/** The next broker on a disk whose last one has ended, and how it ends. */
async function next(disk: SimulatedDisk, password?: string) {
  const { broker, clock } = storedBroker(disk, password)
  await broker.open(() => {})
  const stop = async () => {
    await inTurns(clock, broker.close())
    disk.kill()
  }
  return { broker, clock, vhost: mainVhost(broker), stop }
}

function queueOf(table: PlainTable) {
  const flags = { durable: true, exclusive: false, autoDelete: false }
  return { name: 'q', ...flags, arguments: fieldTable(table), owner }
}

t.test('the settings name the users of the first start alone', async t => {
  const disk = new SimulatedDisk(1)
  const first = await next(disk, 'first')
  t.equal(first.broker.users.refusal('guest', 'first', true), null)
  await first.stop()
  const { broker } = await next(disk, 'second')
  t.equal(broker.users.refusal('guest', 'first', true), null)
  t.equal(broker.users.refusal('guest', 'second', true), 'invalid credentials')
  const bytes = disk.paths().map(path => disk.bytes(path).toString('latin1'))
  t.notMatch(bytes.join(), /first|second/, 'no password is on the disk')
})

t.test('a queue that nobody uses after a restart expires, for good', async t => {
  const disk = new SimulatedDisk(1)
  const first = await next(disk)
  first.vhost.declareQueue(queueOf({ 'x-expires': 1000 }))
  await first.stop()
  const second = await next(disk)
  t.ok(second.vhost.queues.has('q'))
  second.clock.advance(2000)
  t.notOk(second.vhost.queues.has('q'))
  await second.stop()
  const third = await next(disk)
  t.notOk(third.vhost.queues.has('q'))
})

t.test('policies rule after a restart what they ruled before', async t => {
  const disk = new SimulatedDisk(1)
  const first = await next(disk)
  first.vhost.declareQueue(queueOf({ 'x-max-length': 9, 'x-expires': 5000 }))
  const { policies } = first.vhost
  policies.set('policy', 'p', { pattern: '^q', definition: { expires: 1000, 'max-length': 3 } })
  policies.set('operator_policy', 'o', { pattern: '', definition: { 'max-length': 2 } })
  policies.set('policy', 'x', {
    pattern: '^amq\\.topic',
    applyTo: 'exchanges',
    definition: { 'alternate-exchange': 'amq.fanout' },
  })
  policies.set('policy', 'gone', { pattern: '', priority: 5, definition: { 'max-length': 1 } })
  policies.remove('policy', 'gone')
  await first.stop()
  const second = await next(disk)
  const queue = second.vhost.queues.get('q')
  t.equal(queue?.ruling.policy?.name, 'p')
  t.equal(queue?.ruling.operatorPolicy?.name, 'o')
  t.equal(queue?.settings.maxLength, 2)
  t.equal(second.vhost.exchange('amq.topic').alternate, 'amq.fanout')
  second.clock.advance(2000)
  t.notOk(second.vhost.queues.has('q'), 'its time began with the start')
})

t.test('a log with a command of a later version is refused, and left as it is', async t => {
  const disk = new SimulatedDisk(1)
  const first = await next(disk)
  first.broker.definitions.append({ command: 'shovel.set' } as unknown as Command)
  await first.stop()
  await t.rejects(next(disk), /does not know: 'shovel.set'/)
  await t.rejects(next(disk), /does not know: 'shovel.set'/)
})

t.test('what a snapshot has made void goes after a restart, too', async t => {
  const disk = new SimulatedDisk(1)
  const stuck = (files: Files): Files => ({
    ...files,
    remove: async path => {
      throw Object.assign(new Error(`EIO: ${path}`), { code: 'EIO' })
    },
  })
  const first = storedBroker(disk, 'secret', stuck)
  await inTurns(
    first.clock,
    first.broker.open(() => {}),
  )
  const vhost = mainVhost(first.broker)
  const note = fieldTable({ note: 'x'.repeat(4000) })
  const request = { durable: true, exclusive: false, autoDelete: false, owner, arguments: note }
  for (let i = 0; i < 2000; i++) {
    vhost.declareQueue({ ...request, name: 'q' })
    vhost.deleteQueue('q', owner, { ifUnused: false, ifEmpty: false }, () => {})
    if (i % 20 === 0) await inTurns(first.clock, tick())
  }
  await inTurns(first.clock, first.broker.close())
  const bytes = () => disk.paths().reduce((sum, path) => sum + disk.bytes(path).length, 0)
  t.ok(bytes() > 6_000_000, `${bytes()} bytes`)
  disk.kill()
  const again = storedBroker(disk)
  await inTurns(
    again.clock,
    again.broker.open(() => {}),
  )
  mainVhost(again.broker).declareQueue({ ...request, name: 'r' })
  for (let i = 0; i < 300; i++) await inTurns(again.clock, tick())
  t.ok(bytes() < 4_500_000, `${bytes()} bytes`)
  await inTurns(again.clock, again.broker.close())
})
