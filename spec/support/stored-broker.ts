/** Brokers on a simulated disk, one life after the other, and what is defined in them. */

import { crc32 } from 'node:zlib'
import { Broker } from '../../src/broker/broker.js'
import type { Vhost } from '../../src/broker/vhost.js'
import type { Files } from '../../src/platform/files.js'
import { silence } from '../../src/platform/log.js'
import { Turn } from '../../src/platform/turn.js'
import { type FieldTable, tableSize, writeTable } from '../../src/wire/field-table.js'
import { FakeClock } from './fake-clock.js'
import type { SimulatedDisk } from './simulated-disk.js'
import { SeededRandom } from './simulated-world.js'

/** A clock on which looking takes time, so that work done in steps has some. */
class SlowClock extends FakeClock {
  #looks = 0

  override monotonicMs(): number {
    return super.monotonicMs() + this.#looks++ / 2
  }
}

export const tick = () => new Promise<void>(resolve => setImmediate(resolve))

/** Lets time and turns pass until something is done. */
export async function inTurns<T>(clock: FakeClock, work: Promise<T>): Promise<T> {
  let done = false
  const end = () => {
    done = true
  }
  work.then(end, end)
  while (!done) {
    clock.advance(100)
    await tick()
  }
  return work
}

/** A broker that keeps its definitions on the disk, not opened yet. */
export function storedBroker(
  disk: SimulatedDisk,
  password = 'secret',
  change: (files: Files) => Files = files => files,
): { broker: Broker; clock: FakeClock } {
  const clock = new SlowClock()
  const turn = new Turn(setImmediate, error => {
    throw error
  })
  const files = change(disk.session())
  const broker = new Broker(
    { vhosts: ['/'], users: [{ name: 'guest', password }], loopbackUsers: [] },
    { clock, turn, log: silence, random: new SeededRandom(), files },
    { files, folder: 'data' },
  )
  return { broker, clock }
}

export function mainVhost(broker: Broker): Vhost {
  return broker.vhost('/') as Vhost
}

/** Every exchange, queue, binding and policy of a vhost as a line, but for those it always has; `all` or only what is durable. */
export function definedIn(vhost: Vhost, all: boolean): string {
  const lines: string[] = []
  for (const {
    name,
    type,
    durable,
    autoDelete,
    internal,
    arguments: table,
  } of vhost.exchanges.values()) {
    if (name === '' || name.startsWith('amq.')) continue
    const args = digest(table)
    if (all || durable) lines.push(`exchange ${name} ${type} ${autoDelete} ${internal} ${args}`)
  }
  for (const {
    name,
    number,
    durable,
    owner,
    autoDelete,
    arguments: table,
  } of vhost.queues.values()) {
    const args = digest(table)
    const lasts = durable && owner === null
    if (all || lasts) lines.push(`queue ${name} ${number} ${autoDelete} ${args}`)
  }
  for (const exchange of vhost.exchanges.values())
    for (const { destination, key, arguments: table } of exchange.allBindings()) {
      const args = digest(table)
      const lasts = exchange.durable && destination.durable
      const kind = 'settings' in destination ? 'queue' : 'exchange'
      if (all || lasts)
        lines.push(`binding ${exchange.name} to ${kind} ${destination.name} ${key} ${args}`)
    }
  for (const kind of ['policy', 'operator_policy'] as const)
    for (const { name, pattern, applyTo, priority, definition } of vhost.policies.all(kind)) {
      const says = JSON.stringify([...definition])
      lines.push(`${kind} ${name} ${pattern} ${applyTo} ${priority} ${says}`)
    }
  return lines.sort().join('\n')
}

function digest(table: FieldTable): number {
  const bytes = Buffer.alloc(tableSize(table))
  writeTable(bytes, 0, table)
  return crc32(bytes)
}
