/** A vhost in a simulated world. */

import { Deadlines } from '../../src/broker/deadlines.js'
import { Definitions } from '../../src/broker/definitions.js'
import { Events } from '../../src/broker/events.js'
import { Journal } from '../../src/broker/journal.js'
import { type DeathReason, standardRules } from '../../src/broker/queues/host.js'
import type { Owner, Queue } from '../../src/broker/queues/queue.js'
import { ReadyPages } from '../../src/broker/queues/ready.js'
import { Vhost } from '../../src/broker/vhost.js'
import { MessageTable } from '../../src/store/message-table.js'
import { Paging } from '../../src/store/paging.js'
import { ChunkPool } from '../../src/structures/chunk-pool.js'
import { type FieldTable, fieldTable, type PlainTable } from '../../src/wire/field-table.js'
import type { Message } from '../../src/wire/message.js'
import { decodeProperties, type Properties } from '../../src/wire/properties.js'
import { FakeClock } from './fake-clock.js'
import { contentOf, messageBytes } from './messages.js'
import { SimulatedWorld } from './simulated-world.js'

/** Somebody who declares queues. */
export const owner: Owner = { owns: () => {}, disowns: () => {} }

/** A message as it came out of a queue. */
export interface Taken {
  readonly exchange: string
  readonly routingKey: string
  readonly properties: Properties
  readonly headers: FieldTable
  readonly body: Buffer
}

export class VhostBench {
  readonly world: SimulatedWorld
  readonly vhost: Vhost

  constructor(of = new FakeClock()) {
    this.world = new SimulatedWorld(of)
    const { turn, clock, random } = this.world
    const messages = new MessageTable(new ChunkPool())
    this.vhost = new Vhost('/', {
      messages,
      paging: new Paging(messages, turn, clock, this.world.log),
      journal: new Journal(messages, turn),
      pages: new ReadyPages(),
      definitions: new Definitions(
        { restore: () => {}, commands: () => [], logFailing: () => {} },
        this.world,
      ),
      events: new Events(clock, 'leveret@test'),
      rules: standardRules,
      turn,
      clock,
      random,
      deadlines: new Deadlines(clock, error => {
        throw error
      }),
    })
  }

  declareQueue(name: string, args: PlainTable = {}): Queue {
    return this.vhost.declareQueue({
      name,
      durable: true,
      exclusive: false,
      autoDelete: false,
      arguments: fieldTable(args),
      owner,
    })
  }

  declareExchange(
    name: string,
    type: string,
    options: { readonly autoDelete?: boolean; readonly arguments?: PlainTable } = {},
  ): void {
    this.vhost.declareExchange({
      name,
      type,
      durable: true,
      internal: false,
      autoDelete: options.autoDelete ?? false,
      arguments: fieldTable(options.arguments ?? {}),
    })
  }

  bind(source: string, queue: string, key = ''): void {
    this.vhost.bindings.bind(source, { kind: 'queue', name: queue }, key, [], owner)
  }

  /** Publishes to the default exchange unless told otherwise; `expiration` is in milliseconds. */
  publish(content: Parameters<typeof contentOf>[0]): void {
    const { arrival, router } = this.vhost
    const bytes = messageBytes(contentOf(content))
    arrival.message.at(bytes, 0, bytes.length, null)
    const { expiration, headers, priority = 0 } = content.properties ?? {}
    arrival.begin(priority, expiration === undefined ? -1 : Number(expiration), false)
    if (headers !== undefined) arrival.hideBcc()
    this.vhost.publish(router.route(arrival.message, null), arrival, null)
  }

  /** Everything that the end of this turn and the present moment bring. */
  settle(): void {
    do {
      this.world.turns.endAll()
      this.world.clock.advance(0)
    } while (this.world.turns.waiting)
  }

  /** Lets the first message of a queue die. */
  kill(queue: string, reason: DeathReason): void {
    const from = this.#queue(queue)
    from.get(false, (_message, slot) => {
      from.unackedCount--
      this.vhost.bury(from, slot, reason, true)
    })
    this.settle()
  }

  /** Takes all messages out of a queue. */
  takeAll(queue: string): Taken[] {
    return takeAll(this.vhost, queue)
  }

  /** The first message of a queue, which stays there. */
  peek(queue: string): Taken {
    const taken: Taken[] = []
    const from = this.#queue(queue)
    from.get(false, (message, slot, _redelivered, deadline, returns) => {
      taken.push(takenFrom(message))
      from.giveBack(slot, deadline, returns, false)
    })
    return taken[0] as Taken
  }

  #queue(name: string): Queue {
    return this.vhost.queue(name, owner)
  }
}

/** Takes all messages out of a queue. */
export function takeAll(vhost: Vhost, queue: string): Taken[] {
  const taken: Taken[] = []
  const from = vhost.queue(queue, owner)
  while (from.readyCount > 0) from.get(true, message => taken.push(takenFrom(message)))
  return taken
}

function takenFrom(message: Message): Taken {
  const { bytes, exchange, routingKey } = message
  const octets = Buffer.from(bytes.subarray(message.propertiesStart, message.propertiesEnd))
  const properties = decodeProperties(octets, 0, octets.length)
  const end = message.end - 1
  return {
    exchange,
    routingKey,
    properties,
    headers: properties.headers ?? [],
    body:
      message.bodySize === 0
        ? Buffer.alloc(0)
        : Buffer.from(bytes.subarray(end - message.bodySize, end)),
  }
}
